"""Functions that worker processes of the tests import by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from hangar.bulk_importer import UDF_Return

SHAPE = (20, 30)


def picture(number: int) -> np.ndarray[Any, Any]:
    return (np.arange(600, dtype=np.uint32) * (number + 1)).astype(np.uint8).reshape(SHAPE)


def several(number: int) -> dict[str, Any]:
    """Values for all kinds of columns. Items take different times, and some of them fail."""
    time.sleep(0.002 * (number % 7 == 0))
    if number % 50 == 13:
        raise ZeroDivisionError(f"bad luck with {number}")
    return {
        "picture": picture(number),
        "label": number % 10,
        "text": f"the number {number}" * (number % 20),
        "ragged": np.full((number % 5, 3), number, np.float32),
        "boxes": {at: np.full(4, at, np.float32) for at in range(number % 4)},
    }


def too_wide(number: int) -> dict[str, Any]:
    """A good value and, for some items, one that does not fit: the item is dropped as a whole."""
    return {"picture": picture(number), "label": number if number % 3 else "three"}


def large(number: int) -> np.ndarray[Any, Any]:
    """More than a slot holds."""
    return np.full(12 * 2**20 + number, number, np.uint8)


def logged(argument: tuple[str, int, float]) -> np.ndarray[Any, Any]:
    """Notes in a file which process has begun which item."""
    path, number, seconds = argument
    with open(path, "a") as file:
        file.write(f"{os.getpid()} {number}\n")
    time.sleep(seconds)
    return picture(number)


def deadly(number: int) -> np.ndarray[Any, Any]:
    if number in (5, 6, 40):
        os.kill(os.getpid(), signal.SIGKILL)
    return picture(number)


def numbered(first: int, stop: int, *, column: Any = "picture", bad: Any = None) -> Iterator[Any]:
    for number in range(first, stop):
        yield UDF_Return(column, number, picture(number))
    if bad is not None:
        yield bad


def raising(first: int) -> Iterator[UDF_Return]:
    yield UDF_Return("picture", first, picture(first))
    if first == 30:
        raise LookupError(f"no data for {first}")


def nothing(first: int) -> Iterator[UDF_Return]:
    yield from ()


def no_generator(first: int) -> list[int]:
    return [first]
