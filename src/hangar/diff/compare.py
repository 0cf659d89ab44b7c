"""The comparison algorithm: columns are paired by id, and their trees are walked together."""

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

__all__ = [
    "ColumnPair",
    "attribute_changes",
    "changes",
    "compare",
    "count_pair",
    "data_keys",
    "kind_of",
    "pair_columns",
    "walk_pair",
]

_BATCH: Final = 256
"""Number of changes that a stream decodes together."""


class ColumnPair(NamedTuple):
    """One column on the two sides of a comparison; at least one of them is not None."""

    before: ColumnEntry | None
    after: ColumnEntry | None

    @property
    def entry(self) -> ColumnEntry:
        """The column on the second side, or on the first side if it was deleted."""
        entry = self.after if self.after is not None else self.before
        assert entry is not None
        return entry


def pair_columns(columns_a: Sequence[ColumnEntry], columns_b: Sequence[ColumnEntry]) -> list[ColumnPair]:
    """The columns of both sides, paired by id and sorted by their last name.

    A deleted column whose name was reused comes before the column that has the name now.
    """
    before, after = ({entry.id: entry for entry in columns} for columns in (columns_a, columns_b))
    pairs = [ColumnPair(before.get(one), after.get(one)) for one in {**before, **after}]
    return sorted(pairs, key=lambda pair: (pair.entry.name, pair.after is not None))


def changes(store: NodeStore, columns_a: Sequence[ColumnEntry], columns_b: Sequence[ColumnEntry]) -> Iterator[Change]:
    """Stream every changed sample, by column and in key order, in bounded memory; shared subtrees are never loaded.

    Yields
    ------
    Change
        With the last name of its column.
    """
    for pair in pair_columns(columns_a, columns_b):
        walk = walk_pair(store, pair)
        while batch := list(islice(walk, _BATCH)):
            keys = data_keys(pair, [key for key, _, _ in batch])
            for key, (_, a, b) in zip(keys, batch, strict=True):
                yield Change(pair.entry.name, kind_of(a, b), key)


def kind_of(before: object, after: object) -> ChangeKind:
    """The kind of a change from one state to another, each None if it is absent."""
    return "added" if before is None else "deleted" if after is None else "mutated"


def count_pair(store: NodeStore, pair: ColumnPair) -> ChangeCounts:
    """Count the changed samples of one column."""
    before, after = (0 if entry is None else entry.entries for entry in pair)
    if not before or not after:
        return ChangeCounts(after, before, 0)
    found = [0, 0, 0]
    for _, a, b in walk_pair(store, pair):
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
    """Compare a with b.

    Parameters
    ----------
    columns_a, columns_b
        The columns of a commit, or of a staging area.
    attributes_a, attributes_b
        Digest of the attributes of the commit, if it has any.
    load_attributes
        Loads the attributes of a digest (of commits and columns); called only for digests that differ.
    """
    schemas: dict[ChangeKind, dict[ColumnSchemaKey, DataRecordVal]] = {"added": {}, "deleted": {}, "mutated": {}}
    attributes: AttributeChanges = {}
    renamed = []
    _note_attributes(attributes, None, attribute_changes(attributes_a, attributes_b, load_attributes))
    samples: dict[ChangeKind, list[DataKey]] = {"added": [], "deleted": [], "mutated": []}
    for pair in pair_columns(columns_a, columns_b):
        (before, after), entry = pair, pair.entry
        for one, keys in _changed_keys(store, pair).items():
            samples[one] += data_keys(pair, keys)
        kind = kind_of(before, after)
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
    """The encoded keys of one column, grouped by kind of change."""
    keys: dict[ChangeKind, list[bytes]] = {"added": [], "deleted": [], "mutated": []}
    before, after = (None if entry is None else entry.root for entry in pair)
    if before is not None and after is not None:
        for key, a, b in walk_pair(store, pair):
            keys[kind_of(a, b)].append(key)
        return keys
    for root, found in ((after, keys["added"]), (before, keys["deleted"])):
        if root is not None:
            for leaf, first, last in leaves(store, root):
                found += leaf.keys[first:last]
    return keys


def data_keys(pair: ColumnPair, encoded: Sequence[bytes]) -> list[DataKey]:
    """Decode keys into the form that users see."""
    name = pair.entry.name
    if pair.entry.layout == NESTED:
        return [NestedColumnDataKey(name, *split_nested_key(key)) for key in encoded]
    return list(map(FlatColumnDataKey, repeat(name), decode_keys(encoded)))


def walk_pair(store: NodeStore, pair: ColumnPair) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """Stream the changed entries of one column: encoded key and both cells, None where there is none; in key order."""
    before, after = (None if entry is None or entry.root is None else Digest(entry.root) for entry in pair)
    return diff(store, before, after)


def attribute_changes(
    before: bytes | None, after: bytes | None, load: Callable[[Digest], Mapping[str, Any]]
) -> dict[str, AttributeChange]:
    """Changed attributes by key between two digests (None: no attributes); ``load`` loads those of a digest."""
    if before == after:
        return {}
    old, new = ({} if digest is None else load(Digest(digest)) for digest in (before, after))
    return {
        key: AttributeChange(old.get(key), new.get(key))
        for key in sorted({*old, *new})
        # Compare encodings: 1, 1.0 and True are equal in Python but are different attribute values.
        if key not in old or key not in new or _encode(old[key]) != _encode(new[key])
    }


def _note_attributes(found: AttributeChanges, name: str | None, changed: dict[str, AttributeChange]) -> None:
    # One column may have been deleted and another one created under the same name.
    gone = found.get(name, {})
    for key, change in changed.items():
        gone[key] = AttributeChange(gone[key].before, change.after) if key in gone else change
    if gone:
        found[name] = gone


_encode = msgspec.msgpack.encode
