"""Apply the changes of one commit to another: ``revert``, ``cherry_pick``, and applying a stash.

All three are a three-way comparison (see :mod:`hangar.diff.threeway`). To revert a commit, the base is that commit and
theirs its parent; to cherry-pick one, the base is its parent and theirs the commit. No array is read. If there is a
conflict, nothing is changed, unless the caller chose a side.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from hangar.diff.merge_base import merged_side, records_of
from hangar.diff.threeway import Records, Side, ThreeWay
from hangar.digest import Digest
from hangar.errors import InvalidInputError, InvalidStateError, MergeConflictError, NothingToDoError
from hangar.history.current import Current, current_branch, require_clean
from hangar.lock import WriterLock, under_lock
from hangar.names import plain_text
from hangar.objects.attributes import encode_attributes
from hangar.objects.commit import ColumnEntry, Commit, check_message
from hangar.objects.graph import record_generation
from hangar.objects.records import load_commit, store_commit, store_record
from hangar.objects.store import NodeStore
from hangar.publishing import publish_rows
from hangar.revisions import resolve_commit
from hangar.staging import clear_staging
from hangar.stores import Stores
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.db.transaction import WriteTransaction

__all__ = ["Combined", "SideChoice", "check_side", "cherry_pick", "combine", "new_commit", "revert"]

SideChoice: TypeAlias = Literal["ours", "theirs"]
"""Side to take in a conflict: ours is the branch, theirs the changes that are applied to it."""


class Combined(NamedTuple):
    """The result of applying changes.

    Attributes
    ----------
    columns, attributes
        The content.
    records
        Contains the new nodes and records that the content needs.
    """

    columns: list[ColumnEntry]
    attributes: Digest | None
    records: Records

    def write(self, transaction: WriteTransaction) -> None:
        """Store the new nodes and records."""
        self.records.nodes.flush(transaction, [entry.root for entry in self.columns if entry.root is not None])
        for schema in self.records.schemas.values():
            store_record(transaction, "schema", schema.data)
        for values in self.records.attributes.values():
            store_record(transaction, "attributes", encode_attributes(values))


def check_side(strategy: object) -> SideChoice | None:
    """Return ``strategy`` if it is a side or None; InvalidInputError otherwise."""
    if strategy not in (None, "ours", "theirs"):
        raise InvalidInputError(f"strategy must be 'ours' or 'theirs', not {strategy!r}")
    return strategy


def combine(
    stores: Stores,
    base: Commit | None,
    ours: Commit,
    theirs: Commit | None,
    *,
    action: str,
    strategy: SideChoice | None = None,
) -> Combined:
    """Apply to ``ours`` what changed from ``base`` to ``theirs``.

    Parameters
    ----------
    base, theirs
        None for no content at all.
    action
        For messages.
    strategy
        Side to take in a conflict.

    Raises
    ------
    MergeConflictError
        There are conflicts, and no ``strategy``.
    """
    records = records_of(stores.db, NodeStore(stores.db))
    below, here, there = Side.of(base), Side.of(ours), Side.of(theirs)
    # What is in conflict is as in the first side, and a clean merge is the same in both directions.
    merged = merged_side(records, below, *((there, here) if strategy == "theirs" else (here, there)))
    if merged.unresolved and strategy is None:
        conflicts = ThreeWay(records, below, here, there).summary()
        raise MergeConflictError(
            f"{action} has {plural(conflicts.total(), 'conflict')} with later changes ({_where(conflicts)}), and nothing was "
            "changed: choose a side with strategy='ours' or 'theirs' (`-X ours`, `-X theirs`)",
            conflicts,
        )
    return Combined(list(merged.columns), merged.attributes, records)


def _where(conflicts: Any) -> str:
    """The first few things in conflict."""
    found = [
        f"{key.column}/{'/'.join(str(part) for part in key[1:])}"
        for changes in conflicts[:4]
        for key in changes.samples[:3]
    ]
    found += [f"column {key.column}" for changes in conflicts[:4] for key in changes.schema]
    found += [f"attribute {key}" for keys in conflicts.attributes.values() for key in keys]
    return ", ".join(found[:3]) + (" ..." if conflicts.total() > min(3, len(found)) else "")


def revert(
    stores: Stores,
    rev: str,
    message: str | None = None,
    *,
    mainline: int | None = None,
    strategy: SideChoice | None = None,
    branch: str = "",
    who: tuple[str, str],
) -> Digest:
    """Commit the opposite of what a commit changed.

    Parameters
    ----------
    rev
        The commit to undo.
    message
        By default it names the commit.
    mainline
        Of a merge commit: the number of the parent (from 1) to whose side the branch returns.
    strategy
        Side to take where later changes are in conflict.
    branch
        The branch to commit to, by default the one last written.
    who
        Name and email of the committer.

    Raises
    ------
    MergeConflictError
        There are conflicts, and no ``strategy``; nothing was changed.
    InvalidStateError
        There are staged changes, the branch has no commit, or the commit is the first one.
    InvalidInputError
        ``mainline`` is missing, or does not fit the commit.
    NothingToDoError
        The branch does not have these changes any more.
    RevisionNotFoundError, LockedError
        There is no such commit or branch; a writer holds the lock.
    """

    def act(lock: WriterLock, current: Current, digest: Digest) -> Digest:
        undone = load_commit(stores.db, digest)
        if not undone.parents:
            raise InvalidStateError(
                f"commit {digest.hex()[:12]} is the first one, and there is nothing before it to return to: "
                "remove its columns with `hangar column remove COLUMN`"
            )
        parent = _parent(undone, digest, mainline)
        _, head = current.require_head("revert")
        action = f"reverting {digest.hex()[:12]}"
        content = combine(stores, undone, head, load_commit(stores.db, parent), action=action, strategy=strategy)
        return _commit_to(
            stores, lock, current, content, message or _revert_message(undone, digest, parent), {}, "revert", who
        )

    return _replay(stores, rev, message, strategy, branch, "a revert", act)


def cherry_pick(
    stores: Stores,
    rev: str,
    message: str | None = None,
    *,
    mainline: int | None = None,
    strategy: SideChoice | None = None,
    branch: str = "",
    who: tuple[str, str],
) -> Digest:
    """Commit what another commit changed.

    Parameters
    ----------
    rev
        The commit to apply.
    message
        By default its message. Its metadata is kept too, and has its digest as ``cherry-picked-from``.
    mainline
        Of a merge commit: the number of the parent (from 1) whose differences to the commit are applied.
    strategy, branch, who
        As in :func:`revert`.

    Raises
    ------
    MergeConflictError, InvalidStateError, InvalidInputError, NothingToDoError, RevisionNotFoundError, LockedError
        As in :func:`revert`; but the first commit can be picked.
    """

    def act(lock: WriterLock, current: Current, digest: Digest) -> Digest:
        picked = load_commit(stores.db, digest)
        base = load_commit(stores.db, _parent(picked, digest, mainline)) if picked.parents else None
        _, head = current.require_head("apply it to")
        action = f"cherry-picking {digest.hex()[:12]}"
        content = combine(stores, base, head, picked, action=action, strategy=strategy)
        meta = {**picked.meta, "cherry-picked-from": digest.hex()}
        return _commit_to(stores, lock, current, content, message or picked.message, meta, "cherry-pick", who)

    return _replay(stores, rev, message, strategy, branch, "a cherry-pick", act)


def _replay(
    stores: Stores, rev: str, message: str | None, strategy: object, branch: str, action: str, act: Any
) -> Digest:
    """Check the arguments that both share, and run ``act`` under the writer lock."""
    if message is not None:
        check_message(message)
    check_side(strategy)
    rev = plain_text(rev)

    def run(lock: WriterLock) -> Digest:
        digest = resolve_commit(stores.db, stores.refs, rev)
        current = current_branch(stores, branch)
        require_clean(stores, action)
        found: Digest = act(lock, current, digest)
        return found

    return under_lock(stores.db, run)


def _parent(commit: Commit, digest: Digest, mainline: int | None) -> Digest:
    """The parent that a commit is compared with."""
    count, short = len(commit.parents), digest.hex()[:12]
    if count == 1 and mainline in (None, 1):
        return Digest(commit.parents[0])
    if count == 1:
        raise InvalidInputError(f"commit {short} is no merge: it has only one parent, so there is no parent {mainline}")
    listed = ", ".join(f"{number} is {parent.hex()[:12]}" for number, parent in enumerate(commit.parents, 1))
    if mainline is None:
        raise InvalidInputError(
            f"commit {short} is a merge: choose the parent to compare it with by mainline=1 (`--mainline 1`); {listed}"
        )
    if not 1 <= mainline <= count:
        raise InvalidInputError(f"commit {short} has no parent {mainline}: {listed}")
    return Digest(commit.parents[mainline - 1])


def _revert_message(commit: Commit, digest: Digest, parent: Digest) -> str:
    """Message of a revert, in the words of git."""
    subject = commit.message.strip("\n").partition("\n")[0]
    merged = f", reversing\nchanges made to {parent.hex()}" if len(commit.parents) > 1 else ""
    return f'Revert "{subject}"\n\nThis reverts commit {digest.hex()}{merged}.'


def new_commit(
    parents: list[Digest],
    columns: list[ColumnEntry],
    attributes: Digest | None,
    message: str,
    meta: Mapping[str, Any],
    who: tuple[str, str],
) -> Commit:
    """A commit with the current time."""
    return Commit(
        parents=parents,
        columns=sorted(columns, key=lambda entry: entry.name),
        attributes=attributes,
        author=who[0],
        email=who[1],
        time_ns=time.time_ns(),
        tz=time.localtime().tm_gmtoff // 60,
        message=message,
        meta=dict(meta),
    )


def _commit_to(
    stores: Stores,
    lock: WriterLock,
    current: Current,
    content: Combined,
    message: str,
    meta: Mapping[str, Any],
    operation: str,
    who: tuple[str, str],
) -> Digest:
    """Commit ``content`` to a branch."""
    head, before = current.require_head(operation)
    commit = new_commit([head], content.columns, content.attributes, message, meta, who)
    if commit.columns == list(before.columns) and commit.attributes == before.attributes:
        raise NothingToDoError(f"branch {current.name!r} would not change: nothing was committed")
    digest = commit.digest()

    def record(transaction: WriteTransaction) -> None:
        content.write(transaction)
        store_commit(transaction, commit)
        record_generation(transaction, digest, commit.parents)
        stores.refs.update(
            transaction, current.ref, head, digest, who=who, operation=operation, message=message.partition("\n")[0]
        )
        clear_staging(transaction)
        stores.refs.set_head(transaction, last_written=current.name)

    publish_rows(stores.db, lock, record)
    return digest
