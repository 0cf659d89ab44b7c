"""Sparse arrays: one canonical form for equal content, and nothing else is ever decoded."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from hangar.digest import SPARSE, Header
from hangar.errors import CorruptionError, HangarError, InvalidInputError, InvalidTypeError
from hangar.schema import SparseSchema, load_schema, widened, widest
from hangar.schema.coordinates import SPARSE_DTYPES, pack, unpack

FLOAT = np.dtype("float32")


def schema(dtype: Any = FLOAT, shape: tuple[int, ...] = (4, 5), **options: Any) -> SparseSchema:
    return SparseSchema(np.dtype(dtype), shape, **options)


def dense_arrays() -> st.SearchStrategy[np.ndarray[Any, Any]]:
    kinds = st.sampled_from(sorted(SPARSE_DTYPES)).map(np.dtype)
    shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)
    return st.tuples(kinds, shapes).flatmap(
        lambda one: hnp.arrays(
            one[0], one[1], elements=hnp.from_dtype(one[0], allow_nan=False), fill=st.just(one[0].type(0))
        )
    )


@settings(max_examples=150, deadline=None)
@given(dense_arrays(), st.randoms(use_true_random=False))
def test_any_order_format_and_byte_order_has_one_form(dense: np.ndarray[Any, Any], chance: random.Random) -> None:
    """Coordinates in any order with explicit zeros, formats of scipy, and what is read back: the same bytes."""
    kind = schema(dense.dtype, dense.shape)
    where = np.array(np.nonzero(np.ones_like(dense, bool)))
    order = list(range(where.shape[1]))
    chance.shuffle(order)
    given_values = dense[tuple(where)][order]
    header, data = kind.encode((where[:, order], given_values.astype(dense.dtype.newbyteorder(">")), dense.shape))
    assert header == Header(SPARSE, header.dtype, dense.shape)
    forms: list[Any] = [sparse.coo_array(dense)]
    if dense.ndim == 2:
        forms += [sparse.csr_array(dense), sparse.csc_matrix(dense), sparse.lil_array(dense), sparse.dok_array(dense)]
    for one in forms:
        assert kind.encode(one) == (header, data)
    found = kind.decode(header, data)
    assert type(found) is (sparse.csr_array if dense.ndim == 2 else sparse.coo_array)
    np.testing.assert_array_equal(found.toarray(), dense)
    assert kind.encode(found) == (header, data)
    coordinates = kind.coordinates(header, data)
    assert coordinates.values.flags.writeable
    np.testing.assert_array_equal(coordinates.coordinates, np.array(np.nonzero(dense)))
    assert kind.encode(coordinates) == (header, data)


def test_values_of_one_element_are_added_up_as_scipy_does() -> None:
    where, values = [[1, 0, 1], [2, 0, 2]], np.array([1, 5, 2], FLOAT)
    ours = schema().decode(*schema().encode((where, values, (4, 5))))
    assert (ours != sparse.coo_array((values, where), shape=(4, 5)).tocsr()).nnz == 0
    assert ours[1, 2] == 3
    both = schema().encode((where, np.array([1, 5, -1], FLOAT), (4, 5)))
    assert both == schema().encode(([[0], [0]], np.array([5], FLOAT), (4, 5)))
    bools = schema(bool).encode(([[1, 1], [1, 1]], np.array([True, True]), (4, 5)))
    assert bools == schema(bool).encode(([[1], [1]], np.array([True]), (4, 5)))


def test_what_counts_as_zero() -> None:
    values = np.array([0.0, -0.0, np.nan, 1], FLOAT)
    found = schema().coordinates(*schema().encode(([[0, 1, 2, 3]] * 2, values, (4, 5))))
    assert found.coordinates.tolist() == [[2, 3], [2, 3]]
    assert np.isnan(found.values[0])


def test_extents_beyond_any_memory() -> None:
    """Coordinates take the type of their axis; nothing is as large as the shape."""
    shape = (2**63 - 1, 2**40, 300, 9)
    kind = schema("int64", shape)
    where = [[2**63 - 2, 0], [2**40 - 1, 7], [299, 3], [8, 0]]
    header, data = kind.encode((np.array(where, np.uint64), np.array([1, 2]), shape))
    assert len(data) == 2 * (8 + 8 + 2 + 1 + 8)
    found = kind.coordinates(header, data)
    assert found.coordinates.tolist() == [[0, 2**63 - 2], [7, 2**40 - 1], [3, 299], [0, 8]]
    assert found.values.tolist() == [2, 1]
    tall = schema("int64", (2**62, 3))
    assert type(tall.decode(*tall.encode(([[5], [1]], np.array([1]), (2**62, 3))))) is sparse.coo_array


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (np.zeros((4, 5), FLOAT), "sparse array is one of scipy.sparse"),
        (([[0], [0]], np.array([1.0]), (4, 5)), "dtype: float64 != aset: float32"),
        (([[0], [0]], np.array([1], FLOAT), (5, 5)), r"data shape \(5, 5\) != fixed schema"),
        (([[4], [0]], np.array([1], FLOAT), (4, 5)), "coordinate of axis 0 is outside 0 to 3"),
        (([[0], [-1]], np.array([1], FLOAT), (4, 5)), "coordinate of axis 1 is outside 0 to 4"),
        (([[0, 1], [0, 1]], np.array([1], FLOAT), (4, 5)), "need coordinates of shape"),
        (([[0], [0], [0]], np.array([1], FLOAT), (4, 5)), "need coordinates of shape"),
        (([[0, 1], [0]], np.array([1], FLOAT), (4, 5)), "no array"),
        (([[0.5], [0]], np.array([1], FLOAT), (4, 5)), "are integers"),
        (([[0], [0]], np.array([1], FLOAT), "45x"), "tuple of ints"),
        (("x", "y", "z"), "."),
        (None, "sparse array is one of"),
    ],
)
def test_what_does_not_fit_is_refused(value: Any, error: str) -> None:
    with pytest.raises((InvalidInputError, InvalidTypeError), match=error):
        schema().encode(value)


def test_schemas() -> None:
    for bad in [("float16", (4,)), ("float32", ()), ("float32", (1,) * 32), ("float32", (-1,)), ("float32", (2**63,))]:
        with pytest.raises(InvalidInputError):
            schema(*bad)
    with pytest.raises(InvalidInputError, match="fixed shape can be inline"):
        schema(variable=True, inline=True)
    one, wide, high = (schema(shape=shape, variable=True) for shape in ((4, 5), (4, 9), (6, 5)))
    for kind in (one, schema(), schema(nested=True), schema(inline=False)):
        assert load_schema(kind.data).digest == kind.digest
    assert wide.covers(one)
    assert not one.covers(wide)
    assert widest(wide, high) is not None
    assert widest(wide, high).shape == (6, 9)  # type: ignore[union-attr]
    assert widest(one, schema()) is None
    assert widened(one, (9, 9), "c").digest == schema(shape=(9, 9), variable=True).digest
    with pytest.raises(InvalidInputError, match="only columns of variable shape"):
        widened(schema(), (9, 9), "c")
    assert one.check_header(Header(SPARSE, 11, (3, 5)))
    assert not one.check_header(Header(SPARSE, 11, (3, 6)))
    assert not one.check_header(Header(SPARSE, 12, (3, 5)))
    assert not schema().check_header(Header(SPARSE, 11, (3, 5)))


def test_only_the_canonical_form_is_decoded() -> None:
    """Single changed bytes and random bytes: another canonical array, or damage; never an index out of bounds for scipy."""
    chance = random.Random(0)
    shapes = [(4, 5), (300, 70_000), (7,), (3, 3, 3), (2**33, 2)]
    refused = 0
    for shape in shapes:
        for name in ("float32", "bool", "complex64"):
            dtype, kind = np.dtype(name), schema(name, shape)
            where = [[chance.randrange(n) for _ in range(5)] for n in shape]
            good = pack(where, np.ones(5, dtype), shape, dtype)
            for _ in range(120):
                data = bytearray(good if chance.random() < 0.7 else chance.randbytes(chance.randrange(80)))
                for _ in range(chance.randrange(1, 3)):
                    if data:
                        data[chance.randrange(len(data))] = chance.randrange(256)
                try:
                    found = unpack(bytes(data), shape, dtype)
                except CorruptionError:
                    refused += 1
                    continue
                assert pack(*found, dtype) == bytes(data)
                kind.decode(None, bytes(data))
    assert refused > 300


def test_hostile_headers() -> None:
    chance = random.Random(1)
    for _ in range(2_000):
        rank = chance.randrange(0, 34)
        extents = [chance.choice([0, 1, 5, 2**31, 2**62, 2**63, 2**64 - 1]) for _ in range(rank)]
        data = bytes([SPARSE, chance.randrange(20), rank]) + b"".join(n.to_bytes(8, "little") for n in extents)
        try:
            header = Header.decode(data)
            kind = SparseSchema(FLOAT, header.shape, variable=True)
            assert kind.coordinates(header, b"").values.size == 0
        except HangarError:
            continue
        assert 1 <= rank <= 31
        assert max(extents) < 2**63
    assert math.prod(Header(SPARSE, 11, (2**62, 2**62)).shape) == 2**124
