"""LZF by way of h5py: every thread gets its own chunk back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hangar.backends.hdf5 import lzf


def there_and_back(number: int) -> bool:
    data = np.full(200_000, number, np.uint8)
    stored = lzf.compress(data)
    assert stored is not None
    found = np.empty_like(data)
    lzf.decompress(np.frombuffer(stored, np.uint8), found)
    return np.array_equal(found, data)


def test_threads_do_not_meet() -> None:
    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(there_and_back, range(90)))
