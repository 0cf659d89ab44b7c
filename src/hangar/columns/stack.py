"""A flat column of one shape as one lazy array: the first axis is the position in key order, the others are those of a sample.

It has what dask and other libraries ask of an array (``shape``, ``dtype``, ``ndim``, ``[...]``), reads only the samples
that an index selects, as one batch, and pickles, because the column of a commit does.
"""

from __future__ import annotations

import math
import operator
from typing import Any, Final

import numpy as np

from hangar.columns.base import CommittedSource
from hangar.errors import AccessError, InvalidInputError, MissingPackageError

__all__ = ["SampleStack", "as_dask"]

BATCH_BYTES: Final = 32 * 2**20
"""Size of a chunk of a dask array by default."""


class SampleStack:
    """A flat column as an array-like object.

    Parameters
    ----------
    column
        Column of a reader checkout, of arrays of a fixed shape.

    Raises
    ------
    AccessError
        (a ``PermissionError``) the column shows the staging area, which changes.
    InvalidInputError
        (a ``ValueError``) the column does not hold arrays of a fixed shape.
    """

    def __init__(self, column: Any) -> None:
        if not isinstance(column._source, CommittedSource):
            raise AccessError(
                f"column {column.column!r} shows the staging area, which changes: commit it, and use a reader"
            )
        if column.column_type != "ndarray" or column.schema_type != "fixed_shape" or column.contains_subsamples:
            raise InvalidInputError(
                f"column {column.column!r} is no flat column of arrays of one shape: only such a column is one array"
            )
        self.column = column
        self.shape: tuple[int, ...] = (len(column), *column.shape)
        self.dtype: np.dtype[Any] = np.dtype(column.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def name(self) -> str:
        """A name for this content: equal for equal columns."""
        root = self.column._source.root()
        digest = "empty" if root is None else root.digest.hex()[:32]
        return f"hangar-{self.column.column}-{digest}"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """The part that a numpy index selects. Along the first axis only the selected samples are read."""
        parts = index if isinstance(index, tuple) else (index,)
        if not parts or parts[0] is Ellipsis or parts[0] is None:
            return self.column.read(slice(None))[index]
        first, rest = parts[0], parts[1:]
        every = (slice(None), *rest)
        if isinstance(first, slice):
            # By numpy's rules, which the positions of a slice with a step follow too.
            return self.column.read(positions=range(*first.indices(len(self))))[every]
        if np.ndim(first) == 0 and not isinstance(first, (bool, np.bool_)):
            sample = self.column.read(positions=[operator.index(first)])[0]
            return sample[rest] if rest else sample
        chosen = np.asarray(first)
        chosen = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.reshape(-1)
        found = self.column.read(positions=chosen)
        return found[every] if rest else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = self.column.read(slice(None))
        return found if dtype is None else found.astype(dtype, copy=False)


def as_dask(column: Any, batch: int | None = None) -> Any:
    """A flat column as a dask array; see ``column.to_dask``."""
    try:
        from dask import array as da
    except ImportError:
        raise MissingPackageError("a dask array needs dask: run `pip install 'hangar[dask]'`") from None
    stack = SampleStack(column)
    size = max(1, stack.dtype.itemsize * math.prod(stack.shape[1:]))
    if batch is None:
        batch = max(1, BATCH_BYTES // size)
    elif type(batch) is not int or batch < 1:
        raise InvalidInputError(f"batch is the number of samples in a chunk, not {batch!r}")
    count = len(stack)
    full, rest = divmod(count, batch)
    first = (batch,) * full + ((rest,) if rest else ()) or (0,)
    chunks = (first, *((extent,) for extent in stack.shape[1:]))
    meta = np.empty((0,) * stack.ndim, stack.dtype)
    return da.from_array(stack, chunks=chunks, name=stack.name, lock=False, asarray=True, meta=meta)
