"""Merges into the branch of a writer: begins, concludes and aborts a merge, and resolves its conflicts.

A merge is staged like other changes, and a clean one is committed in the same transaction. If there are conflicts and
they are to be kept, the staging area has the merge so far, and the conflicts as rows beside it; both survive the
process. Until they are resolved there can be no commit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from hangar.checkout.commit import commit_staging
from hangar.db.tables import STAGING
from hangar.diff.results import Conflicts
from hangar.diff.threeway import ColumnMerge, Conflict, summarize
from hangar.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    MergeConflictError,
)
from hangar.merge.plan import MergeKind, plan_merge
from hangar.merge.resolve import SIDES, Choice, choice_of, resolution_of, resolve_conflicts
from hangar.merge.stage import conflict_rows, name_of, stage_changes, storable
from hangar.merge.state import columns_by_id, label, select
from hangar.objects.commit import check_message
from hangar.publishing import publish, publish_rows
from hangar.refs import BRANCHES, describe
from hangar.revisions import resolve, resolve_commit
from hangar.staging import ConflictName, Merge, StagedColumns, Staging, clear_staging, in_the_way, merge_in_progress
from hangar.staging.rows import HEAD
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.checkout.session import WriterSession
    from hangar.config import Config
    from hangar.db import WriteTransaction
    from hangar.digest import Digest
    from hangar.merge.resolve import Driver
    from hangar.stores import Stores

__all__ = ["MergeResult", "Strategy", "abort_merge", "continue_merge", "merge_revision", "resolve_open"]

Strategy: TypeAlias = "str | Driver | Mapping[str, str | Driver] | None"
"""Resolves conflicts during the merge: a side or a driver, for all columns or by column name."""


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
    _require_clean(session)
    plan = plan_merge(stores.db, session.nodes, staging.base, theirs, fast_forward=fast_forward)
    if plan.comparison is None:
        if plan.kind == "fast-forward":
            with session.writing():
                publish(stores.db, session.lock, _FastForward(session, config, rev, theirs))
        else:
            publish_rows(stores.db, session.lock, session.note_written)
        return MergeResult(plan.kind, staging.base, True, Conflicts.none(), 0)
    columns = {column.id: column.any for column in plan.comparison.columns}
    check_strategy(
        strategy, {one.name for column in plan.comparison.columns for one in column.sides if one is not None}
    )
    merge = Merge(str(rev), message or default_message(session, rev))
    with session.batch():
        with session.writing():
            found = list(storable(stores.db, stage_changes(session, plan.comparison), plan.bases))
            staging.start_merge([theirs], merge)
        done = _use_strategy(session, plan.comparison.columns, found, strategy)
        left = [one for one in found if name_of(one) not in done]
        conflicts = summarize(iter(left), columns)
        if left and not keep_conflicts:
            raise MergeConflictError(_conflict_text(rev, conflicts), conflicts)
        committed = commit and not left
        if committed:
            commit_staging(session, config, merge.message, operation=f"merge {rev}")
        elif found:
            with session.writing():
                staging.start_conflicts(plan.bases, conflict_rows(found, done))
    return MergeResult("merge", staging.base, committed, conflicts, len(done))


def default_message(session: WriterSession, rev: str) -> str:
    """Message of a merge, in the words of git."""
    revision = resolve(session.stores.db, session.stores.refs, rev)
    what = f"commit {rev!r}" if revision.name is None else describe(revision.name)
    branch = session.staging.branch
    return f"Merge {what}" + ("" if branch in ("master", "main") else f" into {branch}")


def _conflict_text(rev: str, conflicts: Conflicts) -> str:
    return (
        f"merging {rev!r} has {plural(conflicts.total(), 'conflict')}, and nothing was changed: keep them to be resolved with "
        "keep_conflicts=True (`hangar merge REV`), or choose a side with strategy='ours' or 'theirs'"
    )


def _require_clean(session: WriterSession) -> None:
    """Refuse uncommitted changes, and drop staged rows that change nothing."""
    staging, db = session.staging, session.stores.db
    if session.in_batch:
        raise InvalidStateError("a merge is not possible inside a `with` block of the checkout")
    if staging.merge is not None:
        raise InvalidStateError(merge_in_progress(staging.merge))
    if staging.changed():
        raise uncommitted(session.stores, staging)
    with db.read() as transaction:
        empty = transaction.get(STAGING, HEAD) is None
    if not empty:
        with session.writing():
            publish_rows(db, session.lock, clear_staging)
            staging.rebase(staging.base)


def uncommitted(stores: Stores, staged: StagedColumns | Staging) -> InvalidStateError:
    """The error for uncommitted changes before a merge."""
    what = in_the_way(staged, stores.refs.head().write_branch)
    return InvalidStateError(f"a merge is not possible now, because {what}")


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


# ---------------------------------------------------------------------------------------------------- strategies


def check_strategy(strategy: Strategy, columns: Collection[str]) -> None:
    """Check a strategy for a merge that has these columns.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        It is unknown.
    ColumnNotFoundError
        It names a column that neither side has.
    """
    by_column = strategy if isinstance(strategy, Mapping) else {}
    for one in by_column.values() if isinstance(strategy, Mapping) else () if strategy is None else (strategy,):
        if isinstance(one, str) and one not in SIDES:
            raise InvalidInputError(f"{one!r} is no strategy: use 'ours', 'theirs' or 'base', or a function")
        if not isinstance(one, str) and not callable(one):
            raise InvalidTypeError(f"a strategy is a str or a function, not {type(one).__name__}")
    for name in by_column:
        if name not in columns:
            raise ColumnNotFoundError(f"neither side of the merge has a column {name!r}")


def _use_strategy(
    session: WriterSession, merged: Sequence[ColumnMerge], conflicts: Sequence[Conflict], strategy: Strategy
) -> dict[ConflictName, str]:
    """Resolve conflicts with the strategy; returns the resolution by conflict."""
    if strategy is None:
        return {}
    columns = {column.id: column.any for column in merged}
    # A column may be called by the name that it has on any side.
    names = {column.id: [one.name for one in (column.any, *column.sides) if one is not None] for column in merged}
    groups: dict[str | None, list[Conflict]] = {}
    for conflict in conflicts:
        found: str | None = None
        if isinstance(strategy, Mapping):
            called = [label(conflict, columns), *names.get(conflict.column or b"", ())]
            found = next((name for name in called if name in strategy), None)
            if found is None:
                continue
        groups.setdefault(found, []).append(conflict)
    done: dict[ConflictName, str] = {}
    for name, group in groups.items():
        choice = choice_of(strategy[name or ""] if isinstance(strategy, Mapping) else strategy)
        done |= {name_of(one): resolution_of(choice) for one in resolve_conflicts(session, group, choice)}
    return done


# ---------------------------------------------------------------------------------------------------- in progress


def require_merge(session: WriterSession) -> Merge:
    """The merge in progress; InvalidStateError if there is none."""
    merge = session.staging.merge
    if merge is None:
        raise InvalidStateError("no merge is in progress: `hangar merge REV` begins one")
    return merge


def resolve_open(session: WriterSession, keys: Any, choice: Choice) -> int:
    """Resolve conflicts of the merge in progress; see ``Repository.resolve``. Returns how many are left.

    Conflicts that were resolved before can be resolved in another way.
    """
    require_merge(session)
    staging = session.staging
    with session.stores.db.read() as transaction:
        columns = columns_by_id(transaction, staging)
    with session.batch():
        rows = staging.conflict_rows()
        chosen = select(rows, columns, keys)
        done = resolve_conflicts(session, chosen, choice)
        if done:
            with session.writing():
                staging.resolve_conflicts({name_of(one): rows[name_of(one)] for one in done}, resolution_of(choice))
    head = staging.conflicts
    return 0 if head is None else head.unresolved


def continue_merge(session: WriterSession, config: Config, message: str | None = None) -> Digest:
    """Commit the merge in progress.

    Raises
    ------
    InvalidStateError
        None is in progress.
    MergeConflictError
        Conflicts are not resolved.
    """
    merge = require_merge(session)
    return commit_staging(
        session, config, merge.message if message is None else message, operation=f"merge {merge.name}"
    )


def abort_merge(session: WriterSession) -> None:
    """Abort the merge in progress, and drop everything that was staged since it began."""
    require_merge(session)
    if session.in_batch:
        raise InvalidStateError("a merge cannot be given up inside a `with` block")
    with session.writing():
        publish_rows(session.stores.db, session.lock, clear_staging)
        session.staging.rebase(session.staging.base)
