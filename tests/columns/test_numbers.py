"""Python numbers in columns of shape ``()``, however they are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hangar.checkout import WriterCheckout
from hangar.errors import InvalidInputError


def test_flat(writer: WriterCheckout) -> None:
    labels = writer.add_ndarray_column("labels", (), np.int64)
    labels[5] = 9
    labels.write(["a", "b", "c"], [3, 1, 2])
    labels.write(range(10, 13), range(3))
    labels.write((key for key in (20, 21)), (value for value in (7, np.int64(8))))
    labels.update({6: 4}, d=5)
    key = labels.append(11)
    assert labels.read([5, "a", "b", "c", 10, 11, 12, 20, 21, 6, "d", key]).tolist() == [
        9,
        3,
        1,
        2,
        0,
        1,
        2,
        7,
        8,
        4,
        5,
        11,
    ]
    assert (labels[5].dtype, labels[5].shape) == (np.dtype("int64"), ())
    assert labels.read([5]).dtype == np.int64


def test_nested(writer: WriterCheckout) -> None:
    scores = writer.add_ndarray_column("scores", (), np.float32, contains_subsamples=True)
    scores["s"] = {0: 0.1, "x": 1}
    scores["s", 1] = 2.5
    scores.write([("t", 0), ("t", 1)], [3, 0.5])
    scores.update({"u": {0: 7}})
    scores["u"][1] = 8
    scores["u"].update({2: 9})
    key = scores["u"].append(10)
    assert scores.read([("s", 0), ("s", "x"), ("s", 1), ("t", 0), ("t", 1)]).tolist() == [
        np.float32(0.1),
        1,
        2.5,
        3,
        0.5,
    ]
    assert {sub: value.item() for sub, value in scores["u"].items()} == {0: 7, 1: 8, 2: 9, key: 10}


@pytest.mark.parametrize("inline", [None, False])
@pytest.mark.parametrize(
    ("dtype", "bad", "what"),
    [
        *[(np.uint8, 300, "300 cannot be stored as uint8"), (np.uint8, -1, "-1"), (np.int64, 1.5, "1.5 cannot be stored as int64")],
        *[(np.int64, True, "True"), (np.float32, 1e40, "1e\\+40 cannot be stored as float32"), (np.bool_, 1, "1 cannot be stored as bool")],
    ],
)  # fmt: skip
def test_nothing_is_written_of_a_batch_with_one_that_does_not_fit(
    dtype: Any, bad: Any, what: str, inline: bool | None, writer: WriterCheckout
) -> None:
    column = writer.add_ndarray_column("c", (), dtype, inline=inline)
    good = True if dtype is np.bool_ else 1
    column["there"] = good
    for write in (
        lambda: column.__setitem__("k", bad),
        lambda: column.write(["k", "l"], [good, bad]),
        lambda: column.update({"k": good, "l": bad}),
        lambda: column.append(bad),
    ):
        with pytest.raises(InvalidInputError, match=what):
            write()
    assert list(column) == ["there"]
    assert column["there"] == good


def test_a_number_is_a_prototype(writer: WriterCheckout) -> None:
    for name, number, dtype in (("i", 3, "int64"), ("f", 0.5, "float64"), ("b", True, "bool"), ("c", 1j, "complex128")):
        column: Any = writer.add_ndarray_column(name, prototype=number)
        assert (column.shape, column.dtype) == ((), np.dtype(dtype))
        column[0] = number
        assert column[0] == number
    assert writer.add_ndarray_column("g", prototype=3, dtype=np.float32).dtype == np.float32
