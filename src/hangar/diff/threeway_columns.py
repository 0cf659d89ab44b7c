"""Three-way merge of the columns of two lists against a base: names, schemas, attributes, and which exist.

Trees are only compared by their roots here; ``threeway_samples`` compares their entries.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from hangar.diff.threeway_samples import ConflictKind, conflict_kind
from hangar.digest import Digest, record_digest
from hangar.objects.attributes import AttributeMap, encode_attributes
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema, widest

__all__ = ["ColumnMerge", "Conflict", "Records", "Side", "Subject", "Unresolved", "merge_attributes", "merge_columns"]

Subject: TypeAlias = Literal["sample", "column", "name", "clash", "attribute"]
Unresolved: TypeAlias = Mapping[tuple[Subject, "bytes | None"], Collection[bytes]]
"""Keys of open conflicts by subject and column id."""
_WHOLE: Final = b""
"""Key of a conflict that concerns a column and not one of its keys."""


class Side(NamedTuple):
    """One side of a comparison.

    Attributes
    ----------
    columns
        The columns of a commit or of a staging area.
    attributes
        Digest of the attributes of the commit, None if there are none.
    unresolved
        Of a virtual base: the keys that were in conflict in its merge. Each is a conflict wherever the two sides differ.
    """

    columns: Sequence[ColumnEntry]
    attributes: Digest | None = None
    unresolved: Unresolved = MappingProxyType({})

    @classmethod
    def of(cls, commit: Commit | None) -> Side:
        """The side of a commit; without columns for None."""
        return cls(()) if commit is None else cls(commit.columns, commit.attributes)


class Conflict(NamedTuple):
    """Two different changes of one thing.

    Attributes
    ----------
    subject
        ``'sample'``; ``'column'`` (deleted on one side and changed on the other, or with schemas that cannot be
        merged); ``'name'`` (renamed to two names); ``'clash'`` (two columns with one name); or ``'attribute'``.
    kind
        See :data:`ConflictKind`.
    column
        Id of the column; of a clash, that of the column that has the name in theirs. None: an attribute of the commit.
    key
        Encoded key of a sample, the key of an attribute or the name of a clash in UTF-8; else empty.
    base, ours, theirs
        The three values, None where there is none: cells of samples, :class:`ColumnEntry` of columns, names, values of
        attributes. Of a clash pairs of columns: the one with the name in ours, the one with the name in theirs.
    """

    subject: Subject
    kind: ConflictKind
    column: bytes | None
    key: bytes
    base: Any
    ours: Any
    theirs: Any


@dataclass(frozen=True, slots=True)
class ColumnMerge:
    """One column on the three sides, and merged.

    Attributes
    ----------
    id
        Id of the column.
    base, ours, theirs
        The column there, None where it does not exist.
    merged
        The merged column, None if the merge does not have it. Its tree is that of ours if ``walk`` is true.
    walk
        Whether both sides changed samples, so that their entries have to be compared.
    """

    id: bytes
    base: ColumnEntry | None
    ours: ColumnEntry | None
    theirs: ColumnEntry | None
    merged: ColumnEntry | None
    walk: bool = False

    @property
    def sides(self) -> tuple[ColumnEntry | None, ColumnEntry | None, ColumnEntry | None]:
        """Base, ours and theirs."""
        return self.base, self.ours, self.theirs

    @property
    def any(self) -> ColumnEntry:
        """The merged column, or that of a side that has it."""
        return next(entry for entry in (self.merged, self.ours, self.theirs, self.base) if entry is not None)


@dataclass(slots=True)
class Records:
    """The records that a comparison reads, and those that it makes.

    Attributes
    ----------
    nodes
        Has the nodes of all trees.
    load_schema, load_attributes
        Load a record by its digest.
    schemas, attributes
        Records that merging made and that may not be stored yet, by digest.
    """

    nodes: NodeStore
    load_schema: Callable[[Digest], ColumnSchema]
    load_attributes: Callable[[Digest], AttributeMap]
    schemas: dict[Digest, ColumnSchema] = field(default_factory=dict)
    attributes: dict[Digest, AttributeMap] = field(default_factory=dict)

    def schema(self, digest: Digest) -> ColumnSchema:
        """A schema by digest."""
        return self.schemas.get(digest) or self.load_schema(digest)

    def attribute_map(self, digest: Digest | None) -> AttributeMap:
        """Attributes by digest."""
        if digest is None:
            return {}
        found = self.attributes.get(digest)
        return self.load_attributes(digest) if found is None else found

    def add_attributes(self, values: AttributeMap) -> Digest | None:
        """Digest of new attributes; None if there are none.

        Raises
        ------
        InvalidInputError
            They are larger than attributes can be.
        """
        if not values:
            return None
        digest = record_digest("attributes", encode_attributes(values))
        self.attributes[digest] = values
        return digest


def merge_columns(records: Records, base: Side, ours: Side, theirs: Side) -> tuple[list[ColumnMerge], list[Conflict]]:
    """Merge the columns of three sides, sorted by name, and the conflicts between them; samples are left out."""
    sides = [{entry.id: entry for entry in side.columns} for side in (base, ours, theirs)]
    conflicts: list[Conflict] = []
    merged = {
        one: _merge_column(records, base.unresolved, conflicts, one, *(side.get(one) for side in sides))
        for one in {**sides[0], **sides[1], **sides[2]}
    }
    _resolve_names(merged, conflicts)
    columns = sorted(merged.values(), key=lambda column: (column.any.name, column.merged is not None))
    return columns, conflicts


def _merge_column(
    records: Records,
    unresolved: Unresolved,
    conflicts: list[Conflict],
    one: bytes,
    base: ColumnEntry | None,
    ours: ColumnEntry | None,
    theirs: ColumnEntry | None,
) -> ColumnMerge:
    was_unresolved = ("column", one) in unresolved
    if ours is not None and theirs is not None:
        return _merge_both(records, unresolved, conflicts, base, ours, theirs)
    merged = ours
    if theirs is not None and base is None:
        merged = theirs
    elif ours is not None and ours == base:
        merged = None
    kept = theirs if ours is None else ours
    if kept is not None and (was_unresolved or (base is not None and kept != base)):
        merged = ours
        kind = conflict_kind(base, ours, theirs)
        conflicts.append(Conflict("column", kind, one, _WHOLE, base, ours, theirs))
    return ColumnMerge(one, base, ours, theirs, merged)


def _merge_both(
    records: Records,
    unresolved: Unresolved,
    conflicts: list[Conflict],
    base: ColumnEntry | None,
    ours: ColumnEntry,
    theirs: ColumnEntry,
) -> ColumnMerge:
    one = ours.id
    schema = _merge_schema(records, base, ours, theirs)
    if schema is None or ours.layout != theirs.layout:
        kind = conflict_kind(base, ours, theirs)
        conflicts.append(Conflict("column", kind, one, _WHOLE, base, ours, theirs))
        return ColumnMerge(one, base, ours, theirs, ours)
    name = ours.name
    if name != theirs.name:
        if base is None or ("name", one) in unresolved or name != base.name != theirs.name:
            before = None if base is None else base.name
            conflicts.append(
                Conflict("name", conflict_kind(before, name, theirs.name), one, _WHOLE, before, name, theirs.name)
            )
        elif name == base.name:
            name = theirs.name
    attributes = merge_attributes(
        records,
        one,
        None if base is None else base.attributes,
        ours.attributes,
        theirs.attributes,
        unresolved.get(("attribute", one), ()),
        conflicts,
    )
    tree, walk = ours.tree, False
    if ours.root != theirs.root:
        if ("sample", one) in unresolved:
            walk = True
        elif ours.root == (None if base is None else base.root):
            tree = theirs.tree
        else:
            walk = base is None or theirs.root != base.root
    merged = replace(ours.with_tree(tree), name=name, schema=schema, attributes=attributes)
    return ColumnMerge(one, base, ours, theirs, merged, walk)


def _merge_schema(records: Records, base: ColumnEntry | None, ours: ColumnEntry, theirs: ColumnEntry) -> Digest | None:
    """The schema that the values of both fit; None if there is none."""
    if ours.schema == theirs.schema:
        return ours.schema
    # A column whose samples changed too may have values that fit its own schema only.
    for one, other in ((ours, theirs), (theirs, ours)):
        if base is not None and (one.schema, one.root) == (base.schema, base.root):
            return other.schema
    found = widest(records.schema(ours.schema), records.schema(theirs.schema))
    if found is None:
        return None
    records.schemas[found.digest] = found
    return found.digest


def merge_attributes(
    records: Records,
    column: bytes | None,
    base: Digest | None,
    ours: Digest | None,
    theirs: Digest | None,
    unresolved: Collection[bytes],
    conflicts: list[Conflict],
) -> Digest | None:
    """Merge attributes key by key; the digest of the result. Notes conflicts as those of ``column``."""
    if ours == theirs or (theirs == base and not unresolved):
        return ours
    if ours == base and not unresolved:
        return theirs
    before, here, there = (records.attribute_map(digest) for digest in (base, ours, theirs))
    merged = dict(here)
    for key in sorted({*before, *here, *there}):
        values = before.get(key), here.get(key), there.get(key)
        # As encoded: 1, 1.0 and True are equal in Python but are different values.
        old, mine, other = map(_encode, values)
        if mine == other:
            continue
        if key.encode() in unresolved or mine != old != other:
            conflicts.append(Conflict("attribute", conflict_kind(*values), column, key.encode(), *values))
        elif mine == old:
            if key in there:
                merged[key] = there[key]
            else:
                del merged[key]
    return records.add_attributes(merged)


_encode = msgspec.msgpack.encode


def _resolve_names(columns: dict[bytes, ColumnMerge], conflicts: list[Conflict]) -> None:
    """Let no two merged columns have one name: the one that has it in theirs keeps what ours has, which may free another."""
    while True:
        named: dict[str, bytes] = {}
        clash = None
        for one, column in columns.items():
            if column.merged is not None:
                other = named.setdefault(column.merged.name, one)
                if other != one:
                    clash = other, one
                    break
        if clash is None:
            return
        first, second = (columns[one] for one in clash)
        name = first.any.name
        if second.ours is not None and second.ours.name == name:
            first, second = second, first
        # Now `first` has the name in ours, and `second` in theirs.
        kept = second.ours
        if kept is not None and second.merged is not None:
            kept = replace(second.merged, name=kept.name)
        columns[second.id] = _with(second, kept)
        values = [(one, other) for one, other in zip(first.sides, second.sides, strict=True)]
        conflicts.append(Conflict("clash", "t1", second.id, name.encode(), *values))


def _with(column: ColumnMerge, merged: ColumnEntry | None) -> ColumnMerge:
    """The same column with another result."""
    walk = column.walk and merged is not None
    return ColumnMerge(column.id, column.base, column.ours, column.theirs, merged, walk)
