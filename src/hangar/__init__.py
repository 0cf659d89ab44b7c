"""Hangar: version control for tensors.

What is listed in ``__all__`` is the public API, with ``hangar.checkout``, ``hangar.columns``, ``hangar.diff`` and ``hangar.external``;
everything else may move.
"""

from __future__ import annotations

__version__ = "0.1.0.dev0"

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
    NameTakenError,
    NotFoundError,
    NothingToDoError,
    NotLocalError,
    PathNotDirectoryError,
    PathNotFoundError,
    PositionNotFoundError,
    RemoteNotFoundError,
    RepositoryExistsError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    SampleNotFoundError,
    StaleRefError,
    StorageError,
    UnmergedError,
    UnreachableError,
    UnsupportedVersionError,
)
from hangar.history import BranchHead
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
    "NameTakenError",
    "NotFoundError",
    "NotLocalError",
    "NothingToDoError",
    "PathNotDirectoryError",
    "PathNotFoundError",
    "PositionNotFoundError",
    "RemoteNotFoundError",
    "Repository",
    "RepositoryExistsError",
    "RepositoryNotFoundError",
    "RevisionNotFoundError",
    "SampleNotFoundError",
    "StaleRefError",
    "StorageError",
    "UnmergedError",
    "UnreachableError",
    "UnsupportedVersionError",
    "__version__",
]
