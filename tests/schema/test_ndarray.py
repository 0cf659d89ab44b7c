from __future__ import annotations

import contextlib
import math
import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hangar import limits
from hangar.errors import CorruptionError, InvalidInputError, UnsupportedVersionError
from hangar.objects.node import BY_DIGEST, FIXED_INLINE
from hangar.schema import BytesSchema, NdarraySchema, StrSchema, load_schema
from hangar.schema.dtypes import DTYPE_NAMES, dtype_code, dtype_of

NUMPY_DTYPES = [np.dtype(name) for code, name in DTYPE_NAMES.items() if code < 32]
arrays = hnp.arrays(st.sampled_from(NUMPY_DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


def same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Equal to the last bit, NaN included."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


@given(arrays, st.booleans(), st.booleans(), st.booleans())
def test_what_goes_in_comes_out_whatever_its_order(
    array: np.ndarray[Any, Any], fortran: bool, swapped: bool, variable: bool
) -> None:
    schema = NdarraySchema(array.dtype, array.shape, variable=variable)
    given_array = np.array(array, order="F" if fortran else "C")
    if swapped:
        given_array = given_array.astype(given_array.dtype.newbyteorder(">"))
    header, buffer = schema.encode(given_array)
    assert same(schema.decode(header, bytes(buffer)), array)
    assert same(schema.decode(header, np.array(buffer)), array)
    assert schema.check_header(header)


@given(arrays, st.integers(0, 5))
def test_a_batch_is_encoded_as_single_values_are(array: np.ndarray[Any, Any], count: int) -> None:
    schema = NdarraySchema(array.dtype, array.shape)
    single = bytes(schema.encode(array)[1])
    stacked = schema.encode_batch(np.broadcast_to(array, (count, *array.shape)), count)
    assert stacked.rows is not None
    assert [bytes(row) for row in stacked.rows] == [single] * count
    listed = schema.encode_batch([array] * count, count)
    rows = listed.buffers if listed.rows is None else list(listed.rows)
    assert [bytes(row) for row in rows] == [single] * count


def test_bools_are_canonical() -> None:
    odd = np.frombuffer(bytes([0, 2, 255, 1]), np.bool_)
    schema = NdarraySchema(np.dtype(bool), (4,))
    assert bytes(schema.encode(odd)[1]) == bytes([0, 1, 1, 1])
    assert bytes(schema.encode(odd[::-1])[1]) == bytes([1, 1, 1, 0])
    rows = schema.encode_batch(np.stack([odd, odd]), 2).rows
    assert rows is not None
    assert rows.tolist() == [[0, 1, 1, 1]] * 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((2, 3), np.int64), r"dtype: int64 != aset: float32"),
        (np.zeros((3, 2), np.float32), r"data shape \(3, 2\) != fixed schema \(2, 3\)"),
        (np.zeros((2, 3, 1), np.float32), r"data shape \(2, 3, 1\) != fixed schema \(2, 3\)"),
        ([[1.0]], r"`data` argument type: <class 'list'> != `np.ndarray`"),
        (None, "`data` argument type"),
        (np.ma.masked_array(np.zeros((2, 3), np.float32)), "masked"),
    ],
)
def test_a_fixed_shape_refuses_what_does_not_fit(value: object, text: str) -> None:
    schema = NdarraySchema(np.dtype("f4"), (2, 3))
    with pytest.raises(InvalidInputError, match=text):
        schema.encode(value)
    with pytest.raises(InvalidInputError, match=text):
        schema.encode_batch([np.zeros((2, 3), np.float32), value], 2)


def test_a_variable_shape_refuses_what_does_not_fit() -> None:
    schema = NdarraySchema(np.dtype("f4"), (2, 3), variable=True)
    with pytest.raises(InvalidInputError, match=r"data rank 1 != aset rank 2"):
        schema.encode(np.zeros(2, np.float32))
    with pytest.raises(InvalidInputError, match=r"shape \(2, 4\) exceeds schema max \(2, 3\)"):
        schema.encode(np.zeros((2, 4), np.float32))
    header, _ = schema.encode(np.zeros((1, 0), np.float32))
    assert header.shape == (1, 0)


def test_objects_that_give_arrays_are_arrays() -> None:
    class Tensor:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray[Any, Any]:
            return np.arange(3, dtype=np.uint8)

    class Capsule:
        def __dlpack__(self, **options: object) -> object:
            return np.arange(3, dtype=np.uint8).__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    schema = NdarraySchema(np.dtype("u1"), (3,))
    assert bytes(schema.encode(Tensor())[1]) == bytes(schema.encode(Capsule())[1]) == bytes([0, 1, 2])
    assert bytes(NdarraySchema(np.dtype("f8"), ()).encode(np.float64(0.0))[1]) == bytes(8)


def test_small_fixed_shapes_lie_in_the_tree() -> None:
    assert NdarraySchema(np.dtype("f8"), (4,)).form.kind == FIXED_INLINE
    assert NdarraySchema(np.dtype("f8"), (4,), inline=False).form.kind == BY_DIGEST
    assert NdarraySchema(np.dtype("f8"), (4,), variable=True).form.kind == BY_DIGEST
    assert NdarraySchema(np.dtype("u1"), (33,)).form.kind == BY_DIGEST
    assert NdarraySchema(np.dtype("u1"), (0, 4)).form.width == 0
    with pytest.raises(InvalidInputError, match="inline"):
        NdarraySchema(np.dtype("u1"), (33,), inline=True)


@pytest.mark.parametrize(
    ("dtype", "shape", "text"),
    [
        ("f4", (1,) * 32, "rank 32"),
        ("f4", (-1,), "negative"),
        ("f4", (2**40,), "bytes"),
        ("f4", (2**62, 2**62), "bytes"),
        ("S3", (1,), "cannot be stored"),
        ("O", (1,), "cannot be stored"),
        ("M8[ns]", (1,), "cannot be stored"),
        ("g", (1,), "cannot be stored"),
        ([("a", "f4")], (1,), "cannot be stored"),
    ],
)
def test_schemas_that_cannot_be(dtype: Any, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        NdarraySchema(np.dtype(dtype), shape)


@pytest.mark.parametrize("code", [code for code in DTYPE_NAMES if code < 32])
def test_dtypes_and_codes(code: int) -> None:
    assert dtype_code(dtype_of(code)) == dtype_code(dtype_of(code).newbyteorder(">")) == code


def test_types_of_ml_dtypes_where_installed() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    schema = NdarraySchema(np.dtype(ml_dtypes.bfloat16), (20,))
    value = np.arange(20).astype(ml_dtypes.bfloat16)
    header, buffer = schema.encode(value)
    assert same(schema.decode(header, bytes(buffer)), value)


@pytest.mark.parametrize(
    "schema",
    [
        NdarraySchema(np.dtype("f4"), (2, 3), variable=True, nested=True),
        NdarraySchema(np.dtype("f4"), (), inline=False),
        StrSchema(nested=True),
        BytesSchema(inline=False),
    ],
)
def test_records_load_again(schema: Any) -> None:
    loaded = load_schema(schema.data)
    assert (type(loaded), loaded.data, loaded.digest, loaded.form) == (
        type(schema),
        schema.data,
        schema.digest,
        schema.form,
    )


@given(st.binary(max_size=40) | st.just(b"").map(lambda _: NdarraySchema(np.dtype("f4"), (2, 3)).data), st.data())
def test_garbage_is_refused_with_an_error_of_the_tree(data: bytes, draw: st.DataObject) -> None:
    if data:
        place = draw.draw(st.integers(0, len(data) - 1))
        data = data[:place] + bytes([draw.draw(st.integers(0, 255))]) + data[place + 1 :]
    with contextlib.suppress(CorruptionError, UnsupportedVersionError):
        assert load_schema(data).data == data


def test_text_values() -> None:
    text, raw = StrSchema(), BytesSchema()
    assert text.decode(*text.encode("grüße")) == "grüße"
    assert raw.decode(*raw.encode(b"\x00\xff")) == b"\x00\xff"
    for schema, wrong in ((text, b"x"), (raw, "x"), (text, 5), (raw, bytearray(b"x")), (text, "\ud800")):
        with pytest.raises(InvalidInputError):
            schema.encode(wrong)
    assert text.cell(b"x" * 64) == b"\x40" + b"x" * 64
    assert text.cell(b"x" * 65) is None
    assert StrSchema(inline=False).cell(b"x") is None
    with pytest.raises(CorruptionError):
        text.decode(None, b"\xff\xfe")


def test_row_26_ten_thousand_fuzzed_schemas() -> None:
    """Records of any dtype and shape: a schema whose sizes are right, or an error of the tree."""
    source = random.Random(26)
    accepted = 0
    for _ in range(10_000):
        kind = source.choice((1, 1, 1, 2, 3, source.randrange(256)))
        shape = [source.choice((0, 1, 3, 2**20, 2**40, 2**63, 2**64 - 1)) for _ in range(source.randrange(6))]
        variable, nested, inline = (source.random() < 0.5 for _ in range(3))
        record = [0, kind, source.choice((0, 6, source.randrange(256))), variable, shape, nested, inline]
        if source.random() < 0.02:
            source.shuffle(record)
        try:
            schema = load_schema(msgspec.msgpack.encode(record))
        except (CorruptionError, UnsupportedVersionError):
            continue
        accepted += 1
        if isinstance(schema, NdarraySchema):
            assert math.prod(schema.shape) * schema.dtype.itemsize <= limits.MAX_ARRAY_BYTES
    assert accepted > 100
