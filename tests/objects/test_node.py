"""Nodes: what is decoded is whole, within its limits, and of a kind that is known; garbage is an error of ours."""

from __future__ import annotations

import contextlib
import itertools
import random
from typing import Any, TypeAlias

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar import limits
from hangar.errors import CorruptionError, HangarError, UnsupportedVersionError
from hangar.objects.node import BY_DIGEST, FIXED_INLINE, MIXED, Node, decode_node, encode_node
from tests.objects.memory import FORMS, cell_of, int_key, text_key

Parts: TypeAlias = "tuple[Any, ...]"
KEYS = [int_key(1), int_key(2), text_key("a")]
LEAF: Parts = (0, 0, BY_DIGEST, KEYS, b"d" * 96, b"", [], [])
LABELS: Parts = (0, 0, FIXED_INLINE, KEYS, b"abcdef", b"\x02", [], [])
TEXTS: Parts = (0, 0, MIXED, KEYS, b"abc" + b"d" * 32, b"\x03\xff\x00", [], [])
INNER: Parts = (0, 1, BY_DIGEST, KEYS, b"d" * 96, b"", [16, 20, 1], [])
NESTED: Parts = (0, 2, BY_DIGEST, KEYS, b"d" * 96, b"", [16, 20, 1], [2, 0, 1])
GOOD = [LEAF, LABELS, TEXTS, INNER, NESTED]


def pack(parts: Any) -> bytes:
    return msgspec.msgpack.encode(parts)


@pytest.mark.parametrize("parts", GOOD)
def test_round_trip(parts: tuple[Any, ...]) -> None:
    data = pack(parts)
    node = decode_node(data)
    assert msgspec.structs.astuple(node) == parts
    assert encode_node(node) == data
    assert encode_node(node) == data


def test_cells() -> None:
    assert decode_node(pack(LEAF)).cells() == [b"d" * 32] * 3
    assert decode_node(pack(LABELS)).cells() == [b"ab", b"cd", b"ef"]
    assert decode_node(pack(TEXTS)).cells() == [b"\x03abc", b"\xff" + b"d" * 32, b"\x00"]
    assert decode_node(pack(replaced(LABELS, refs=b"", sizes=b"\x00"))).cells() == [b"", b"", b""]
    for parts in (LEAF, LABELS, TEXTS):
        node = decode_node(pack(parts))
        assert [node.cell(i) for i in range(3)] == node.cells()
        assert node.cells(1, 3) == node.cells()[1:]
        assert node.entries == 3
    assert decode_node(pack(LABELS)).rows.tolist() == [[97, 98], [99, 100], [101, 102]]


def test_views_of_inner_nodes() -> None:
    node = decode_node(pack(NESTED))
    assert node.entries == 37
    assert node.count_ends == [16, 36, 37]
    assert node.sample_ends == [2, 2, 3]
    assert node.children() == [node.child(i) for i in range(3)] == [b"d" * 32] * 3


@pytest.mark.parametrize(
    ("keys", "expected"),
    [([int_key(7), int_key(2**64 - 1)], [7, 2**64 - 1]), (KEYS, [1, 2]), ([text_key("a"), text_key("b")], [])],
)
def test_integer_keys(keys: list[bytes], expected: list[int]) -> None:
    node = decode_node(pack((0, 0, FIXED_INLINE, keys, b"", b"\x00", [], [])))
    assert np.frombuffer(node.integers, np.uint64).tolist() == expected


def test_integer_keys_of_a_wrong_length_are_refused() -> None:
    node = decode_node(pack((0, 0, FIXED_INLINE, [b"\x10abc"], b"", b"\x00", [], [])))
    with pytest.raises(CorruptionError):
        _ = node.integers


NAMES = ["version", "level", "kind", "keys", "refs", "sizes", "counts", "samples"]


def replaced(parts: tuple[Any, ...], **changes: Any) -> tuple[Any, ...]:
    return tuple(changes.get(name, part) for name, part in zip(NAMES, parts, strict=True))


@pytest.mark.parametrize(
    "parts",
    [
        replaced(LEAF, refs=b"d" * 95),
        replaced(LEAF, sizes=b"\x20"),
        replaced(LEAF, counts=[1, 1, 1]),
        replaced(LEAF, samples=[1, 1, 1]),
        replaced(LEAF, keys=[], refs=b""),
        replaced(LEAF, keys=["a", "b", "c"]),
        replaced(LEAF, keys=[int_key(i) for i in range(257)], refs=b"d" * 32 * 257),
        replaced(LEAF, keys=[*KEYS[:2], b"\x20" * (limits.MAX_KEY_BYTES + 1)]),
        replaced(LEAF, version=-1),
        replaced(LEAF, level=-1),
        replaced(LEAF, kind=-1),
        replaced(LEAF, refs="d" * 96),
        replaced(LABELS, refs=b"abcde"),
        replaced(LABELS, sizes=b""),
        replaced(LABELS, sizes=b"\x02\x02\x02"),
        replaced(LABELS, sizes=b"\x21", refs=b"d" * 99),
        replaced(TEXTS, sizes=b"\x03\xff"),
        replaced(TEXTS, sizes=b"\x03\xff\x01"),
        replaced(TEXTS, sizes=b"\x41\xff\x00", refs=b"a" * 65 + b"d" * 32),
        replaced(TEXTS, refs=b"abc" + b"d" * 31),
        replaced(INNER, kind=FIXED_INLINE, sizes=b"\x20"),
        replaced(INNER, counts=[16, 20]),
        replaced(INNER, counts=[]),
        replaced(INNER, counts=[16, 0, 1]),
        replaced(INNER, counts=[16, 2**53 + 1, 1]),
        replaced(INNER, counts=[16, 2**64 - 1, 1]),
        replaced(INNER, level=17),
        replaced(NESTED, samples=[2, 0]),
        replaced(NESTED, samples=[0, 0, 1]),
        replaced(NESTED, samples=[2, 21, 1]),
        replaced(NESTED, samples=[2, -1, 1]),
        LEAF[:-1],
        (*LEAF, 0),
        [],
        {},
        None,
        dict(zip(NAMES, LEAF, strict=True)),
    ],
    ids=itertools.count(),
)
def test_parts_that_do_not_agree_are_refused(parts: Any) -> None:
    with pytest.raises(CorruptionError):
        decode_node(pack(parts))


@pytest.mark.parametrize(
    "parts",
    [
        replaced(LEAF, version=1),
        (1, "something", 0, "else"),
        replaced(LEAF, kind=4),
        replaced(LEAF, kind=4, refs=b"?" * 7, sizes=b"???"),
        replaced(LEAF, kind=200, counts=[0]),
    ],
)
def test_what_a_newer_version_wrote_is_refused_as_such(parts: Any) -> None:
    with pytest.raises(UnsupportedVersionError):
        decode_node(pack(parts))


def test_a_node_that_is_too_long_is_not_even_decoded() -> None:
    with pytest.raises(CorruptionError, match="exceeds the limit"):
        decode_node(b"\xc1" * (limits.NODE_MAX_BYTES + 1))


def test_nesting_without_end() -> None:
    with pytest.raises(CorruptionError):
        decode_node(b"\x91" * 100_000)
    with pytest.raises(CorruptionError):
        decode_node(b"\x98\x00" + b"\x91" * 100_000)


@pytest.mark.parametrize(
    ("canonical", "other"),
    [
        (b"\x98\x00", b"\xdc\x00\x08\x00"),
        (b"\x98\x00", b"\x98\xcc\x00"),
        (b"\x98\x00", b"\x98\xd3" + bytes(8)),
    ],
)
def test_another_encoding_of_the_same_is_told_apart(canonical: bytes, other: bytes) -> None:
    data = pack(LEAF)
    twisted = data.replace(canonical, other, 1)
    assert twisted != data
    node = decode_node(twisted)
    assert encode_node(node) == data
    assert encode_node(node) != twisted


def use(node: Node) -> None:
    """Look at all that a node can tell."""
    for _ in range(2):
        node.cells() if not node.level else node.children()
        _ = (node.entries, node.count_ends, node.sample_ends, node.count_array, node.width, encode_node(node))
        if node.kind != MIXED:
            _ = node.rows
        _ = node.integers


def survives(data: bytes) -> None:
    with contextlib.suppress(HangarError):
        use(decode_node(data))


def test_mutated_bytes_raise_nothing_but_our_errors() -> None:
    rng = random.Random(29)
    big = [cell_of(FORMS["text"], i) for i in range(40)]
    texts: Parts = (
        *(0, 0, MIXED, [text_key(f"{i:03d}") for i in range(40)]),
        *(b"".join(cell[1:] for cell in big), b"".join(cell[:1] for cell in big), [], []),
    )
    originals = [pack(parts) for parts in [*GOOD, texts]]
    for _ in range(6_000):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            how = rng.random()
            if how < 0.5:
                data[place] = rng.choice(
                    [0, 1, 0x7F, 0x80, 0xC0, 0xC1, 0xD9, 0xDC, 0xDD, 0xDF, 0xFF, rng.randrange(256)]
                )
            elif how < 0.7:
                data[place:place] = rng.randbytes(rng.randint(1, 9))
            elif how < 0.9:
                del data[place : place + rng.randint(1, 9)]
            else:
                data[place:] = data[: rng.randrange(len(data))]
            if not data:
                break
        survives(bytes(data))


leaves_of_anything = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
)
anything = st.recursive(
    leaves_of_anything, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=9
)


@given(st.lists(anything, min_size=7, max_size=9) | anything)
def test_any_value_raises_nothing_but_our_errors(value: Any) -> None:
    survives(pack(value))


@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_but_our_errors(data: bytes) -> None:
    survives(data)
    survives(b"\x98\x00\x00" + data)


@given(st.data())
def test_any_parts_of_the_right_types_raise_nothing_but_our_errors(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    number = st.integers(0, 2**64 - 1) | st.integers(0, 40)
    keys = data.draw(st.lists(st.binary(max_size=12) | st.just(int_key(5)), min_size=count, max_size=count))
    refs = data.draw(st.sampled_from([b"d" * 32 * count, b"", b"abcd" * count]))
    sizes = data.draw(st.sampled_from([b"", b"\x04", b"\x04" * count, b"\xff" * count, b"\x20"]))
    counts = data.draw(st.lists(number, max_size=4))
    samples = data.draw(st.lists(number, max_size=4))
    level, kind = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 4))
    survives(pack((0, level, kind, keys, refs, sizes, counts, samples)))
