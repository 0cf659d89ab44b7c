"""LZF codec, through an in-memory HDF5 dataset of one chunk: h5py has the only maintained implementation.

It is slower than the other codecs and runs in one thread at a time. Use it for files that must be readable with h5py
alone.
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
"""Serializes calls: HDF5 keeps state between calls, and older h5py does not protect it from other threads."""


def _forked() -> None:
    """Replace the lock in a forked child, where the thread that holds it may not exist."""
    global _one_at_a_time  # noqa: PLW0603 - a new lock for a new process
    _one_at_a_time = threading.Lock()


os.register_at_fork(after_in_child=_forked)


@contextlib.contextmanager
def _chunk(size: int) -> Iterator[Any]:
    """A dataset in memory, of one chunk with the LZF filter."""
    try:
        import h5py
    except ImportError as error:
        raise InvalidStateError(f"the codec lzf needs the package h5py: {error}") from None
    name = f"hangar-lzf-{next(_numbers)}"
    with _one_at_a_time, h5py.File(name, "w", driver="core", backing_store=False, locking=False) as file:
        yield file.create_dataset("chunk", (size,), np.uint8, chunks=(size,), compression="lzf")


def compress(data: npt.NDArray[np.uint8]) -> bytes | None:
    """Compress ``data``; None if the result is not smaller."""
    with _chunk(len(data)) as chunk:
        chunk.write_direct(data)
        mask, stored = chunk.id.read_direct_chunk((0,))
    return None if mask or len(stored) >= len(data) else bytes(stored)


def decompress(stored: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
    """Decompress into ``out``, which has the decoded size.

    Raises
    ------
    CorruptionError
        The bytes are not valid LZF.
    """
    with _chunk(len(out)) as chunk:
        chunk.id.write_direct_chunk((0,), stored.tobytes())
        try:
            chunk.read_direct(out)
        except OSError as error:
            raise CorruptionError(f"a chunk cannot be decoded: {error}") from None
