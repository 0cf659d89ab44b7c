"""Remotes: cloning, ``repo.remote``, and dropping data that a remote has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hangar import history
from hangar.errors import InvalidStateError
from hangar.flags import check_flag
from hangar.progress import Progress
from hangar.refs import BRANCHES
from hangar.repository.merging import MergeMethods

if TYPE_CHECKING:
    from hangar.remote.evict import EvictReport
    from hangar.remote.remotes import Remotes

__all__ = ["RemoteMethods"]


class RemoteMethods(MergeMethods):
    """Methods of :class:`hangar.Repository` for remotes."""

    @property
    def remote(self) -> Remotes:
        """The remotes: :meth:`~hangar.remote.Remotes.add`, :meth:`~hangar.remote.Remotes.fetch`, ``pull``, ``push`` and so on."""
        from hangar.remote.remotes import Remotes

        self._open()
        return Remotes(self._open, self._config, self._merge_fetched)

    def clone(
        self,
        user_name: str,
        user_email: str,
        remote_address: str,
        *,
        remove_old: bool = False,
        branch: str = "",
        progress: Progress = None,
        **settings: Any,
    ) -> str:
        """Create a repository with the history of another one, without its data, and with the remote ``origin``.

        Parameters
        ----------
        user_name, user_email
            Author of commits made here.
        remote_address
            ``host:port`` of a server, or the path of a repository or bundle on this machine.
        remove_old
            Replace an existing repository, once the clone has succeeded.
        branch
            Branch to begin with; by default that of the remote.
        settings
            How to reach the remote: see :meth:`hangar.remote.Remotes.add`.

        Returns
        -------
        str
            The local branch, ``'master'`` in most repositories. All branches of the remote are there as ``origin/BRANCH``.

        Raises
        ------
        UnreachableError
            (a ``ConnectionError``) the remote does not answer. No repository is left behind, an old one stays.
        RepositoryExistsError
            (an ``OSError``) a repository exists, and ``remove_old`` is not given.
        """
        from hangar.initialize import check_request
        from hangar.remote.clone import clone

        remove_old = check_flag(remove_old, "remove_old")
        check_request(self._directory, user_name, user_email, remove_old=remove_old)
        self.close()
        return clone(
            self._directory,
            user_name,
            user_email,
            remote_address,
            settings,
            remove_old=remove_old,
            branch=branch,
            progress=progress,
        )

    def evict(
        self,
        column: str,
        keys: Iterable[Any] | None = None,
        *,
        branch: str = "",
        commit: str = "",
        remote: str | None = None,
        verify: bool = True,
        progress: Progress = None,
    ) -> EvictReport:
        """Drop the data of a column from this disk, as far as a remote has it. It stays in history, and can be fetched again.

        Parameters
        ----------
        column
            Name of the column.
        keys
            Samples, as for :meth:`hangar.remote.Remotes.fetch_data_sample`; None: all.
        branch, commit
            Where the column is; by default the branch last written.
        remote
            Name of the remote to ask; by default all of them.
        verify
            The remote reads and verifies every byte before it says that it has a value, and sends a few on trial. False:
            it only looks whether it has stored the values.

        Returns
        -------
        EvictReport
            How much was dropped, and how much stays because no remote has it.

        Raises
        ------
        ColumnNotFoundError, SampleNotFoundError
            (``KeyError``) there is no such column or sample.
        LockedError
            (a ``PermissionError``) a writer holds the writer lock.
        InvalidStateError
            (a ``RuntimeError``) there is no remote.
        CorruptionError
            (a ``RuntimeError``) a remote sent something else than it says it has. Nothing was dropped.
        """
        from hangar.remote.evict import evict

        stores = self._open()
        head = history.named_commit(stores.db, stores.refs, branch, commit)
        if head is None:
            raise InvalidStateError("there is no commit yet, so that no remote can have data of it")
        return evict(stores, head, column, keys, remote=remote, verify=check_flag(verify, "verify"), progress=progress)

    def _merge_fetched(self, branch: str, rev: str, message: str) -> str:
        """Merge a remote-tracking branch into the local branch of its name; make or begin that one if it has no commit."""
        if self._open().refs.get(BRANCHES + branch) is None:
            return self.begin_branch(branch, rev)
        return self.merge(message or f"Merge {rev} into {branch}", branch, rev)

    def begin_branch(self, branch: str, rev: str) -> str:
        """Make the local branch ``branch`` at a revision, or move it there if it has no commit yet; returns the commit."""
        from hangar.remote.clone import begin_branch

        return begin_branch(self._open(), branch, rev, self._config().person()).hex()
