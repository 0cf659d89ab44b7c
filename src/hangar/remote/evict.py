"""Eviction: drops the data of samples from this disk, as far as a remote has it.

The remote is asked first. By default it reads and verifies each value before it says that it has it, and a few of them
are fetched on trial. Only what a branch or tag of the remote names counts: the rest may be garbage there. What it has is
promised in one transaction; then the locations are dropped and the files shrink, as in garbage collection. A crash in
between leaves data that is both here and promised, which is harmless. Data that no remote has stays here. While one
repository evicts it says so to those that ask it (``remote/evicting``), so two that are remotes of each other cannot
both drop the same data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests
from hangar.blobs.promises import promise_blobs, promise_leaves
from hangar.blobs.repack import remove_blobs
from hangar.db import WriteTransaction
from hangar.digest import DIGEST_BYTES, Digest, digest_list
from hangar.errors import InvalidStateError, UnreachableError
from hangar.gc.policy import files_to_rewrite
from hangar.lock import WriterLock, under_lock
from hangar.objects.node import Node
from hangar.objects.records import load_commit
from hangar.objects.walk import blob_leaves
from hangar.progress import Progress, report
from hangar.publishing import publish_rows
from hangar.refs.remotes import get_remote, list_remotes
from hangar.remote.asking import asked, kept_by, sample
from hangar.remote.connect import connected
from hangar.remote.correcting import correct
from hangar.remote.evicting import evicting
from hangar.remote.peer import Reader
from hangar.remote.selection import all_blobs, blobs_of_samples, column_entry, listed_samples
from hangar.remote.states import BlobState
from hangar.stores import Stores

__all__ = ["Asked", "EvictReport", "evict", "evict_blobs"]


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
    unnamed
        How many of the kept values remotes have, but name in no branch or tag.
    damaged
        How many of the kept values are damaged at remotes.
    leaving
        How many of the kept values are at remotes that are evicting data at the moment.
    silent
        Names of the remotes that did not answer. What only they have stays here.
    """

    blobs: int
    nbytes: int
    kept: int
    absent: int
    freed: int
    unnamed: int = 0
    damaged: int = 0
    leaving: int = 0
    silent: tuple[str, ...] = ()


class Asked(NamedTuple):
    """A remote to ask.

    Attributes
    ----------
    name, number
        Its name and number.
    reader
        A connection to it.
    named
        The blobs that its refs name; None: all that are asked for.
    """

    name: str
    number: int
    reader: Reader
    named: DigestSet | None = None


def evict(
    stores: Stores,
    head: Digest,
    column: str,
    keys: Iterable[Any] | None = None,
    *,
    remote: str | None = None,
    verify: bool = True,
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
        digests, roots = blobs_of_samples(stores, entry, listed_samples(keys, nested=bool(entry.layout))).digests, []
    silent: dict[str, UnreachableError] = {}
    with ExitStack() as stack:
        answering = []
        for name, row in remotes.items():
            try:
                reader = stack.enter_context(connected(name, row, other_than=stores.directory))
                answering.append(Asked(name, row.number, reader, kept_by(stores, reader, name, head, entry.id)))
            except UnreachableError as error:
                silent[name] = error
        if not answering:
            raise next(iter(silent.values()))
        found = evict_blobs(stores, answering, digests, roots, verify=verify, progress=progress)
    return replace(found, silent=tuple(silent))


def evict_blobs(
    stores: Stores,
    remotes: Sequence[Asked],
    digests: Digests,
    roots: Sequence[Digest] = (),
    *,
    verify: bool = True,
    progress: Progress = None,
) -> EvictReport:
    """Drop blobs that a remote has.

    Parameters
    ----------
    remotes
        The remotes, in the order in which they are asked.
    digests
        uint8, shape (n, 32).
    roots
        Trees that name them: leaves of which a remote has all blobs are promised as a whole.
    verify
        A remote reads and verifies what it has before it says so, and sends a few values on trial.

    Raises
    ------
    LockedError
        A writer holds the writer lock, or another process evicts.
    UnreachableError
        A remote does not answer. Nothing was dropped.
    CorruptionError
        What a remote sent on trial is not what it says it has. Nothing was dropped.
    """
    with evicting(stores.directory):
        return _evict_blobs(stores, remotes, digests, roots, verify, progress)


def _evict_blobs(
    stores: Stores,
    remotes: Sequence[Asked],
    digests: Digests,
    roots: Sequence[Digest],
    verify: bool,
    progress: Progress,
) -> EvictReport:
    known = stores.blobs.known(digests)
    left, absent = digests[known], int((~known).sum())
    held: list[tuple[int, DigestSet]] = []
    counts = dict.fromkeys(("nbytes", "unnamed", "damaged", "leaving"), 0)
    with report(progress, len(left), "values", "verifying" if verify else "asking") as reporter:
        for remote in remotes:
            answer = asked(remote.reader, left, read=verify, reporter=reporter)
            has = answer.mask(BlobState.HERE)
            named = np.ones(len(left), np.bool_) if remote.named is None else remote.named.holds(left)
            chosen = has & named
            if verify:
                sample(remote.reader, left[chosen], answer.sizes[chosen], remote.name)
            correct(
                stores,
                remote.number,
                absent=left[answer.mask(BlobState.ABSENT, BlobState.PROMISED)],
                present=left[has],
                reader=remote.reader,
            )
            held.append((remote.number, DigestSet(left[chosen])))
            counts["nbytes"] += int(answer.sizes[chosen].sum())
            counts["unnamed"] += int((has & ~named).sum())
            counts["damaged"] += int(answer.mask(BlobState.DAMAGED).sum())
            counts["leaving"] += int(answer.mask(BlobState.LEAVING).sum())
            left = left[~chosen]
    every = DigestSet(np.concatenate([np.empty((0, DIGEST_BYTES), np.uint8), *(part.digests() for _, part in held)]))
    freed = _drop(stores, held, every, roots, progress) if len(every) else 0
    return EvictReport(
        len(every),
        counts["nbytes"],
        len(left),
        absent,
        freed,
        min(counts["unnamed"], len(left)),
        min(counts["damaged"], len(left)),
        min(counts["leaving"], len(left)),
    )


def _drop(
    stores: Stores, held: list[tuple[int, DigestSet]], every: DigestSet, roots: Sequence[Digest], progress: Progress
) -> int:
    """Promise what remotes have, and drop it here; returns the bytes that were freed."""

    def run(lock: WriterLock) -> int:
        leaves = list(_leaves(stores, roots))

        def promise(transaction: WriteTransaction) -> None:
            for number, part in held:
                _promise(transaction, number, part, leaves)

        publish_rows(stores.db, lock, promise)
        return remove_blobs(stores.blobs, lock, every.holds, files_to_rewrite, progress=progress).nbytes

    return under_lock(stores.db, run)


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
