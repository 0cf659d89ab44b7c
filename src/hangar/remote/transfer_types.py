"""What the functions of ``transfer`` take and return."""

from __future__ import annotations

from dataclasses import dataclass

from hangar.blobs.index import Digests
from hangar.digest import Digest
from hangar.schema import ColumnSchema

__all__ = ["ColumnBlobs", "FetchedBlobs", "FetchedHistory", "Pushed"]


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
    """What :func:`push` did: names of the refs moved, number and bytes of the objects and blobs that were sent.

    ``promised`` is the number of blobs that the peer does not have and did not ask for, because another repository has
    promised them to it. ``sent`` has the digests of the blobs that it asked for, joined.
    """

    refs: tuple[str, ...]
    objects: int
    object_nbytes: int
    blobs: int
    blob_nbytes: int
    calls: int
    promised: int = 0
    sent: bytes = b""
