"""A small nested column of arrays that several tests fill, read and change."""

from __future__ import annotations

from typing import Any

import numpy as np

from hangar.checkout import WriterCheckout
from hangar.columns import NestedSampleReader, NestedSampleWriter

__all__ = ["CONTENT", "FLATTENED", "PAIRS", "content", "fill", "numbers", "value"]

CONTENT: dict[int | str, dict[int | str, int]] = {
    3: {0: 1, 7: 2, "left": 3},
    2**64 - 1: {0: 4},
    "a": {0: 5, "b": 6},
    "a/b": {"c": 7},
    "é": {2**64 - 1: 8, "x": 9},
}
"""In key order."""
PAIRS = [(sample, sub) for sample, subs in CONTENT.items() for sub in subs]
FLATTENED = [number for subs in CONTENT.values() for number in subs.values()]


def value(number: int) -> np.ndarray[Any, Any]:
    return np.full((3, 20), number, np.float32)


def numbers(data: Any) -> dict[Any, int]:
    return {key: int(array[0, 0]) for key, array in data.items()}


def fill(writer: WriterCheckout, name: str = "x") -> NestedSampleWriter:
    column = writer.add_ndarray_column(name, (3, 20), np.float32, contains_subsamples=True)
    column.update({sample: {sub: value(n) for sub, n in subs.items()} for sample, subs in CONTENT.items()})
    return column


def content(column: NestedSampleReader) -> dict[Any, dict[Any, int]]:
    return {sample: numbers(view.data) for sample, view in column.items()}
