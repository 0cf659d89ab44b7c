"""The client's half of synchronization: fetch history, fetch blobs, push. Written in the modules ``transfer_*``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hangar.blobs.index import Digests
from hangar.db import WriteTransaction
from hangar.digest import Digest
from hangar.progress import Progress
from hangar.remote.peer import Peer, Reader, RefUpdate
from hangar.schema import ColumnSchema
from hangar.stores import Stores

__all__ = [
    "ColumnBlobs",
    "FetchedBlobs",
    "FetchedHistory",
    "Pushed",
    "fetch_blobs",
    "fetch_history",
    "push",
]


@dataclass(frozen=True, slots=True)
class ColumnBlobs:
    """Blobs of one column to fetch. ``digests``: uint8, shape (n, 32), in the order of their importance."""

    column_id: bytes
    schema: ColumnSchema
    digests: Digests


@dataclass(frozen=True, slots=True)
class FetchedHistory:
    """What :func:`fetch_history` stored.

    Attributes
    ----------
    commits
        The new commits, children before their parents.
    objects, nbytes
        Number and bytes of the objects received.
    calls
        Calls of the peer.
    """

    commits: tuple[Digest, ...]
    objects: int
    nbytes: int
    calls: int


@dataclass(frozen=True, slots=True)
class FetchedBlobs:
    """What :func:`fetch_blobs` stored.

    Attributes
    ----------
    blobs, nbytes
        Number and logical bytes of the blobs that are stored now and were not before.
    left, left_nbytes
        Number and bytes of those that the byte budget did not allow.
    absent
        Blobs that the peer does not have: uint8, shape (n, 32).
    purged
        Number of blobs that were not asked for, because they were purged here.
    """

    blobs: int
    nbytes: int
    left: int
    left_nbytes: int
    absent: Digests
    purged: int


@dataclass(frozen=True, slots=True)
class Pushed:
    """What :func:`push` did: names of the refs moved, number and bytes of the objects and blobs that were sent."""

    refs: tuple[str, ...]
    objects: int
    object_nbytes: int
    blobs: int
    blob_nbytes: int
    calls: int


def fetch_history(
    stores: Stores,
    reader: Reader,
    heads: Iterable[Digest],
    *,
    remote_id: int,
    record: Callable[[WriteTransaction], object],
    progress: Progress = None,
) -> FetchedHistory:
    """Fetch commits and everything that they name except for blobs, verify it, and publish it.

    Parameters
    ----------
    heads
        Commits of the peer; those that are here already cost nothing.
    remote_id
        Number of the remote, for the table of promisors: it has the blobs of the leaves that it sent.
    record
        Moves the refs, in the transaction that publishes. Called also if there is nothing new.
    progress
        See :mod:`hangar.progress`; counts objects.
    """
    raise NotImplementedError


def fetch_blobs(
    stores: Stores,
    reader: Reader,
    chosen: Iterable[ColumnBlobs],
    *,
    nbytes: int | None = None,
    streams: int = 1,
    progress: Progress = None,
) -> FetchedBlobs:
    """Fetch blobs of columns, verify them, and store them with the backends of the columns here.

    Parameters
    ----------
    chosen
        Blobs that are here already are skipped.
    nbytes
        Stop before a blob that would make more than so many logical bytes in total; None: no limit.
    streams
        Calls of the peer at the same time.
    progress
        Counts blobs, with their total; the bytes are those of :class:`hangar.progress.Reporter`.
    """
    raise NotImplementedError


def push(
    stores: Stores, peer: Peer, updates: Sequence[RefUpdate], *, who: tuple[str, str], progress: Progress = None
) -> Pushed:
    """Push commits with everything that they name that the peer lacks, and move its refs in one step."""
    raise NotImplementedError
