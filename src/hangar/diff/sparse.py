"""Comparison of two sparse arrays: only elements that are not zero on one of the sides are looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hangar.diff.arrays import ArrayDifference, changed_mask, check_tolerance, compare_arrays
from hangar.schema.coordinates import SparseCoordinates, entry_bytes, linear_index
from hangar.schema.sparse import coordinates_of_scipy

__all__ = ["as_coordinates", "compare_sparse", "sparse_nbytes"]


def as_coordinates(value: Any) -> SparseCoordinates | None:
    """``value``, as a column of sparse arrays gives it, as coordinates; None if it is something else."""
    if isinstance(value, SparseCoordinates):
        return value
    found = coordinates_of_scipy(value)
    if found is None or getattr(value, "has_canonical_format", False):
        return found
    summed = value.tocoo(copy=True)
    summed.sum_duplicates()
    return coordinates_of_scipy(summed)


def sparse_nbytes(array: SparseCoordinates) -> int:
    """Logical bytes of a sparse array."""
    return len(array.values) * entry_bytes(array.shape, array.values.dtype.itemsize)


def compare_sparse(before: SparseCoordinates, after: SparseCoordinates, tolerance: float = 0.0) -> ArrayDifference:
    """Compare two sparse arrays. Both have each element once, in C order."""
    tolerance = check_tolerance(tolerance)
    names = before.values.dtype.name, after.values.dtype.name
    if before.shape != after.shape:
        return ArrayDifference(*names, before.shape, after.shape, kind="sparse")
    both = np.concatenate((before.coordinates, after.coordinates), axis=1)
    linear = linear_index(both, before.shape)
    if linear is None:
        where, places = np.unique(both, axis=1, return_inverse=True)
        places = places.reshape(-1)
    else:
        _, first, places = np.unique(linear, return_index=True, return_inverse=True)
        where = both[:, first]
    old, new = (np.zeros(where.shape[1], one.values.dtype) for one in (before, after))
    old[places[: len(before.values)]] = before.values
    new[places[len(before.values) :]] = after.values
    found = compare_arrays(old, new, tolerance)
    box = None
    if found.changed:
        moved = where[:, changed_mask(old, new, tolerance)]
        box = tuple(zip(moved.min(axis=1).tolist(), (moved.max(axis=1) + 1).tolist(), strict=True))
    return replace(
        found, shape_before=before.shape, shape_after=after.shape, box=box, kind="sparse", pixels=0, pixels_changed=0
    )
