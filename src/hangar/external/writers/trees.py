"""Write samples as named arrays: HDF5, npz and zarr. :mod:`hangar.external.plugins._trees` describes the layout."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from math import prod
from typing import IO, Any, Final, Protocol

import numpy as np
from numpy.lib import format as npy

from hangar.errors import InvalidInputError
from hangar.external.fit import is_added
from hangar.external.keysfile import Key
from hangar.external.plugins._blocks import need_package
from hangar.external.plugins.hdf5 import HEADER_ATTRIBUTE
from hangar.external.plugins.npz import HEADER_MEMBER
from hangar.external.records import key_texts
from hangar.external.writers.base import Target

__all__ = ["HDF5Store", "NpzStore", "TreeWriter", "ZarrStore"]

Array = np.ndarray[Any, Any]
CHUNK_BYTES: Final = 2**20


class ArrayStore(Protocol):
    """A file of named arrays that grow along the first axis."""

    def append(self, name: str, rows: Array) -> None: ...
    def finish(self, header: str) -> None: ...
    def abort(self) -> None: ...


class TreeWriter:
    """Writes samples to a store of arrays."""

    def __init__(self, target: Target, store: ArrayStore) -> None:
        self._target = target
        self._store = store
        self._keys: list[Key] = []
        self._sizes: list[Any] = []
        self._empty = True

    def write(self, keys: Sequence[Key], values: Any) -> None:
        """As the contract says."""
        requirements = self._target.requirements
        self._keys += keys
        self._empty = False
        if requirements.kind == "str":
            values = [value.encode("utf-8") for value in values]
        if requirements.kind != "ndarray":
            self._sizes += map(len, values)
            self._store.append("data", np.frombuffer(b"".join(values), np.uint8))
        elif requirements.variable:
            self._sizes += [value.shape for value in values]
            flat = [np.ascontiguousarray(value).reshape(-1) for value in values]
            self._store.append("data", _plain(np.concatenate(flat)))
        else:
            self._store.append("data", _plain(np.asarray(values)))

    def close(self) -> None:
        """As the contract says."""
        requirements = self._target.requirements
        if self._empty:
            shape = (0, *requirements.shape) if requirements.kind == "ndarray" and not requirements.variable else (0,)
            dtype = np.dtype(np.uint8) if requirements.dtype is None else requirements.dtype
            self._store.append("data", _plain(np.zeros(shape, dtype)))
        if requirements.kind != "ndarray":
            self._store.append("lengths", np.array(self._sizes, np.int64))
        elif requirements.variable:
            self._store.append("shapes", np.array(self._sizes, np.int64).reshape(-1, len(requirements.shape)))
        keys: list[Any] = self._keys
        if requirements.nested:
            self._store.append("keys", _key_table([key[0] for key in keys]))
            self._store.append("subkeys", _key_table([key[1] for key in keys]))
        else:
            self._store.append("keys", _key_table(keys))
        self._store.finish(self._target.header.encode())

    def abort(self) -> None:
        """As the contract says."""
        self._store.abort()


def _plain(array: Array) -> Array:
    """``array`` in a type that every reader knows: bfloat16 and float8 as unsigned integers of their size."""
    return array.view(f"u{array.dtype.itemsize}") if is_added(array.dtype) else array


def _key_table(keys: Sequence[Any]) -> Array:
    texts = [text.encode("utf-8") for text in key_texts(keys)[0]]
    return np.array(texts, f"S{max(map(len, texts), default=1)}")


class HDF5Store:
    """An HDF5 file. ``compression`` is None, ``'gzip'`` or ``'lzf'``."""

    def __init__(self, target: Target, compression: str | None = None) -> None:
        if compression not in (None, "gzip", "lzf"):
            raise InvalidInputError(f"--compression is gzip or lzf, not {compression!r}")
        self._compression = compression
        self._file = need_package("h5py", "hdf5").File(target.path, "w")
        self._arrays: dict[str, Any] = {}

    def append(self, name: str, rows: Array) -> None:
        """Append rows to an array."""
        if name not in self._arrays:
            row = prod(rows.shape[1:]) * rows.dtype.itemsize
            count = max(1, min(CHUNK_BYTES // max(1, row), 2**20))
            self._arrays[name] = self._file.create_dataset(
                name,
                (0, *rows.shape[1:]),
                rows.dtype,
                maxshape=(None, *(extent or None for extent in rows.shape[1:])),
                chunks=(count, *(max(1, extent) for extent in rows.shape[1:])),
                compression=self._compression,
                shuffle=self._compression is not None,
            )
        array = self._arrays[name]
        start = array.shape[0]
        array.resize(start + len(rows), axis=0)
        if rows.size:
            array[start:] = rows

    def finish(self, header: str) -> None:
        """Write the header, and complete the file."""
        self._file.attrs[HEADER_ATTRIBUTE] = header if len(header) < 60_000 else np.bytes_(header.encode())
        self._file.close()

    def abort(self) -> None:
        """Close the file."""
        self._file.close()


class ZarrStore:
    """A zarr store."""

    def __init__(self, target: Target) -> None:
        self._group = need_package("zarr", "zarr").open_group(str(target.path), mode="w")
        self._arrays: dict[str, Any] = {}

    def append(self, name: str, rows: Array) -> None:
        """Append rows to an array; texts of fixed width become rows of uint8."""
        if rows.dtype.kind == "S":
            rows = rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
        if name not in self._arrays:
            row = prod(rows.shape[1:]) * rows.dtype.itemsize
            chunks = (max(1, min(CHUNK_BYTES // max(1, row), 2**20)), *(max(1, extent) for extent in rows.shape[1:]))
            create = getattr(self._group, "create_array", None) or self._group.create_dataset
            self._arrays[name] = create(name, shape=(0, *rows.shape[1:]), chunks=chunks, dtype=rows.dtype)
        array = self._arrays[name]
        start = array.shape[0]
        array.resize((start + len(rows), *rows.shape[1:]))
        if rows.size:
            array[start:] = rows

    def finish(self, header: str) -> None:
        """Write the header."""
        self._group.attrs["hangar"] = header

    def abort(self) -> None:
        """Nothing is open."""


class NpzStore:
    """An ``.npz`` archive. Arrays are collected in files beside it, as an archive is written one member after another."""

    def __init__(self, target: Target, compression: str | None = None) -> None:
        if compression not in (None, "deflate"):
            raise InvalidInputError(f"--compression is deflate, not {compression!r}")
        self._path = target.path
        self._method = zipfile.ZIP_DEFLATED if compression else zipfile.ZIP_STORED
        self._parts: dict[str, tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]] = {}
        self._rows: dict[str, int] = {}

    def append(self, name: str, rows: Array) -> None:
        """Append rows to an array."""
        if name not in self._parts:
            file = self._path.with_name(f"{self._path.name}.{name}").open("w+b")
            self._parts[name] = file, rows.shape[1:], rows.dtype
            self._rows[name] = 0
        self._rows[name] += len(rows)
        if rows.size:
            self._parts[name][0].write(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)

    def finish(self, header: str) -> None:
        """Write the archive."""
        with zipfile.ZipFile(self._path, "w", self._method) as archive:
            archive.writestr(HEADER_MEMBER, header)
            for name, (file, shape, dtype) in self._parts.items():
                file.seek(0)
                described = {
                    "descr": npy.dtype_to_descr(dtype),
                    "fortran_order": False,
                    "shape": (self._rows[name], *shape),
                }
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    npy.write_array_header_2_0(member, described)
                    shutil.copyfileobj(file, member, 2**20)
        self.abort()

    def abort(self) -> None:
        """Remove the files beside the archive."""
        for file, _, _ in self._parts.values():
            file.close()
        for name in self._parts:
            self._path.with_name(f"{self._path.name}.{name}").unlink(missing_ok=True)
