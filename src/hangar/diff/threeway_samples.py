"""Three-way comparison of the samples of one column: both diffs against the base, zipped by key.

Nothing but the changed nodes of the three trees is read, and nothing is held in memory but the changed keys of one
sample of a nested column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby
from typing import Literal, NamedTuple, TypeAlias

from hangar.diff.threeway_arrays import Row, merge_arrays, zipped
from hangar.objects.diff import diff
from hangar.objects.samples import sample_of
from hangar.objects.scan import starts_with
from hangar.objects.store import NodeStore
from hangar.schema.chunked import ChunkedSchema

__all__ = ["ConflictKind", "SampleMerge", "conflict_kind", "merged_samples"]

ConflictKind: TypeAlias = Literal["t1", "t21", "t22", "t3"]
"""Added on both sides; removed in ours and changed in theirs; changed in ours and removed in theirs; changed on both."""


class SampleMerge(NamedTuple):
    """A key whose cell is not that of ours, or is in conflict.

    Attributes
    ----------
    key
        Encoded key.
    kind
        None: only theirs changed it, and the merge has the cell of theirs. Else the kind of conflict.
    base, ours, theirs
        The cells, None where the key does not exist.
    merged
        Whether it is a chunked array that was merged in part: the merge has the cell of ours, even if there is a
        conflict, and this is not the cell that ours has.
    """

    key: bytes
    kind: ConflictKind | None
    base: bytes | None
    ours: bytes | None
    theirs: bytes | None
    merged: bool = False


def conflict_kind(base: object, ours: object, theirs: object) -> ConflictKind:
    """Kind of a conflict between two different values, None where there is none."""
    return "t21" if ours is None else "t22" if theirs is None else "t1" if base is None else "t3"


def merged_samples(
    store: NodeStore,
    base: bytes | None,
    ours: bytes | None,
    theirs: bytes | None,
    *,
    nested: bool,
    unresolved: Collection[bytes] = (),
    arrays: ChunkedSchema | None = None,
) -> Iterator[SampleMerge]:
    """Yield the keys that theirs changed and ours did not, and the conflicts, in key order.

    In a nested column, deleting a whole sample conflicts with any change inside it that leaves something of it: every
    key that the other side has of the sample is in conflict then.

    Parameters
    ----------
    base, ours, theirs
        Digests of the roots, None for an empty tree.
    unresolved
        Keys without a known base: a conflict wherever the two sides differ.
    arrays
        Schema of a chunked column, whose arrays are merged chunk by chunk; ``store`` gets the merged ones.
    """
    if base is None and not unresolved:
        # Nothing was there before, so the two sides are compared directly.
        for key, here, there in diff(store, ours, theirs):
            if there is not None:
                yield SampleMerge(key, None if here is None else "t1", None, here, there)
        return
    rows = zipped(diff(store, base, ours), diff(store, base, theirs))
    if not nested:
        for row in rows:
            yield from _decide(store, row, unresolved, arrays)
        return
    for prefix, group in groupby(rows, lambda row: sample_of(row[0])):
        whole = list(group)
        kept = _kept_by_one(store, prefix, whole, ours, theirs)
        for row in whole:
            if kept is None:
                yield from _decide(store, row, unresolved, arrays)
            elif row[kept] is not None:
                yield SampleMerge(row[0], "t21" if kept == _THEIRS else "t22", *row[1:4])


_OURS, _THEIRS = 2, 3


def _decide(
    store: NodeStore, row: Row, unresolved: Collection[bytes], arrays: ChunkedSchema | None
) -> Iterator[SampleMerge]:
    key, base, ours, theirs = row
    if ours == theirs:
        return
    if key in unresolved or ours != base != theirs:
        if arrays is not None and key not in unresolved and base and ours and theirs:
            found = merge_arrays(store, arrays, base, ours, theirs)
            if found is not None and found.conflict:
                yield SampleMerge(key, "t3", found.base, found.ours, found.theirs, True)
                return
            if found is not None:
                if found.ours != ours:
                    yield SampleMerge(key, None, base, ours, found.ours)
                return
        yield SampleMerge(key, conflict_kind(base, ours, theirs), base, ours, theirs)
    elif ours == base:
        yield SampleMerge(key, None, base, ours, theirs)


def _kept_by_one(
    store: NodeStore, prefix: bytes, rows: list[Row], ours: bytes | None, theirs: bytes | None
) -> int | None:
    """The side that keeps a sample of which the other side, and only that, deleted all, if it changed it; else None."""
    changed = [any(row[side] != row[1] for row in rows) for side in (_OURS, _THEIRS)]
    if not all(changed):
        return None
    gone = [
        all(row[side] is None for row in rows) and (root is None or not starts_with(store, root, prefix))
        for side, root in ((_OURS, ours), (_THEIRS, theirs))
    ]
    if gone[0] == gone[1]:
        return None
    return _THEIRS if gone[0] else _OURS
