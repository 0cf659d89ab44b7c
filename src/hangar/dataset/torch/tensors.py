"""Collate: a batch of a data set as tensors, without Python code for each sample and without a copy after the gather."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from hangar.dataset.batch import Batch, ItemForm, collate_items
from hangar.dataset.selection import SelectedColumn
from hangar.errors import InvalidTypeError
from hangar.schema.coordinates import SparseCoordinates
from hangar.schema.sparse import coordinates_of_scipy, is_scipy_sparse

__all__ = ["as_tensor", "collate", "collate_into"]


def collate(batch: Sequence[Any]) -> Any:
    """Collate a batch of items into tensors; for ``collate_fn`` of a ``torch.utils.data.DataLoader``.

    Parameters
    ----------
    batch
        A batch of a data set of ``hangar.make_torch_dataset``, or any sequence of its items.

    Returns
    -------
    object
        One value for each column, in the form of an item: a tensor of shape ``(n, *shape of a sample)`` for columns of
        one shape; a list of n tensors for columns of variable shape; a sparse COO tensor ``(n, *shape)`` for columns of
        sparse arrays, or a list of sparse tensors if they differ in shape; a list of str or bytes; a list of dicts of tensors
        for whole samples of nested columns. Items that a transform makes are tuples or dicts of values, or values: arrays
        and tensors of one shape become one tensor, and so do numbers; other values are a list. The memory is new,
        writable and belongs to the caller. In a worker process it is shared memory, so that it is not copied again on
        its way.

    Raises
    ------
    InvalidTypeError
        (a ``TypeError``) torch has no such dtype.
    InvalidInputError
        (a ``ValueError``) a transform made dicts of different names, or tuples of different lengths.
    """
    return collate_into(batch, pinned=False)


def collate_into(batch: Sequence[Any], *, pinned: bool) -> Any:
    """As :func:`collate`, into pinned memory if ``pinned``."""
    if not isinstance(batch, Batch):
        return collate_items(list(batch), _collate_values)
    form = batch.form
    if form.item_transform is not None:
        return collate_items(batch.items, _collate_values)
    selected = batch.selection.columns
    made = [
        None if form.column_transforms[at] else _allocate(source, len(batch), pinned)
        for at, source in enumerate(selected)
    ]
    columns = batch.columns([None if tensor is None else tensor.numpy() for tensor in made])
    return _assemble(
        form,
        [
            _collate_values(column) if transform else _column(tensor, column, source)
            for tensor, column, source, transform in zip(made, columns, selected, form.column_transforms, strict=True)
        ],
    )


def _assemble(form: ItemForm, columns: Sequence[Any]) -> Any:
    together = form.assemble(columns)
    return dict(together) if form.as_dict else together


def _allocate(source: SelectedColumn, count: int, pinned: bool) -> Any:
    """A tensor for a batch of the column in shared memory (in a worker) or pinned memory; None if numpy allocates it."""
    worker = get_worker_info() is not None
    if source.lists or not (pinned or worker):
        return None
    schema = source.schema
    dtype = None if schema.dtype is None else _writable_dtype(schema.dtype)
    if dtype is None:
        return None
    shape = (count, *(schema.shape or ()))
    if worker:
        size = count * schema.nbytes
        return torch.empty(0, dtype=dtype).set_(torch.UntypedStorage._new_shared(size), 0, shape) if size else None
    return torch.empty(shape, dtype=dtype, pin_memory=True)


def _column(made: Any, values: Any, source: SelectedColumn) -> Any:
    """Values of one column of a batch, as they were read, as tensors."""
    if made is not None:
        return made
    if isinstance(values, np.ndarray):
        return as_tensor(values)
    if values and isinstance(values[0], np.ndarray) and source.lists:
        return list(map(as_tensor, values))
    return _collate_values(values)


def as_tensor(array: np.ndarray[Any, Any] | np.generic) -> Any:
    """A tensor on the memory of an array, also for the small floats that numpy has from ``ml_dtypes``."""
    if not isinstance(array, np.ndarray):
        array = np.asarray(array)
    try:
        return torch.from_numpy(array)
    except (TypeError, ValueError):
        dtype = getattr(torch, array.dtype.name, None)
    if not isinstance(dtype, torch.dtype):
        raise InvalidTypeError(
            f"torch has no dtype {array.dtype}: give the data set a transform for its column, such as {{name: lambda a: a.astype(np.float32)}}"
        )
    if array.dtype.isbuiltin != 1:
        return torch.from_numpy(array.view(f"u{array.dtype.itemsize}")).view(dtype)
    return torch.from_numpy(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("=")))


def _collate_values(values: list[Any]) -> Any:
    """Values of one column: tensors and arrays of equal shape are stacked, numbers are one tensor, other values stay a list."""
    first = values[0] if values else None
    if isinstance(first, (torch.Tensor, np.ndarray, np.generic)):
        tensors = [value if isinstance(value, torch.Tensor) else as_tensor(value) for value in values]
        return torch.stack(tensors) if len({(tensor.shape, tensor.dtype) for tensor in tensors}) == 1 else tensors
    if is_scipy_sparse(first):
        return _sparse_tensors(values)
    if isinstance(first, (bool, int, float, complex)):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return torch.tensor(values)
    if isinstance(first, dict):
        return [{key: _subsample(value) for key, value in one.items()} for one in values]
    return values


def _sparse_tensors(values: list[Any]) -> Any:
    """Arrays of scipy.sparse as one sparse COO tensor ``(n, *shape)``; a list of tensors if they differ in shape."""
    parts = [one for one in map(coordinates_of_scipy, values) if one is not None]
    if len({(one.shape, one.values.dtype) for one in parts}) > 1:
        return list(map(_sparse_tensor, parts))
    numbers = np.repeat(np.arange(len(parts)), [len(one.values) for one in parts])
    where = np.vstack((numbers, np.concatenate([one.coordinates for one in parts], axis=1)))
    together = np.concatenate([one.values for one in parts])
    return _sparse_tensor(SparseCoordinates(where, together, (len(parts), *parts[0].shape)))


def _sparse_tensor(array: SparseCoordinates) -> Any:
    where = torch.from_numpy(np.ascontiguousarray(array.coordinates, np.int64))
    return torch.sparse_coo_tensor(where, as_tensor(array.values), array.shape, check_invariants=False).coalesce()


def _subsample(value: Any) -> Any:
    sparse = coordinates_of_scipy(value)
    if sparse is not None:
        return _sparse_tensor(sparse)
    return as_tensor(value) if isinstance(value, np.ndarray) else value


@lru_cache
def _writable_dtype(dtype: np.dtype[Any]) -> Any:
    """The dtype of torch whose tensors numpy can write to; None if there is none."""
    try:
        return torch.from_numpy(np.empty(0, dtype)).dtype
    except (TypeError, ValueError):
        return None
