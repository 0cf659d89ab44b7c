"""Eviction: drops the data of samples from this disk, as far as a remote has it.

The remote is asked first. What it has is promised in one transaction; then the locations are dropped and the files
shrink, as in garbage collection. A crash in between leaves data that is both here and promised, which is harmless. Data
that no remote has stays here. While one repository evicts it counts for others as having nothing (``remote/evicting``), so
two that are remotes of each other cannot both drop the same data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests
from hangar.blobs.promises import promise_blobs, promise_leaves
from hangar.blobs.repack import remove_blobs
from hangar.db import WriteTransaction
from hangar.digest import DIGEST_BYTES, Digest, digest_list
from hangar.errors import InvalidStateError
from hangar.gc.policy import files_to_rewrite
from hangar.lock import WriterLock, under_lock
from hangar.objects.node import Node
from hangar.objects.records import load_commit
from hangar.objects.walk import blob_leaves
from hangar.progress import Progress
from hangar.publishing import publish_rows
from hangar.refs.remotes import get_remote, list_remotes
from hangar.remote.asking import asked
from hangar.remote.connect import connected
from hangar.remote.evicting import evicting
from hangar.remote.peer import Reader
from hangar.remote.selection import all_blobs, blobs_of_samples, column_entry
from hangar.stores import Stores

__all__ = ["EvictReport", "evict", "evict_blobs"]


@dataclass(frozen=True, slots=True)
class EvictReport:
    """What an eviction did.

    Attributes
    ----------
    blobs, nbytes
        Number of values dropped from this disk, and their logical bytes.
    kept
        Number of values that stayed, because no remote has them.
    absent
        Number of values that were not here anyway.
    freed
        Bytes by which the files of the repository shrank.
    """

    blobs: int
    nbytes: int
    kept: int
    absent: int
    freed: int


def evict(
    stores: Stores,
    head: Digest,
    column: str,
    keys: Iterable[Any] | None = None,
    *,
    remote: str | None = None,
    progress: Progress = None,
) -> EvictReport:
    """Drop the data of a column of a commit, or of some of its samples; see :meth:`hangar.Repository.evict`."""
    with stores.db.read() as transaction:
        remotes = list_remotes(transaction) if remote is None else {remote: get_remote(transaction, remote)}
    if not remotes:
        raise InvalidStateError(
            "there is no remote: data is only dropped if a remote has it; add one with `hangar remote add NAME ADDRESS`"
        )
    entry = column_entry(load_commit(stores.db, head), column)
    if keys is None:
        digests, roots = all_blobs(stores, entry), [] if entry.root is None else [Digest(entry.root)]
    else:
        listed = [keys] if isinstance(keys, (str, int)) else list(keys)
        digests, roots = blobs_of_samples(stores, entry, listed).digests, []
    with ExitStack() as stack:
        readers = [
            (row.number, stack.enter_context(connected(name, row, other_than=stores.directory)))
            for name, row in remotes.items()
        ]
        return evict_blobs(stores, readers, digests, roots, progress=progress)


def evict_blobs(
    stores: Stores,
    remotes: Sequence[tuple[int, Reader]],
    digests: Digests,
    roots: Sequence[Digest] = (),
    *,
    progress: Progress = None,
) -> EvictReport:
    """Drop blobs that a remote has.

    Parameters
    ----------
    remotes
        Number of each remote and a connection to it, in the order in which they are asked.
    digests
        uint8, shape (n, 32).
    roots
        Trees that name them: leaves of which a remote has all blobs are promised as a whole.

    Raises
    ------
    LockedError
        A writer holds the writer lock, or another process evicts.
    UnreachableError
        A remote does not answer. Nothing was dropped.
    """
    with evicting(stores.directory):
        return _evict_blobs(stores, remotes, digests, roots, progress)


def _evict_blobs(
    stores: Stores,
    remotes: Sequence[tuple[int, Reader]],
    digests: Digests,
    roots: Sequence[Digest],
    progress: Progress,
) -> EvictReport:
    known = stores.blobs.known(digests)
    here, absent = digests[known], int((~known).sum())
    held: list[tuple[int, DigestSet]] = []
    left = here
    nbytes = 0
    for number, reader in remotes:
        mask, sizes = asked(reader, left)
        held.append((number, DigestSet(left[mask])))
        nbytes += sizes
        left = left[~mask]
    chosen = DigestSet(np.concatenate([np.empty((0, DIGEST_BYTES), np.uint8), *(part.digests() for _, part in held)]))
    if not len(chosen):
        return EvictReport(0, 0, len(left), absent, 0)

    def run(lock: WriterLock) -> int:
        leaves = list(_leaves(stores, roots))

        def promise(transaction: WriteTransaction) -> None:
            for number, part in held:
                _promise(transaction, number, part, leaves)

        publish_rows(stores.db, lock, promise)
        return remove_blobs(stores.blobs, lock, chosen.holds, files_to_rewrite, progress=progress).nbytes

    freed = under_lock(stores.db, run)
    return EvictReport(len(chosen), nbytes, len(left), absent, freed)


def _leaves(stores: Stores, roots: Sequence[Digest]) -> Iterator[tuple[Digest, Node]]:
    seen: set[Digest] = set()
    for root in roots:
        for digest, node in blob_leaves(stores.nodes, root, seen):
            if len(node.blobs()):
                yield digest, node


def _promise(transaction: WriteTransaction, number: int, held: DigestSet, leaves: list[tuple[Digest, Node]]) -> None:
    """Promise leaves of which the remote has all blobs, and the other blobs one by one."""
    covered = DigestSet()
    whole: list[Digest] = []
    for digest, node in leaves:
        blobs = node.blobs()
        if held.holds(blobs).all():
            whole.append(digest)
            covered.add(blobs)
    promise_leaves(transaction, number, whole)
    every = held.digests()
    promise_blobs(transaction, number, digest_list(every[~covered.holds(every)]))
