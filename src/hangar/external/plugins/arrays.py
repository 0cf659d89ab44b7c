"""Plugin for arrays in NumPy's formats: ``.npy`` holds one array, ``.npz`` several.

Nothing is ever unpickled. The size declared in a header is compared with the size of the file before memory is
allocated.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from math import prod
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from hangar import limits
from hangar.errors import HangarError, InvalidInputError
from hangar.external.base import normal_extension
from hangar.external.expansion import check_declared
from hangar.external.fit import is_added
from hangar.external.plugins._files import FilePlugin, SizeLimit
from hangar.external.records import Probe
from hangar.external.safe_io import open_input
from hangar.wording import plural

__all__ = ["NumpyPlugin", "fill", "read_header"]

MAX_HEADER_CHARACTERS = 10_000


class NumpyPlugin(FilePlugin):
    """Reads and writes ndarray values as ``.npy`` and ``.npz`` files."""

    column_types = frozenset(("ndarray",))

    def single_name(self, fpath: str) -> str | None:
        """As in the base class. None for an archive, which must be opened to know its names."""
        return None if fpath.lower().endswith(".npz") else self.sample_name(fpath)

    def load(self, fpath: str) -> tuple[np.ndarray[Any, Any], str] | Iterator[tuple[np.ndarray[Any, Any], str]]:
        """The array in a file and its name. An archive of several arrays gives each one with the name ``FILE/ARRAY``.

        Raises
        ------
        InvalidInputError
            The file is damaged, or holds Python objects, which need pickle.
        """
        with open_input(fpath) as file:
            magic = file.read(4)
            file.seek(0)
            if magic[:2] != b"PK":
                size = os.fstat(file.fileno()).st_size
                return _read(file, size, fpath), self.sample_name(fpath)
        return self._members(fpath)

    def probe(self, fpath: str, **options: Any) -> list[Probe] | None:
        """As in the base class."""
        with open_input(fpath) as file:
            if file.read(2) == b"PK":
                return None
            file.seek(0)
            shape, _, dtype = read_header(file, fpath)
        return [Probe("npy", "ndarray", dtype.name, shape)]

    def _members(self, fpath: str) -> Iterator[tuple[np.ndarray[Any, Any], str]]:
        name = self.sample_name(fpath)
        with open_input(fpath) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                with zipfile.ZipFile(file) as archive:
                    members = [one for one in archive.infolist() if not one.is_dir()]
                    for member in members:
                        inner = name if len(members) == 1 else f"{name}/{member.filename.removesuffix('.npy')}"
                        with archive.open(member) as stream:
                            yield (
                                _read(
                                    stream,
                                    member.file_size,
                                    f"{fpath} ({member.filename})",
                                    min(member.compress_size, size),
                                ),
                                inner,
                            )
            except HangarError:
                raise
            except (
                Exception
            ) as error:  # BadZipFile, zlib.error, NotImplementedError, RuntimeError (encrypted), EOFError ...
                raise InvalidInputError(f"{fpath} is not a readable archive of arrays: {error}") from error

    def decode(
        self, data: bytes, where: str, *, size_limit: SizeLimit | None = None, **options: Any
    ) -> np.ndarray[Any, Any]:
        """As in the base class."""
        return _read(io.BytesIO(data), len(data), where)

    def encode(self, arr: Any, extension: str) -> memoryview:
        """The bytes of a file with the array."""
        if not isinstance(arr, np.ndarray) or arr.dtype.hasobject:
            raise self._wrong_type(arr, extension)
        if is_added(arr.dtype):
            # NumPy cannot read back the names of these types. Raw bytes are written; an import converts them to the
            # type of the column.
            arr = arr.view(f"V{arr.dtype.itemsize}")
        buffer = io.BytesIO()
        if normal_extension(extension) == "npz":
            np.savez(buffer, data=arr)
        else:
            np.save(buffer, arr, allow_pickle=False)
        return buffer.getbuffer()


def read_header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the order is Fortran's, and dtype from the header of a ``.npy`` file.

    Raises
    ------
    InvalidInputError
        It is not a ``.npy`` file, or holds Python objects, or has an impossible shape.
    """
    try:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(file, max_header_size=MAX_HEADER_CHARACTERS)
    except HangarError:
        raise
    except Exception as error:  # NumPy parses headers with Python's parser, which may raise anything
        raise InvalidInputError(f"{where} is not a .npy file: {error}") from error
    if dtype.hasobject:
        raise InvalidInputError(f"{where} holds Python objects; only arrays of numbers are read")
    if len(shape) > limits.MAX_RANK or any(extent < 0 for extent in shape):
        raise InvalidInputError(f"{where} has the impossible shape {shape}")
    return tuple(int(extent) for extent in shape), fortran, dtype


def _read(file: IO[bytes], size: int, where: str, stored: int | None = None) -> np.ndarray[Any, Any]:
    """The array in ``file``, which is ``size`` bytes long, and compressed to ``stored`` bytes."""
    shape, fortran, dtype = read_header(file, where)
    needed = prod(shape) * dtype.itemsize
    if needed > size:
        raise InvalidInputError(
            f"{where} is truncated: its header declares {plural(needed, 'byte')}, the file has {size:,}"
        )
    check_declared(shape, dtype, size if stored is None else stored, where)
    flat = np.empty(prod(shape), dtype)
    got = fill(file, flat.view(np.uint8).data if needed else memoryview(bytearray()))
    if got != needed:
        raise InvalidInputError(
            f"{where} is truncated: its header declares {plural(needed, 'byte')}, {got:,} were read"
        )
    return flat.reshape(shape, order="F" if fortran else "C")


def fill(file: IO[bytes], memory: memoryview) -> int:
    """Read directly into ``memory``, without a second copy. Returns the number of bytes read."""
    got = 0
    while got < len(memory):
        count: int = file.readinto(memory[got:])  # type: ignore[attr-defined]
        if not count:
            break
        got += count
    return got
