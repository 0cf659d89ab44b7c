"""Keyed BLAKE3-256 of many inputs, with the compiled kernel if available, else with one call of the package per input.

Both give the same digests, bit for bit. The kernel (``_kernel.c``) hashes a different input in each SIMD lane
and uses all cores, so small samples are hashed as fast as large ones; for long inputs the package is as fast. If
the kernel was not built, fails a self-test at start-up, or the environment variable ``HANGAR_NO_KERNEL`` is set,
the package is used for everything. ``digest`` defines the inputs and keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from hangar.threads import cores


def _agrees(in_lanes: Callable[[bytes, Sequence[bytes], int], tuple[bytes, list[int]]]) -> bool:
    """Self-test: whether the kernel gives the digests of the package on this CPU. A wrong digest would lose data."""
    key = bytes(range(32))
    inputs = [bytes([at]) * (1_100 + at) for at in range(20)]
    return in_lanes(key, inputs, 1) == (b"".join(blake3(one, key=key).digest() for one in inputs), [])


try:
    if os.environ.get("HANGAR_NO_KERNEL"):
        raise ImportError
    from hangar._kernel import hash_list as _list_in_lanes
    from hangar._kernel import hash_rows as _rows_in_lanes
except ImportError:
    KERNEL = False
    """Whether the compiled kernel is used."""
else:
    KERNEL = _agrees(_list_in_lanes)

__all__ = ["KERNEL", "finish", "hash_list", "hash_rows", "row_buffers"]

_DIGEST_BYTES: Final = 32
_KERNEL_ROW_BYTES: Final = 16 * 1024
"""Above this length the package itself is parallel: it hashes chunks of one input in SIMD lanes."""
_KERNEL_ROWS: Final = 4
"""From this number of inputs on, one kernel call costs less than one package call per input."""
_KERNEL_LIST: Final = 256
"""From this length on, a list fills the lanes, although only inputs of similar length share them: the digests of 256 tree nodes of
3 KB take 0.4 ms instead of 0.8."""
_THREAD_BYTES: Final = 2**20
"""Minimum work for a thread, in bytes."""
_LONG_ROW_BYTES: Final = 4_096
_BLOCK_BYTES: Final = 2 * 2**20

finish: Final[Callable[[blake3], Any]] = blake3.digest
"""The digest method of a hasher. Typed as Any, because wrapping each result in ``Digest`` would double the cost."""


def hash_rows(key: bytes, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Digests of inputs of equal length.

    Parameters
    ----------
    key
        32 bytes.
    rows
        uint8, shape (n, size).

    Returns
    -------
    numpy.ndarray
        uint8, shape (n, 32).
    """
    count, size = rows.shape
    if not KERNEL or count < _KERNEL_ROWS or size > _KERNEL_ROW_BYTES:
        hashers = map(partial(blake3, key=key), row_buffers(rows))
        return np.frombuffer(b"".join(map(finish, hashers)), np.uint8).reshape(count, _DIGEST_BYTES)
    if size > 1 and rows.strides[1] != 1:
        rows = np.ascontiguousarray(rows)
    digests = np.empty((count, _DIGEST_BYTES), np.uint8)
    _rows_in_lanes(key, rows, digests, _threads(count * size))
    return digests


def hash_list(key: bytes, inputs: Sequence[Any]) -> list[Any]:
    """Digests (``bytes``) of buffers of any lengths.

    Parameters
    ----------
    key
        32 bytes.
    inputs
        Buffers; a list of ``bytes`` objects is the fast case.
    """
    if not KERNEL or len(inputs) < _KERNEL_LIST or set(map(type, inputs)) != {bytes}:
        return list(map(finish, map(partial(blake3, key=key), inputs)))
    joined, left = _list_in_lanes(key, inputs, _threads(sum(map(len, inputs))))
    digests: list[Any] = np.frombuffer(joined, f"V{_DIGEST_BYTES}").tolist()
    for at in left:
        digests[at] = finish(blake3(inputs[at], key=key))
    return digests


def _threads(nbytes: int) -> int:
    if nbytes < 2 * _THREAD_BYTES:
        return 1
    return min(cores(), nbytes // _THREAD_BYTES)


def row_buffers(rows: npt.NDArray[np.uint8]) -> Iterable[Any]:
    """The rows as buffers for a hash function, made without a Python call per row."""
    count, width = rows.shape
    if width == 0:
        return [b""] * count
    if width < _LONG_ROW_BYTES:
        # A bytes object per row costs one small copy, an array per row 0.2 us. Blocks keep the copies in the CPU cache.
        voids = np.ascontiguousarray(rows).view(f"V{width}")[:, 0]
        step = max(1, _BLOCK_BYTES // width)
        return chain.from_iterable(voids[i : i + step].tolist() for i in range(0, count, step))
    return rows
