"""Tags, and what takes history back: reset, stash, revert, and the reflog."""

from __future__ import annotations

from hangar import history
from hangar.flags import check_flag
from hangar.history import BranchHead, Move, TagInfo
from hangar.repository.base import RepositoryBase

__all__ = ["UndoMethods"]


class UndoMethods(RepositoryBase):
    """Methods of :class:`hangar.Repository` that name commits, move branches, and undo changes.

    Methods that change a branch take the writer lock: close write checkouts first.
    """

    # ------------------------------------------------------------------ tags

    def tag(self, name: str, rev: str | None = None, *, message: str | None = None, force: bool = False) -> str:
        """Give a commit a name that stays with it.

        Parameters
        ----------
        name
            A name as those of branches. A branch may have the same name: then ``tags/NAME`` is the tag.
        rev
            A revision; by default the head of the branch last written.
        message
            Annotates the tag: message, author and time are stored with it.
        force
            Replace a tag of this name; the reflog has its former commit.

        Returns
        -------
        str
            Digest of the commit in hex.

        Raises
        ------
        InvalidInputError, NameTakenError, RevisionNotFoundError
            (``ValueError``) a bad or taken name, a blank message, an unknown revision.
        InvalidStateError
            (a ``RuntimeError``) there is no commit yet.
        """
        stores, who, force = self._open(), self._config().person(), check_flag(force, "force")
        return history.create_tag(stores.db, stores.refs, name, rev, message=message, force=force, who=who).digest

    def list_tags(self) -> list[str]:
        """Names of all tags, sorted."""
        return history.list_tags(self._open().refs)

    def tag_info(self, name: str) -> TagInfo:
        """Commit, message, author and time of a tag.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such tag.
        """
        return history.tag_info(self._open().refs, name)

    def remove_tag(self, name: str) -> str:
        """Delete a tag; returns the digest of its commit in hex. ``tag(name, name + "@{1}")`` brings it back.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such tag.
        """
        stores = self._open()
        return history.remove_tag(stores.db, stores.refs, name, who=self._config().person()).digest

    # ------------------------------------------------------------------ the reflog

    def reflog(self, branch: str | None = None) -> list[Move]:
        """Every move of a branch or tag, a deleted one too, newest first.

        Parameters
        ----------
        branch
            A branch or tag; by default the branch last written.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there never was such a branch.
        """
        stores = self._open()
        return history.moves(stores.db, stores.refs, branch)

    def restore_branch(self, name: str) -> BranchHead:
        """Bring back a deleted branch at its last commit.

        Raises
        ------
        NameTakenError, RevisionNotFoundError
            (``ValueError``) the branch exists, or no branch of this name was deleted.
        """
        stores = self._open()
        return history.restore_branch(stores.db, stores.refs, name, who=self._config().person())

    # ------------------------------------------------------------------ moving a branch

    def reset(self, rev: str, *, hard: bool = False, branch: str = "") -> str:
        """Move a branch to another commit.

        Parameters
        ----------
        rev
            The commit.
        hard
            Drop staged changes. False: what the branch had becomes staged changes.
        branch
            By default the branch last written.

        Returns
        -------
        str
            The new head of the branch, in hex.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such commit or branch.
        InvalidStateError
            (a ``RuntimeError``) there are staged changes, and ``hard`` is False.
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        stores, hard = self._open(), check_flag(hard, "hard")
        return history.reset(stores, rev, hard=hard, branch=branch, who=self._config().person()).hex()
