"""Situations in which messages about purged samples propose commands; see ``test_advice``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pytest

from hangar import Repository
from tests.cli.advice import follow
from tests.cli.shell import Shell

__all__ = ["PURGE", "listed_by_ls", "noted_by_fsck", "unfinished"]

MANY: Final = 12


def purged(shell: Shell, template: str) -> None:
    """Reading it says so."""
    shell.ok("purge", "images", "a", "--yes")
    with Repository(shell.path) as repo, pytest.raises(Exception, match="was purged") as caught:
        repo.checkout()["images"]["a"]
    assert "images/a" in follow(shell, str(caught.value), template)


def stored_again(shell: Shell, template: str) -> None:
    with Repository(shell.path) as repo:
        image = repo.checkout()["images"]["a"]
        repo.purge("images", "a", reason="")
        writer = repo.checkout(write=True)
        with pytest.raises(Exception, match="not stored again") as caught:
            writer["images"]["a"] = image
        writer.close()
    assert "Lifted 1 tombstone" in follow(shell, str(caught.value), template)


def many(shell: Shell) -> None:
    """A dozen purged samples."""
    with Repository(shell.path) as repo:
        writer = repo.checkout(write=True)
        column = writer.add_ndarray_column("many", (50,), np.uint8)
        column.update({key: np.full(50, key, np.uint8) for key in range(MANY)})
        writer.commit("Many")
        writer.close()
        repo.purge("many", list(range(MANY)), reason="")


def listed_by_ls(shell: Shell, template: str) -> None:
    many(shell)
    assert follow(shell, shell.run("ls", "many").stderr, template).count("many/") == MANY


def left_out_of_an_export(shell: Shell, template: str) -> None:
    many(shell)
    assert follow(shell, shell.run("export", "many", "-o", "out").stderr, template).count("many/") == MANY


def interrupted(shell: Shell) -> str:
    """A purge whose bytes are not removed yet; what it says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hangar.purge.run.remove_bytes", lambda *_: ("a process has it open",))
        return str(shell.run("purge", "images", "a", "--yes").stderr)


def in_use(shell: Shell, template: str) -> None:
    assert "Erased" in follow(shell, interrupted(shell), template)


def unfinished(shell: Shell, template: str) -> None:
    interrupted(shell)
    assert "Erased" in follow(shell, shell.run("status").stderr, template)


def noted_by_fsck(shell: Shell, template: str) -> None:
    interrupted(shell)
    assert "Erased" in follow(shell, shell.ok("fsck"), template)


def lifted_too_early(shell: Shell, template: str) -> None:
    interrupted(shell)
    assert "Erased" in follow(shell, shell.fails(1, "purge", "--lift", "images", "a"), template)


def lifting_nothing(shell: Shell, template: str) -> None:
    assert "Nothing was purged" in follow(shell, shell.fails(3, "purge", "--lift", "images", "a"), template)


def purged_before(shell: Shell, template: str) -> None:
    shell.ok("purge", "images", "a", "--yes")
    assert "images/a" in follow(shell, shell.fails(9, "purge", "images", "a", "--yes"), template)


PURGE: Final[dict[str, dict[str, Callable[[Shell, str], None]]]] = {
    "blobs/tombstones.py": {"hangar purge --list": purged, "hangar purge --lift {}": stored_again},
    "cli/export.py": {"hangar purge --list": left_out_of_an_export},
    "cli/purge.py": {"hangar purge --continue": in_use},
    "purge/lifting.py": {"hangar purge --list": lifting_nothing, "hangar purge --continue": lifted_too_early},
    "purge/plan.py": {"hangar purge --list": purged_before},
}
