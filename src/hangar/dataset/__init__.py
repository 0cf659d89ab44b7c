"""Data sets of columns for torch, TensorFlow and numpy; samplers, loaders, splits and run manifests.

Each name is imported when it is first used, so that torch and TensorFlow are loaded only if they are needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hangar.dataset.leaks import Leak, LeakReport, check_split
    from hangar.dataset.make import make_torch_dataset
    from hangar.dataset.make_tensorflow import make_tensorflow_dataset, make_tf_dataset
    from hangar.dataset.manifest import Manifest
    from hangar.dataset.numpy import NumpyDataset, NumpyItems, make_numpy_dataset
    from hangar.dataset.sampler import Sampler
    from hangar.dataset.selection import Selection
    from hangar.dataset.splits import Assignment, Split, delete_split, hash_split, list_splits, load_split
    from hangar.dataset.torch import Loader, collate

__all__ = [
    "Assignment",
    "Leak",
    "LeakReport",
    "Loader",
    "Manifest",
    "NumpyDataset",
    "NumpyItems",
    "Sampler",
    "Selection",
    "Split",
    "check_split",
    "collate",
    "delete_split",
    "hash_split",
    "list_splits",
    "load_split",
    "make_numpy_dataset",
    "make_tensorflow_dataset",
    "make_tf_dataset",
    "make_torch_dataset",
]

_ORIGINS: Final = {
    "Assignment": "hangar.dataset.splits",
    "Leak": "hangar.dataset.leaks",
    "LeakReport": "hangar.dataset.leaks",
    "Loader": "hangar.dataset.torch",
    "Manifest": "hangar.dataset.manifest",
    "NumpyDataset": "hangar.dataset.numpy",
    "NumpyItems": "hangar.dataset.numpy",
    "Sampler": "hangar.dataset.sampler",
    "Selection": "hangar.dataset.selection",
    "Split": "hangar.dataset.splits",
    "check_split": "hangar.dataset.leaks",
    "collate": "hangar.dataset.torch",
    "delete_split": "hangar.dataset.splits",
    "hash_split": "hangar.dataset.splits",
    "list_splits": "hangar.dataset.splits",
    "load_split": "hangar.dataset.splits",
    "make_numpy_dataset": "hangar.dataset.numpy",
    "make_tensorflow_dataset": "hangar.dataset.make_tensorflow",
    "make_tf_dataset": "hangar.dataset.make_tensorflow",
    "make_torch_dataset": "hangar.dataset.make",
}
_TORCH: Final = "hangar.dataset.torch"
"""The module whose names need torch."""

if not TYPE_CHECKING:  # a type checker would accept any name of a module with __getattr__

    def __getattr__(name: str) -> object:
        if name not in _ORIGINS:
            raise AttributeError(f"module 'hangar.dataset' has no attribute {name!r}", name=name)
        if _ORIGINS[name] == _TORCH:
            from hangar.dataset.make import require_torch

            require_torch()
        found = globals()[name] = getattr(import_module(_ORIGINS[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
