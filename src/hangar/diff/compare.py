"""The comparison itself: columns paired by id, their trees walked together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any, Final, NamedTuple

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
from hangar.objects.scan import leaves
from hangar.objects.store import NodeStore
from hangar.schema.keys import decode_keys, split_nested_key

__all__ = ["ColumnPair", "attribute_changes", "changes", "compare", "count_changes", "count_pair", "pair_columns"]

_BATCH: Final = 256
"""Changes that a stream decodes together."""


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
        walk = _walk(store, pair)
        while batch := list(islice(walk, _BATCH)):
            keys = _data_keys(pair, [key for key, _, _ in batch])
            for key, (_, a, b) in zip(keys, batch, strict=True):
                yield Change(pair.entry.name, "added" if a is None else "deleted" if b is None else "mutated", key)


def count_changes(
    store: NodeStore, columns_a: Sequence[ColumnEntry], columns_b: Sequence[ColumnEntry]
) -> dict[str, ChangeCounts]:
    """How many samples changed, by (last) name of the column; columns without a change are left out.

    A column that is empty or missing on one side counts as the entries of the other, unread.
    """
    counts: dict[str, ChangeCounts] = {}
    for pair in pair_columns(columns_a, columns_b):
        found = count_pair(store, pair)
        if any(found):
            known = counts.get(pair.entry.name, (0, 0, 0))
            counts[pair.entry.name] = ChangeCounts(*(one + other for one, other in zip(known, found, strict=True)))
    return counts


def count_pair(store: NodeStore, pair: ColumnPair) -> ChangeCounts:
    """How many samples of one column changed."""
    before, after = (0 if entry is None else entry.entries for entry in pair)
    if not before or not after:
        return ChangeCounts(after, before, 0)
    found = [0, 0, 0]
    for _, a, b in _walk(store, pair):
        found[0 if a is None else 1 if b is None else 2] += 1
    return ChangeCounts(*found)


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
    _note_attributes(attributes, None, attribute_changes(attributes_a, attributes_b, load_attributes))
    samples: dict[ChangeKind, list[DataKey]] = {"added": [], "deleted": [], "mutated": []}
    for pair in pair_columns(columns_a, columns_b):
        (before, after), entry = pair, pair.entry
        for one, keys in _changed_keys(store, pair).items():
            samples[one] += _data_keys(pair, keys)
        kind: ChangeKind = "added" if before is None else "deleted" if after is None else "mutated"
        if before is None or after is None or before.schema != after.schema:
            key = ColumnSchemaKey(entry.name, "nested" if entry.layout == NESTED else "flat")
            schemas[kind][key] = DataRecordVal(entry.schema.hex())
        if before is not None and after is not None and before.name != after.name:
            renamed.append((before.name, after.name))
        old, new = (None if one is None else one.attributes for one in (before, after))
        _note_attributes(attributes, entry.name, attribute_changes(old, new, load_attributes))
    return DiffOut(
        *(Changes(schemas[kind], tuple(samples[kind])) for kind in ("added", "deleted", "mutated")),
        renamed=tuple(renamed),
        attributes=attributes,
    )


def _changed_keys(store: NodeStore, pair: ColumnPair) -> dict[ChangeKind, list[bytes]]:
    """The encoded keys of one column, by what happened to them."""
    keys: dict[ChangeKind, list[bytes]] = {"added": [], "deleted": [], "mutated": []}
    before, after = (None if entry is None else entry.root for entry in pair)
    if before is not None and after is not None:
        for key, a, b in _walk(store, pair):
            keys["added" if a is None else "deleted" if b is None else "mutated"].append(key)
        return keys
    for root, found in ((after, keys["added"]), (before, keys["deleted"])):
        if root is not None:
            for leaf, first, last in leaves(store, root):
                found += leaf.keys[first:last]
    return keys


def _data_keys(pair: ColumnPair, encoded: Sequence[bytes]) -> list[DataKey]:
    """Keys as users see them."""
    name = pair.entry.name
    if pair.entry.layout == NESTED:
        return [NestedColumnDataKey(name, *split_nested_key(key)) for key in encoded]
    return list(map(FlatColumnDataKey, repeat(name), decode_keys(encoded)))


def _walk(store: NodeStore, pair: ColumnPair) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    before, after = (None if entry is None or entry.root is None else Digest(entry.root) for entry in pair)
    return diff(store, before, after)


def attribute_changes(
    before: bytes | None, after: bytes | None, load: Callable[[Digest], Mapping[str, Any]]
) -> dict[str, AttributeChange]:
    """What changed between the attributes of two digests (None: there are none), by key; ``load`` gives those of a digest."""
    if before == after:
        return {}
    old, new = ({} if digest is None else load(Digest(digest)) for digest in (before, after))
    return {
        key: AttributeChange(old.get(key), new.get(key))
        for key in sorted({*old, *new})
        # Compared as they are stored: 1, 1.0 and True are equal in Python, and three values here.
        if key not in old or key not in new or _encode(old[key]) != _encode(new[key])
    }


def _note_attributes(found: AttributeChanges, name: str | None, changed: dict[str, AttributeChange]) -> None:
    # Under one name a column may have gone, and another one come.
    gone = found.get(name, {})
    for key, change in changed.items():
        gone[key] = AttributeChange(gone[key].before, change.after) if key in gone else change
    if gone:
        found[name] = gone


_encode = msgspec.msgpack.encode
