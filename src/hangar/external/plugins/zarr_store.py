"""Plugin for zarr stores (folders ``NAME.zarr``): each array is a sample, or each row of one.

A store is a tree of files that names its own decoders. So before zarr opens it: links are refused, only known codecs
that cannot run code are accepted (never pickle), and the size that a compressed chunk declares is compared with the
size of a chunk, because decoders allocate it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from hangar.errors import HangarError, InvalidInputError
from hangar.external.expansion import MAX_RATIO, SMALL_BYTES
from hangar.external.plugins._blocks import need_package
from hangar.external.plugins._trees import LazyArray, Tree, TreePlugin
from hangar.external.records import MAX_HEADER_BYTES, FileHeader
from hangar.external.safe_io import file_error
from hangar.progress import format_bytes

__all__ = ["ZarrPlugin"]

_METADATA: Final = ("zarr.json", ".zarray")
_CODECS: Final = frozenset(
    ("bytes", "blosc", "gzip", "zlib", "zstd", "lz4", "crc32c", "transpose", "shuffle", "sharding_indexed")
)
_PREFIX: Final = "numcodecs."


class ZarrPlugin(TreePlugin):
    """Reads arrays from zarr stores."""

    format = "zarr"

    @staticmethod
    def sample_name(fpath: str) -> str:
        """As in the base class."""
        return Path(fpath.rstrip("/")).stem

    @contextmanager
    def open_tree(self, fpath: str) -> Iterator[Tree]:
        """As in the base class."""
        if not any(Path(fpath, name).is_file() for name in (*_METADATA, ".zgroup")):
            raise InvalidInputError(f"{fpath} is no zarr store: it has no zarr.json, .zgroup or .zarray")
        zarr = need_package("zarr", "zarr")
        try:
            yield _tree(zarr, fpath)
        except HangarError:
            raise
        except Exception as error:  # zarr and its codecs raise anything on garbage
            raise InvalidInputError(f"{fpath} cannot be read: {error!r}") from error


def _tree(zarr: Any, fpath: str) -> Tree:
    arrays: dict[str, LazyArray] = {}
    faults: list[tuple[str, HangarError]] = []
    for folder, sizes in _folders(fpath):
        name = os.path.relpath(folder, fpath)
        name = "" if name == "." else name
        try:
            chunk = _checked_metadata(Path(folder), f"{fpath} ({name})")
            if chunk is not None:
                label = name or Path(fpath).stem
                arrays[label] = _Array(zarr, folder, chunk, sizes, f"{fpath} ({label})")
        except HangarError as error:
            faults.append((name, error))
    header = None
    if arrays or faults:
        root = zarr.open(fpath, mode="r") if not faults else None
        stored = None if root is None else root.attrs.get("hangar")
        if stored is not None:
            header = FileHeader.decode(str(stored), fpath)
    return Tree(dict(sorted(arrays.items())), faults, header)


def _folders(top: str) -> Iterator[tuple[str, dict[str, int]]]:
    """Each folder of the store that has metadata, and the sizes of all files below it that belong to it.

    Raises
    ------
    InvalidInputError
        There is a link or a special file.
    """
    owners: dict[str, dict[str, int]] = {}
    waiting = [(top, top)]
    while waiting:
        folder, owner = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            raise file_error("read", folder, error) from error
        if any(entry.name in _METADATA for entry in entries):
            owner = folder
        files = owners.setdefault(owner, {})
        for entry in entries:
            if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
                raise InvalidInputError(f"{entry.path} is a link or a special file: a zarr store with one is refused")
            if entry.is_dir():
                waiting.append((entry.path, owner))
            else:
                files[entry.path] = entry.stat().st_size
    yield from owners.items()


def _checked_metadata(folder: Path, where: str) -> _Chunk | None:
    """The chunks of the array in ``folder``, once its metadata is known to be harmless; None if it is a group."""
    path = next((folder / name for name in _METADATA if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        if path.stat().st_size > MAX_HEADER_BYTES:
            raise ValueError("it is too long")
        record = json.loads(path.read_bytes())
        if record.get("node_type", "array") != "array":
            return None
        return _chunk_v3(record) if path.name == "zarr.json" else _chunk_v2(record)
    except HangarError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidInputError(f"{where} has metadata that is not read: {error}") from None


class _Chunk:
    """Codecs and bytes of a chunk.

    ``sharded`` chunks have headers inside that are not looked at here; their files are bounded by the inner chunks.
    """

    def __init__(self, codecs: list[str], shape: list[int], itemsize: int, sharded: bool) -> None:
        unknown = sorted(set(codecs) - _CODECS)
        if unknown:
            raise ValueError(f"the codec {unknown[0]!r}, which is not one of {', '.join(sorted(_CODECS))}")
        self.codec = codecs[-1] if codecs and codecs[-1] != "crc32c" else codecs[-2] if len(codecs) > 1 else ""
        self.nbytes = prod(int(extent) for extent in shape) * itemsize
        self.sharded = sharded


def _chunk_v2(record: dict[str, Any]) -> _Chunk:
    dtype = np.dtype(record["dtype"]) if isinstance(record["dtype"], str) else None
    if dtype is None or dtype.hasobject or dtype.kind not in "biufcSU":
        raise ValueError(f"values of type {record['dtype']!r}")
    filters = [one["id"] for one in record.get("filters") or ()]
    compressor = record.get("compressor")
    return _Chunk([*filters, *([compressor["id"]] if compressor else [])], record["chunks"], dtype.itemsize, False)


def _chunk_v3(record: dict[str, Any]) -> _Chunk:
    if record.get("storage_transformers"):
        raise ValueError("storage transformers")
    names = [_codec_name(one) for one in record["codecs"]]
    inner = [one for codec in record["codecs"] for one in _inner_codecs(codec)]
    dtype = record["data_type"]
    itemsize = np.dtype(dtype).itemsize if isinstance(dtype, str) and dtype in _V3_TYPES else 0
    if not itemsize:
        raise ValueError(f"values of type {dtype!r}")
    grid = record["chunk_grid"]
    if grid["name"] != "regular":
        raise ValueError(f"a {grid['name']!r} grid of chunks")
    chunk = _Chunk([*names, *inner], grid["configuration"]["chunk_shape"], itemsize, "sharding_indexed" in names)
    chunk.codec = next((one for one in reversed(names) if one != "crc32c"), "")
    return chunk


_V3_TYPES: Final = frozenset(
    ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float16", "float32", "float64")
) | {"complex64", "complex128"}


def _codec_name(codec: Any) -> str:
    name = codec if isinstance(codec, str) else codec["name"]
    return str(name).removeprefix(_PREFIX)


def _inner_codecs(codec: Any) -> Iterator[str]:
    if isinstance(codec, dict) and codec.get("name") == "sharding_indexed":
        for part in ("codecs", "index_codecs"):
            for one in codec["configuration"].get(part, ()):
                yield _codec_name(one)
                yield from _inner_codecs(one)


def _declared_size(codec: str, head: bytes) -> int:
    """Decompressed size that a chunk declares and its decoder allocates; 0 if it declares none."""
    if codec == "blosc" and len(head) >= 16:
        return int.from_bytes(head[4:8], "little")
    if codec == "lz4" and len(head) >= 4:
        return int.from_bytes(head[:4], "little")
    if codec == "zstd" and head[:4] == b"\x28\xb5\x2f\xfd" and len(head) >= 6:
        descriptor = head[4]
        single, flag = descriptor >> 5 & 1, descriptor >> 6
        at = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
        size = (1 if single else 0, 2, 4, 8)[flag]
        return int.from_bytes(head[at : at + size], "little") + (256 if size == 2 else 0)
    return 0


class _Array:
    """An array of a store. Its chunks are checked when it is first read."""

    def __init__(self, zarr: Any, folder: str, chunk: _Chunk, files: dict[str, int], where: str) -> None:
        self._array = zarr.open_array(folder, mode="r")
        self.shape = tuple(int(extent) for extent in self._array.shape)
        self.dtype = np.dtype(self._array.dtype)
        self.stored = sum(files.values())
        if chunk.nbytes > SMALL_BYTES and chunk.nbytes > MAX_RATIO * max(1, self.stored):
            raise InvalidInputError(
                f"{where} has chunks of {format_bytes(chunk.nbytes)} and stores {format_bytes(self.stored)}: it is not "
                "read, as protection against decompression bombs"
            )
        self._chunk, self._files, self._where, self._checked = chunk, files, where, False

    def read(self, start: int, stop: int) -> Any:
        self._check()
        return np.asarray(self._array[start:stop])

    def read_part(self, part: tuple[slice, ...]) -> Any:
        """The elements of a box."""
        self._check()
        return np.asarray(self._array[part])

    def read_all(self) -> Any:
        self._check()
        return np.asarray(self._array[()] if not self.shape else self._array[:])

    def _check(self) -> None:
        if self._checked or self._chunk.sharded or not self._chunk.codec:
            return
        for path in self._files:
            if not path.endswith((*_METADATA, ".zattrs", ".zmetadata", ".zgroup")):
                with open(path, "rb") as file:  # noqa: PTH123  once per chunk
                    declared = _declared_size(self._chunk.codec, file.read(32))
                if declared > self._chunk.nbytes:
                    raise InvalidInputError(
                        f"{self._where} has a chunk that declares {format_bytes(declared)}, and a chunk holds "
                        f"{format_bytes(self._chunk.nbytes)}: refused"
                    )
        self._checked = True
