"""Which blobs a repository has, after reading and verifying them: what it tells somebody who is about to drop them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from hangar.blobs.index import Digests, Positions, Sought
from hangar.blobs.intact import logical_sizes
from hangar.blobs.verify import intact_at
from hangar.db.epoch import gc_epoch
from hangar.remote.evicting import is_evicting
from hangar.remote.peer import ABSENT
from hangar.remote.states import BlobState, BlobStates
from hangar.stores import Stores

__all__ = ["blob_states"]

_PAGE_BLOBS: Final = 4_096
_PAGE_BYTES: Final = 64 * 2**20


def blob_states(stores: Stores, digests: Digests, *, read: bool) -> Iterator[BlobStates]:
    """The state and size of each blob, page by page.

    Parameters
    ----------
    digests
        uint8, shape (n, 32).
    read
        Read every blob that is here, and compare its content with its digest.
    """
    store = stores.blobs
    for start in range(0, len(digests), _PAGE_BLOBS):
        part = np.ascontiguousarray(digests[start : start + _PAGE_BLOBS])
        epoch = _removals(stores)
        store.locator.refresh()  # another process may have evicted what this one found before
        located = store.locator.locate_published(Sought.of(part))
        here = np.flatnonzero(located.stored)
        sizes = np.full(len(part), ABSENT, np.uint64)
        states = np.where(located.stored, np.uint8(BlobState.HERE), np.uint8(BlobState.ABSENT))
        if here.size:
            sizes[here] = logical_sizes(store, located.words[here]).astype(np.uint64)
        absent = np.flatnonzero(~located.stored)
        if absent.size and store.promises.possible():
            states[absent[store.promises.promised(part[absent])]] = BlobState.PROMISED
        for first, stop in _pages(sizes):
            if read:
                damaged = _damaged(stores, part, here[(here >= first) & (here < stop)])
                states[damaged] = BlobState.DAMAGED
            page = states[first:stop]
            # Looked at last: who sets the mark later asks whether this repository has the data, and is told no. An eviction that
            # has set and cleared the mark since the blobs were found has counted the removal.
            if is_evicting(stores.directory) or _removals(stores) != epoch:
                page = np.where(page == BlobState.HERE, np.uint8(BlobState.LEAVING), page)
            yield BlobStates(page.tobytes(), sizes[first:stop].astype("<u8").tobytes())


def _removals(stores: Stores) -> int:
    with stores.db.read() as transaction:
        return gc_epoch(transaction)


def _damaged(stores: Stores, digests: Digests, places: Positions) -> Positions:
    """Those of some blobs that are damaged. Blobs that were moved meanwhile are looked up again."""
    for _ in range(2):
        if not places.size:
            break
        chosen = np.ascontiguousarray(digests[places])
        located = stores.blobs.locator.locate_published(Sought.of(chosen))
        places = places[~(located.stored & intact_at(stores.blobs, chosen, located.words))]
        if places.size:
            stores.blobs.refresh()
    return places


def _pages(sizes: npt.NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Ranges of blobs of some megabytes together."""
    ends = np.where(sizes == ABSENT, np.uint64(0), sizes).astype(np.float64).cumsum()
    start = 0
    while start < len(sizes):
        before = float(ends[start - 1]) if start else 0.0
        stop = max(start + 1, int(np.searchsorted(ends, before + _PAGE_BYTES, side="right")))
        yield start, stop
        start = stop
