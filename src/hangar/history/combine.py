"""Apply the changes of one commit to another, for the return of stashed changes.

A three-way comparison (see :mod:`hangar.diff.threeway`). No array is read. If something was changed in two different ways, nothing is
changed, unless a side was chosen beforehand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from hangar.diff.chunks import regions_text
from hangar.diff.merge_base import merged_side, records_of
from hangar.diff.threeway import Records, Side, ThreeWay
from hangar.digest import Digest
from hangar.errors import InvalidInputError, MergeConflictError
from hangar.objects.attributes import encode_attributes
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.records import store_record
from hangar.objects.store import NodeStore
from hangar.stores import Stores
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.db.transaction import WriteTransaction

__all__ = ["Combined", "SideChoice", "check_side", "combine", "some_conflicts"]

SideChoice: TypeAlias = Literal["ours", "theirs"]
"""Which side counts where both changed the same thing: what the branch has, or what is applied to it."""


class Combined(NamedTuple):
    """The result of applying changes.

    Attributes
    ----------
    columns, attributes
        The content.
    records
        Has the new nodes and records that it needs.
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
        Which side counts where there is a conflict.

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
            f"{action} has {plural(conflicts.total(), 'conflict')} with later changes ({some_conflicts(conflicts)}), and nothing was "
            "changed: choose a side with strategy='ours' or 'theirs' (`-X ours`, `-X theirs`)",
            conflicts,
        )
    return Combined(list(merged.columns), merged.attributes, records)


def some_conflicts(conflicts: Any) -> str:
    """The first few things in conflict, for a message."""
    found = [
        f"{key.column}/{'/'.join(str(part) for part in key[1:])}{regions_text(conflicts.regions.get(key, ()))}"
        for changes in conflicts[:4]
        for key in changes.samples[:3]
    ]
    found += [f"column {key.column}" for changes in conflicts[:4] for key in changes.schema]
    found += [f"attribute {key}" for keys in conflicts.attributes.values() for key in keys]
    return ", ".join(found[:3]) + (" ..." if conflicts.total() > min(3, len(found)) else "")
