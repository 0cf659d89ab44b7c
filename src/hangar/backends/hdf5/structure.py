"""Encoder for the parts of the HDF5 file format that a listing needs.

Written from the "HDF5 File Format Specification Version 3.0" (The HDF Group): a superblock of version 2, object headers
of version 2 with compact links and attributes, and chunked datasets whose chunks are found by one address or by a
B-tree of version 1. HDF5 1.10 and later read them. ``listing`` decides the content; addresses here are relative to the
superblock.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "SUPERBLOCK_BYTES",
    "Filter",
    "attribute",
    "chunk_tree",
    "dataset_messages",
    "group_messages",
    "link",
    "many_chunks",
    "object_header",
    "one_chunk",
    "superblock",
]

_UNDEFINED: Final = 2**64 - 1
SUPERBLOCK_BYTES: Final = 48
_NODE_CHILDREN: Final = 64
"""Children of a node of a chunk B-tree; HDF5's default."""

Message = tuple[int, bytes]
"""Message of an object header: type and content."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Filter of a dataset: number, name (empty for built-in filters) and parameters."""

    number: int
    name: str
    values: tuple[int, ...]


def _rotate(value: int, by: int) -> int:
    return (value << by | value >> (32 - by)) & 0xFFFFFFFF


def _lookup3(data: bytes) -> int:
    """Checksum of HDF5: lookup3 by Bob Jenkins (burtleburtle.net/bob/c/lookup3.c, ``hashlittle``)."""
    mask = 0xFFFFFFFF
    a = b = c = (0xDEADBEEF + len(data)) & mask
    if not data:
        return c
    whole = (len(data) - 1) // 12 * 12
    words: tuple[int, ...] = struct.unpack(f"<{whole // 4 + 3}I", data[:whole] + data[whole:].ljust(12, b"\0"))
    for at in range(0, whole // 4, 3):
        a, b, c = (a + words[at]) & mask, (b + words[at + 1]) & mask, (c + words[at + 2]) & mask
        a, c = (a - c) & mask ^ _rotate(c, 4), (c + b) & mask
        b, a = (b - a) & mask ^ _rotate(a, 6), (a + c) & mask
        c, b = (c - b) & mask ^ _rotate(b, 8), (b + a) & mask
        a, c = (a - c) & mask ^ _rotate(c, 16), (c + b) & mask
        b, a = (b - a) & mask ^ _rotate(a, 19), (a + c) & mask
        c, b = (c - b) & mask ^ _rotate(b, 4), (b + a) & mask
    a, b, c = ((x + y) & mask for x, y in zip((a, b, c), words[-3:], strict=True))
    c = ((c ^ b) - _rotate(b, 14)) & mask
    a = ((a ^ c) - _rotate(c, 11)) & mask
    b = ((b ^ a) - _rotate(a, 25)) & mask
    c = ((c ^ b) - _rotate(b, 16)) & mask
    a = ((a ^ c) - _rotate(c, 4)) & mask
    b = ((b ^ a) - _rotate(a, 14)) & mask
    return ((c ^ b) - _rotate(b, 24)) & mask


def _checked(data: bytes) -> bytes:
    return data + struct.pack("<I", _lookup3(data))


def superblock(base: int, root: int, end: int) -> bytes:
    """The superblock.

    Parameters
    ----------
    base
        Offset of the superblock in the file. Addresses are relative to it.
    root
        Address of the object header of the root group.
    end
        End of file for HDF5, from the beginning of the file.
    """
    head = b"\x89HDF\r\n\x1a\n" + bytes((2, 8, 8, 0))
    return _checked(head + struct.pack("<QQQQ", base, _UNDEFINED, end, root))


def object_header(messages: Iterable[Message]) -> bytes:
    """An object header that holds all of its messages."""
    body = b"".join(struct.pack("<BHB", number, len(data), 0) + data for number, data in messages)
    return _checked(struct.pack("<4sBBI", b"OHDR", 2, 2, len(body)) + body)


# ------------------------------------------------------------------------------------------------ groups, attributes


def group_messages() -> list[Message]:
    """Messages that make an object a group; add its links after them."""
    return [(0x02, struct.pack("<BBQQ", 0, 0, _UNDEFINED, _UNDEFINED)), (0x0A, bytes(2))]


def link(name: str, address: int) -> Message:
    """A hard link of a group to an object. The name is ASCII of at most 255 characters."""
    return 0x06, bytes((1, 0, len(name))) + name.encode("ascii") + struct.pack("<Q", address)


def attribute(name: str, value: str | int) -> Message:
    """An attribute: a string or an integer."""
    if isinstance(value, str):
        data = value.encode() or b"\0"
        kind = struct.pack("<BBBBI", 0x13, 0x11, 0, 0, len(data))
    else:
        data = struct.pack("<q", value)
        kind = struct.pack("<BBBBIHH", 0x10, 0x08, 0, 0, 8, 0, 64)
    encoded, scalar = name.encode("ascii") + b"\0", bytes((2, 0, 0, 0))
    head = struct.pack("<BBHHHB", 3, 0, len(encoded), len(kind), len(scalar), 0)
    return 0x0C, head + encoded + kind + scalar + data


# ---------------------------------------------------------------------------------------------------------- datasets


def _dataspace(shape: Sequence[int]) -> bytes:
    return struct.pack(f"<BBBB{len(shape)}Q", 2, len(shape), 0, 1, *shape)


def _pipeline(filters: Sequence[Filter]) -> bytes:
    data = bytes((2, len(filters)))
    for one in filters:
        own = one.number >= 256
        name = one.name.encode("ascii") + b"\0" if own else b""
        data += struct.pack("<H", one.number) + (struct.pack("<H", len(name)) if own else b"")
        # Flag 1: the filter is optional, a chunk may skip it.
        data += struct.pack("<HH", 1, len(one.values)) + name + struct.pack(f"<{len(one.values)}I", *one.values)
    return data


def dataset_messages(datatype: bytes, shape: Sequence[int], filters: Sequence[Filter], layout: bytes) -> list[Message]:
    """Messages that make an object a chunked dataset."""
    messages = [(0x01, _dataspace(shape)), (0x03, datatype), (0x05, bytes((3, 0x0B))), (0x08, layout)]
    return [*messages, (0x0B, _pipeline(filters))] if filters else messages


def many_chunks(chunk: Sequence[int], item_bytes: int, tree: int) -> bytes:
    """Layout of a dataset with chunks of shape ``chunk``, indexed by the B-tree at an address."""
    dims = (*chunk, item_bytes)
    return struct.pack(f"<BBBQ{len(dims)}I", 3, 2, len(dims), tree, *dims)


def one_chunk(chunk: Sequence[int], item_bytes: int, address: int, stored: int, mask: int, filtered: bool) -> bytes:
    """Layout of a dataset of one chunk, at an address."""
    dims = (*chunk, item_bytes)
    width = (max(dims).bit_length() + 7) // 8
    data = bytes((4, 2, 2 if filtered else 0, len(dims), width))
    data += b"".join(extent.to_bytes(width, "little") for extent in dims) + b"\x01"
    return data + (struct.pack("<QI", stored, mask) if filtered else b"") + struct.pack("<Q", address)


def chunk_tree(
    places: npt.NDArray[np.int64],
    addresses: npt.NDArray[np.uint64],
    stored: npt.NDArray[np.uint32],
    masks: npt.NDArray[np.uint32],
    rows: int,
    start: int,
) -> tuple[bytes, int]:
    """The B-tree of a dataset's chunks.

    Parameters
    ----------
    places
        First element of each chunk, ascending: int64, shape (n, rank).
    addresses, stored, masks
        Address and stored size of each, and the mask of the filters it skips, shape (n,).
    rows
        Extent of a chunk along the first axis.
    start
        Address of the tree.

    Returns
    -------
    tuple
        The bytes of the tree, and the address of its root.
    """
    rank = places.shape[1]
    key = np.dtype([("stored", "<u4"), ("mask", "<u4"), ("place", "<u8", (rank,)), ("zero", "<u8")])
    keys = np.zeros(len(places) + 1, key)
    keys["stored"][:-1], keys["mask"][:-1], keys["place"][:-1] = stored, masks, places
    # The extra last key marks the end of the last chunk.
    keys["place"][-1] = places[-1]
    keys["place"][-1, 0] += rows
    data = bytearray()
    children: npt.NDArray[np.uint64] = addresses
    level = 0
    while True:
        starts = np.arange(0, len(children), _NODE_CHILDREN)
        made = _nodes(keys, children, level, start + len(data), starts)
        nodes = start + len(data) + np.arange(len(starts), dtype=np.uint64) * np.uint64(len(made) // len(starts))
        data += made
        if len(starts) == 1:
            return bytes(data), int(nodes[0])
        keys, children, level = keys[np.append(starts, len(children))], nodes, level + 1


def _nodes(keys: npt.NDArray[Any], children: npt.NDArray[np.uint64], level: int, start: int, starts: Any) -> bytes:
    """Encode the nodes of one level of a tree."""
    entry = np.dtype([("key", keys.dtype), ("child", "<u8")])
    head = np.dtype(
        [("magic", "S4"), ("kind", "u1"), ("level", "u1"), ("used", "<u2"), ("left", "<u8"), ("right", "<u8")]
    )
    node = np.dtype([("head", head), ("entries", entry, (_NODE_CHILDREN,)), ("last", keys.dtype)])
    nodes = np.zeros(len(starts), node)
    addresses = start + np.arange(-1, len(starts) + 1, dtype=np.int64) * node.itemsize
    heads = nodes["head"]
    heads["magic"], heads["kind"], heads["level"] = b"TREE", 1, level
    heads["left"], heads["right"] = addresses[:-2], addresses[2:]
    heads["left"][0] = heads["right"][-1] = _UNDEFINED
    for at, first in enumerate(starts.tolist()):
        used = min(_NODE_CHILDREN, len(children) - first)
        heads["used"][at] = used
        entries = nodes["entries"][at]
        entries["key"][:used], entries["child"][:used] = keys[first : first + used], children[first : first + used]
        if used < _NODE_CHILDREN:
            entries["key"][used] = keys[first + used]
        else:
            nodes["last"][at] = keys[first + used]
    return nodes.tobytes()
