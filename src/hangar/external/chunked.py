"""Import and export of chunked arrays, block by block: memory is bounded, however large an array is.

Sources are ``.npy`` files, the data sets of HDF5 files and the arrays of zarr stores; targets are ``.npy`` files and zarr
stores. What plugins refuse (links, external storage, virtual data sets, codecs that run code) is refused here too,
because the same code opens the files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.lib import format as npy

from hangar.errors import InvalidInputError
from hangar.external.plugins._blocks import need_package
from hangar.external.plugins.arrays import read_header
from hangar.external.plugins.hdf5 import HDF5Plugin
from hangar.external.plugins.zarr_store import ZarrPlugin
from hangar.external.safe_io import file_error, open_input
from hangar.wording import plural

__all__ = [
    "BLOCK_BYTES",
    "Array",
    "PartArray",
    "blocks",
    "check_fit",
    "copy_to_column",
    "equals",
    "has_sample",
    "open_arrays",
    "reads",
    "write_npy",
    "write_zarr",
]

Array = np.ndarray[Any, Any]
Box = tuple[slice, ...]

BLOCK_BYTES: Final = 32 * 2**20
"""Approximate size of a block that is read and written at a time."""
_HDF5: Final = ("h5", "hdf5", "he5", "hdf")
_MOST_HEADER: Final = 4_096


class PartArray(Protocol):
    """An array in a file, of which parts are read."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def read_part(self, part: Box) -> Array:
        """The elements of a box."""
        ...


def reads(path: str) -> bool:
    """Whether arrays are read from a file of this name."""
    return _suffix(path) in ("npy", "zarr", *_HDF5)


def _suffix(path: str) -> str:
    return path.rstrip("/").rpartition(".")[2].lower()


@contextmanager
def open_arrays(path: str, dataset: str = "") -> Iterator[dict[str, PartArray]]:
    """The arrays in a file or store, by the name of their sample; open in the context.

    Parameters
    ----------
    dataset
        Read only the array of this name, of a file that has several.

    Raises
    ------
    InvalidInputError
        The file cannot be read, or something in it is refused; or there is no such array.
    """
    stem = Path(path.rstrip("/")).stem
    suffix = _suffix(path)
    if suffix == "npy":
        with open_input(path) as file:
            yield {stem: _NpyArray(file, path)}
        return
    plugin = ZarrPlugin(("load",), ("zarr",)) if suffix == "zarr" else HDF5Plugin(("load",), _HDF5)
    with plugin.open_tree(path) as tree:
        wanted = dataset.strip("/")
        faults = [error for name, error in tree.faults if not wanted or name == wanted]
        if faults:
            raise faults[0]
        arrays: dict[str, Any] = {name: one for name, one in tree.arrays.items() if not wanted or name == wanted}
        if not arrays:
            names = ", ".join(tree.arrays) or "none"
            raise InvalidInputError(f"{path} has no array {dataset!r}: there are {names}")
        single = len(arrays) == 1
        yield {stem if single else f"{stem}/{name}": one for name, one in arrays.items()}


class _NpyArray:
    """The array of a ``.npy`` file, read by position: a map of a file that another program truncates would end this one."""

    def __init__(self, file: Any, path: str) -> None:
        self.shape, fortran, self.dtype = read_header(file, path)
        self._start, self._file, self._path = file.tell(), file, path
        size = os.fstat(file.fileno()).st_size - self._start
        needed = prod(self.shape) * self.dtype.itemsize
        if needed > size:
            raise InvalidInputError(
                f"{path} is truncated: its header declares {plural(needed, 'byte')}, the file has {size:,}"
            )
        # In Fortran's order it is the transposed array in C order.
        self._fortran = fortran

    def read_part(self, part: Box) -> Array:
        if self._fortran:
            found: Array = self._read(part[::-1], self.shape[::-1]).T
            return found
        return self._read(part, self.shape)

    def _read(self, part: Box, shape: tuple[int, ...]) -> Array:
        extents = [one.stop - one.start for one in part]
        found = np.empty(extents, self.dtype)
        # The trailing axes that are taken whole are contiguous with one range of the axis before them.
        axis = len(shape) - 1
        while axis > 0 and extents[axis] == shape[axis]:
            axis -= 1
        strides = [prod(shape[i + 1 :]) * self.dtype.itemsize for i in range(len(shape))]
        for outer in product(*(range(one.start, one.stop) for one in part[:axis])):
            at = self._start + sum(i * stride for i, stride in zip(outer, strides, strict=False))
            at += part[axis].start * strides[axis] if shape else 0
            run = found[tuple(i - one.start for i, one in zip(outer, part, strict=False))]
            self._fill(run.reshape(-1).view(np.uint8).data if run.size else memoryview(b""), at)
        return found

    def _fill(self, memory: memoryview, offset: int) -> None:
        while memory:
            try:
                count = os.preadv(self._file.fileno(), [memory], offset)
            except OSError as error:
                raise file_error("read", self._path, error) from error
            if not count:
                raise InvalidInputError(f"{self._path} is truncated: it ends at byte {offset:,}")
            memory, offset = memory[count:], offset + count


# ---------------------------------------------------------------------- blocks


def blocks(shape: Sequence[int], chunks: Sequence[int], itemsize: int, most: int = BLOCK_BYTES) -> Iterator[Box]:
    """Boxes that cover an array, each of whole chunks and of at most ``most`` bytes, but one chunk at least."""
    block = [min(size, extent) for size, extent in zip(chunks, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        each = max(1, prod(block) * itemsize // max(1, block[axis]))
        fits = max(1, most // (each * chunks[axis]))
        block[axis] = min(shape[axis], chunks[axis] * fits)
        if block[axis] < shape[axis]:
            break
    ranges = [range(0, extent, max(1, size)) for extent, size in zip(shape, block, strict=True)]
    for start in product(*ranges):
        yield tuple(slice(at, min(at + size, extent)) for at, size, extent in zip(start, block, shape, strict=True))


def _runs(shape: Sequence[int], chunks: Sequence[int], itemsize: int, most: int = BLOCK_BYTES) -> Iterator[Box]:
    """Boxes that cover an array in C order, each of which is contiguous there."""
    axis = 0
    while axis < len(shape) - 1 and chunks[axis] * prod(shape[axis + 1 :]) * itemsize > most:
        axis += 1
    rest = [slice(0, extent) for extent in shape[axis + 1 :]]
    step = max(1, min(chunks[axis], most // max(1, prod(shape[axis + 1 :]) * itemsize)))
    for outer in product(*map(range, shape[:axis])):
        for start in range(0, shape[axis], step):
            yield (*(slice(i, i + 1) for i in outer), slice(start, min(start + step, shape[axis])), *rest)


def copy_to_column(column: Any, key: Any, source: PartArray) -> None:
    """Write an array to a chunked column of a writer, as one batch, and replace what was there.

    Raises
    ------
    InvalidInputError
        It does not fit the column.
    """
    check_fit(column, source)
    with column:
        if has_sample(column, key):
            del column[key]
        column.create(key, source.shape)
        array = column[key]
        for part in blocks(source.shape, array.chunks, array.dtype.itemsize):
            array[part] = source.read_part(part)


def has_sample(column: Any, key: Any) -> bool:
    """Whether a column has a sample or, in a nested column, a pair of sample and subsample."""
    return (key[0] in column and key[1] in column[key[0]]) if isinstance(key, tuple) else key in column


def check_fit(column: Any, source: PartArray) -> None:
    """Raise InvalidInputError unless an array fits a chunked column."""
    if source.dtype.newbyteorder("=") != column.dtype.newbyteorder("="):
        raise InvalidInputError(f"has dtype {source.dtype}, and column {column.column!r} holds {column.dtype}")
    column.schema.check_shape(source.shape)


def equals(array: Any, source: PartArray) -> bool:
    """Whether an array of a chunked column has the content of a source, bit for bit."""
    if array.shape != source.shape:
        return False
    return all(
        array[part].tobytes() == np.ascontiguousarray(source.read_part(part), array.dtype).tobytes()
        for part in blocks(source.shape, array.chunks, array.dtype.itemsize)
    )


# ---------------------------------------------------------------------- export


def write_npy(array: Any, path: Path) -> int:
    """Write an array to a new ``.npy`` file; returns its bytes. Raises the errors of :func:`hangar.external.safe_io.file_error`."""
    shape, dtype = array.shape, array.dtype
    stored = np.dtype(f"V{dtype.itemsize}") if dtype.isbuiltin == 2 else dtype
    try:
        with path.open("xb") as file:
            header = {"shape": shape, "fortran_order": False, "descr": npy.dtype_to_descr(stored)}
            npy.write_array_header_2_0(file, header)
            if array.size:
                for part in _runs(shape, array.chunks, dtype.itemsize):
                    file.write(np.ascontiguousarray(array[part]).reshape(-1).view(np.uint8).data)
            return file.tell()
    except OSError as error:
        raise file_error("write", path, error) from error


def write_zarr(array: Any, path: Path) -> int:
    """Write an array to a new zarr store; returns its bytes. Chunks of fill values are not written.

    Raises
    ------
    MissingPackageError
        zarr is not installed.
    InvalidInputError
        zarr has no such dtype.
    """
    zarr = need_package("zarr", "zarr")
    try:
        made = zarr.create_array(
            store=str(path),
            shape=array.shape,
            chunks=array.chunks,
            dtype=array.dtype.newbyteorder("="),
            fill_value=array.fill_value.item(),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise InvalidInputError(f"zarr cannot hold an array of dtype {array.dtype}: {error}") from None
    try:
        for part in array.iter_chunks(initialized=True):
            made[part] = array[part]
    except OSError as error:
        raise file_error("write", path, error) from error
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
