"""Situations in which messages about garbage collection propose commands; see ``test_advice``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.cli.advice import follow
from tests.cli.shell import Shell

__all__ = ["GC"]


def unknown_expiry(shell: Shell, template: str) -> None:
    assert "master" in follow(shell, shell.fails(3, "gc", "--expire-reflog", "xxxxx"), template)


GC: Final[dict[str, dict[str, Callable[[Shell, str], None]]]] = {
    "gc/expire.py": {"hangar branch list": unknown_expiry},
}
