"""Merges into the branch of a writer; see :mod:`hangar.checkout.operations` for what happens with conflicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hangar.checkout.operations import Strategy, apply_changes, require_unchanged
from hangar.diff.results import Conflicts
from hangar.merge.plan import MergeKind, plan_merge
from hangar.objects.commit import check_message
from hangar.publishing import publish, publish_rows
from hangar.refs import BRANCHES, describe
from hangar.revisions import resolve, resolve_commit
from hangar.staging import Operation

if TYPE_CHECKING:
    from hangar.checkout.session import WriterSession
    from hangar.config import Config
    from hangar.db import WriteTransaction
    from hangar.digest import Digest

__all__ = ["MergeResult", "merge_revision"]


class MergeResult(NamedTuple):
    """Result of a merge.

    Attributes
    ----------
    kind
        ``'up-to-date'``, ``'fast-forward'`` or ``'merge'``.
    head
        The commit of the branch afterwards; None for a branch without a commit.
    committed
        Whether the merge is complete. Otherwise it is in progress.
    conflicts
        The conflicts that are left.
    resolved
        Number of conflicts that the strategy resolved.
    """

    kind: MergeKind
    head: Digest | None
    committed: bool
    conflicts: Conflicts
    resolved: int


def merge_revision(
    session: WriterSession,
    config: Config,
    rev: str,
    message: str | None = None,
    *,
    keep_conflicts: bool = False,
    commit: bool = True,
    fast_forward: bool | None = None,
    strategy: Strategy = None,
) -> MergeResult:
    """Merge a revision into the branch of ``session``.

    Parameters
    ----------
    message
        Message of the merge commit; by default it names what is merged.
    keep_conflicts
        Keep conflicts as a merge in progress; else they are an error and nothing changes.
    commit
        False: stage the merge and leave it in progress, even without conflicts.
    fast_forward
        See :func:`hangar.merge.plan.plan_merge`.
    strategy
        Resolves conflicts at once.

    Raises
    ------
    InvalidStateError
        There are uncommitted changes, a merge is in progress, or a ``with`` block is open.
    MergeConflictError
        There are conflicts that ``strategy`` does not resolve, and they are not to be kept.
    InvalidInputError, ColumnNotFoundError
        The histories are unrelated, or the strategy is unknown or names an unknown column.
    RevisionNotFoundError
        There is no such revision.
    """
    if message is not None:
        check_message(message)
    stores, staging = session.stores, session.staging
    theirs = resolve_commit(stores.db, stores.refs, rev)
    require_unchanged(session, "merge")
    plan = plan_merge(stores.db, session.nodes, staging.base, theirs, fast_forward=fast_forward)
    if plan.comparison is None:
        if plan.kind == "fast-forward":
            with session.writing():
                publish(stores.db, session.lock, _FastForward(session, config, rev, theirs))
        else:
            publish_rows(stores.db, session.lock, session.note_written)
        return MergeResult(plan.kind, staging.base, True, Conflicts.none(), 0)
    operation = Operation("merge", str(rev), message or default_message(session, rev), {}, [])
    applied = apply_changes(
        session,
        config,
        plan.comparison,
        operation,
        plan.bases,
        [theirs],
        keep_conflicts=keep_conflicts,
        commit=commit,
        strategy=strategy,
    )
    return MergeResult("merge", staging.base, *applied)


def default_message(session: WriterSession, rev: str) -> str:
    """Message of a merge, in the words of git."""
    revision = resolve(session.stores.db, session.stores.refs, rev)
    what = f"commit {rev!r}" if revision.name is None else describe(revision.name)
    branch = session.staging.branch
    return f"Merge {what}" + ("" if branch in ("master", "main") else f" into {branch}")


class _FastForward:
    """Publishable change of a branch that moves to a commit which it is an ancestor of."""

    def __init__(self, session: WriterSession, config: Config, rev: str, to: Digest) -> None:
        self._session, self._to = session, to
        self._who, self._operation = config.person(), f"merge {rev}"

    def prepare(self) -> None:
        """No file is written."""

    def record(self, transaction: WriteTransaction) -> None:
        session = self._session
        branch = BRANCHES + session.staging.branch
        session.stores.refs.update(
            transaction,
            branch,
            session.staging.base,
            self._to,
            who=self._who,
            operation=self._operation,
            message="Fast-forward",
        )
        session.note_written(transaction)

    def committed(self) -> None:
        self._session.staging.rebase(self._to)

    def rollback(self) -> None:
        self._session.rollback()
