"""Data sets for training: columns as torch, TensorFlow and numpy take them, samplers and loaders.

Everything is imported when it is first used, so that torch and tensorflow are loaded only by those who ask for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hangar.dataset.selection import Selection

__all__ = ["Selection"]

_ORIGINS: Final = {"Selection": "hangar.dataset.selection"}

if not TYPE_CHECKING:  # a checker that saw it would let any name pass

    def __getattr__(name: str) -> object:
        if name not in _ORIGINS:
            raise AttributeError(f"module 'hangar.dataset' has no attribute {name!r}", name=name)
        found = globals()[name] = getattr(import_module(_ORIGINS[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
