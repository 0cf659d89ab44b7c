"""Tree nodes: their record, encoding and decoding.

A node holds up to 256 entries in key order, in a columnar layout, because that decodes in about 2 us: the keys;
``refs``, the digests or inline values concatenated; ``sizes``, the lengths of the entries in ``refs``; and in inner
nodes for each child the number of entries (``counts``) and, in nested columns, of samples (``samples``) below it. A
node is self-describing. Decoding checks the structure and the limits; ``verify`` checks the order of keys and the
node boundaries.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from itertools import accumulate
from operator import le
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from hangar import limits
from hangar.digest import DIGEST_BYTES, Digest, digest_array
from hangar.errors import CorruptionError, UnsupportedVersionError
from hangar.wording import plural

__all__ = [
    "ARRAYS",
    "BY_DIGEST",
    "DIGEST_TAG",
    "EXACT_INTEGER",
    "FIXED_INLINE",
    "MIXED",
    "NODE_VERSION",
    "Node",
    "Root",
    "TreeForm",
    "cell_lengths",
    "decode_node",
    "encode_node",
]

NODE_VERSION: Final = 0
BY_DIGEST: Final = 0
FIXED_INLINE: Final = 1
MIXED: Final = 2
ARRAYS: Final = 3
"""Kinds of nodes. The entries of kind :data:`ARRAYS` are digests of array records, which ``objects/children`` expands."""
_DIGESTS: Final = (BY_DIGEST, ARRAYS)

MAX_LEVEL: Final = 16
"""Every node but the last of a level has at least 16 entries, so no tree of 2**64 entries is higher than this."""
EXACT_INTEGER: Final = 2**53
"""Ints below this are exact in a float64."""
DIGEST_TAG: Final = 255
"""Marks an entry of a mixed node as a digest; it takes the place of the entry's size."""

_DIGEST_TAG: Final = bytes((DIGEST_TAG,))
_SIZES: Final = bytes(range(limits.INLINE_TEXT_BYTES + 1)) + _DIGEST_TAG
_TO_LENGTHS: Final = bytes(DIGEST_BYTES if size == DIGEST_TAG else size for size in range(256))

_Key = Annotated[bytes, msgspec.Meta(max_length=limits.MAX_KEY_BYTES)]
# Bounded so that the sum of the counts of one node fits in an int64.
_Count = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
_SampleCount = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class TreeForm(msgspec.Struct, frozen=True):
    """Form of a tree: the kind and width of its leaf entries, and whether its keys are nested.

    Attributes
    ----------
    kind
        :data:`BY_DIGEST`, :data:`FIXED_INLINE`, :data:`MIXED` or :data:`ARRAYS`.
    width
        Bytes of one entry: 32 for digests, 0 to 32 inline, 0 when mixed.
    nested
        Whether keys are those of a nested column.
    """

    kind: int
    width: int
    nested: bool


class Root(msgspec.Struct, frozen=True):
    """A tree, which is never empty: the digest of its root node, and the number of its entries and distinct samples."""

    digest: Digest
    entries: int
    samples: int


class Node(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, dict=True, eq=False):
    """A decoded node. Its fields are those of the encoding, in order; everything else is computed lazily and cached.

    A *cell* is the bytes of one leaf entry: a digest, an inline value, or (in a mixed node) a size byte and either.
    """

    version: Annotated[int, msgspec.Meta(ge=0)]
    level: Annotated[int, msgspec.Meta(ge=0, le=MAX_LEVEL)]
    kind: Annotated[int, msgspec.Meta(ge=0)]
    keys: Annotated[list[_Key], msgspec.Meta(min_length=1, max_length=limits.NODE_MAX_ENTRIES)]
    refs: bytes
    sizes: bytes
    counts: list[_Count]
    samples: list[_SampleCount]

    @property
    def width(self) -> int:
        """Bytes of one entry in ``refs``; 0 if entries differ in length."""
        return DIGEST_BYTES if self.kind in _DIGESTS else self.sizes[0] if self.kind == FIXED_INLINE else 0

    def child(self, index: int) -> Digest:
        """Digest of the child at ``index`` of an inner node."""
        part: Any = self.refs[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        digest: Digest = part
        return digest

    def children(self) -> list[Digest]:
        """Digests of all children of an inner node."""
        return _split(self.refs, DIGEST_BYTES, len(self.keys))

    def cell(self, index: int) -> bytes:
        """The cell of the entry at ``index`` of a leaf."""
        kind = self.kind
        if kind in _DIGESTS:
            return self.refs[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        if kind == FIXED_INLINE:
            width = self.sizes[0]
            return self.refs[index * width : (index + 1) * width]
        ends = self.ref_ends
        return self.sizes[index : index + 1] + self.refs[ends[index] : ends[index + 1]]

    def cells(self, start: int = 0, stop: int | None = None) -> list[bytes]:
        """The cells of the entries from ``start`` to ``stop`` of a leaf."""
        stop = len(self.keys) if stop is None else stop
        if self.kind == MIXED:
            sizes, refs, ends = self.sizes, self.refs, self.ref_ends
            return [sizes[i : i + 1] + refs[ends[i] : ends[i + 1]] for i in range(start, stop)]
        width = self.width
        refs = self.refs if stop - start == len(self.keys) else self.refs[start * width : stop * width]
        return _split(refs, width, stop - start)

    @cached_property
    def rows(self) -> npt.NDArray[np.uint8]:
        """The entries of a node that is not mixed: uint8, shape (entries, width)."""
        return np.frombuffer(self.refs, np.uint8).reshape(len(self.keys), self.width)

    def blobs(self) -> npt.NDArray[np.uint8]:
        """Digests of the blobs that a leaf names: uint8, shape (n, 32).

        Raises
        ------
        AssertionError
            The leaf names array records. Whoever walks a tree must expand them, see ``objects/children``.
        """
        if self.kind == BY_DIGEST:
            return self.rows
        assert self.kind != ARRAYS, "the array records of a leaf were not expanded"
        if self.kind == FIXED_INLINE:
            return np.empty((0, DIGEST_BYTES), np.uint8)
        return digest_array([cell[1:] for cell in self.cells() if cell[:1] == _DIGEST_TAG])

    @cached_property
    def ref_ends(self) -> list[int]:
        """Offset table of a mixed leaf: where each entry begins in ``refs``, and the end of the last."""
        return [0, *accumulate(cell_lengths(self.sizes))]

    @cached_property
    def integers(self) -> bytes:
        """The int keys (tag ``10`` and 8 bytes), which sort before all others: uint64 in native byte order."""
        keys = self.keys if self.keys[-1][:1] == b"\x10" else self.keys[: bisect_left(self.keys, b"\x11")]
        joined = b"".join(keys)
        if len(joined) != 9 * len(keys):
            raise CorruptionError(f"a tree node holds int keys that are not 9 bytes long, from {self.keys[0].hex()} on")
        rows = np.frombuffer(joined, np.uint8).reshape(-1, 9)
        return np.ascontiguousarray(rows[:, 1:]).view(">u8").astype(np.uint64).tobytes()

    @cached_property
    def pairs(self) -> bytes | None:
        """Nested keys as complex128, which sorts in the same order; None unless all are pairs of ints below 2**53."""
        joined = b"".join(self.keys)
        if len(joined) != 18 * len(self.keys) or set(map(len, self.keys)) != {18}:
            return None
        rows = np.frombuffer(joined, np.uint8).reshape(-1, 18)
        if not (rows[:, ::9] == 0x10).all():
            return None
        parts = np.ascontiguousarray(rows.reshape(-1, 9)[:, 1:]).view(">u8")
        return None if int(parts.max()) >= EXACT_INTEGER else parts.astype(np.float64).tobytes()

    @cached_property
    def entries(self) -> int:
        """Number of tree entries below this node."""
        return sum(self.counts) if self.level else len(self.keys)

    @cached_property
    def count_ends(self) -> list[int]:
        """Cumulative sum of ``counts``."""
        return list(accumulate(self.counts))

    @cached_property
    def sample_ends(self) -> list[int]:
        """Cumulative sum of ``samples``."""
        return list(accumulate(self.samples))

    @cached_property
    def count_array(self) -> npt.NDArray[np.int64]:
        """``counts`` as int64."""
        return np.array(self.counts, np.int64)


def cell_lengths(sizes: bytes) -> bytes:
    """The lengths of the entries of a mixed leaf in ``refs``, from their size bytes."""
    return sizes.translate(_TO_LENGTHS)


def _split(refs: bytes, width: int, count: int) -> list[Any]:
    if not width:
        return [b""] * count
    parts: list[Any] = np.frombuffer(refs, f"V{width}").tolist()
    return parts


encode_node: Final = msgspec.msgpack.Encoder().encode
"""The bytes of a node."""
_decode: Final = msgspec.msgpack.Decoder(Node).decode


def decode_node(data: bytes) -> Node:
    """The node that ``data`` encodes.

    Raises
    ------
    UnsupportedVersionError
        A newer Hangar wrote it: its version or kind is not known.
    CorruptionError
        It is not a node, exceeds a limit, or its parts contradict each other.
    """
    if len(data) > limits.NODE_MAX_BYTES:
        raise CorruptionError(f"a tree node of {len(data)} bytes exceeds the limit")
    try:
        node = _decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        _check_version(data)
        raise CorruptionError(f"a tree node cannot be read: {error}") from None
    if node.version or node.kind > ARRAYS:
        _refuse_version(node.version, node.kind)
    problem = _problem(node)
    if problem:
        raise CorruptionError(f"a tree node contradicts itself: {problem}")
    return node


def _problem(node: Node) -> str | None:
    """Description of the first contradiction between parts of a node, or None."""
    count = len(node.keys)
    if node.level:
        if node.kind != BY_DIGEST or node.sizes:
            return "an inner node holds digests of its children and nothing else"
        if len(node.counts) != count or len(node.samples) not in (0, count):
            return f"{len(node.counts)} entry counts and {len(node.samples)} sample counts for {count} children"
        if node.samples and not (node.samples[0] and all(map(le, node.samples, node.counts))):
            return "its sample counts contradict its entry counts"
    elif node.counts or node.samples:
        return "a leaf has counts of children"
    if node.kind == MIXED:
        if len(node.sizes) != count or node.sizes.translate(None, _SIZES):
            return f"the sizes {node.sizes[:8].hex()} do not match {plural(count, 'entry')}"
        length = sum(node.sizes.translate(_TO_LENGTHS))
    elif node.kind == FIXED_INLINE:
        if len(node.sizes) != 1 or node.sizes[0] > limits.INLINE_FIXED_BYTES:
            return f"the width of its entries is {node.sizes[:8].hex()}"
        length = count * node.sizes[0]
    else:
        if node.sizes:
            return "a node of digests has sizes"
        length = count * DIGEST_BYTES
    return (
        None
        if len(node.refs) == length
        else f"it has {plural(len(node.refs), 'byte')} of entries where {length} are expected"
    )


def _check_version(data: bytes) -> None:
    """Raise UnsupportedVersionError if ``data`` looks like a node of a newer version."""
    try:
        parts = msgspec.msgpack.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return
    if isinstance(parts, list) and len(parts) > 2 and type(parts[0]) is int and type(parts[2]) is int:
        version, kind = parts[0], parts[2]
        if version > NODE_VERSION or (version == NODE_VERSION and kind > ARRAYS):
            _refuse_version(version, kind)


def _refuse_version(version: int, kind: int) -> None:
    raise UnsupportedVersionError(
        f"a tree node of version {version}, kind {kind} needs a newer Hangar: install a newer version"
    )
