"""Three-way merge of one chunked array, chunk by chunk. No chunk is read.

Two sides that changed different chunks are merged without a conflict. A chunk that both changed differently is a
conflict; then each side of the conflict has all other changes of both, and differs from the others in those chunks alone.
So whatever resolves the conflict keeps the rest.

Shapes. If one side resized the array, the result has its shape. A change of the other side in what was cut off is a
conflict of the whole array, because there is no array that has both. If both sides resized it to different shapes, the
whole array is in conflict. If both resized it to the same larger shape, the new part was added on both sides: chunks that
reach into it must be equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from hangar.objects.apply import apply
from hangar.objects.arrays import ArrayRecord
from hangar.objects.diff import diff
from hangar.objects.store import NodeStore
from hangar.schema.chunked import ChunkedSchema
from hangar.schema.chunkkeys import ChunkIndex, indices_of

__all__ = ["ArrayMerge", "merge_arrays", "zipped"]

_Cell: TypeAlias = "bytes | None"
_Difference: TypeAlias = "tuple[bytes, _Cell, _Cell]"
Row: TypeAlias = "tuple[bytes, _Cell, _Cell, _Cell]"
"""Key, and cells of base, ours and theirs."""


class ArrayMerge(NamedTuple):
    """The digests of the array records of a merged array.

    Attributes
    ----------
    conflict
        Whether some chunks are in conflict.
    base, ours, theirs
        The merged array, with the chunks in conflict of this side. Without a conflict all three are equal.
    """

    conflict: bool
    base: bytes
    ours: bytes
    theirs: bytes


def zipped(ours: Iterable[_Difference], theirs: Iterable[_Difference]) -> Iterator[Row]:
    """Key, and cells of base, ours and theirs, of each key that is in any of the two diffs against the base."""
    left, right = iter(ours), iter(theirs)
    here, there = next(left, None), next(right, None)
    while here is not None or there is not None:
        if there is None or (here is not None and here[0] < there[0]):
            assert here is not None
            yield here[0], here[1], here[2], here[1]
            here = next(left, None)
        elif here is None or there[0] < here[0]:
            yield there[0], there[1], there[1], there[2]
            there = next(right, None)
        else:
            yield here[0], here[1], here[2], there[2]
            here, there = next(left, None), next(right, None)


def merge_arrays(store: NodeStore, schema: ChunkedSchema, base: bytes, ours: bytes, theirs: bytes) -> ArrayMerge | None:
    """Merge an array that both sides changed; None if the whole array is in conflict.

    Parameters
    ----------
    store
        Has the records and chunk maps; gets those of the merge.
    base, ours, theirs
        Digests of the array records.
    """
    records = store.load_arrays([base, ours, theirs])
    before, mine, other = records
    resized = [one.shape != before.shape for one in (mine, other)]
    if all(resized) and mine.shape != other.shape:
        return None
    shape = other.shape if resized[1] else mine.shape
    rows = _Rows(schema, before, mine, other)
    for row in zipped(diff(store, before.root, mine.root), diff(store, before.root, other.root)):
        if row[2] != row[3] and not rows.add(row):
            return None
    return rows.merged(store, shape)


@dataclass(slots=True)
class _Rows:
    """Changed chunks of one array, sorted into those to be taken from theirs and those in conflict."""

    schema: ChunkedSchema
    before: ArrayRecord
    ours: ArrayRecord
    theirs: ArrayRecord
    taken: dict[bytes, _Cell] = field(default_factory=dict)
    conflicts: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> bool:
        """Sort a chunk in; False if the whole array is in conflict."""
        key, base, ours, theirs = row
        (index,) = indices_of([key], [2**32] * len(self.before.shape))
        alone = base in (ours, theirs)
        changed_by_ours = ours != base
        if alone:
            other = self.theirs if changed_by_ours else self.ours
            grown = self.ours.shape == self.theirs.shape != self.before.shape
            if _shrank(self.before, other) and not self._within(index, other.shape):
                return False
            alone = not (grown and not self._within(index, self.before.shape))
        if not alone:
            for side in (self.ours, self.theirs):
                if _shrank(self.before, side) and not self._within(index, side.shape):
                    return False
            self.conflicts.append(row)
        elif not changed_by_ours:
            self.taken[key] = theirs
        return True

    def _within(self, index: ChunkIndex, shape: tuple[int, ...]) -> bool:
        """Whether a chunk lies within a shape as a whole."""
        return all((at + 1) * size <= extent for at, size, extent in zip(index, self.schema.chunks, shape, strict=True))

    def merged(self, store: NodeStore, shape: tuple[int, ...]) -> ArrayMerge:
        """The merged arrays."""
        form = self.schema.chunk.form
        keys = sorted(self.taken)
        tree = apply(store, form, self.ours.tree, keys, [self.taken[key] for key in keys])
        mine = store.add_array(ArrayRecord.of(shape, tree))
        if not self.conflicts:
            return ArrayMerge(False, mine, mine, mine)
        names = [row[0] for row in self.conflicts]
        base, theirs = (
            store.add_array(
                ArrayRecord.of(shape, apply(store, form, tree, names, [row[side] for row in self.conflicts]))
            )
            for side in (1, 3)
        )
        return ArrayMerge(True, base, mine, theirs)


def _shrank(before: ArrayRecord, after: ArrayRecord) -> bool:
    return any(new < old for new, old in zip(after.shape, before.shape, strict=True))
