"""Counts of the calls that a function makes. Counts are exact on any machine."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any


def calls_of(function: Callable[[], Any]) -> Counter[str]:
    """The events of ``sys.setprofile`` while ``function`` runs: ``call`` of Python functions, ``c_call`` of C functions.

    Without garbage collection: it would run the finalizers of objects that other tests have left, and count their calls.
    """
    seen: Counter[str] = Counter()

    def note(frame: object, event: str, argument: object) -> None:
        seen[event] += 1

    gc.disable()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
        gc.enable()
    return seen
