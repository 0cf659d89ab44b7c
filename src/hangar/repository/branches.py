"""Branches, revisions and the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hangar import describe, history
from hangar.db import WriteTransaction
from hangar.errors import RevisionNotFoundError
from hangar.flags import check_flag
from hangar.history import BranchHead
from hangar.names import plain_text
from hangar.refs import Head
from hangar.repository.base import RepositoryBase
from hangar.revisions import resolve

__all__ = ["BranchMethods"]


class BranchMethods(RepositoryBase):
    """Methods of :class:`hangar.Repository` for branches, and to show the history and the state."""

    def create_branch(self, name: str, base_commit: str | None = None) -> BranchHead:
        """Create a branch; the current branch stays the same.

        Parameters
        ----------
        name
            Parts of 1 to 64 of ``A-Z a-z 0-9 _ . -`` with ``/`` between them, such as ``feature/boxes``.
        base_commit
            A revision; by default the head of the branch last written.

        Raises
        ------
        InvalidInputError, NameTakenError, RevisionNotFoundError
            (``ValueError``) a bad or taken name, an unknown base.
        InvalidStateError
            (a ``RuntimeError``) there is no commit yet.
        """
        stores = self._open()
        return history.create_branch(stores.db, stores.refs, name, base_commit, who=self._config().person())

    def branch_off(self, name: str) -> BranchHead:
        """Create a branch at the last commit of the current branch and switch to it; staged changes are kept.

        Raises what :meth:`create_branch` does, and LockedError (a ``PermissionError``) where a writer holds the lock.
        """
        stores = self._open()
        return history.branch_off(stores.db, stores.refs, name, who=self._config().person())

    def remove_branch(self, name: str, *, force_delete: bool = False) -> BranchHead:
        """Delete a branch; its commits stay in the reflog.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such local branch.
        AccessError
            (a ``PermissionError``) it is the only branch or the one last written, or a writer holds the lock.
        UnmergedError
            (a ``RuntimeError``) no other branch holds its commits, and ``force_delete`` is not given.
        """
        stores = self._open()
        force = check_flag(force_delete, "force_delete")
        return history.remove_branch(stores.db, stores.refs, name, force=force, who=self._config().person())

    def list_branches(self) -> list[str]:
        """Names of all branches, sorted, remote-tracking ones included."""
        return history.list_branches(self._open().refs)

    def head(self) -> Head:
        """The current branch of the command line, and the branch last written."""
        return self._open().refs.head()

    def set_write_branch(self, name: str) -> None:
        """Make ``name`` the current branch of the command line."""
        stores = self._open()
        name = plain_text(name)

        def move(transaction: WriteTransaction) -> None:
            if not stores.refs.exists(f"heads/{name}", transaction):
                raise history.unknown_branch(stores.refs, name)
            stores.refs.set_head(transaction, write_branch=name)

        stores.db.update(move)

    def rev_parse(self, rev: str) -> str:
        """Digest in hex of the commit that a revision names.

        Parameters
        ----------
        rev
            A branch, a tag, a digest or the beginning of one, with suffixes such as ``~2``, ``^2`` and ``@{1}``.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such commit.
        """
        stores = self._open()
        digest = resolve(stores.db, stores.refs, rev).digest
        if digest is None:
            raise RevisionNotFoundError(f"branch {plain_text(rev)!r} has no commit yet")
        return digest.hex()

    def log(
        self,
        branch: str | None = None,
        commit: str | None = None,
        *,
        return_contents: bool = False,
        show_time: bool = False,
        show_user: bool = False,
    ) -> history.LogContents | None:
        """Print the history as a graph, or return it.

        Parameters
        ----------
        branch, commit
            Where to begin: a branch, or a revision; by default the branch last written.
        return_contents
            Return a dict (``head``, ``ancestors``, ``specs``, ``order``, ``branch_heads``) instead of printing.
        show_time, show_user
            Print them too.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch or commit.
        """
        stores = self._open()
        start = history.named_commit(stores.db, stores.refs, branch, commit)
        return history.show_log(
            stores.db, stores.refs, start, return_contents=return_contents, show_time=show_time, show_user=show_user
        )

    def summary(self, *, branch: str = "", commit: str = "") -> None:
        """Print path, disk use, the commit, and each column's schema and count."""
        stores = self._open()
        describe.show(describe.summary(stores, self.path, history.named_commit(stores.db, stores.refs, branch, commit)))

    def commit_info(self, rev: str = "") -> describe.CommitInfo:
        """Metadata of a commit (by default the head of the branch last written)."""
        stores = self._open()
        return describe.commit_info(stores, history.named_commit(stores.db, stores.refs, None, rev))

    def status(self) -> describe.StatusReport:
        """The staged changes, their branch, and the holder of the writer lock."""
        return describe.status(self._open())

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the last commit of the branch last written."""
        return describe.attributes(self._open())
