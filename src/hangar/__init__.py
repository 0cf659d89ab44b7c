"""Hangar: version control for tensors.

What is listed in ``__all__`` is the public API, with ``hangar.bulk_importer``, ``hangar.checkout``, ``hangar.columns``,
``hangar.dataset``, ``hangar.diff`` and ``hangar.external``; everything else may move. Whatever is more than names and errors is imported
when it is first asked for, so that ``import hangar`` itself costs little more than the interpreter (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from hangar._version import __version__
from hangar.errors import (
    AccessError,
    AttributeNotFoundError,
    ClosedError,
    ColumnExistsError,
    ColumnNotFoundError,
    ConflictError,
    CorruptionError,
    DiskFullError,
    HangarError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    LockedError,
    MergeConflictError,
    MissingPackageError,
    NameTakenError,
    NotFoundError,
    NothingToDoError,
    NotLocalError,
    OutcomeUnknownError,
    PathNotDirectoryError,
    PathNotFoundError,
    PositionNotFoundError,
    PurgedError,
    RemoteNotFoundError,
    RepairedWarning,
    RepositoryExistsError,
    RepositoryNotFoundError,
    ResourceLimitError,
    RevisionNotFoundError,
    RolledBackWarning,
    SampleNotFoundError,
    StaleRefError,
    StorageError,
    UnmergedError,
    UnreachableError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from hangar import bulk_importer as bulk_importer
    from hangar import checkout as checkout
    from hangar import columns as columns
    from hangar import dataset as dataset
    from hangar import diff as diff
    from hangar import external as external
    from hangar import interop as interop
    from hangar.dataset import make_numpy_dataset, make_tf_dataset, make_torch_dataset
    from hangar.history import BranchHead
    from hangar.inputs import read
    from hangar.repository import Repository

__all__ = [
    "AccessError",
    "AttributeNotFoundError",
    "BranchHead",
    "ClosedError",
    "ColumnExistsError",
    "ColumnNotFoundError",
    "ConflictError",
    "CorruptionError",
    "DiskFullError",
    "HangarError",
    "InvalidInputError",
    "InvalidStateError",
    "InvalidTypeError",
    "LockedError",
    "MergeConflictError",
    "MissingPackageError",
    "NameTakenError",
    "NotFoundError",
    "NotLocalError",
    "NothingToDoError",
    "OutcomeUnknownError",
    "PathNotDirectoryError",
    "PathNotFoundError",
    "PositionNotFoundError",
    "PurgedError",
    "RemoteNotFoundError",
    "RepairedWarning",
    "Repository",
    "RepositoryExistsError",
    "RepositoryNotFoundError",
    "ResourceLimitError",
    "RevisionNotFoundError",
    "RolledBackWarning",
    "SampleNotFoundError",
    "StaleRefError",
    "StorageError",
    "UnmergedError",
    "UnreachableError",
    "UnsupportedVersionError",
    "__version__",
    "make_numpy_dataset",
    "make_tf_dataset",
    "make_torch_dataset",
    "read",
]

_MODULES: Final = (
    "bulk_importer",
    "checkout",
    "columns",
    "dataset",
    "diff",
    "external",
    "interop",
)
_ORIGINS: Final = {
    "BranchHead": "hangar.history",
    "Repository": "hangar.repository",
    "make_numpy_dataset": "hangar.dataset.numpy",
    "make_tf_dataset": "hangar.dataset.make_tensorflow",
    "make_torch_dataset": "hangar.dataset.make",
    "read": "hangar.inputs",
}

if not TYPE_CHECKING:  # a checker that saw it would let any name pass

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return import_module(f"hangar.{name}")
        if name not in _ORIGINS:
            raise AttributeError(f"module 'hangar' has no attribute {name!r}", name=name)
        found = globals()[name] = getattr(import_module(_ORIGINS[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
