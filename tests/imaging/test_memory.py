"""Memory of batches of pixels: used again when no view of it is left, and never before."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np

from hangar.imaging import memory
from hangar.imaging.memory import BatchMemory

SHAPE = (4, 600, 200, 3)


def address(array: np.ndarray[Any, Any]) -> int:
    return int(array.ctypes.data)


def test_memory_is_used_again_when_no_view_is_left() -> None:
    made = BatchMemory()
    array = made.empty(SHAPE)
    assert (array.shape, array.dtype.name, array.flags.carray) == (SHAPE, "uint8", True)
    array[...] = 7
    row, first = array[1:3].reshape(2, -1)[1], address(array)
    del array
    other = made.empty(SHAPE)
    assert address(other) != first
    other[...] = 9
    assert (row == 7).all()
    assert address(made.empty((2, *SHAPE[1:]))) != first
    del row
    assert address(made.empty(SHAPE)) == first
    assert memory._owners.keys() >= {id(other.base)}


def test_few_blocks_are_kept_and_none_of_another_size() -> None:
    made = BatchMemory()
    arrays = [made.empty(SHAPE) for _ in range(6)]
    arrays.clear()
    assert len(made._free) == memory._KEPT
    other = made.empty((1000, 2000))
    assert (other.shape, made._free) == ((1000, 2000), [])
    assert made.empty((10, 10)).base is None
    assert pickle.loads(pickle.dumps(made))._free == []


def test_arrays_of_several_threads_share_no_memory() -> None:
    made = BatchMemory()
    problems: list[int] = []

    def work(number: int) -> None:
        for _ in range(60):
            array = made.empty(SHAPE)
            array[...] = number
            held = array[::2]
            del array
            if not (held == number).all():
                problems.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
