"""The short way of a read on demand: small rows of one header, verified, held in memory and handed to the read that asked.

What one read of 256 small samples needs is asked for with one call, and each digest is compared with the one at its
place in the question. Whatever else there may be goes the general way (``transfer_blobs``): large blobs, other headers,
several equal samples, purged ones.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from hangar.backends.base import Rows
from hangar.blobs.asked import AskedRows
from hangar.blobs.held import HeldRows
from hangar.blobs.index import Digests, Mask, Positions
from hangar.db.tables import TOMBSTONES
from hangar.digest import NDARRAY, blob_digests
from hangar.errors import CorruptionError, InvalidInputError
from hangar.remote.blob_parts import check_content
from hangar.remote.blobs_in import not_wanted
from hangar.remote.peer import BlobFrame, BlobNames, Limits, Reader
from hangar.remote.transfer_types import ColumnBlobs, FetchedBlobs
from hangar.schema import ColumnSchema
from hangar.stores import Stores

__all__ = ["Held", "fetch_asked", "is_short"]

_MOST_BYTES: Final = 2**20
"""Of all blobs of a read: one frame."""

Held = HeldRows[tuple[bytes, ColumnSchema]]
"""Rows by column: its id and schema tell how they are stored."""


def is_short(stores: Stores, wanted: ColumnBlobs, asked: AskedRows, limits: Limits) -> bool:
    """Whether the blobs can come the short way."""
    digests = wanted.digests
    if (
        asked.header.kind != NDARRAY
        or not 0 < asked.nbytes * len(digests) <= min(_MOST_BYTES, limits.frame_bytes)
        or len(digests) > min(limits.names, limits.frame_items)
    ):
        return False
    first = np.sort(digests.view(">u8")[:, 0].astype(np.uint64))
    if (first[1:] == first[:-1]).any():
        return False
    with stores.db.read() as transaction:
        return transaction.count(TOMBSTONES) == 0


def fetch_asked(reader: Reader, wanted: ColumnBlobs, asked: AskedRows, held: Held) -> FetchedBlobs | None:
    """Fetch blobs; None if an answer needs the general way.

    Raises
    ------
    CorruptionError
        What the peer sent is not what was asked for. What came before is held.
    UnreachableError
        The connection was lost. What came is held.
    """
    if asked.count:  # by an attempt before
        return None
    digests = np.ascontiguousarray(wanted.digests)
    missing = np.ones(len(digests), np.bool_)
    names = BlobNames(digests.tobytes(), nbytes=asked.nbytes * len(digests))
    encoded = asked.header.encode()
    try:
        for frame in reader.blobs(names):
            if frame.headers != (encoded,) or frame.form or frame.start or len(frame.data) != asked.nbytes * len(frame):
                return None
            places, rows, found = _verified(frame, digests, missing, asked)
            held.hold((wanted.column_id, wanted.schema), asked.header, rows, found)
            asked.hand_over(places, rows)
    except InvalidInputError as error:
        raise CorruptionError(f"what the remote sent is not valid, and was not stored: {error}") from error
    return FetchedBlobs(asked.count, asked.count * asked.nbytes, 0, 0, digests[missing], 0)


def _verified(frame: BlobFrame, digests: Digests, missing: Mask, asked: AskedRows) -> tuple[Positions, Rows, Digests]:
    """The places, rows and digests of a frame, if they are those that were asked for; they are not missing any more."""
    count = len(frame)
    places = np.frombuffer(frame.places, "<u4").astype(np.intp)
    if len(places) != count or (np.frombuffer(frame.lengths, "<u8") != asked.nbytes).any():
        raise InvalidInputError("the lengths or places of a frame of blobs are not those of its blobs")
    check_content(asked.header, memoryview(frame.data))
    rows = np.frombuffer(frame.data, np.uint8).reshape(count, asked.nbytes)
    found = blob_digests(asked.header, rows)
    if int(places.max()) >= len(digests):
        raise not_wanted(found[0].tobytes())
    same = (found.view("<u8") == digests[places].view("<u8")).all(axis=1) & missing[places]
    if not same.all():
        raise not_wanted(found[int(np.argmin(same))].tobytes())
    missing[places] = False
    if int(np.count_nonzero(missing)) != len(missing) - asked.count - count:
        raise InvalidInputError("a frame of blobs has a blob twice")
    return places, rows, found
