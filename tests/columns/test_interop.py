"""Columns in other libraries: DLPack and pandas. Those of torch are in a file of their own."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hangar.checkout import WriterCheckout
from hangar.errors import ClosedError


def test_torch_is_tested_where_it_must_be() -> None:
    """In tox on CPython 3.11: that its tests are not collected there must not go unseen."""
    if os.environ.get("HANGAR_TEST_WHEEL") and sys.implementation.name == "cpython" and sys.version_info[:2] == (3, 11):
        assert find_spec("torch") is not None


def test_dlpack(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("c", (2,), np.float32)
    column.update({1: np.ones(2, np.float32), "a": np.zeros(2, np.float32)})
    source: Any = column
    assert np.from_dlpack(source).tolist() == [[1, 1], [0, 0]]
    with pytest.raises(BufferError, match="always a copy"):
        source.__dlpack__(copy=False)
    writer.close()
    with pytest.raises(ClosedError):
        np.from_dlpack(source)


def test_pandas_keeps_every_key(writer: WriterCheckout) -> None:
    content = {0: 1, 5: 3, "a": 4, "b": 2}
    labels = writer.add_ndarray_column("labels", (), np.int64)
    labels.update(content)
    text = writer.add_str_column("text")
    text.update({key: str(value) for key, value in content.items()})
    images = writer.add_ndarray_column("images", (2,), np.uint8)
    images.update({key: np.full(2, value, np.uint8) for key, value in content.items()})
    nested = writer.add_str_column("nested", contains_subsamples=True)
    nested["s"] = {key: str(value) for key, value in content.items()}
    for mapping in (labels, text, images, nested["s"]):
        series = pd.Series(mapping)
        assert list(series.index) == [0, 5, "a", "b"]
        assert [int(np.ravel(value)[0]) for value in series] == [1, 3, 4, 2]
    assert pd.Series(text)["a"] == "4"
    assert len(pd.Series(writer.add_str_column("empty"))) == 0
    copied = writer.add_ndarray_column("copied", (2,), np.uint8)
    copied.write(list(images), images)  # A column is a batch of its values, a dict is not.
    assert np.array_equal(np.asarray(copied), np.asarray(images))
