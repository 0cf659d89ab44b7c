"""The exception classes of Hangar, and the exit codes of the command line.

Every expected failure raises a subclass of ``HangarError``. If Python has a natural class for the same failure,
the Hangar class also inherits it, so ``except KeyError`` and ``except ColumnNotFoundError`` both work. A message
says what happened, to which thing, and what to do next. The class tree, with exit codes::

    HangarError                                        1
    ├── InvalidInputError (ValueError)                 1   an invalid value, name, key, shape or dtype
    ├── InvalidStateError (RuntimeError)               1   not possible now: staged changes, no commit yet
    ├── InvalidTypeError (TypeError)                   1   an argument of the wrong type
    ├── NotFoundError                                  3
    │   ├── RepositoryNotFoundError (RuntimeError)     3   no repository here, or not initialized
    │   ├── PathNotFoundError (FileNotFoundError)      3
    │   ├── PathNotDirectoryError (NotADirectoryError) 3
    │   ├── RevisionNotFoundError (ValueError)         3   unknown branch, tag, commit
    │   ├── ColumnNotFoundError (KeyError)             3
    │   ├── SampleNotFoundError (KeyError)             3
    │   ├── AttributeNotFoundError (KeyError)          3   no attribute of this key
    │   ├── PositionNotFoundError (IndexError)         3
    │   ├── PurgedError                                3   the data was erased on purpose, for good
    │   └── RemoteNotFoundError (KeyError, ValueError) 3
    ├── ConflictError                                  4
    │   ├── RepositoryExistsError (OSError)            4
    │   ├── NameTakenError (ValueError)                4   a branch, tag or remote of this name exists
    │   ├── ColumnExistsError (LookupError)            4
    │   ├── StaleRefError (RuntimeError)               4   a ref moved since it was read
    │   ├── UnmergedError (RuntimeError)               4   commits that are on no other branch would be lost
    │   └── MergeConflictError (ValueError)            4
    ├── AccessError (PermissionError)                  5   read-only, or not allowed here
    │   ├── LockedError                                5   another writer holds the lock, or took it over
    │   └── ClosedError                                5   the checkout was closed
    ├── CorruptionError (RuntimeError)                 6   bytes that do not match their digest or checksum
    ├── NotLocalError (FileNotFoundError)              7   promised by a remote, not on this disk
    ├── UnreachableError (ConnectionError)             8
    │   └── OutcomeUnknownError                        8   the answer of a remote was lost; asking again is safe
    ├── NothingToDoError (RuntimeError)                9   a commit or reset without changes
    ├── UnsupportedVersionError (RuntimeError)         10  written by a newer Hangar
    ├── MissingPackageError (ImportError)              1   this data needs a package that is not installed
    ├── DiskFullError (OSError)                        1   nothing acknowledged was lost; free space and try again
    └── StorageError (OSError)                         1   the operating system refused a read, write or sync
        └── ResourceLimitError                         1   no memory, descriptors or locks left; nothing is damaged

There are also two warnings, both a ``UserWarning``. ``RepairedWarning``: stored data was damaged or missing, and was
written again. ``RolledBackWarning``: the database was replaced by an older copy.
"""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Any, Final

__all__ = [
    "EXIT_CODES",
    "AccessError",
    "AttributeNotFoundError",
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
    "exit_code",
]


class HangarError(Exception):
    """Any error that Hangar raises on purpose."""

    def __str__(self) -> str:
        # KeyError would show the repr of its argument, OSError a tuple.
        return str(self.args[0]) if len(self.args) == 1 else super().__str__()


class InvalidInputError(HangarError, ValueError):
    """A value, name, key, shape or dtype that cannot be accepted."""


class InvalidStateError(HangarError, RuntimeError):
    """The operation is not possible in the present state of the repository or checkout."""


class InvalidTypeError(HangarError, TypeError):
    """An argument of a wrong type."""


class NotFoundError(HangarError):
    """Something that was named does not exist."""


class RepositoryNotFoundError(NotFoundError, RuntimeError):
    """There is no repository here, or it was not initialized."""


class PathNotFoundError(NotFoundError, FileNotFoundError):
    """A path on the file system does not exist."""


class PathNotDirectoryError(NotFoundError, NotADirectoryError):
    """A path that must be a directory is not one."""


class RevisionNotFoundError(NotFoundError, ValueError):
    """No branch, tag or commit of this name."""


class ColumnNotFoundError(NotFoundError, KeyError):
    """No column of this name."""


class SampleNotFoundError(NotFoundError, KeyError):
    """No sample (or subsample) of this key."""


class AttributeNotFoundError(NotFoundError, KeyError):
    """A column or commit has no attribute of this key."""


class PositionNotFoundError(NotFoundError, IndexError):
    """A column has no sample at this position."""


class PurgedError(NotFoundError):
    """The data was erased on purpose and for good: it cannot be read, nor stored again until its tombstone is lifted.

    Attributes
    ----------
    why
        Who erased it, when and why, as text: ``'purged by Ada <ada@example.org> on 2026-11-29 17:30: licence'``.
    """

    why = "purged"


class RemoteNotFoundError(NotFoundError, KeyError, ValueError):
    """No remote of this name."""


class ConflictError(HangarError):
    """The operation conflicts with something that exists or has changed."""


class RepositoryExistsError(ConflictError, OSError):
    """A repository is already here."""


class NameTakenError(ConflictError, ValueError):
    """A branch, tag or remote of this name exists."""


class ColumnExistsError(ConflictError, LookupError):
    """A column of this name exists."""


class StaleRefError(ConflictError, RuntimeError):
    """A branch moved since it was read."""


class UnmergedError(ConflictError, RuntimeError):
    """Commits that are on no other branch would be lost."""


class MergeConflictError(ConflictError, ValueError):
    """Both sides of a merge changed the same thing differently.

    Attributes
    ----------
    conflicts
        The conflicts (:class:`hangar.diff.Conflicts`), or None.
    """

    def __init__(self, message: str, conflicts: Any = None) -> None:
        super().__init__(message)
        self.conflicts = conflicts


class AccessError(HangarError, PermissionError):
    """The repository, checkout or object does not permit this operation."""


class LockedError(AccessError):
    """Another writer holds the writer lock, or has taken it over."""


class ClosedError(AccessError):
    """The checkout this object belongs to was closed."""


class CorruptionError(HangarError, RuntimeError):
    """Stored bytes do not match their digest or checksum, or are missing."""


class NotLocalError(HangarError, FileNotFoundError):
    """The data is promised by a remote and not on this disk.

    Attributes
    ----------
    count
        Number of values that were needed and are not here.
    remotes
        Names of the remotes that have them.
    gone
        Whether these remotes were asked, and do not have them any more.
    """

    count: int = 0
    remotes: tuple[str, ...] = ()
    gone: bool = False


class UnreachableError(HangarError, ConnectionError):
    """A remote does not answer."""


class OutcomeUnknownError(UnreachableError):
    """The connection was lost after the request was sent, so a remote may have done it or not. Asking again is safe."""


class NothingToDoError(HangarError, RuntimeError):
    """There is nothing to do for the requested operation."""


class UnsupportedVersionError(HangarError, RuntimeError):
    """The repository, or a record in it, was written by a newer Hangar."""


class MissingPackageError(HangarError, ImportError):
    """A package that is not installed here is needed to read or write this data; everything else works without it."""


class DiskFullError(HangarError, OSError):
    """No space is left, or a limit on file size was reached; nothing acknowledged was lost."""


class StorageError(HangarError, OSError):
    """The operating system refused a read, a write or a sync."""


class ResourceLimitError(StorageError):
    """No memory, file descriptors or locks are left. Nothing is damaged: free some and try again."""


NOT_DAMAGE: Final = (ResourceLimitError, AccessError)
"""Errors that do not mean damage: the data could not be read."""


class RepairedWarning(UserWarning):
    """Stored data was damaged or missing; it was repaired, because the same values were just written again."""


class RolledBackWarning(UserWarning):
    """The database is older than the files beside it: it was restored from a copy. What the newer one names is kept."""


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn, at the line of the program that called into the package."""
    depth = 1
    frame: FrameType | None = sys._getframe(0)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "hangar":
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, category, stacklevel=depth)


EXIT_CODES: dict[type[HangarError], int] = {
    NotFoundError: 3,
    ConflictError: 4,
    AccessError: 5,
    CorruptionError: 6,
    NotLocalError: 7,
    UnreachableError: 8,
    NothingToDoError: 9,
    UnsupportedVersionError: 10,
    HangarError: 1,
}
"""Exit code of the command line by error class (0 is success, 2 a usage error, 130 an interrupt)."""


def exit_code(error: BaseException) -> int:
    """Exit code of the command line for ``error``: that of its closest class in :data:`EXIT_CODES`, else 1."""
    for cls in type(error).__mro__:
        if cls in EXIT_CODES:
            return EXIT_CODES[cls]
    # Errors of the operating system, such as a directory without permission.
    return EXIT_CODES[AccessError] if isinstance(error, PermissionError) else 1
