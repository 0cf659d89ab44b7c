"""Listing: the HDF5 metadata of a file, which shows its frames to h5py as datasets, in groups by dtype and shape.

Samples of one header with the same encoding and the same number to a chunk are the rows of one dataset, in the order of
writing. A chunk of samples of many shapes is a dataset of its elements, with a second dataset for the shapes. The
listing is made from the heads of the frames, so it can be remade at any time. Hangar itself never reads it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from hangar.backends.hdf5 import structure
from hangar.backends.hdf5.codecs import filters
from hangar.backends.hdf5.frames import RAGGED, ROWS, SHAPES, Content, Frame
from hangar.digest import Header
from hangar.schema.dtypes import DTYPE_NAMES

__all__ = ["about", "make_listing"]

_FLOATS: Final = {10: (2, 15, 10, 5, 15), 11: (4, 31, 23, 8, 127), 12: (8, 63, 52, 11, 1023), 32: (2, 15, 7, 8, 127)}
"""By dtype code: size in bytes, sign bit, bits of the mantissa, bits of the exponent, bias of the exponent."""
_INTEGERS: Final = {2: (1, 8), 3: (2, 8), 4: (4, 8), 5: (8, 8), 6: (1, 0), 7: (2, 0), 8: (4, 0), 9: (8, 0)}
"""By dtype code: size in bytes, and the flag "signed"."""


def about(tag: str, file_id: int, listed: bool) -> list[structure.Message]:
    """Attributes of the root group."""
    said = "Blobs of a Hangar repository." if listed else "Blobs of a Hangar repository, not listed yet."
    return [
        structure.attribute("about", said),
        structure.attribute("hangar backend", tag),
        structure.attribute("hangar file", f"{file_id:08x}"),
    ]


def make_listing(frames: Iterable[Frame], tag: str, file_id: int, base: int, start: int) -> tuple[bytes, int]:
    """HDF5 metadata for ``frames``.

    Parameters
    ----------
    frames
        In their order in the file.
    base
        Offset of the superblock.
    start
        Offset of the listing in the file.

    Returns
    -------
    tuple
        The bytes of the listing, and the address of the root group's object header.
    """
    listing = _Listing(base, start)
    groups: dict[str, dict[str, int]] = {}
    for group, name, members in _datasets(frames):
        groups.setdefault(group, {})[name] = listing.dataset(members)
    root = listing.group({name: listing.group(links, []) for name, links in groups.items()}, about(tag, file_id, True))
    return bytes(listing.data), root


def _datasets(frames: Iterable[Frame]) -> Iterator[tuple[str, str, list[Frame]]]:
    """Group, name and frames of each dataset."""
    alike: dict[tuple[object, ...], list[Frame]] = {}
    ragged = 0
    group = ""
    for frame in frames:
        content = frame.content
        if content.role == ROWS:
            cut = (content.axis, content.piece_bytes) if content.pieces > 1 else ()
            alike.setdefault((content.header, frame.encoding, content.rows, cut), []).append(frame)
        elif content.role == RAGGED:
            ragged += 1
            group = f"{_dtype_name(content)}_of_many_shapes"
            yield group, f"{ragged:06}", [frame]
        elif content.role == SHAPES and group:
            yield group, f"{ragged:06}_shapes", [frame]
    names: dict[tuple[str, str], int] = {}
    for members in alike.values():
        first = members[0]
        header = Header.decode(first.content.header)
        group = f"{_dtype_name(first.content)}_{'x'.join(map(str, header.shape)) or 'scalar'}"
        rows = first.content.rows
        name = f"{first.encoding.label}_{rows}_a_chunk" if first.content.pieces == 1 else f"{first.encoding.label}_cut"
        seen = names[group, name] = names.get((group, name), 0) + 1
        yield group, name if seen == 1 else f"{name}_{seen}", members


def _dtype_name(content: Content) -> str:
    code = content.header[1]
    return DTYPE_NAMES.get(code, f"type{code}")


class _Listing:
    """Buffer of HDF5 objects."""

    def __init__(self, base: int, start: int) -> None:
        self.data = bytearray()
        self._base = base
        self._start = start - base

    def _put(self, data: bytes) -> int:
        address = self._start + len(self.data)
        self.data += data
        return address

    def group(self, links: dict[str, int], attributes: list[structure.Message]) -> int:
        """Add a group, and return its address."""
        messages = [structure.link(name, links[name]) for name in sorted(links)]
        return self._put(structure.object_header([*structure.group_messages(), *attributes, *messages]))

    def dataset(self, frames: list[Frame]) -> int:
        """Add a dataset of similar frames, and return its address."""
        content, encoding = frames[0].content, frames[0].encoding
        header = Header.decode(content.header)
        item = content.item_bytes
        if content.role == ROWS:
            shape: tuple[int, ...] = (sum(frame.content.rows for frame in frames), *header.shape)
            chunk = (content.rows, *header.shape)
        else:
            shape = chunk = header.shape
        if content.pieces > 1:
            axis = content.axis
            below = math.prod(header.shape[axis + 1 :]) * item
            chunk = (1, *[1] * axis, content.piece_bytes // below, *header.shape[axis + 1 :])
        pipeline = filters(encoding, item, content.piece_bytes)
        starts = np.concatenate([frame.starts for frame in frames])
        stored = np.concatenate([frame.stored for frame in frames])
        # The filter mask of a raw chunk skips the last filter, the codec.
        masks = np.where(stored == content.piece_bytes, 1 << (len(pipeline) - 1) if pipeline else 0, 0)
        if len(starts) == 1:
            layout = structure.one_chunk(
                chunk, item, int(starts[0]) - self._base, int(stored[0]), int(masks[0]), bool(pipeline)
            )
        else:
            tree, root = structure.chunk_tree(
                _places(frames, chunk),
                (starts - self._base).astype(np.uint64),
                stored.astype(np.uint32),
                masks.astype(np.uint32),
                chunk[0],
                self._start + len(self.data),
            )
            self._put(tree)
            layout = structure.many_chunks(chunk, item, root)
        messages = structure.dataset_messages(_datatype(header.dtype, item), shape, pipeline, layout)
        attributes = [structure.attribute("dtype", _dtype_name(content))]
        return self._put(structure.object_header([*messages, *attributes]))


def _places(frames: list[Frame], chunk: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """First element of each chunk of a dataset, shape (n, rank)."""
    content = frames[0].content
    places = np.zeros((len(frames), content.pieces, len(chunk)), np.int64)
    places[:, :, 0] = (np.arange(len(frames)) * content.rows)[:, None]
    if content.pieces > 1:
        shape = Header.decode(content.header).shape
        slab, within = np.divmod(np.arange(content.pieces), content.pieces_per_slab)
        for axis in reversed(range(content.axis)):
            slab, places[:, :, 1 + axis] = np.divmod(slab, shape[axis])
        places[:, :, 1 + content.axis] = within * chunk[1 + content.axis]
    return places.reshape(-1, len(chunk))


def _datatype(code: int, item: int) -> bytes:
    """HDF5 datatype of an element type. A type that HDF5 does not have is listed as an unsigned integer of its size."""
    if code in _FLOATS:
        return _float(*_FLOATS[code])
    if code in _INTEGERS:
        return _integer(*_INTEGERS[code])
    if code == 1:
        # A bool is an enumeration, as h5py writes it.
        return struct.pack("<BHBI", 0x38, 2, 0, 1) + _integer(1, 8) + b"FALSE\0TRUE\0\0\1"
    if code in (13, 14):
        part = _float(*_FLOATS[11 if code == 13 else 12])
        members = b"".join(name + bytes((at,)) + part for name, at in ((b"r\0", 0), (b"i\0", item // 2)))
        return struct.pack("<BHBI", 0x36, 2, 0, item) + members
    return _integer(item, 0)


def _integer(size: int, signed: int) -> bytes:
    return struct.pack("<BBBBIHH", 0x10, signed, 0, 0, size, 0, 8 * size)


def _float(size: int, sign: int, mantissa: int, exponent: int, bias: int) -> bytes:
    head = struct.pack("<BBBBIHH", 0x11, 0x20, sign, 0, size, 0, 8 * size)
    return head + struct.pack("<BBBBI", mantissa, exponent, 0, mantissa, bias)
