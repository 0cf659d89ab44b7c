"""What a record of a tree names: the one place that expands nodes and array records.

The table ``nodes`` has two classes of records: tree nodes, and the array records of chunked columns, which leaves of kind
:data:`~hangar.objects.node.ARRAYS` name. A tree node names tree nodes, array records or blobs; an array record names the
root of its chunk map. Garbage collection, fsck, the search for a digest and sync walk all of them: decoded, by
:func:`hangar.objects.walk.walk`, or encoded, by :func:`children_of`. None of them needs to know the kinds of nodes.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from hangar.digest import DIGEST_BYTES, Digest, digest_array, record_digest
from hangar.objects.arrays import ArrayRecord, decode_array
from hangar.objects.node import ARRAYS, BY_DIGEST, FIXED_INLINE, MIXED, NODE_VERSION, Node, decode_node

__all__ = [
    "Children",
    "array_digests",
    "children_of",
    "children_of_array",
    "children_of_node",
    "class_of",
    "digest_of",
    "is_array",
    "names_records",
]

_ARRAY_MARK: Final = b"\x94"
"""First byte of an array record: an array of four fields. That of a node has eight, and begins with ``98``."""
_PLAIN_LEAVES: Final = tuple(bytes((0x98, NODE_VERSION, 0, kind)) for kind in (BY_DIGEST, FIXED_INLINE, MIXED))
"""How the leaves begin that name no records: the first fields take one byte each."""

Digests = npt.NDArray[np.uint8]


class Children(NamedTuple):
    """What one record names.

    Attributes
    ----------
    nodes
        Digests of tree nodes: uint8, shape (n, 32).
    arrays
        Digests of array records.
    blobs
        Digests of blobs.
    """

    nodes: Digests
    arrays: Digests
    blobs: Digests


_NONE: Final = np.empty((0, DIGEST_BYTES), np.uint8)


def is_array(data: bytes) -> bool:
    """Whether a record of the table ``nodes`` is an array record; otherwise it is a tree node."""
    return data[:1] == _ARRAY_MARK


def class_of(data: bytes) -> Literal["node", "array"]:
    """The class of a record of the table ``nodes``, which its digest depends on."""
    return "array" if is_array(data) else "node"


def digest_of(data: bytes) -> Digest:
    """The digest of a record of the table ``nodes``."""
    return record_digest(class_of(data), data)


def names_records(data: bytes) -> bool:
    """Whether an encoded record can name further records of the table ``nodes``; always, if this version does not know it."""
    return not data.startswith(_PLAIN_LEAVES)


def children_of(data: bytes) -> Children:
    """What an encoded record of the table ``nodes`` names.

    Raises
    ------
    CorruptionError, UnsupportedVersionError
        It cannot be decoded.
    """
    return children_of_array(decode_array(data)) if is_array(data) else children_of_node(decode_node(data))


def children_of_node(node: Node) -> Children:
    """What a tree node names."""
    if node.level:
        return Children(np.frombuffer(node.refs, np.uint8).reshape(-1, DIGEST_BYTES), _NONE, _NONE)
    if node.kind == ARRAYS:
        return Children(_NONE, node.rows, _NONE)
    return Children(_NONE, _NONE, node.blobs())


def children_of_array(record: ArrayRecord) -> Children:
    """What an array record names: the root of its chunk map."""
    return Children(_NONE if record.root is None else digest_array([record.root]), _NONE, _NONE)


def array_digests(leaf: Node) -> list[Digest]:
    """Digests of the array records that a leaf names; none for a leaf of another kind."""
    return [Digest(cell) for cell in leaf.cells()] if leaf.kind == ARRAYS else []
