"""Short texts of values and differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hangar.diff import Unavailable
from hangar.diff.stream import Form
from hangar.diff.text import change_text, form_text, value_text
from hangar.diff.values import difference
from hangar.errors import NotLocalError


def told(before: Any, after: Any, tolerance: float = 0.0) -> str:
    return change_text(before, after, difference(before, after, tolerance))


def image(*shape: int, dtype: str = "uint8") -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype)


def test_small_values_are_shown_whole() -> None:
    assert told(np.array(8), np.array(3)) == "8 -> 3"
    assert told(np.array(0.1, "float32"), np.array(np.nan, "float32")) == "0.1 -> nan"
    assert told(np.array(True), np.array(False)) == "True -> False"
    assert told(np.array([1, 2]), np.array([1, 3])) == "[1, 2] -> [1, 3]"
    assert told(np.array([[1], [2]]), np.array([[1], [3]])) == "[[1], [2]] -> [[1], [3]]"
    assert told(np.array(1 + 2j), np.array(2j)) == "(1+2j) -> 2j"
    assert told(np.zeros((0, 3)), np.ones((1, 3))) == "[] -> [[1.0, 1.0, 1.0]]"
    assert value_text(np.array(-(2**63))) == "-9223372036854775808"


def test_images() -> None:
    before = image(28, 30)
    after = before.copy()
    after[2:6, 3:4] = 190
    assert (
        told(before, after) == "uint8 28 x 30: 4 of 840 pixels changed (0.476%), in [2:6, 3:4], by up to 190, mean 190"
    )
    colour = image(1000, 1000, 3)
    spot = colour.copy()
    spot[5, 7, 1] = 1
    assert told(colour, spot).startswith(
        "uint8 1,000 x 1,000 x 3: 1 of 1,000,000 pixels changed (<0.1%), in [5:6, 7:8]"
    )
    mask = image(9, 9, dtype="bool")
    assert told(mask, ~mask) == "bool 9 x 9: 81 of 81 pixels changed (100%)"


def test_arrays() -> None:
    vector = np.zeros(1000)
    other = vector.copy()
    other[10:13] = [np.nan, 0.25, 1e9]
    text = told(vector, other)
    assert (
        text
        == "float64 (1,000,): 3 of 1,000 elements changed (0.3%), in [10:13], by up to 1e+09, mean 5e+08, 1 NaN gained"
    )
    assert told(other, vector).endswith("1 NaN lost")
    assert told(vector, np.ones(999)) == "float64 (1,000,) -> float64 (999,)"
    assert told(vector, np.zeros(1000, "int8")).startswith("float64 (1,000,) -> int8 (1,000,): equal as numbers")
    assert told(vector, -vector) == "float64 (1,000,): equal as numbers (-0.0, NaN)"
    nearly = np.ones(10_000)
    nearly[0] = 0
    assert "(>99.9%)" in told(np.zeros(10_000), nearly)


def test_texts() -> None:
    assert told("cat", "dog") == '"cat" -> "dog"'
    assert told("", "a\nb\x1b[31m") == '"" -> "a\\nb\\x1b[31m"'
    long = "x" * 500 + "the cat sat on the mat" + "y" * 500
    assert told(long, long.replace("cat", "dog")) == (
        '..."xxxxxxxxxxxxthe cat sat on the maty"... -> ..."xxxxxxxxxxxxthe dog sat on the maty"...'
    )
    assert told(b"", b"\x00\xff") == "(no bytes) -> 00ff"
    assert value_text("x" * 61) == f'"{"x" * 60}"...'
    assert value_text(b"\x01" * 31) == f"{'01' * 30}..."


def test_values_that_were_not_read() -> None:
    gone = Unavailable("not on this disk", NotLocalError("x"))
    assert change_text(np.array(8), gone, None) == "8 -> (not on this disk)"
    assert change_text(gone, gone, None) == "(not on this disk)"
    assert change_text(None, gone, None) == "(not on this disk)"
    form = Form("ndarray", "uint8", (28, 28), 784)
    assert change_text(None, form, None) == change_text(form, form, None) == "uint8 28 x 28"
    assert form_text(Form("str", None, None, 2_100_000)) == "(str of 2.10 MB)"


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn"])
def test_small_floats(name: str) -> None:
    dtypes = pytest.importorskip("ml_dtypes")
    one, two = (np.array(number, getattr(dtypes, name)) for number in (1.5, 2))
    assert told(one, two) == "1.5 -> 2"
