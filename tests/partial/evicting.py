"""A repository whose data is partly at a remote: a peer that has copies of blobs, and eviction to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hangar import Repository
from hangar.digest import Digest
from hangar.remote.blob_states import blob_states
from hangar.remote.blobs_out import blob_frames
from hangar.remote.evict import Asked, EvictReport, evict_blobs
from hangar.remote.peer import BlobFrame, BlobNames, Limits, TombstonePage
from hangar.remote.selection import blobs_of_samples, column_entry
from hangar.remote.states import BlobStates
from hangar.stores import Stores


class Copy:
    """Answers like a remote that has the blobs of another repository."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.asked = 0

    def check_blobs(self, names: BlobNames, *, read: bool) -> Iterator[BlobStates]:
        self.asked += 1
        yield from blob_states(self.stores, np.frombuffer(names.digests, np.uint8).reshape(-1, 32), read=read)

    def blobs(self, names: BlobNames) -> Iterator[BlobFrame]:
        yield from blob_frames(self.stores.blobs, names, Limits())

    def tombstones(self) -> Iterator[TombstonePage]:
        yield TombstonePage(())


def with_remote(repo: Repository, name: str = "origin") -> int:
    """Add a remote; returns its number."""
    stores = repo.stores
    return stores.db.update(lambda transaction: stores.refs.add_remote(transaction, name, "host:1")).number


def evict(
    repo: Repository, copy: Any, column: str, samples: Sequence[Any], number: int, *, leaves: bool = False
) -> EvictReport:
    """Evict samples of a column of the last commit."""
    from hangar.objects.records import load_commit

    stores = repo.stores
    commit = load_commit(stores.db, Digest(bytes.fromhex(repo.rev_parse("master"))))
    entry = column_entry(commit, column)
    chosen = blobs_of_samples(stores, entry, samples)
    assert entry.root is not None
    return evict_blobs(stores, [Asked("origin", number, copy)], chosen.digests, [Digest(entry.root)] if leaves else [])


def copied(repo: Repository, place: Path) -> Copy:
    """A remote with everything that is in ``repo`` now."""
    import shutil

    repo.close()
    shutil.copytree(repo.path, place)
    return Copy(Repository(place).stores)
