"""TensorFlow data sets over columns.

Samples are read in blocks, with one gather for each column, and TensorFlow splits the blocks into elements. So no Python
runs for each sample: a Python generator of single samples is limited to about 5,000 samples a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf

from hangar.dataset.ahead import fetched_ahead
from hangar.dataset.sampler import Sampler
from hangar.dataset.selection import SelectedColumn, Selection
from hangar.errors import InvalidInputError, InvalidTypeError

__all__ = ["as_dataset"]

BLOCK_BYTES: Final = 2**22
MAX_BLOCK_SAMPLES: Final = 1024
"""Largest block, in bytes and samples. A block has at least one sample."""
_PREFETCH_BLOCKS: Final = 2
_SIZED_SAMPLES: Final = 5


class _Column:
    """How one column of a block goes to TensorFlow: as one tensor, or packed, if its arrays differ in shape."""

    def __init__(self, source: SelectedColumn) -> None:
        if source.whole:
            raise InvalidInputError(
                f"column {source.name!r} is nested, and its samples have no common structure for TensorFlow: "
                "give keys, pairs (sample, subsample)"
            )
        schema = source.schema
        if schema.kind_name in ("sparse", "chunked"):
            raise InvalidInputError(
                f"column {source.name!r} holds {schema.kind_name} arrays, which have no tf.data.Dataset here: use "
                "make_numpy_dataset, and tf.data.Dataset.from_generator"
            )
        form = schema.array_form
        self.packed = schema.stacks and schema.variable
        self.text = schema.python_type is not None
        if form is None and not self.text:
            raise InvalidInputError(
                f"column {source.name!r} holds {schema.kind_name}s of several ranks and dtypes, and a tf.data.Dataset has one: "
                "use `column.decoding(mode='RGB')`"
            )
        dtype, self.rank = (None, 0) if form is None else form
        self.shape = (None,) * self.rank if self.packed else (schema.shape or ())
        try:
            self.dtype = tf.string if dtype is None else tf.as_dtype(dtype)
        except TypeError:
            raise InvalidTypeError(f"TensorFlow has no dtype {dtype}, the one of column {source.name!r}") from None

    @property
    def block_spec(self) -> Any:
        """Signature of the column of a block."""
        if self.packed:
            sizes = tf.TensorSpec((None,), tf.int64)
            return tf.TensorSpec((None,), self.dtype), sizes, tf.TensorSpec((None, self.rank), tf.int64)
        return tf.TensorSpec((None, *self.shape), self.dtype)

    def block(self, values: Any) -> Any:
        """The column of a block, from an array or a list of values."""
        if self.text:
            texts = np.empty(len(values), object)
            texts[:] = values
            return texts
        if not self.packed:
            return values
        flat = np.concatenate([value.ravel() for value in values])
        shapes = np.array([value.shape for value in values], np.int64).reshape(len(values), self.rank)
        return flat, np.cumsum([0, *(value.size for value in values)], dtype=np.int64), shapes

    def one(self, block: Any, index: Any) -> Any:
        """One value of a block, as an operation of TensorFlow."""
        if not self.packed:
            return block[index]
        flat, ends, shapes = block
        return tf.ensure_shape(tf.reshape(flat[ends[index] : ends[index + 1]], shapes[index]), self.shape)


def as_dataset(selection: Selection, *, shuffle: bool, seed: int, batch_size: int | None, drop_last: bool) -> Any:
    """The items of a selection as a ``tf.data.Dataset`` of tuples; of batches, if there is a ``batch_size``."""
    columns = list(map(_Column, selection.columns))
    packed = any(column.packed for column in columns)
    if packed and batch_size is not None:
        raise InvalidInputError(
            "arrays of different shapes have no batch: leave out batch_size, and use padded_batch or ragged_batch of the data set"
        )
    size = _block_size(selection) if batch_size is None else batch_size
    sampler = Sampler(len(selection), size, shuffle=shuffle, seed=seed, drop_last=drop_last, rank=0, world_size=1)

    def blocks() -> Iterator[tuple[Any, ...]]:
        for numbers in fetched_ahead(selection, iter(sampler)):
            values = selection.gather(numbers)
            yield tuple(column.block(one) for column, one in zip(columns, values, strict=True))

    signature = tuple(column.block_spec for column in columns)
    data = tf.data.Dataset.from_generator(blocks, output_signature=signature).prefetch(_PREFETCH_BLOCKS)
    if batch_size is None:
        # unbatch of TensorFlow 2.21 ends the process on values without elements, such as those of shape (0, 3).
        by_index = packed or any(0 in column.shape for column in columns)
        data = data.flat_map(_block_items(columns)) if by_index else data.unbatch()
    return data.apply(tf.data.experimental.assert_cardinality(len(selection) if batch_size is None else len(sampler)))


def _block_size(selection: Selection) -> int:
    """Items of a block. Where values differ in size, some of them are read to estimate it."""
    nbytes = sum(source.schema.nbytes for source in selection.columns if source.schema.uniform)
    others = [source for source in selection.columns if not source.schema.uniform]
    if others:
        some = np.unique(np.linspace(0, len(selection) - 1, _SIZED_SAMPLES).astype(np.int64))
        nbytes += sum(
            getattr(value, "nbytes", None) or len(value) for source in others for value in source.read(some, None)
        ) // len(some)
    return max(1, min(MAX_BLOCK_SAMPLES, BLOCK_BYTES // max(1, nbytes)))


def _block_items(columns: Sequence[_Column]) -> Any:
    def items(*block: Any) -> Any:
        first = block[0][2] if columns[0].packed else block[0]
        numbers = tf.data.Dataset.range(tf.shape(first, out_type=tf.int64)[0])
        return numbers.map(
            lambda index: tuple(column.one(one, index) for column, one in zip(columns, block, strict=True))
        )

    return items
