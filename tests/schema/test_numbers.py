"""Python numbers in columns of shape ``()``: by the rules of NumPy for them, to the last bit, or refused by name."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hangar.errors import InvalidInputError
from hangar.schema import NdarraySchema
from hangar.schema import numbers as module
from hangar.schema.dtypes import DTYPE_NAMES, dtype_of

DTYPES = [dtype_of(code) for code in DTYPE_NAMES]
NUMPYS = [dtype_of(code) for code in DTYPE_NAMES if code < 32]
numbers = st.one_of(
    st.booleans(), st.integers(-(2**70), 2**70), st.integers(-300, 300), st.floats(), st.complex_numbers()
)


def stored(values: list[Any], dtype: Any, *, variable: bool = False) -> bytes:
    """What a batch is stored as; the same one by one."""
    schema = NdarraySchema(np.dtype(dtype), (), variable=variable)
    batch = schema.encode_batch(values, len(values))
    assert batch.rows is not None
    together = batch.rows.tobytes()
    assert together == b"".join(bytes(schema.encode(value)[1]) for value in values)
    return together


def expected(value: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any] | None:
    """What NumPy makes of a number beside a scalar of the dtype (NEP 50); None where that is another dtype or out of range."""
    if isinstance(value, bool) or dtype.kind == "b":
        return np.array(value, dtype) if isinstance(value, bool) and dtype.kind == "b" else None
    if np.result_type(dtype, value) != dtype:
        return None
    with np.errstate(all="ignore"):
        try:
            array = np.array(value, dtype)
        except OverflowError:
            return None
    parts = [(value.real, array.real), (value.imag, array.imag)]
    return array if all(math.isfinite(b) or not (isinstance(a, int) or math.isfinite(a)) for a, b in parts) else None


@given(numbers, st.sampled_from(NUMPYS))
@example(2**24 + 1, np.dtype("<f4"))
@example(1e40, np.dtype("<f4"))
@example(65519.99, np.dtype("<f2"))
@example(complex(1e40, 0), np.dtype("<c8"))
@example(complex(0, math.inf), np.dtype("<c8"))
def test_a_number_is_what_numpy_makes_of_it(value: Any, dtype: np.dtype[Any]) -> None:
    array = expected(value, dtype)
    if array is None:
        with pytest.raises(InvalidInputError, match=f"cannot be stored as {dtype}"):
            stored([value], dtype)
    else:
        assert stored([value], dtype) == array.tobytes()


@given(st.lists(numbers, min_size=1, max_size=20), st.sampled_from(NUMPYS))
def test_a_batch_is_refused_where_one_number_is(values: list[Any], dtype: np.dtype[Any]) -> None:
    arrays = [expected(value, dtype) for value in values]
    if None in arrays:
        with pytest.raises(InvalidInputError, match="cannot be stored as"):
            NdarraySchema(dtype, ()).encode_batch(values, len(values))
    else:
        assert stored(values, dtype) == b"".join(array.tobytes() for array in arrays if array is not None)


@pytest.mark.parametrize(
    ("value", "dtype", "why"),
    [
        *[(300, "uint8", "300 cannot be stored as uint8: it is out of range"), (-1, "uint8", "-1 .* out of range")],
        *[(2**63, "int64", "out of range"), (2**64, "uint64", "out of range"), (-1, "uint64", "out of range")],
        *[(1.5, "int64", "1.5 cannot be stored as int64: a float goes into float"), (1.0, "int64", "a float goes")],
        *[(True, "int64", "True cannot be stored as int64: a bool goes into bool columns alone"), (1j, "float64", "a complex")],
        *[(True, "float32", "a bool"), (1, "bool", "1 cannot be stored as bool: an? int goes"), (0.0, "bool", "a float")],
        *[(1e40, "float32", r"1e\+40 cannot be stored as float32: it is out of range"), (65520.0, "float16", "out of range")],
        *[(10**400, "float64", "out of range"), (10**50, "float32", "out of range")],
        *[(complex(0, 1e40), "complex64", "out of range"), (1e40, "complex64", "out of range"), (True, "complex64", "a bool")],
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(value: Any, dtype: str, why: str) -> None:
    for batch in ([value], [value, value]):
        with pytest.raises(ValueError, match=why):
            stored(batch, dtype)
    with pytest.raises(ValueError, match=why):
        NdarraySchema(np.dtype(dtype), ()).encode(value)


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype not in NUMPYS], ids=str)
@given(value=st.one_of(st.floats(), st.integers(-(2**200), 2**200)))
def test_types_of_ml_dtypes(value: float, dtype: np.dtype[Any]) -> None:
    with np.errstate(all="ignore"):
        array = np.array([value], np.float64).astype(dtype)
    there = float(array[0])
    if math.isfinite(there) or there == value or (math.isnan(there) and math.isnan(value)):
        assert stored([value], dtype) == array.tobytes()
    else:
        with pytest.raises(InvalidInputError, match=f"cannot be stored as {dtype}: it is out of range"):
            stored([value], dtype)


def test_bfloat16() -> None:
    assert (
        stored([0.1, 1, math.inf, 2**100], ml_dtypes.bfloat16)
        == np.array([0.1, 1, math.inf, 2.0**100], ml_dtypes.bfloat16).tobytes()
    )
    for value, why in ((True, "a bool"), (1j, "a complex"), (1e300, "out of range")):
        with pytest.raises(InvalidInputError, match=why):
            stored([value], ml_dtypes.bfloat16)


class Label(IntEnum):
    CAT = 3


def test_members_of_an_enumeration_and_kinds_of_numbers_are_the_numbers_that_they_are() -> None:
    assert stored([Label.CAT, 4], "int16") == np.array([3, 4], "<i2").tobytes()
    assert stored([Label.CAT, 1.5], "float64") == np.array([3, 1.5]).tobytes()


def test_scalars_of_numpy_are_arrays() -> None:
    """Nothing is cast for them: they have a dtype."""
    assert stored([np.float32(0.1), np.array(2, "f4")], "float32") == np.array([0.1, 2], "f4").tobytes()
    for value in (np.float64(0.1), np.int64(3), np.bool_(True), np.complex128(1)):
        with pytest.raises(InvalidInputError, match="dtype: "):
            stored([value], "float32")
    with pytest.raises(InvalidInputError, match="dtype: float64"):
        NdarraySchema(np.dtype("f4"), ()).encode_batch([0.1, np.float64(0.1)], 2)


def test_numbers_and_arrays_mixed() -> None:
    assert stored([1, np.int64(2), np.array(3)], "int64") == np.array([1, 2, 3]).tobytes()


def test_columns_of_rank_0_alone() -> None:
    assert stored([1, 2], "int64", variable=True) == np.array([1, 2]).tobytes()
    for shape in ((1,), (2, 2)):
        for variable in (False, True):
            with pytest.raises(InvalidInputError, match=r"`data` argument type: <class 'int'> != `np\.ndarray`"):
                NdarraySchema(np.dtype("i8"), shape, variable=variable).encode(1)
    for value in ("1", b"1", None, [1]):
        with pytest.raises(InvalidInputError, match="`data` argument type"):
            NdarraySchema(np.dtype("i8"), ()).encode(value)


def test_a_batch_is_one_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    convert = module._converted

    def counted(values: Any, dtype: np.dtype[Any]) -> Any:
        calls.append(len(values))
        return convert(values, dtype)

    monkeypatch.setattr(module, "_converted", counted)
    NdarraySchema(np.dtype("f4"), ()).encode_batch([1, 0.5] * 500, 1000)
    assert calls == [1000]


def test_an_int_that_python_prints_not_is_refused_all_the_same() -> None:
    with pytest.raises(
        InvalidInputError, match="an int of 16,610 bits cannot be stored as float64: it is out of range"
    ):
        stored([10**5000], "float64")
