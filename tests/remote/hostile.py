"""Mutations of what an honest client sends: objects that are linked by right digests and wrong in themselves, and frames of blobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from hangar.digest import record_digest
from hangar.objects.commit import decode_commit
from hangar.objects.node import Node, decode_node, encode_node
from hangar.remote.peer import BlobFrame, Objects

Record = tuple[str, bytes]
Change = Callable[[bytes], bytes]

pack = msgspec.msgpack.encode
unpack = msgspec.msgpack.decode


class History:
    """The objects of a push, by digest, so that one can be exchanged and all that names it follows."""

    def __init__(self, frames: Sequence[Objects], head: bytes) -> None:
        self.objects: dict[bytes, Record] = {
            record_digest(frame.kind, item): (str(frame.kind), item)  # type: ignore[arg-type]
            for frame in frames
            for item in frame.items
        }
        self.head = head
        self._named: dict[bytes, list[bytes]] = {
            name: [below for below in self.objects if below in data] for name, (_, data) in self.objects.items()
        }

    def find(self, kind: str, which: Callable[[Any], bool] = lambda _: True) -> bytes:
        """Digest of an object of a class that fulfils a condition on its decoded form."""
        decode: Callable[[bytes], Any] = {"node": decode_node, "commit": decode_commit}.get(kind, unpack)
        return next(digest for digest, (name, data) in self.objects.items() if name == kind and which(decode(data)))

    def frames(self, digest: bytes, change: Change) -> tuple[list[Objects], bytes]:
        """All objects after one of them was changed, with the digests of those that name it set right; and the head."""
        done: dict[bytes, tuple[bytes, Record]] = {}

        def exchange(name: bytes) -> bytes:
            if name not in done:
                kind, data = self.objects[name]
                if name == digest:
                    data = change(data)
                else:
                    for below in self._named[name]:
                        data = data.replace(below, exchange(below))
                done[name] = record_digest(kind, data), (kind, data)  # type: ignore[arg-type]
            return done[name][0]

        for name in self.objects:
            exchange(name)
        return [Objects(kind, (data,)) for _, (kind, data) in done.values()], done[self.head][0]


def node(change: Callable[[Node], Node]) -> Change:
    return lambda data: encode_node(change(decode_node(data)))


def fields(change: Callable[[list[Any]], object]) -> Change:
    """A change of the fields of a record."""

    def apply(data: bytes) -> bytes:
        parts = unpack(data)
        done = change(parts)
        return pack(done if isinstance(done, (list, dict)) else parts)

    return apply


def put(index: int, value: Any) -> Change:
    def change(parts: list[Any]) -> None:
        parts[index] = value(parts[index]) if callable(value) else value

    return fields(change)


def column(index: int, value: Any, which: str = "label") -> Change:
    """A change of one field of one column of a commit."""

    def change(parts: list[Any]) -> None:
        for one in parts[2]:
            if one[0] == which:
                one[index] = value(one[index]) if callable(value) else value

    return fields(change)


def is_leaf(kind: int) -> Callable[[Node], bool]:
    return lambda found: found.level == 0 and found.kind == kind and len(found.keys) > 2


def is_inner(found: Node) -> bool:
    return found.level > 0 and not found.samples


def is_nested_inner(found: Node) -> bool:
    return found.level > 0 and bool(found.samples)


def swapped(values: list[Any]) -> list[Any]:
    return [values[1], values[0], *values[2:]]


def longer(data: bytes) -> bytes:
    """The same value in a form that is not the shortest: an array header of three bytes."""
    return bytes((0xDC, 0, data[0] & 0x0F)) + data[1:]


def object_mutations(found: History) -> dict[str, tuple[list[Objects], bytes]]:
    """Pushes of which each is wrong in one thing: the objects, and the commit to push."""
    commit, inline, by_digest, mixed = (
        found.head,
        found.find("node", lambda one: is_leaf(1)(one) and one.sizes == b"\x01"),
        found.find("node", is_leaf(0)),
        found.find("node", is_leaf(2)),
    )
    inner, nested = found.find("node", is_inner), found.find("node", is_nested_inner)
    schema, attributes = found.find("schema"), found.find("attributes")
    changes: dict[str, tuple[bytes, Change]] = {
        "keys of a leaf in the wrong order": (inline, put(3, swapped)),
        "a key twice": (inline, put(3, lambda keys: [keys[0], keys[0], *keys[2:]])),
        "a key that is none": (inline, put(3, lambda keys: [*keys[:-1], b"\x99abc"])),
        "a key that is not UTF-8": (mixed, put(3, lambda keys: [*keys[:-1], b"\x20\xff\xfe"])),
        "a leaf with an entry too few for its keys": (inline, put(4, lambda refs: refs[:-1])),
        "a leaf of another kind than the schema says": (
            inline,
            node(lambda one: Node(0, 0, 0, one.keys, bytes(32 * len(one.keys)), b"", [], [])),
        ),
        "a leaf of another width": (
            inline,
            node(lambda one: Node(0, 0, 1, one.keys, bytes(2 * len(one.keys)), b"\x02", [], [])),
        ),
        "a leaf that is cut in two at the wrong place": (inline, node(lambda one: _part(one, 0, len(one.keys) // 2))),
        "a leaf on a level above": (inline, put(1, 1)),
        "a node of a level that no tree has": (inner, put(1, 99)),
        "a node of a newer version": (inner, put(0, 1)),
        "a node of an unknown kind": (inline, put(2, 9)),
        "a node with a field too many": (inner, fields(lambda parts: [*parts, 0])),
        "a node that is not in the shortest form": (inner, longer),
        "a node with bytes after its end": (inner, lambda data: data + b"\x00"),
        "half a node": (inner, lambda data: data[: len(data) // 2]),
        "a node of too many bytes": (inline, put(4, bytes(2**21))),
        "children in the wrong order": (inner, _swap_children),
        "a child twice": (inner, put(4, lambda refs: refs[:32] + refs[:32] + refs[64:])),
        "counts that do not add up": (inner, put(6, lambda counts: [counts[0] + 1, *counts[1:]])),
        "a count of zero": (inner, put(6, lambda counts: [0, *counts[1:]])),
        "a count of 2**62": (inner, put(6, lambda counts: [2**62, *counts[1:]])),
        "wrong samples of a nested column": (nested, put(7, lambda counts: [counts[0], counts[1] - 1, *counts[2:]])),
        "samples in a flat column": (inner, fields(lambda parts: [*parts[:7], parts[6]])),
        "a name of a child that the child does not end with": (
            inner,
            put(3, lambda keys: [*keys[:-1], keys[-1] + b"\x01"]),
        ),
        "a root with one child": (commit, lambda data: data),
        "text that is not UTF-8 in a leaf": (mixed, _bad_text),
        "a value by digest that names nothing": (by_digest, put(4, lambda refs: refs[:-32] + b"\x07" * 32)),
        "a schema of a newer version": (schema, put(0, 1)),
        "a schema of an unknown kind": (schema, put(1, 200)),
        "a schema that is not in the shortest form": (schema, longer),
        "attributes that are not sorted": (attributes, lambda data: b"\x82\xa1b\x01\xa1a\x01"),
        "attributes that are no map": (attributes, lambda data: b"\x93\x01\x02\x03"),
        "a commit of a newer version": (commit, put(0, 1)),
        "a commit with an unknown parent": (commit, put(1, lambda parents: [*parents, b"\x55" * 32])),
        "a commit with a parent twice": (commit, put(1, [b"\x55" * 32, b"\x55" * 32])),
        "a commit whose columns are not sorted": (commit, put(2, lambda columns: columns[::-1])),
        "a commit with two columns of one id": (
            commit,
            put(2, lambda columns: [columns[0], [*columns[1][:1], columns[0][1], *columns[1][2:]], *columns[2:]]),
        ),
        "a commit with a column of a wrong number of entries": (commit, column(6, lambda count: count + 1)),
        "a commit with a column of a wrong number of samples": (commit, column(7, lambda count: count - 1, "boxes")),
        "a commit with a column of another layout": (commit, column(4, 1)),
        "a commit with a column of another schema": (commit, _exchange_schemas),
        "a commit with a column whose root is a schema": (commit, lambda data: _root_of(data, schema)),
        "a commit that is no record": (commit, lambda data: b"\xc1" + data),
    }
    mutations = {name: found.frames(*how) for name, how in changes.items()}
    mutations["a root with one child"] = _single_child(found)
    mutations["objects of an unknown class"] = [*_all(found), Objects("secret", (b"x",))], found.head
    mutations["a missing node"] = (
        [frame for frame in _all(found) if record_digest("node", frame.items[0]) != inline],
        found.head,
    )
    mutations["a commit that was never sent"] = _all(found), b"\x11" * 32
    return mutations


def _all(found: History) -> list[Objects]:
    return [Objects(kind, (data,)) for kind, data in found.objects.values()]


def _part(one: Node, start: int, stop: int) -> Node:
    width = one.width
    return Node(0, 0, one.kind, one.keys[start:stop], one.refs[start * width : stop * width], one.sizes, [], [])


def _swap_children(data: bytes) -> bytes:
    one = decode_node(data)
    refs = one.refs[32:64] + one.refs[:32] + one.refs[64:]
    return encode_node(Node(0, one.level, 0, swapped(one.keys), refs, b"", swapped(one.counts), one.samples))


def _bad_text(data: bytes) -> bytes:
    one = decode_node(data)
    at = next(i for i, size in enumerate(one.sizes) if 0 < size < 255)
    start = sum(32 if size == 255 else size for size in one.sizes[:at])
    return encode_node(Node(0, 0, 2, one.keys, one.refs[:start] + b"\xff" + one.refs[start + 1 :], one.sizes, [], []))


def _exchange_schemas(data: bytes) -> bytes:
    parts = unpack(data)
    flat = [one for one in parts[2] if one[0] in ("image", "other")]
    flat[0][2], flat[1][2] = flat[1][2], flat[0][2]
    return pack(parts)


def _root_of(data: bytes, root: bytes) -> bytes:
    return column(5, root)(data)


def _single_child(found: History) -> tuple[list[Objects], bytes]:
    """A root above the root, with one child."""
    commit = decode_commit(found.objects[found.head][1])
    entry = next(one for one in commit.columns if one.name == "label")
    assert entry.root is not None
    root = decode_node(found.objects[entry.root][1])
    above = encode_node(Node(0, root.level + 1, 0, [root.keys[-1]], entry.root, b"", [root.entries], []))
    frames, head = found.frames(found.head, column(5, record_digest("node", above)))
    return [*frames, Objects("node", (above,))], head


# ---------------------------------------------------------------------------------------------------- blobs


def _with(frame: BlobFrame, **how: Any) -> BlobFrame:
    return replace(frame, **how)


def _bytes(frame: BlobFrame, change: Callable[[bytearray], object]) -> BlobFrame:
    data = bytearray(frame.data)
    change(data)
    return replace(frame, data=bytes(data))


def _flip(at: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[at] ^= 0x40

    return change


def _u64(*numbers: int) -> bytes:
    return np.array(numbers, "<u8").tobytes()


def _u32(*numbers: int) -> bytes:
    return np.array(numbers, "<u4").tobytes()


def blob_mutations(frames: Sequence[BlobFrame]) -> dict[str, list[BlobFrame]]:
    """Streams of blobs of which each is wrong in one thing."""
    rows = next(frame for frame in frames if len(frame) > 4 and len(frame.headers) == 1 and frame.headers[0][0] == 1)
    text = next(frame for frame in frames if frame.headers[0][0] == 2)
    size = len(rows.data) // len(rows)
    header = rows.headers[0]
    one = _with(rows, lengths=_u64(size), data=bytes(rows.data)[:size])
    half = size // 2
    first, second = _with(one, data=one.data[:half]), _with(one, data=one.data[half:], start=half)
    return {
        "a flipped bit": [_bytes(rows, _flip(3))],
        "a flipped bit at the end": [_bytes(rows, _flip(-1))],
        "two blobs in each other's place are fine, two halves are not": [_bytes(rows, lambda data: data.reverse())],
        "a byte too few": [_with(rows, data=bytes(rows.data)[:-1])],
        "a byte too many": [_with(rows, data=bytes(rows.data) + b"\x00")],
        "no bytes": [_with(rows, data=b"")],
        "no lengths": [_with(rows, lengths=b"")],
        "half a length": [_with(rows, lengths=rows.lengths[:-3])],
        "a length of 2**63": [_with(one, lengths=_u64(2**63))],
        "a length of 2**40": [_with(one, lengths=_u64(2**40))],
        "lengths that change places with each other": [
            _with(rows, lengths=_u64(size + 1, size - 1, *[size] * (len(rows) - 2)))
        ],
        "no header": [_with(rows, headers=())],
        "an empty header": [_with(rows, headers=(b"",))],
        "a header of an unknown kind": [_with(rows, headers=(b"\x63" + header[1:],))],
        "a header of an unknown element type": [_with(rows, headers=(header[:1] + b"\xfe" + header[2:],))],
        "a header of another element type": [_with(rows, headers=(header[:1] + b"\x02" + header[2:],))],
        "a header of 255 dimensions": [_with(rows, headers=(header[:2] + b"\xff" + header[3:],))],
        "a header of another shape of as many bytes": [_with(rows, headers=(header[:3] + _u64(size, 1),))],
        "a header of a huge shape": [_with(rows, headers=(header[:3] + _u64(2**40, 2**40),))],
        "a header of a str": [_with(rows, headers=(b"\x02\x00\x00",))],
        "numbers of headers beyond the headers": [_with(rows, header_of=_u32(*[7] * len(rows)))],
        "too few numbers of headers": [_with(rows, header_of=_u32(0))],
        "a header that no blob has": [_with(rows, headers=(header, b"\x03\x00\x00"), header_of=_u32(*[0] * len(rows)))],
        "an unknown group": [_with(rows, group=77)],
        "a group below zero": [_with(rows, group=-1)],
        "a blob that was not asked for": [_with(one, data=bytes(size))],
        "text that is not UTF-8": [_bytes(text, lambda data: data.__setitem__(0, 0xFF))],
        "text that is short enough to be in the tree": [_with(text, lengths=_u64(3), data=b"abc", header_of=b"")],
        "a part of a blob and nothing more": [first],
        "the second part alone": [second],
        "parts in the wrong order": [second, first],
        "the first part twice": [first, first],
        "parts of two groups": [first, _with(second, group=1)],
        "a part beyond the end": [first, _with(second, data=bytes(second.data) + b"\x00")],
        "a part with another total": [first, _with(second, lengths=_u64(size + 1))],
        "an empty part": [first, _with(second, data=b"")],
        "a part between whole blobs": [first, rows],
        "a part with two lengths": [_with(first, lengths=_u64(size, size))],
        "parts that make another blob": [first, _bytes(second, _flip(0))],
        "a start below zero": [_with(one, start=-5)],
        "good blobs, then a bad one": [rows, _with(one, data=bytes(size))],
    }
