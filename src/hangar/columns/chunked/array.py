"""A chunked array as a column returns it: lazy, with the indexing rules of numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hangar.columns.chunked.content import ArrayContent, regions
from hangar.columns.chunked.selection import parse
from hangar.columns.chunked.table import ChunkReader
from hangar.errors import AccessError, InvalidInputError, InvalidTypeError, NotLocalError
from hangar.schema.cells import Rows

__all__ = ["ArrayColumn", "ChunkedArray", "Orthogonal"]


class ArrayColumn(Protocol):
    """Interface of the column that an array belongs to."""

    def _check(self) -> None:
        """Raise if the checkout cannot be used any more."""

    def _array(self, digest: bytes) -> ChunkedArray:
        """The array of a record."""


class ChunkedArray:
    """An array of a chunked column. Slices read only the chunks that they touch.

    ``array[...]`` follows numpy: ints, slices with any step, ``...``, ``None``, boolean and integer arrays; the result is
    a new numpy array. ``array.oindex[...]`` selects along each axis independently. ``numpy.asarray(array)`` reads all of
    it. It can be pickled, and passed to ``dask.array.from_array``.
    """

    __slots__ = ("__weakref__", "_column", "_content_", "_named", "_reader")

    def __init__(self, reader: ChunkReader, digest: bytes, column: ArrayColumn | None = None) -> None:
        self._reader = reader
        self._column = column
        self._named: Callable[[NotLocalError], NotLocalError] | None = None
        self._content_ = ArrayContent(reader, reader.record(digest), digest)

    def name_errors(self, named: Callable[[NotLocalError], NotLocalError]) -> None:
        """Let errors about chunks that are not on this disk name the sample."""
        self._named = named

    def _content(self) -> ArrayContent:
        """The present content; raises if the checkout was closed."""
        if self._column is not None:
            self._column._check()
        return self._content_

    def __reduce__(self) -> tuple[Any, ...]:
        if self._column is None:
            raise AccessError("a chunked array without a checkout cannot be pickled")
        return _of_column, (self._column, self._content().digest)

    # ------------------------------------------------------------------ properties

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self._content().shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        return self._reader.schema.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self._reader.schema.chunks)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, whether their chunks are stored or not."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""
        return self._reader.schema.chunks

    @property
    def fill_value(self) -> Any:
        """Value of the elements that nobody wrote: a numpy scalar."""
        return self._reader.schema.fill[()]

    @property
    def nchunks_initialized(self) -> int:
        """Number of chunks that are stored; the others have only fill values."""
        content = self._content()
        return len(list(content.present())) if content.changed else content.record.chunks

    @property
    def digest(self) -> str:
        """Digest of the array, in hex: equal for arrays of one column that have equal content."""
        return self._content().digest.hex()

    # ------------------------------------------------------------------ reading

    def __getitem__(self, index: Any) -> Any:
        """Read the selected elements into a new array; a numpy scalar if the index selects one element.

        Raises
        ------
        PositionNotFoundError
            (an ``IndexError``) the index is out of bounds, or not one that numpy accepts.
        CorruptionError
            A stored chunk is damaged.
        """
        content = self._content()
        try:
            return content.read(parse(index, content.shape))
        except NotLocalError as error:
            raise error if self._named is None else self._named(error) from None

    def _fetch(self, indices: Sequence[tuple[ChunkedArray, Any]]) -> int:
        """Have the chunks fetched of parts of arrays of one column, with one request; returns their bytes."""
        if not self._reader.fetches:
            return 0
        absent: list[Rows] = []
        for array, index in indices:
            content = array._content()
            absent += content.absent(parse(index, content.shape))
        return self._reader.fetch(absent)

    @property
    def oindex(self) -> Orthogonal:
        """``array.oindex[...]``: index arrays of one dimension, each of which selects along its own axis."""
        return Orthogonal(self)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """All elements, in new memory."""
        if copy is False:
            raise InvalidInputError("the chunks of an array are stored separately: an array of them is always a copy")
        whole = np.asarray(self[...])
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        """The elements along the first axis. Chunks are read once for all elements that they hold."""
        depth = self.chunks[0]
        for start in range(0, len(self), depth):
            # A copy of each, because otherwise one of them would keep all in memory.
            yield from map(np.copy if self.ndim > 1 else _same, self[start : start + depth])

    def iter_chunks(self, *, initialized: bool = False) -> Iterator[tuple[slice, ...]]:
        """The region of each chunk, as a tuple of slices, in order: ``array[region]`` reads one chunk.

        Parameters
        ----------
        initialized
            Only chunks that are stored.
        """
        content = self._content()
        return regions(content.present() if initialized else None, content.shape, self.chunks)

    def __bool__(self) -> bool:
        raise InvalidTypeError("whether a chunked array is true is not defined: use `.size` or `numpy.any(array[...])`")

    def __repr__(self) -> str:
        content = self._content()
        return f"<{type(self).__name__} {content.shape} {self.dtype}, chunks {self.chunks}, {self.nchunks_initialized:,} stored>"


class Orthogonal:
    """Orthogonal selection from an array."""

    __slots__ = ("_array",)

    def __init__(self, array: ChunkedArray) -> None:
        self._array = array

    def __getitem__(self, index: Any) -> Any:
        """Read the selected elements."""
        content = self._array._content()
        return content.read(parse(index, content.shape, orthogonal=True))

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write the selected elements."""
        self._array._assign(lambda shape: parse(index, shape, orthogonal=True), value)  # type: ignore[attr-defined]


def _same(value: Any) -> Any:
    return value


def _of_column(column: ArrayColumn, digest: bytes) -> ChunkedArray:
    return column._array(digest)
