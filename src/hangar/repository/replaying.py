"""Reverts and cherry-picks, and what is in progress after one with conflicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hangar.flags import check_flag
from hangar.history.combine import check_side
from hangar.history.current import current_branch, require_clean
from hangar.objects.commit import check_message
from hangar.refs import BRANCHES
from hangar.repository.merging import MergeMethods
from hangar.revisions import resolve_commit

if TYPE_CHECKING:
    from hangar.checkout.operations import Applied
    from hangar.checkout.replaying import ReplayKind
    from hangar.history.combine import SideChoice

__all__ = ["ReplayMethods"]


class ReplayMethods(MergeMethods):
    """Methods of :class:`hangar.Repository` that apply the changes of one commit, or take them back."""

    def revert(
        self,
        rev: str,
        message: str | None = None,
        *,
        mainline: int | None = None,
        strategy: SideChoice | None = None,
        branch: str = "",
        keep_conflicts: bool = False,
        commit: bool = True,
    ) -> str:
        """Commit the opposite of what a commit changed. Later changes of other things are kept.

        Parameters
        ----------
        rev
            The commit to undo.
        message
            By default it names the commit.
        mainline
            Of a merge commit: the number of the parent (from 1) to whose side the branch returns.
        strategy
            What counts where later changes are in conflict: ``'ours'`` (the branch) or ``'theirs'`` (the state before the commit).
        branch
            The branch to commit to, by default the one last written.
        keep_conflicts
            Keep conflicts, as those of a merge (see :meth:`conflicts` and :meth:`resolve`), until :meth:`revert_continue` or
            :meth:`revert_abort`. The head is the one before then.
        commit
            False: stage the changes, and do not commit them.

        Returns
        -------
        str
            The new head of the branch, in hex.

        Raises
        ------
        MergeConflictError
            (a ``ValueError``) there are conflicts, which the error has as ``conflicts``; nothing was changed.
        InvalidStateError
            (a ``RuntimeError``) there are staged changes, something is in progress, or the commit is the first one.
        InvalidInputError
            (a ``ValueError``) the commit is a merge and ``mainline`` is not given, or the message is blank.
        NothingToDoError
            (a ``RuntimeError``) the branch does not have these changes any more.
        RevisionNotFoundError
            (a ``ValueError``) there is no such commit or branch.
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        options: Any = {"mainline": mainline, "strategy": strategy, "commit": check_flag(commit, "commit")}
        keep = check_flag(keep_conflicts, "keep_conflicts")
        self.replay_revision("revert", rev, message, branch=branch, keep_conflicts=keep, **options)
        return self._head_of(branch)

    def revert_continue(self, message: str | None = None) -> str:
        """Commit the revert in progress; returns the commit in hex. By default with the message that it began with.

        Raises
        ------
        InvalidStateError
            (a ``RuntimeError``) no revert is in progress.
        MergeConflictError
            (a ``ValueError``) conflicts are not resolved.
        NothingToDoError
            (a ``RuntimeError``) the conflicts were resolved in such a way that the branch would not change.
        """
        return self.conclude("revert", message)

    def revert_abort(self) -> str:
        """Give up the revert in progress and everything staged since it began; returns the commit of the branch in hex.

        Raises
        ------
        InvalidStateError
            (a ``RuntimeError``) no revert is in progress.
        """
        return self.give_up("revert")

    def cherry_pick(
        self,
        rev: str,
        message: str | None = None,
        *,
        mainline: int | None = None,
        strategy: SideChoice | None = None,
        branch: str = "",
        keep_conflicts: bool = False,
        commit: bool = True,
    ) -> str:
        """Commit what another commit changed.

        Parameters
        ----------
        rev
            The commit to apply.
        message
            By default its message. Its metadata is kept too, and has its digest as ``cherry-picked-from``.
        mainline
            Of a merge commit: the number of the parent (from 1) whose differences to the commit are applied.
        strategy
            What counts where there are conflicts: ``'ours'`` (the branch) or ``'theirs'`` (the commit).
        branch
            The branch to commit to, by default the one last written.
        keep_conflicts
            Keep conflicts, as those of a merge (see :meth:`conflicts` and :meth:`resolve`), until :meth:`cherry_pick_continue` or
            :meth:`cherry_pick_abort`. The head is the one before then.
        commit
            False: stage the changes, and do not commit them.

        Returns
        -------
        str
            The new head of the branch, in hex.

        Raises
        ------
        MergeConflictError, InvalidStateError, InvalidInputError, NothingToDoError, RevisionNotFoundError, LockedError
            As for :meth:`revert`; but the first commit can be picked.
        """
        options: Any = {"mainline": mainline, "strategy": strategy, "commit": check_flag(commit, "commit")}
        keep = check_flag(keep_conflicts, "keep_conflicts")
        self.replay_revision("cherry-pick", rev, message, branch=branch, keep_conflicts=keep, **options)
        return self._head_of(branch)

    def cherry_pick_continue(self, message: str | None = None) -> str:
        """Commit the cherry-pick in progress; returns the commit in hex. By default with the message that it began with.

        Raises
        ------
        InvalidStateError
            (a ``RuntimeError``) no cherry-pick is in progress.
        MergeConflictError
            (a ``ValueError``) conflicts are not resolved.
        NothingToDoError
            (a ``RuntimeError``) the conflicts were resolved in such a way that the branch would not change.
        """
        return self.conclude("cherry-pick", message)

    def cherry_pick_abort(self) -> str:
        """Give up the cherry-pick in progress and everything staged since it began; returns the commit of the branch in hex.

        Raises
        ------
        InvalidStateError
            (a ``RuntimeError``) no cherry-pick is in progress.
        """
        return self.give_up("cherry-pick")

    def replay_revision(
        self, kind: ReplayKind, rev: str, message: str | None = None, *, branch: str = "", **options: Any
    ) -> Applied:
        """Cherry-pick or revert a commit on ``branch``; see :func:`hangar.checkout.replaying.replay_commit`."""
        stores = self._open()
        if message is not None:
            check_message(message)
        check_side(options.get("strategy"))
        resolve_commit(stores.db, stores.refs, rev)
        name = current_branch(stores, branch).name
        require_clean(stores, f"a {kind}")
        return self._with_writer(name, lambda checkout: checkout.replay_commit(kind, rev, message, **options))

    def _head_of(self, branch: str) -> str:
        """Digest in hex of a branch; by default of the one last written."""
        refs = self._open().refs
        head = refs.get(BRANCHES + (branch or refs.head().last_written))
        return "" if head is None else head.hex()
