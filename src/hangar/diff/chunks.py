"""Which chunks of a chunked array changed, found from its chunk maps; no chunk is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from hangar.diff.compare import kind_of
from hangar.diff.results import ChangeKind
from hangar.objects.diff import diff
from hangar.schema.chunked import ChunkedSchema
from hangar.schema.chunkkeys import ChunkIndex, indices_of
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.diff.threeway_columns import Conflict
    from hangar.objects.arrays import ArrayRecord
    from hangar.objects.store import NodeStore
    from hangar.schema import ColumnSchema

__all__ = ["ChunkChange", "Region", "changed_chunks", "conflict_regions", "region_text", "regions_text"]

Region: TypeAlias = "tuple[tuple[int, int], ...]"
"""Bounds (start, stop) along each axis."""
MOST_REGIONS: Final = 1_000
"""Maximum number of regions that are listed of one conflict."""


class ChunkChange(NamedTuple):
    """A chunk that changed.

    Attributes
    ----------
    chunk
        Its index along each axis.
    kind
        ``'added'``: it had only fill values before. ``'deleted'``: it has only fill values now. ``'mutated'``.
    region
        The part of the array that it covers, on the side where the array is larger.
    before, after
        Its cells in the two chunk maps.
    """

    chunk: ChunkIndex
    kind: ChangeKind
    region: Region
    before: bytes | None
    after: bytes | None


def changed_chunks(
    nodes: NodeStore,
    schema: ChunkedSchema,
    before: ArrayRecord,
    after: ArrayRecord,
    *,
    other: NodeStore | None = None,
) -> Iterator[ChunkChange]:
    """The chunks that differ between two arrays of a column, in the order of chunks.

    ``nodes`` has the chunk maps of both, or ``other`` that of ``after``.
    """
    shape = tuple(map(max, before.shape, after.shape))
    grid = [-(-extent // size) for extent, size in zip(shape, schema.chunks, strict=True)]
    for key, old, new in diff(nodes, before.root, after.root, other):
        (index,) = indices_of([key], grid)
        region = tuple(
            (at * size, min(extent, (at + 1) * size))
            for at, size, extent in zip(index, schema.chunks, shape, strict=True)
        )
        yield ChunkChange(index, kind_of(old, new), region, old, new)


def conflict_regions(
    nodes: NodeStore, schema_of: Callable[[bytes], ColumnSchema], conflict: Conflict
) -> tuple[Region, ...]:
    """The regions of a chunked array that are in conflict, some of them if there are very many; none for other conflicts."""
    if conflict.subject != "sample" or conflict.column is None or not (conflict.ours and conflict.theirs):
        return ()
    schema = schema_of(conflict.column)
    if not isinstance(schema, ChunkedSchema):
        return ()
    found = changed_chunks(nodes, schema, *nodes.load_arrays([conflict.ours, conflict.theirs]))
    return tuple(change.region for change in islice(found, MOST_REGIONS))


def region_text(region: Region) -> str:
    """A region as an index expression, such as ``[0:64, 128:192]``."""
    return f"[{', '.join(f'{start}:{stop}' for start, stop in region)}]"


def regions_text(regions: Sequence[Region]) -> str:
    """The first of some regions, after a space, and how many more there are; empty if there are none."""
    if not regions:
        return ""
    more = f" and {plural(len(regions) - 1, 'more region')}" if len(regions) > 1 else ""
    return f" {region_text(regions[0])}{more}"
