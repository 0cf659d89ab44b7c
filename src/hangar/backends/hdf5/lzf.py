"""LZF, by way of h5py, which brings the only well-kept implementation along: a data set of one chunk in memory.

Slow beside the other codecs, and one thread at a time. It is there for data that must be readable where only h5py is.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hangar.errors import CorruptionError, InvalidStateError

__all__ = ["compress", "decompress"]

_numbers: Final = itertools.count()
_one_at_a_time = threading.Lock()
"""Older h5py lets threads meet in what HDF5 keeps of one call for the next."""


def _forked() -> None:
    """In a child the thread that holds the lock may not be there."""
    global _one_at_a_time  # noqa: PLW0603 - a new lock for a new process
    _one_at_a_time = threading.Lock()


os.register_at_fork(after_in_child=_forked)


@contextlib.contextmanager
def _chunk(size: int) -> Iterator[Any]:
    """A data set in memory, of one chunk that goes through LZF."""
    try:
        import h5py
    except ImportError as error:
        raise InvalidStateError(f"the codec lzf needs the package h5py: {error}") from None
    name = f"hangar-lzf-{next(_numbers)}"
    with _one_at_a_time, h5py.File(name, "w", driver="core", backing_store=False, locking=False) as file:
        yield file.create_dataset("chunk", (size,), np.uint8, chunks=(size,), compression="lzf")


def compress(data: npt.NDArray[np.uint8]) -> bytes | None:
    """``data`` in LZF; None where it would be no smaller."""
    with _chunk(len(data)) as chunk:
        chunk.write_direct(data)
        mask, stored = chunk.id.read_direct_chunk((0,))
    return None if mask or len(stored) >= len(data) else bytes(stored)


def decompress(stored: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
    """Decode into ``out``, whose size is known.

    Raises
    ------
    CorruptionError
        This is no LZF.
    """
    with _chunk(len(out)) as chunk:
        chunk.id.write_direct_chunk((0,), stored.tobytes())
        try:
            chunk.read_direct(out)
        except OSError as error:
            raise CorruptionError(f"a chunk cannot be decoded: {error}") from None
