"""A checkout with a column of each layout and kind, for the tests of what checkouts offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hangar.checkout import WriterCheckout
from hangar.errors import ClosedError

NAMES = ["boxes", "image", "label", "raw", "text"]


def image(number: int) -> np.ndarray[Any, Any]:
    return np.full((5, 9), number, np.uint8)


def fill(writer: WriterCheckout) -> None:
    """Put the columns in."""
    writer.add_ndarray_column("image", (5, 9), np.uint8).update({i: image(i) for i in range(20)})
    writer.add_ndarray_column("label", (), np.int64).update({i: np.array(i) for i in range(20)})
    boxes = writer.add_ndarray_column("boxes", (9, 4), np.float32, variable_shape=True, contains_subsamples=True)
    boxes.update(
        {"a": {0: np.ones((1, 4), np.float32), "x": np.zeros((2, 4), np.float32)}, 7: {1: np.ones((9, 4), np.float32)}}
    )
    writer.add_str_column("text").update({"k": "v", 0: "zero"})
    writer.add_bytes_column("raw")[1] = b"\xff"


def refuses(*actions: Callable[[], Any]) -> None:
    """Each of them says that the checkout was closed."""
    for action in actions:
        with pytest.raises(ClosedError):
            action()
        with pytest.raises(PermissionError):
            action()
