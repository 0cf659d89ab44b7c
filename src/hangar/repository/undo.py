"""Tags, the reflog, what takes history back (reset, stash), and searching it (blame, bisect)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, overload

from hangar import history
from hangar.digest import Digest
from hangar.errors import InvalidInputError
from hangar.flags import check_flag
from hangar.history import BranchHead, Move, TagInfo
from hangar.objects.records import load_commit
from hangar.refs import BRANCHES
from hangar.repository.base import RepositoryBase
from hangar.revisions import resolve_commit

if TYPE_CHECKING:
    from hangar.checkout import ReaderCheckout
    from hangar.history.blame import Blame
    from hangar.history.combine import SideChoice
    from hangar.history.stash import StashInfo

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
            Drop staged changes. False: the former content of the branch becomes staged changes.
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

    # ------------------------------------------------------------------ stashes

    def stash(self, message: str | None = None) -> str:
        """Put all staged changes aside, on a stack; afterwards nothing is staged.

        Parameters
        ----------
        message
            Description of the changes.

        Returns
        -------
        str
            The head of the branch, in hex.

        Raises
        ------
        NothingToDoError
            (a ``RuntimeError``) nothing is staged.
        InvalidStateError
            (a ``RuntimeError``) a merge is in progress, or the branch has no commit yet.
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        from hangar.history import stash

        stores = self._open()
        made = stash.stash(stores, message, who=self._config().person())
        return load_commit(stores.db, Digest(bytes.fromhex(made.digest))).parents[0].hex()

    def stash_list(self) -> list[StashInfo]:
        """All stashes, the newest first."""
        from hangar.history import stash

        return stash.list_stashes(self._open())

    def stash_pop(self, which: int | str = 0, *, strategy: SideChoice | None = None, branch: str = "") -> str:
        """Stage the changes of a stash again, and remove it from the stack. What changed on the branch since is kept.

        Parameters
        ----------
        which
            Number of the stash, 0 for the newest; or its name (``'stash@{0}'``) or digest.
        strategy
            Side to take in conflicts: ``'ours'`` (the branch) or ``'theirs'`` (the stash).
        branch
            The branch to stage them on, by default the one last written.

        Returns
        -------
        str
            The head of the branch, in hex; it does not move.

        Raises
        ------
        MergeConflictError
            (a ``ValueError``) there are conflicts; nothing was changed, and the stash is kept.
        NothingToDoError, InvalidStateError
            (``RuntimeError``) there is no stash; there are staged changes.
        RevisionNotFoundError
            (a ``ValueError``) there is no such stash or branch.
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        return self._apply_stash(which, strategy, branch, drop=True)

    def stash_apply(self, which: int | str = 0, *, strategy: SideChoice | None = None, branch: str = "") -> str:
        """Stage the changes of a stash again, and keep it on the stack; otherwise as :meth:`stash_pop`."""
        return self._apply_stash(which, strategy, branch, drop=False)

    def _apply_stash(self, which: int | str, strategy: SideChoice | None, branch: str, *, drop: bool) -> str:
        from hangar.history import stash

        stores, who = self._open(), self._config().person()
        stash.apply_stash(stores, which, drop=drop, strategy=strategy, branch=branch, who=who)
        head = stores.refs.get(BRANCHES + (branch or stores.refs.head().last_written))
        return "" if head is None else head.hex()

    def stash_drop(self, which: int | str = 0) -> str:
        """Remove a stash from the stack without using it; returns its digest in hex.

        Raises
        ------
        NothingToDoError, RevisionNotFoundError
            There is no stash at all, or none of this name.
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        from hangar.history import stash

        return stash.drop_stash(self._open(), which, who=self._config().person()).digest

    # ------------------------------------------------------------------ searching history

    @overload
    def blame(self, column: str, key: None = None, *, rev: str = "", limit: int | None = None) -> list[Blame]: ...
    @overload
    def blame(self, column: str, key: Any, *, rev: str = "", limit: int | None = None) -> Blame: ...
    def blame(self, column: str, key: Any = None, *, rev: str = "", limit: int | None = None) -> Blame | list[Blame]:
        """The commit that last changed a sample: which, who, when.

        Renames of the column are followed, and at a merge the parent that has the value. No array is read.

        Parameters
        ----------
        column
            Name of the column in ``rev``.
        key
            Sample key; in a nested column that of a sample as a whole, or a pair (sample, subsample). None: all samples of
            the column, in a nested column all subsamples.
        rev
            The commit to begin with; by default the head of the branch last written.
        limit
            Without ``key``: maximum number of samples, the first ones in key order.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such commit.
        ColumnNotFoundError, SampleNotFoundError
            (``KeyError``) the commit has no such column or sample.
        """
        from hangar.history import blame

        stores = self._open()
        head = history.named_commit(stores.db, stores.refs, None, rev)
        if key is None:
            return blame.blame_all(stores, head, column, limit=limit)
        return blame.blame(stores, head, column, key)

    def bisect(self, good: str | Sequence[str], bad: str, test: Callable[[ReaderCheckout], bool | None]) -> str:
        """Search history for the commit that turned good into bad, with a test for each step: about log2(n) tests.

        Parameters
        ----------
        good
            A commit that is good, or several. Their ancestors count as good.
        bad
            A commit that is bad.
        test
            Called with a read checkout of a commit; returns True if that is good, False if it is bad, and None if it cannot
            be tested.

        Returns
        -------
        str
            Digest of the first bad commit in hex.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such commit.
        InvalidInputError
            (a ``ValueError``) ``bad`` is an ancestor of a good commit.
        InvalidStateError
            (a ``RuntimeError``) too many commits could not be tested.
        """
        from hangar.checkout import ReaderCheckout
        from hangar.history import bisect

        stores = self._open()
        names = [good] if isinstance(good, str) else list(good)
        if not names:
            raise InvalidInputError("name at least one good commit")

        def ask(digest: Digest) -> bool | None:
            with closing(ReaderCheckout(stores, digest)) as checkout:
                return test(checkout)

        known = [resolve_commit(stores.db, stores.refs, name) for name in names]
        return bisect.bisect(stores.db, known, resolve_commit(stores.db, stores.refs, bad), ask).hex()
