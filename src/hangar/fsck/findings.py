"""Collects the problems of a check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from hangar.errors import NOT_DAMAGE, HangarError
from hangar.fsck.report import Problem

__all__ = ["DATABASE", "Findings"]

T = TypeVar("T")
DATABASE: Final = "db/data.mdb"
_ADVICE: Final = ": run `hangar fsck`"
"""Advice at the end of error messages, which is useless in the output of fsck itself."""


class Findings:
    """The problems found so far, and the data that could not be checked."""

    def __init__(self) -> None:
        self.problems: dict[Problem, None] = {}
        self.unchecked: dict[str, None] = {}

    def add(self, kind: str, detail: object, digest: str = "", file: str = DATABASE, remedy: str = "") -> None:
        """Add a problem, unless it was added before."""
        text = str(detail).removesuffix(_ADVICE)
        self.problems[Problem(kind, digest, file, text, remedy=remedy)] = None

    def attempt(self, kind: str, function: Callable[[], T], digest: str = "", file: str = DATABASE) -> T | None:
        """The result of a function, or None after adding the problem that it raised."""
        try:
            return function()
        except NOT_DAMAGE:
            raise
        except HangarError as error:
            self.add(kind, error, digest, file)
            return None
