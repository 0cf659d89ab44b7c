"""Checks, conversion and the writer lock."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from hangar.errors import InvalidInputError, LockedError, warn_caller
from hangar.flags import check_flag
from hangar.lock import force_release, holder, lock_problem
from hangar.progress import Progress
from hangar.repository.base import RepositoryBase
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.convert import ConvertReport
    from hangar.fsck import FsckReport
    from hangar.fsck.source import RepairSource
    from hangar.gc import GcReport, Why

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

    def gc(self, *, dry_run: bool = False, expire_reflog: str | None = None, progress: Progress = None) -> GcReport:
        """Remove data that no branch, tag, reflog entry or staged change reaches, and free its disk space.

        Readers can continue, but a checkout of a commit that nothing names cannot be read any more.

        Parameters
        ----------
        dry_run
            Change nothing, and report what would be removed.
        expire_reflog
            Reflog entries to forget first, so that what only they name is removed too: ``'all'``; the name of a branch or
            tag, also of a deleted one; or an age or date (``'30 days'``, ``'2026-01-31'``). None: none.
        progress
            See :mod:`hangar.progress`.

        Returns
        -------
        GcReport
            Numbers and bytes of each kind, the size of the repository before and after, and what was kept and why.

        Raises
        ------
        CorruptionError
            (a ``RuntimeError``) something reachable cannot be read; nothing was removed.
        LockedError
            (a ``PermissionError``) a writer holds the lock: close its checkout first.
        RevisionNotFoundError
            (a ``ValueError``) ``expire_reflog`` is neither a name that has a reflog nor a date.
        """
        from hangar.gc import collect

        return collect(
            self._open(), dry_run=check_flag(dry_run, "dry_run"), expire_reflog=expire_reflog, progress=progress
        )

    def why_kept(self, digest: str) -> Why:
        """Why garbage collection keeps a record or blob: the refs, reflog entries, commits, columns and samples that name it.

        Parameters
        ----------
        digest
            A digest in hex, or a revision.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) it is neither.
        """
        from hangar.gc import why_kept

        return why_kept(self._open(), digest)

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
        """Verify everything, including the bytes of every blob. Warns (``RuntimeWarning``) of data that only a remote has.

        Returns
        -------
        bool
            True.

        Raises
        ------
        CorruptionError
            (a ``RuntimeError``) something is damaged; the message names it.
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        from hangar import fsck

        stores = self._open_leniently()
        if lock_problem(stores.db) is None and holder(stores.db) is not None:
            raise LockedError("a writer holds the writer lock: close it before the repository is verified")
        report = fsck.check(stores, data=True)
        fsck.require_sound(report)
        if report.promised:
            warn_caller(
                f"{plural(report.promised, 'value')} of the history only a remote has: not checked", RuntimeWarning
            )
        return True

    @contextmanager
    def _repair_source(self, remotes: Sequence[str]) -> Iterator[RepairSource]:
        from hangar.refs.remotes import get_remote
        from hangar.remote.connect import connected
        from hangar.remote.repair_source import RemoteSource, RemoteSources

        with self._open_leniently().db.read() as transaction:
            rows = {name: get_remote(transaction, name) for name in remotes}
        with ExitStack() as stack:
            found = [RemoteSource(name, stack.enter_context(connected(name, row))) for name, row in rows.items()]
            yield found[0] if len(found) == 1 else RemoteSources(found)

    def fsck(
        self,
        *,
        data: bool = False,
        repair: bool = False,
        remote: str | Sequence[str] | None = None,
        progress: Progress = None,
    ) -> FsckReport:
        """Check all history and the staging area, and repair what can be repaired.

        Parameters
        ----------
        data
            Read every blob and compare it with its digest.
        repair
            Repair what can be repaired from what is in the repository. What is replaced is kept in ``.hangar/lost-found``.
        remote
            With ``repair``: name of a remote, or of several, for what cannot be repaired from what is here.
        progress
            See :mod:`hangar.progress`.

        Returns
        -------
        FsckReport
            What was checked and repaired, and every problem that is left, by commit, column and sample.

        Raises
        ------
        LockedError
            (a ``PermissionError``) to repair: a writer holds the lock.
        AccessError
            (a ``PermissionError``) this user may not read some files, or not write to repair.
        InvalidInputError
            (a ``ValueError``) ``remote`` without ``repair``.
        RemoteNotFoundError, UnreachableError
            There is no such remote, or it does not answer. Nothing was changed.
        """
        from hangar import fsck

        data = check_flag(data, "data")
        repair = check_flag(repair, "repair")
        names = [remote] if isinstance(remote, str) else list(remote or ())
        if names:
            if not repair:
                raise InvalidInputError("a remote is for repairs: give repair=True too")
            with self._repair_source(names) as source:
                return fsck.repair(self._directory, self._open_leniently, data=data, source=source, progress=progress)
        if repair:
            return fsck.repair(self._directory, self._open_leniently, data=data, progress=progress)
        return fsck.check(self._open_leniently(), data=data, progress=progress)
