"""A small repository with a column of every kind and layout, for tests of data sets."""

from __future__ import annotations

from typing import Any

import numpy as np

from hangar import Repository
from hangar.checkout import ReaderCheckout, WriterCheckout

__all__ = ["COUNT", "FLAT", "NESTED", "fill", "filled", "same", "subsamples", "value"]

COUNT = 60
"""Samples of each column; their keys are 100, 101, ..."""
FLAT = ("image", "label", "ragged", "text", "blob")
NESTED = ("boxes", "notes")


def value(name: str, key: int) -> Any:
    """The value of a sample of a flat column, or of a subsample of key ``10 * sample + subsample`` of a nested one."""
    if name == "image":
        return np.full((4, 5), key, np.uint8)
    if name == "label":
        return np.array(key % 7, np.int64)
    if name == "ragged":
        return np.full((1 + key % 3, 2), key, np.float32)
    if name == "boxes":
        return np.full(4, key, np.float32)
    text = f"value {key} é " * (1 + key % 40)
    return text if name in ("text", "notes") else text.encode()


def subsamples(sample: int) -> range:
    return range(1 + sample % 3)


def fill(writer: WriterCheckout, count: int = COUNT, backend: str | None = None) -> None:
    writer.add_ndarray_column("image", (4, 5), np.uint8, backend=backend)
    writer.add_ndarray_column("label", (), np.int64)
    writer.add_ndarray_column(
        "ragged", (3, 2), np.float32, variable_shape=True, backend=None if backend == "01" else backend
    )
    writer.add_str_column("text")
    writer.add_bytes_column("blob")
    writer.add_ndarray_column("boxes", (4,), np.float32, contains_subsamples=True)
    writer.add_str_column("notes", contains_subsamples=True)
    keys = range(100, 100 + count)
    with writer:
        for name in FLAT:
            writer.columns[name].update({key: value(name, key) for key in keys})
        for name in NESTED:
            writer.columns[name].update(
                {key: {sub: value(name, 10 * key + sub) for sub in subsamples(key)} for key in keys}
            )


def filled(repo: Repository, count: int = COUNT, backend: str | None = None) -> ReaderCheckout:
    """A reader of the first commit of ``repo``, which holds all columns."""
    writer = repo.checkout(write=True)
    fill(writer, count, backend)
    writer.commit("data")
    writer.close()
    reader = repo.checkout()
    assert isinstance(reader, ReaderCheckout)
    return reader


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, of one type and dtype."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return isinstance(other, (np.ndarray, np.generic)) and one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)
