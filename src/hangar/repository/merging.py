"""Merging of branches, and the conflicts of a merge in progress."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hangar import history
from hangar.diff.results import Conflicts
from hangar.errors import HangarError
from hangar.flags import check_flag
from hangar.names import plain_text
from hangar.refs import BRANCHES
from hangar.repository.branches import BranchMethods
from hangar.revisions import resolve_commit
from hangar.staging import read_staged

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout
    from hangar.checkout.merging import MergeResult
    from hangar.checkout.operations import Strategy
    from hangar.merge.plan import MergePreview

__all__ = ["MergeMethods"]

T = TypeVar("T")


class MergeMethods(BranchMethods):
    """Methods of :class:`hangar.Repository` that merge."""

    def merge(
        self,
        message: str,
        master_branch: str,
        dev_branch: str,
        keep_conflicts: bool = False,
        *,
        strategy: Strategy = None,
    ) -> str:
        """Merge ``dev_branch`` into ``master_branch``; array bytes need not be present.

        If ``master_branch`` is an ancestor, it moves to ``dev_branch`` (a fast-forward), and if it has everything already,
        nothing happens. Else all changes of ``dev_branch`` since the common ancestor are applied, and a commit with two
        parents is made. Afterwards ``master_branch`` is the branch last written.

        Parameters
        ----------
        message
            Message of the merge commit.
        master_branch
            A local branch.
        dev_branch
            A branch, remote-tracking ones included, or another revision.
        keep_conflicts
            Keep conflicts as a merge in progress: see :meth:`conflicts`, :meth:`resolve`, :meth:`merge_continue` and
            :meth:`merge_abort`.
        strategy
            Resolves conflicts: ``'ours'``, ``'theirs'`` or ``'base'``; a function of the values of a sample in base,
            ours and theirs (None where it does not exist) that returns the value of the merge, None to remove the
            sample, or ``NotImplemented`` to leave the conflict; or a mapping from column names to these.

        Returns
        -------
        str
            The commit of ``master_branch`` afterwards, in hex. With kept conflicts it is the one before.

        Raises
        ------
        MergeConflictError
            (a ``ValueError``) there are conflicts, which the error has as ``conflicts``; nothing was changed.
        InvalidStateError
            (a ``RuntimeError``) there are uncommitted changes, or something is in progress.
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch.
        InvalidInputError
            (a ``ValueError``) the branches have no common ancestor, or the message or strategy is not valid.
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        keep = check_flag(keep_conflicts, "keep_conflicts")
        result = self.merge_revision(dev_branch, message, branch=master_branch, keep_conflicts=keep, strategy=strategy)
        return "" if result.head is None else result.head.hex()

    def merge_revision(self, rev: str, message: str | None = None, *, branch: str, **options: Any) -> MergeResult:
        """Merge a revision into ``branch``; see :func:`hangar.checkout.merging.merge_revision`."""
        from hangar.checkout.operations import uncommitted

        stores = self._open()
        branch = plain_text(branch)
        if not stores.refs.exists(BRANCHES + branch):
            raise history.unknown_branch(stores.refs, branch)
        resolve_commit(stores.db, stores.refs, rev)
        staged = read_staged(stores.db)
        if staged is not None and staged.branch != branch and staged.changed():
            raise uncommitted(stores, staged)
        return self._with_writer(branch, lambda checkout: checkout.merge_revision(rev, message, **options))

    def merge_preview(self, rev: str, *, branch: str = "", fast_forward: bool | None = None) -> MergePreview:
        """What merging a revision into ``branch`` (by default the one last written) would do; needs no lock.

        Raises
        ------
        RevisionNotFoundError, InvalidInputError, StaleRefError
            As for :meth:`merge`.
        """
        from hangar.merge.plan import plan_merge, preview

        stores = self._open()
        name = plain_text(branch) if branch else stores.refs.head().last_written
        if not stores.refs.exists(BRANCHES + name):
            raise history.unknown_branch(stores.refs, name)
        theirs = resolve_commit(stores.db, stores.refs, rev)
        ours = stores.refs.get(BRANCHES + name)
        nodes = stores.nodes.scratch()  # gets the records of merged arrays, which nobody stores
        return preview(stores.db, nodes, plan_merge(stores.db, nodes, ours, theirs, fast_forward=fast_forward))

    def conflicts(self) -> Conflicts:
        """The open conflicts of the merge, cherry-pick or revert in progress; otherwise there are none."""
        from hangar.merge.state import read_state

        state = read_state(self._open().db)
        return Conflicts.none() if state is None else state.summary(self.stores.db)

    def resolve(self, keys: Any, with_: Any, *, literal: bool = False) -> int:
        """Resolve conflicts of the operation in progress. They can be resolved again in another way until it is committed.

        Parameters
        ----------
        keys
            None: all open conflicts. A column name: all open ones of the column. A sample as ``(column, sample)`` or
            ``(column, sample, subsample)``, a :class:`~hangar.diff.ColumnSchemaKey` (the column itself) or an
            :class:`~hangar.diff.AttributeKey`, such as the items of :meth:`conflicts`; or a list of these.
        with_
            ``'ours'``, ``'theirs'`` or ``'base'``; ``'staged'``: what is staged now, such as samples that you wrote by
            hand; a function as in :meth:`merge`; or a value: of samples and attributes that value, of a name the new name.
        literal
            ``with_`` is a value, even if it is one of these words or can be called.

        Returns
        -------
        int
            Number of conflicts that are left.

        Raises
        ------
        InvalidStateError
            (a ``RuntimeError``) nothing is in progress.
        ColumnNotFoundError, SampleNotFoundError
            (``KeyError``) no such conflict.
        InvalidInputError
            (a ``ValueError``) the value is not what the column holds.
        NameTakenError
            (a ``ValueError``) two columns would have one name.
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        return self._with_operation(None, lambda checkout: checkout.resolve(keys, with_, literal=literal))

    def merge_continue(self, message: str | None = None) -> str:
        """Commit the merge in progress; returns the commit in hex. By default with the message given to the merge.

        Raises
        ------
        InvalidStateError
            (a ``RuntimeError``) no merge is in progress.
        MergeConflictError
            (a ``ValueError``) conflicts are not resolved.
        """
        return self.conclude("merge", message)

    def merge_abort(self) -> str:
        """Give up the merge in progress and everything staged since it began; returns the commit of the branch in hex.

        Raises
        ------
        InvalidStateError
            (a ``RuntimeError``) no merge is in progress.
        """
        return self.give_up("merge")

    def conclude(self, kind: str, message: str | None = None) -> str:
        """Commit the operation (``'merge'``, ``'cherry-pick'`` or ``'revert'``) in progress; returns the commit in hex."""
        return self._with_operation(kind, lambda checkout: checkout.conclude(kind, message))

    def give_up(self, kind: str) -> str:
        """Give up the operation in progress; returns the commit of the branch in hex."""
        return self._with_operation(kind, lambda checkout: checkout.give_up(kind))

    def _with_operation(self, kind: str | None, act: Callable[[WriterCheckout], T]) -> T:
        """Call ``act`` with a writer of the branch that has an operation (None: any) in progress."""
        from hangar.checkout.operations import check_operation

        staged = read_staged(self._open().db)
        check_operation(None if staged is None else staged.operation, kind)
        assert staged is not None
        return self._with_writer(staged.branch, act)

    def _with_writer(self, branch: str, act: Callable[[WriterCheckout], T]) -> T:
        """Call ``act`` with a writer of a branch, which is closed afterwards, even after an interrupt."""
        from hangar.checkout import open_writer

        checkout = None
        try:
            checkout = open_writer(self._open(), self._config(), branch, self._sessions, move_head=False)
            result = act(checkout)
            checkout.close()
            return result
        except BaseException:
            # Also if closing itself was interrupted, which a ``finally`` would not handle.
            if checkout is not None:
                with contextlib.suppress(HangarError):
                    checkout.close()
            raise
