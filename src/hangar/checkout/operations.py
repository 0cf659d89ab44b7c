"""What merges, cherry-picks and reverts have in common: they are staged, and wait while there are conflicts.

They are staged like other changes, and a clean one is committed in the same transaction. If there are conflicts and they are to be kept, the
staging area has what could be applied, and the conflicts as rows beside it; both survive the process. Until they are resolved there can be
no commit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from hangar.checkout.commit import commit_staging
from hangar.db.tables import STAGING
from hangar.diff.results import Conflicts
from hangar.diff.threeway import ColumnMerge, Conflict, ThreeWay
from hangar.errors import (
    ColumnNotFoundError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    MergeConflictError,
    NothingToDoError,
)
from hangar.history.combine import some_conflicts
from hangar.merge.resolve import SIDES, Choice, choice_of, resolution_of, resolve_conflicts
from hangar.merge.stage import conflict_rows, name_of, stage_changes, storable
from hangar.merge.state import columns_by_id, label, select
from hangar.publishing import publish_rows
from hangar.staging import ConflictName, Operation, StagedColumns, Staging, clear_staging, in_progress, in_the_way
from hangar.staging.rows import HEAD
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.checkout.session import WriterSession
    from hangar.config import Config
    from hangar.digest import Digest
    from hangar.merge.resolve import Driver
    from hangar.stores import Stores

__all__ = [
    "Applied",
    "Strategy",
    "apply_changes",
    "check_operation",
    "conclude",
    "give_up",
    "require_unchanged",
    "resolve_open",
    "uncommitted",
]

Strategy: TypeAlias = "str | Driver | Mapping[str, str | Driver] | None"
"""How conflicts are resolved at once: a side or a driver, for all columns or by column."""


class Applied(NamedTuple):
    """What was applied.

    Attributes
    ----------
    committed
        Whether there is a commit of it now. Otherwise it is in progress, or staged.
    conflicts
        The conflicts that are left.
    resolved
        Number of conflicts that the strategy resolved.
    """

    committed: bool
    conflicts: Conflicts
    resolved: int


def apply_changes(
    session: WriterSession,
    config: Config,
    comparison: ThreeWay,
    operation: Operation,
    bases: Sequence[Digest],
    others: Sequence[Digest] = (),
    *,
    keep_conflicts: bool,
    commit: bool,
    strategy: Strategy,
) -> Applied:
    """Stage what a comparison applies to the branch, and commit it if nothing is in conflict.

    Parameters
    ----------
    bases, others
        The commits that ``theirs`` is compared with, and the further parents of a merge.
    keep_conflicts
        Keep conflicts, with the operation in progress; else they are an error and nothing changes.
    commit
        False: do not commit, even without conflicts. Then a merge is in progress, and other changes are just staged.
    strategy
        Resolves conflicts at once.

    Raises
    ------
    MergeConflictError
        There are conflicts that ``strategy`` does not resolve, and they are not to be kept.
    NothingToDoError
        The branch would not change.
    InvalidInputError, InvalidTypeError, ColumnNotFoundError
        The strategy is unknown or names an unknown column.
    """
    _check_strategy(strategy, {one.name for column in comparison.columns for one in column.sides if one is not None})
    merging, staging = operation.kind == "merge", session.staging
    with session.batch():
        with session.writing():
            found = list(storable(session.stores.db, stage_changes(session, comparison), bases))
        done = _use_strategy(session, comparison.columns, found, strategy)
        left = [one for one in found if name_of(one) not in done]
        conflicts = comparison.summary_of(iter(left))
        if left and not keep_conflicts:
            raise MergeConflictError(_conflict_text(operation, conflicts), conflicts)
        if not left and not merging and not staging.differs():
            raise NothingToDoError(f"branch {staging.branch!r} would not change: nothing was committed")
        if merging or left or commit:
            with session.writing():
                staging.start_operation(operation, others)
        committed = commit and not left
        if committed:
            reflog = f"merge {operation.name}" if merging else operation.kind
            commit_staging(session, config, operation.message, operation=reflog)
        elif found and staging.operation is not None:
            with session.writing():
                staging.start_conflicts(bases, conflict_rows(found, done))
    return Applied(committed, conflicts, len(done))


def _conflict_text(operation: Operation, conflicts: Conflicts) -> str:
    return (
        f"{operation.title} has {plural(conflicts.total(), 'conflict')} ({some_conflicts(conflicts)}), and nothing was changed: "
        f"keep them to be resolved with keep_conflicts=True (`hangar {operation.kind} REV`), or choose a side with "
        "strategy='ours' or 'theirs'"
    )


def require_unchanged(session: WriterSession, kind: str) -> None:
    """Refuse uncommitted changes, and drop staged rows that change nothing."""
    staging, db = session.staging, session.stores.db
    if session.in_batch:
        raise InvalidStateError(f"a {kind} is not possible inside a `with` block of the checkout")
    if staging.operation is not None:
        raise InvalidStateError(in_progress(staging.operation))
    if staging.changed():
        raise uncommitted(session.stores, staging, kind)
    with db.read() as transaction:
        empty = transaction.get(STAGING, HEAD) is None
    if not empty:
        with session.writing():
            publish_rows(db, session.lock, clear_staging)
            staging.rebase(staging.base)


def uncommitted(stores: Stores, staged: StagedColumns | Staging, kind: str = "merge") -> InvalidStateError:
    """The error for uncommitted changes before an operation."""
    what = in_the_way(staged, stores.refs.head().write_branch)
    return InvalidStateError(f"a {kind} is not possible now, because {what}")


# ---------------------------------------------------------------------------------------------------- strategies


def _check_strategy(strategy: Strategy, columns: Collection[str]) -> None:
    """Check a strategy for an operation on these columns.

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
    """Resolve what the strategy can resolve; returns how, by conflict."""
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


def require_operation(session: WriterSession, kind: str | None = None) -> Operation:
    """The operation in progress; InvalidStateError if there is none, or one of another ``kind``."""
    return check_operation(session.staging.operation, kind)


def check_operation(operation: Operation | None, kind: str | None) -> Operation:
    """``operation`` if it is there and of the right ``kind`` (None: any); InvalidStateError otherwise."""
    if operation is None:
        named = kind or "merge"
        raise InvalidStateError(f"no {named} is in progress: `hangar {named} REV` begins one")
    if kind not in (None, operation.kind):
        raise InvalidStateError(f"no {kind} is in progress, but {operation.title}: {operation.advice}")
    return operation


def resolve_open(session: WriterSession, keys: Any, choice: Choice) -> int:
    """Resolve conflicts of the operation in progress; see ``Repository.resolve``. Returns how many are left.

    Conflicts that were resolved before can be resolved in another way.
    """
    require_operation(session)
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


def conclude(session: WriterSession, config: Config, kind: str, message: str | None = None) -> Digest:
    """Commit the operation of this ``kind`` that is in progress.

    Raises
    ------
    InvalidStateError
        None is in progress.
    MergeConflictError
        Conflicts are not resolved.
    NothingToDoError
        A cherry-pick or revert was resolved in such a way that the branch would not change.
    """
    operation = require_operation(session, kind)
    reflog = f"merge {operation.name}" if kind == "merge" else kind
    return commit_staging(session, config, operation.message if message is None else message, operation=reflog)


def give_up(session: WriterSession, kind: str) -> None:
    """Give up the operation of this ``kind`` that is in progress, and with it everything that was staged since it began."""
    require_operation(session, kind)
    if session.in_batch:
        raise InvalidStateError(f"a {kind} cannot be given up inside a `with` block")
    with session.writing():
        publish_rows(session.stores.db, session.lock, clear_staging)
        session.staging.rebase(session.staging.base)
