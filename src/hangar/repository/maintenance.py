"""Checks, conversion and the writer lock."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from hangar.errors import LockedError
from hangar.flags import check_flag
from hangar.lock import force_release, holder
from hangar.progress import Progress
from hangar.repository.base import RepositoryBase

if TYPE_CHECKING:
    from hangar.convert import ConvertReport
    from hangar.fsck import FsckReport

__all__ = ["MaintenanceMethods"]


class MaintenanceMethods(RepositoryBase):
    """Methods of :class:`hangar.Repository` that check and maintain the stored data."""

    def convert_backend(
        self,
        column: str,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        *,
        branch: str = "",
        progress: Progress = None,
    ) -> ConvertReport:
        """Convert all stored data of ``column``, in every commit, to another backend; new data is stored there too.

        No commit changes, and readers can continue. After an interrupt or a crash the same call continues.

        Parameters
        ----------
        column
            Its name on ``branch`` (by default the branch last written).
        backend, backend_options
            A tag and its options; None: those that new data of the column goes to.
        progress
            See :mod:`hangar.progress`.

        Raises
        ------
        ColumnNotFoundError
            (a ``KeyError``) there is no such column.
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch.
        InvalidInputError, InvalidTypeError
            (``ValueError``, ``TypeError``) the backend is unknown or cannot hold such data, or the options are wrong.
        LockedError
            (a ``PermissionError``) a writer holds the lock: close its checkout first.
        """
        from hangar.convert import convert

        return convert(self._open(), column, backend, backend_options, branch=branch, progress=progress)

    def force_release_writer_lock(self) -> bool:
        """Take the writer lock from its holder, which cannot write any more. Warns (``ResourceWarning``)."""
        released = force_release(self._open().db)
        warnings.warn(
            "the writer lock was released by force: a writer that still runs is refused from now on",
            ResourceWarning,
            stacklevel=2,
        )
        return released

    def verify_repo_integrity(self) -> bool:
        """Verify everything, including the bytes of every blob.

        Raises
        ------
        CorruptionError
            (a ``RuntimeError``) something is damaged; the message lists it.
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        stores = self._open()
        if holder(stores.db) is not None:
            raise LockedError("a writer holds the writer lock: close it before the repository is verified")
        from hangar import fsck

        return fsck.require_sound(fsck.check(stores, data=True))

    def fsck(self, *, data: bool = False, progress: Progress = None) -> FsckReport:
        """Check the structure of all history and of the staging area.

        Parameters
        ----------
        data
            Read every blob and compare it with its digest.
        progress
            See :mod:`hangar.progress`.

        Returns
        -------
        FsckReport
            What was checked, and every problem by digest and file.
        """
        from hangar import fsck

        return fsck.check(self._open(), data=check_flag(data, "data"), progress=progress)
