"""A slice of a large chunked array in a partial clone: its chunks alone cross the wire, with one request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from hangar import Repository
from hangar.remote.on_read import FetchOnRead
from hangar.remote.server import serve
from tests.remote.proxy import Proxy

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")


class Case(NamedTuple):
    """An array of float32 of random bits, which nothing compresses."""

    shape: tuple[int, int, int]
    chunks: tuple[int, int, int]
    part: tuple[slice, slice, slice]
    touched: int


SMALL = Case((64, 128, 256), (32, 32, 32), np.s_[30:34, 100:120, 5:40], 2 * 1 * 2)
LARGE = Case((512, 1024, 1024), (64, 64, 64), np.s_[100:110, 200:300, 300:400], 1 * 2 * 3)
OVERHEAD = 0.01


def slab(case: Case, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(number).random((case.chunks[0], *case.shape[1:]), np.float32)


@contextmanager
def served(place: Path, case: Case) -> Iterator[Proxy]:
    """A server of one array, written slab by slab, and a proxy that counts."""
    server, hangar_server, address = serve(place, channel_address="localhost:0")
    server.start()
    try:
        with Repository(place) as repo, closing(repo.checkout(write=True)) as co:
            column = co.add_chunked_column("volumes", "float32", case.chunks)
            array = column.create("scan", case.shape)
            for number in range(case.shape[0] // case.chunks[0]):
                array[number * case.chunks[0] : (number + 1) * case.chunks[0]] = slab(case, number)
            co.commit("one volume")
        with Proxy(int(address.rpartition(":")[2])) as proxy:
            yield proxy
    finally:
        server.stop(0)
        hangar_server.close()


@pytest.mark.parametrize("case", [SMALL, pytest.param(LARGE, marks=pytest.mark.nightly)], ids=["small", "2 GB"])
def test_one_slice(tmp_path: Path, case: Case) -> None:
    (tmp_path / "mine").mkdir()
    with served(tmp_path / "served", case) as proxy, Repository(tmp_path / "mine", exists=False) as mine:
        mine.clone("Bob", "bob@example.org", f"localhost:{proxy.port}")
        chunk_nbytes = 4 * int(np.prod(case.chunks))
        whole = 4 * int(np.prod(case.shape, dtype=np.int64))
        history = proxy.down + proxy.up
        assert history < 20_000 + 100 * (whole // chunk_nbytes)
        co = mine.checkout(fetch_on_read=True)
        fetch = co.session.resolve
        assert isinstance(fetch, FetchOnRead)
        array = co["volumes"]["scan"]
        assert array.shape == case.shape
        found = array[case.part]
        wire = proxy.down + proxy.up - history
        assert (fetch.calls, fetch.fetched, fetch.nbytes) == (1, case.touched, case.touched * chunk_nbytes)
        assert fetch.nbytes <= wire <= fetch.nbytes * (1 + OVERHEAD) + 3_000
        first = case.part[0].start // case.chunks[0]
        last = (case.part[0].stop - 1) // case.chunks[0]
        slabs = np.concatenate([slab(case, number) for number in range(first, last + 1)])
        begin = case.part[0].start - first * case.chunks[0]
        depth = case.part[0].stop - case.part[0].start
        np.testing.assert_array_equal(found, slabs[begin : begin + depth, case.part[1], case.part[2]])
        # Again, and a part of it, costs nothing; one chunk beside it costs one chunk.
        np.testing.assert_array_equal(array[case.part], found)
        assert proxy.down + proxy.up - history - wire < 500
        co.close()
        print(f"{whole:,} bytes, of which {fetch.nbytes:,} were fetched: {wire:,} on the wire, history {history:,}")
        assert mine.fsck().promised == whole // chunk_nbytes - case.touched
