"""Purging of data, and the tombstones of purged data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hangar.errors import InvalidInputError
from hangar.flags import check_flag
from hangar.progress import Progress
from hangar.repository.base import RepositoryBase

if TYPE_CHECKING:
    from hangar.purge.accepting import Accepted
    from hangar.purge.lifting import PurgedBlob
    from hangar.purge.report import PurgeReport

__all__ = ["PurgeMethods"]


class PurgeMethods(RepositoryBase):
    """Methods of :class:`hangar.Repository` that erase data for good."""

    def purge(
        self,
        column: str,
        keys: Any,
        *,
        reason: str,
        shared: bool = False,
        branch: str = "",
        commit: str = "",
        this_version: bool = False,
        rewrite_history: bool = False,
        dry_run: bool = False,
        progress: Progress = None,
    ) -> PurgeReport:
        """Erase the data of samples from every commit and every file of the repository. This cannot be undone.

        Commits, keys and digests stay, so that history still verifies; reading such a sample raises ``PurgedError``.
        The data is erased under every name that the column had, and in every version that the samples had. Clones,
        backups and copies made by the file system are not reached.

        Parameters
        ----------
        column
            Name of the column.
        keys
            A sample key or a sequence of them; in a nested column also pairs ``(sample, subsample)``.
        reason
            Why; recorded with name, address and time.
        shared
            Erase the data even if other samples have the same data.
        branch, commit
            Where the samples are named: a branch with its staged changes (by default the branch last written), or a
            revision.
        this_version
            Erase only the data that they have there.
        rewrite_history
            Replace the commits that hold values inline in their trees (small arrays, short texts), and all later
            commits. The entries are deleted, and clones must be made again.
        dry_run
            Change nothing, and report what would be done.
        progress
            See :mod:`hangar.progress`.

        Raises
        ------
        ColumnNotFoundError, SampleNotFoundError
            (``KeyError``) something that was named does not exist.
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch or commit.
        ConflictError
            Other samples share the data, and ``shared`` is not given; the message names some.
        InvalidStateError
            (a ``RuntimeError``) values lie inline in the tree, and ``rewrite_history`` is not given.
        NothingToDoError
            (a ``RuntimeError``) everything was purged before.
        LockedError
            (a ``PermissionError``) a writer holds the lock: close its checkout first.
        """
        from hangar.purge.run import Request, purge

        if commit and branch:
            raise InvalidInputError("give a branch or a commit, not both")
        request = Request(
            column,
            keys,
            reason,
            self._config().person(),
            branch,
            commit,
            check_flag(this_version, "this_version"),
            check_flag(shared, "shared"),
            check_flag(rewrite_history, "rewrite_history"),
        )
        return purge(self._open(), request, dry_run=check_flag(dry_run, "dry_run"), progress=progress)

    def continue_purge(self, *, progress: Progress = None) -> tuple[str, ...] | None:
        """Complete a purge that was interrupted, or that found files or the database open in another process.

        Returns
        -------
        tuple or None
            Reasons why bytes are still on disk, empty if all are removed; None if there was nothing to continue.

        Raises
        ------
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        from hangar.purge.run import continue_purge

        return continue_purge(self._open(), progress=progress)

    def list_purged(self) -> list[PurgedBlob]:
        """The purged blobs, the oldest first: digest, who, when, why, and some of the samples."""
        from hangar.purge.lifting import list_purged

        return list_purged(self._open())

    def accept_purges(self, digest: str = "", *, progress: Progress = None) -> Accepted:
        """Erase what was purged in another repository, which a fetch or a push told of. Until then that has no effect here.

        Parameters
        ----------
        digest
            A blob in hex, or its beginning; empty: all of them. :meth:`list_purged` shows them as ``'foreign'``.

        Raises
        ------
        NotFoundError
            There is nothing to accept.
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        from hangar.purge.accepting import accept

        return accept(self._open(), digest, progress=progress)

    def lift_purge(
        self, column: str = "", keys: Any = (), *, digest: str = "", branch: str = "", commit: str = ""
    ) -> list[str]:
        """Allow purged data to be stored again. The data itself does not come back.

        Parameters
        ----------
        column, keys, branch, commit
            Samples, as in :meth:`purge`.
        digest
            Instead of them, the digest of a blob in hex or its beginning.

        Returns
        -------
        list
            Digests (hex) whose tombstones were lifted.

        Raises
        ------
        NotFoundError
            There is no such tombstone.
        InvalidStateError
            (a ``RuntimeError``) a purge is not finished: call :meth:`continue_purge` first.
        """
        from hangar.purge.lifting import lift

        if bool(digest) == bool(column):
            raise InvalidInputError("give a column and keys, or a digest")
        return lift(self._open(), digest=digest, column=column, keys=keys, branch=branch, rev=commit)
