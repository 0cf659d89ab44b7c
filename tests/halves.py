"""Which half of a long sweep this run tries.

CI runs the quick suite twice, with the compiled kernel and without it. A sweep whose cases cost a process each tries every second case with
the kernel, and the others without. With ``HYPOTHESIS_PROFILE=nightly`` or ``HANGAR_TEST_WHOLE`` a run tries all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["is_tried", "tried"]

T = TypeVar("T")

_WHOLE = os.environ.get("HYPOTHESIS_PROFILE") == "nightly" or bool(os.environ.get("HANGAR_TEST_WHOLE"))
_HALF = 1 if os.environ.get("HANGAR_NO_KERNEL") else 0


def is_tried(number: int, share: int = 2) -> bool:
    """Whether this run tries the case of this number: one of ``share``."""
    return _WHOLE or number % share == _HALF


def tried(cases: Sequence[T]) -> list[T]:
    """The cases that this run tries."""
    return [case for number, case in enumerate(cases) if is_tried(number)]
