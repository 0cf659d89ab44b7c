"""The comparison itself: columns paired by id, their trees walked together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from hangar.diff.results import (
    AttributeChange,
    AttributeChanges,
    Change,
    ChangeCounts,
    ChangeKind,
    Changes,
    ColumnSchemaKey,
    DataKey,
    DataRecordVal,
    DiffOut,
    FlatColumnDataKey,
    NestedColumnDataKey,
)
from hangar.digest import Digest
from hangar.objects.commit import NESTED, ColumnEntry
from hangar.objects.diff import diff
from hangar.objects.store import NodeStore
from hangar.schema.keys import decode_key, split_nested_key

__all__ = ["ColumnPair", "changes", "compare", "count_changes", "pair_columns"]


class ColumnPair(NamedTuple):
    """One column on the two sides of a comparison; at least one is there."""

    before: ColumnEntry | None
    after: ColumnEntry | None

    @property
    def entry(self) -> ColumnEntry:
        """The column as it is last seen."""
        entry = self.after if self.after is not None else self.before
        assert entry is not None
        return entry


def pair_columns(columns_a: Sequence[ColumnEntry], columns_b: Sequence[ColumnEntry]) -> list[ColumnPair]:
    """The columns of both sides, paired by id and sorted by their last name.

    A column whose name was given to another one since stands before that one, as deleted.
    """
    before, after = ({entry.id: entry for entry in columns} for columns in (columns_a, columns_b))
    pairs = [ColumnPair(before.get(one), after.get(one)) for one in {**before, **after}]
    return sorted(pairs, key=lambda pair: (pair.entry.name, pair.after is not None))


def changes(store: NodeStore, columns_a: Sequence[ColumnEntry], columns_b: Sequence[ColumnEntry]) -> Iterator[Change]:
    """Every sample that changed, by column and in key order; nothing is gathered, shared subtrees are never loaded.

    Yields
    ------
    Change
        Under the last name of its column.
    """
    for pair in pair_columns(columns_a, columns_b):
        name, nested = pair.entry.name, pair.entry.layout == NESTED
        for key, a, b in _walk(store, pair):
            kind: ChangeKind = "added" if a is None else "deleted" if b is None else "mutated"
            if nested:
                yield Change(name, kind, NestedColumnDataKey(name, *split_nested_key(key)))
            else:
                yield Change(name, kind, FlatColumnDataKey(name, decode_key(key)))


def count_changes(
    store: NodeStore, columns_a: Sequence[ColumnEntry], columns_b: Sequence[ColumnEntry]
) -> dict[str, ChangeCounts]:
    """How many samples changed, by (last) name of the column; columns without a change are left out.

    A column that is on one side alone counts as its entries, unread.
    """
    counts: dict[str, ChangeCounts] = {}
    for pair in pair_columns(columns_a, columns_b):
        if pair.before is None or pair.after is None:
            number = pair.entry.entries
            found = [number, 0, 0] if pair.before is None else [0, number, 0]
        else:
            found = [0, 0, 0]
            for _, a, b in _walk(store, pair):
                found[0 if a is None else 1 if b is None else 2] += 1
        if any(found):
            known = counts.get(pair.entry.name, (0, 0, 0))
            counts[pair.entry.name] = ChangeCounts(*(one + other for one, other in zip(known, found, strict=True)))
    return counts


def compare(
    store: NodeStore,
    columns_a: Sequence[ColumnEntry],
    columns_b: Sequence[ColumnEntry],
    *,
    attributes_a: Digest | None,
    attributes_b: Digest | None,
    load_attributes: Callable[[Digest], Mapping[str, Any]],
) -> DiffOut:
    """What changed from a to b.

    Parameters
    ----------
    columns_a, columns_b
        The columns of a commit, or of a staging area.
    attributes_a, attributes_b
        Digest of the attributes of the commit as a whole, where it has some.
    load_attributes
        Gives the attributes of a digest, of columns too; called only for those that differ.
    """
    schemas: dict[ChangeKind, dict[ColumnSchemaKey, DataRecordVal]] = {"added": {}, "deleted": {}, "mutated": {}}
    attributes: AttributeChanges = {}
    renamed = []
    changed = _attribute_changes(attributes_a, attributes_b, load_attributes)
    if changed:
        attributes[None] = changed
    for before, after in pair_columns(columns_a, columns_b):
        entry = ColumnPair(before, after).entry
        kind: ChangeKind = "added" if before is None else "deleted" if after is None else "mutated"
        if before is None or after is None or before.schema != after.schema:
            key = ColumnSchemaKey(entry.name, "nested" if entry.layout == NESTED else "flat")
            schemas[kind][key] = DataRecordVal(entry.schema.hex())
        if before is not None and after is not None and before.name != after.name:
            renamed.append((before.name, after.name))
        old, new = (None if one is None else one.attributes for one in (before, after))
        changed = _attribute_changes(old, new, load_attributes)
        if changed:
            # Under this name a column may have gone, and another one come.
            gone = attributes.get(entry.name, {})
            attributes[entry.name] = gone | {
                key: AttributeChange(gone[key].before, change.after) if key in gone else change
                for key, change in changed.items()
            }
    samples: dict[ChangeKind, list[DataKey]] = {"added": [], "deleted": [], "mutated": []}
    for change in changes(store, columns_a, columns_b):
        samples[change.kind].append(change.key)
    return DiffOut(
        *(Changes(schemas[kind], tuple(samples[kind])) for kind in ("added", "deleted", "mutated")),
        renamed=tuple(renamed),
        attributes=attributes,
    )


def _walk(store: NodeStore, pair: ColumnPair) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    before, after = (None if entry is None or entry.root is None else Digest(entry.root) for entry in pair)
    return diff(store, before, after)


def _attribute_changes(
    before: bytes | None, after: bytes | None, load: Callable[[Digest], Mapping[str, Any]]
) -> dict[str, AttributeChange]:
    if before == after:
        return {}
    old, new = ({} if digest is None else load(Digest(digest)) for digest in (before, after))
    return {
        key: AttributeChange(old.get(key), new.get(key))
        for key in sorted({*old, *new})
        # Compared as they are stored: 1, 1.0 and True are equal in Python, and three values here.
        if key not in old or key not in new or _encode(old[key]) != _encode(new[key])
    }


_encode = msgspec.msgpack.encode
