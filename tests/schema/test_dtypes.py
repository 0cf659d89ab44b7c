"""Dtypes as people write them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hangar.checkout import WriterCheckout
from hangar.errors import InvalidInputError
from hangar.schema.dtypes import DTYPE_NAMES, as_dtype, dtype_of


class Foreign:
    """A dtype of another library that knows NumPy's."""

    as_numpy_dtype = np.float32

    def __repr__(self) -> str:
        return "foreign"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        *[(float, "float64"), (int, "int64"), (bool, "bool"), (complex, "complex128"), ("float", "float64"), ("bool", "bool")],
        *[("f4", "float32"), ("<f4", "float32"), ("u1", "uint8"), ("FLOAT32", "float32"), ("Uint8", "uint8"), (" int8 ", "int8")],
        *[(np.float32, "float32"), (np.dtype("i2"), "int16"), ("np.float32", "float32"), ("numpy.uint8", "uint8")],
        *[("torch.float32", "float32"), ("torch.bfloat16", "bfloat16"), ("BFLOAT16", "bfloat16"), ("float8_e5m2", "float8_e5m2")],
        *[(ml_dtypes.bfloat16, "bfloat16"), (Foreign(), "float32"), ("double", "float64"), ("half", "float16")],
    ],
    ids=lambda value: f"{type(value).__name__} {value}",
)  # fmt: skip
def test_dtypes_as_people_write_them(given: Any, name: str, writer: WriterCheckout) -> None:
    assert as_dtype(given).name == name
    assert writer.add_ndarray_column("c", (3,), given).dtype == as_dtype(name)


def test_every_name_of_the_table() -> None:
    for code, name in DTYPE_NAMES.items():
        assert as_dtype(name) == as_dtype(name.upper()) == dtype_of(code)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        *[(str, "add_str_column"), (bytes, "add_bytes_column"), ("str", "add_str_column"), ("BYTES", "add_bytes_column")],
        *[("float33", "'float33' is not a dtype: use one such as 'uint8', 'float32'"), (5, "5 is not a dtype"), (1.5, "not a dtype")],
        *[("", "not a dtype"), ("O", "cannot be stored"), ("M8[s]", "cannot be stored"), ([("a", "i4")], "cannot be stored")],
    ],
    ids=lambda value: f"{type(value).__name__} {value}",
)  # fmt: skip
def test_what_is_no_dtype(given: Any, why: str, writer: WriterCheckout) -> None:
    with pytest.raises(InvalidInputError, match=why):
        writer.add_ndarray_column("c", (3,), given)
