"""Three-way comparison: what a merge of *theirs* into *ours* changes, given a common *base*, and what conflicts.

Columns are paired by id over the three sides. A change that only theirs made is merged, one that both made in the same
way counts once, and two different changes of one thing are a conflict. No array bytes are read, and only those parts of
trees that changed.

Usage: make a :class:`Records` and a :class:`ThreeWay`. Its ``columns``, ``attributes`` and ``conflicts`` are there at
once, :meth:`ThreeWay.samples` streams the samples of a column, and :meth:`ThreeWay.summary` has all conflicts as users
see them. In a merge the base is the merge base. To undo a commit, the base is that commit and theirs its parent; to
pick a commit, the base is its parent and theirs the commit. Where there is a conflict, the result has what ours has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from hangar.diff.chunks import conflict_regions
from hangar.diff.compare import ColumnPair, data_keys
from hangar.diff.results import (
    AttributeConflict,
    Changes,
    ColumnSchemaKey,
    Conflicts,
    DataKey,
    DataRecordVal,
    Layout,
    Regions,
)
from hangar.diff.threeway_columns import (
    ColumnMerge,
    Conflict,
    Records,
    Side,
    Subject,
    Unresolved,
    merge_attributes,
    merge_columns,
)
from hangar.diff.threeway_samples import ConflictKind, SampleMerge, conflict_kind, merged_samples
from hangar.objects.commit import NESTED, ColumnEntry
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.schema.chunked import ChunkedSchema

__all__ = [
    "ColumnMerge",
    "Conflict",
    "ConflictKind",
    "Records",
    "SampleBatch",
    "SampleMerge",
    "Side",
    "Subject",
    "ThreeWay",
    "Unresolved",
    "conflict_kind",
    "summarize",
]

_BATCH: Final = 256
_MERGED_AT_ONCE: Final = 65_536
"""Number of samples in a batch of a merge."""


class SampleBatch(NamedTuple):
    """Some samples of a merged column.

    Attributes
    ----------
    keys, cells
        The keys of those that theirs alone changed, and their cells, None if it removed them; and of chunked arrays
        that were merged.
    conflicts
        The conflicts of the others.
    """

    keys: list[bytes]
    cells: list[bytes | None]
    conflicts: list[Conflict]


class ThreeWay:
    """The comparison of ours and theirs with a base.

    Parameters
    ----------
    records
        Reads records; gets the new schemas and attributes of the merge.
    base, ours, theirs
        The three sides.

    Attributes
    ----------
    columns
        All columns, merged as far as that needs no look at samples (see :class:`ColumnMerge`), sorted by name.
    attributes
        Digest of the merged attributes of the commit.
    conflicts
        All conflicts but those of samples.

    Raises
    ------
    InvalidInputError
        Merged attributes would be too large.
    """

    def __init__(self, records: Records, base: Side, ours: Side, theirs: Side) -> None:
        self.records, self._unresolved = records, base.unresolved
        self.columns, self.conflicts = merge_columns(records, base, ours, theirs)
        self.attributes = merge_attributes(
            records,
            None,
            base.attributes,
            ours.attributes,
            theirs.attributes,
            base.unresolved.get(("attribute", None), ()),
            self.conflicts,
        )

    def samples(self, column: ColumnMerge) -> Iterator[SampleMerge]:
        """Stream the samples of a merged column that are not those of ``column.merged``, and its conflicts, by key.

        Nothing if only one side changed samples: the column has the right tree then.
        """
        if not column.walk or column.ours is None or column.theirs is None:
            return iter(())
        schema = self.records.schema((column.merged or column.ours).schema)
        return merged_samples(
            self.records.nodes,
            None if column.base is None else column.base.root,
            column.ours.root,
            column.theirs.root,
            nested=column.ours.layout == NESTED,
            unresolved=self._unresolved.get(("sample", column.id), ()),
            arrays=schema if isinstance(schema, ChunkedSchema) else None,
        )

    def batches(self, column: ColumnMerge) -> Iterator[SampleBatch]:
        """The samples of :meth:`samples` in batches."""
        walk = self.samples(column)
        while batch := list(islice(walk, _MERGED_AT_ONCE)):
            taken = [row for row in batch if row.kind is None or row.merged]
            yield SampleBatch(
                [row.key for row in taken],
                [row.theirs if row.kind is None else row.ours for row in taken],
                [
                    Conflict("sample", kind, column.id, key, base, ours, theirs)
                    for key, kind, base, ours, theirs, _ in batch
                    if kind is not None
                ],
            )

    def all_conflicts(self) -> Iterator[Conflict]:
        """Stream all conflicts, those of samples last."""
        yield from self.conflicts
        for column in self.columns:
            for batch in self.batches(column):
                yield from batch.conflicts

    def summary(self) -> Conflicts:
        """All conflicts as users see them."""
        return self.summary_of(self.all_conflicts())

    def summary_of(self, conflicts: Iterator[Conflict]) -> Conflicts:
        """Some of the conflicts as users see them."""
        columns = {column.id: column.any for column in self.columns}
        records = self.records
        return summarize(conflicts, columns, records.nodes, lambda column: records.schema(columns[column].schema))


def summarize(
    conflicts: Iterator[Conflict],
    columns: dict[bytes, ColumnEntry],
    nodes: NodeStore,
    schema_of: Callable[[bytes], ColumnSchema],
) -> Conflicts:
    """Conflicts as users see them.

    Parameters
    ----------
    columns
        The columns by id, for names and layouts.
    nodes, schema_of
        The records of chunked arrays, and the schema of a column by its id, to name regions.
    """
    regions: dict[DataKey, Regions] = {}
    schemas: dict[ConflictKind, dict[ColumnSchemaKey, DataRecordVal]] = {"t1": {}, "t21": {}, "t22": {}, "t3": {}}
    samples: dict[ConflictKind, list[DataKey]] = {"t1": [], "t21": [], "t22": [], "t3": []}
    attributes: dict[str | None, dict[str, AttributeConflict]] = {}
    while batch := list(islice(conflicts, _BATCH)):
        for one in batch:
            subject, kind, column, key, base, ours, theirs = one
            entry = None if column is None else columns[column]
            if subject == "attribute":
                name = None if entry is None else entry.name
                attributes.setdefault(name, {})[key.decode()] = AttributeConflict(base, ours, theirs)
            elif subject == "sample":
                assert entry is not None
                samples[kind] += data_keys(ColumnPair(None, entry), (key,))
                if found := conflict_regions(nodes, schema_of, one):
                    regions[samples[kind][-1]] = found
            else:
                shown = (
                    ours[0]
                    if subject == "clash"
                    else next((side for side in (ours, theirs) if isinstance(side, ColumnEntry)), entry)
                )
                assert shown is not None
                layout: Layout = "nested" if shown.layout == NESTED else "flat"
                schemas[kind][ColumnSchemaKey(shown.name, layout)] = DataRecordVal(shown.schema.hex())
    t1, t21, t22, t3 = (Changes(schemas[kind], tuple(samples[kind])) for kind in schemas)
    return Conflicts(t1, t21, t22, t3, attributes=attributes, regions=regions)
