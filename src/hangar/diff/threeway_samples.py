"""Three-way comparison of the samples of one column: both diffs against the base, zipped by key.

Nothing but the changed nodes of the three trees is read, and nothing is held in memory but the changed keys of one
sample of a nested column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from typing import Literal, NamedTuple, TypeAlias

from hangar.objects.diff import diff
from hangar.objects.samples import sample_of
from hangar.objects.scan import starts_with
from hangar.objects.store import NodeStore

__all__ = ["ConflictKind", "SampleMerge", "conflict_kind", "merged_samples"]

ConflictKind: TypeAlias = Literal["t1", "t21", "t22", "t3"]
"""Added on both sides; removed in ours and changed in theirs; changed in ours and removed in theirs; changed on both."""
_Cell: TypeAlias = "bytes | None"
_Difference: TypeAlias = "tuple[bytes, _Cell, _Cell]"


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
    """

    key: bytes
    kind: ConflictKind | None
    base: bytes | None
    ours: bytes | None
    theirs: bytes | None


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
    """
    if base is None and not unresolved:
        # Nothing was there before, so the two sides are compared directly.
        for key, here, there in diff(store, ours, theirs):
            if there is not None:
                yield SampleMerge(key, None if here is None else "t1", None, here, there)
        return
    rows = _zipped(diff(store, base, ours), diff(store, base, theirs))
    if not nested:
        for row in rows:
            yield from _decide(row, unresolved)
        return
    for prefix, group in groupby(rows, lambda row: sample_of(row[0])):
        whole = list(group)
        kept = _kept_by_one(store, prefix, whole, ours, theirs)
        for row in whole:
            if kept is None:
                yield from _decide(row, unresolved)
            elif row[kept] is not None:
                yield SampleMerge(row[0], "t21" if kept == _THEIRS else "t22", *row[1:4])


_Row: TypeAlias = "tuple[bytes, _Cell, _Cell, _Cell]"
_OURS, _THEIRS = 2, 3


def _zipped(ours: Iterable[_Difference], theirs: Iterable[_Difference]) -> Iterator[_Row]:
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


def _decide(row: _Row, unresolved: Collection[bytes]) -> Iterator[SampleMerge]:
    key, base, ours, theirs = row
    if ours == theirs:
        return
    if key in unresolved or ours != base != theirs:
        yield SampleMerge(key, conflict_kind(base, ours, theirs), base, ours, theirs)
    elif ours == base:
        yield SampleMerge(key, None, base, ours, theirs)


def _kept_by_one(
    store: NodeStore, prefix: bytes, rows: list[_Row], ours: bytes | None, theirs: bytes | None
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
