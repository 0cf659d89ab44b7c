"""Batch of new blobs, after deduplication: the payload for a backend, and the digests for the index.

Bytes are copied only where writing many small pieces would cost more than the copy. Checksums are computed on request,
so that the writer can compute them while the bytes are being written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from xxhash import xxh3_64_intdigest

from hangar.backends.base import Payload, Rows
from hangar.backends.location import Words
from hangar.backends.stored import StoredForm
from hangar.blobs.index import Positions, Sought
from hangar.digest import Header, checksums

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Batch", "batch_of_list", "batch_of_one", "batch_of_pieces", "batch_of_rows"]

_SEGMENT_BYTES: Final = 2048
"""New rows are written without a copy if the contiguous pieces that they form have this size on average."""
_JOINED_BYTES: Final = 16 * 1024
"""Buffers smaller than this on average are joined into one before they are written."""


class Batch(msgspec.Struct, frozen=True):
    """New blobs without duplicates.

    Attributes
    ----------
    payload
        Bytes to write.
    headers
        Their headers, by id.
    header_ids
        Id of the header of each, or the one of all.
    sums
        Function that computes the checksum of each.
    sought
        Digests of the blobs, sorted.
    places
        Position in the payload of the blob of each digest.
    """

    payload: Payload
    headers: dict[int, Header]
    header_ids: Words | int
    sums: Callable[[], Words]
    sought: Sought
    places: Positions


def batch_of_rows(rows: Rows, header: Header, fresh: Positions, sought: Sought) -> Batch:
    """Batch of the new ones among ``rows``. ``fresh`` has their positions, in the order of their digests ``sought``."""
    headers = {header.id: header}
    if len(fresh) == len(rows):
        payload = Payload.of_rows(rows, header)
        return Batch(payload, headers, header.id, lambda: checksums(rows, header.id), sought, fresh)
    size = rows.shape[1]
    kept = np.sort(fresh)
    places = np.searchsorted(kept, fresh)
    cuts = np.flatnonzero(np.diff(kept) != 1) + 1
    if size * len(kept) < _SEGMENT_BYTES * (len(cuts) + 1):
        chosen = rows.take(kept, axis=0)
        payload = Payload.of_rows(chosen, header)
        return Batch(payload, headers, header.id, lambda: checksums(chosen, header.id), sought, places)
    starts = kept[np.concatenate(([0], cuts))].tolist()
    stops = (kept[np.concatenate((cuts - 1, [len(kept) - 1]))] + 1).tolist()
    pieces = [rows[start:stop] for start, stop in zip(starts, stops, strict=True)]
    payload = Payload([piece.data for piece in pieces], np.full(len(kept), size, np.int64), header)
    return Batch(
        payload,
        headers,
        header.id,
        lambda: np.concatenate([checksums(piece, header.id) for piece in pieces]),
        sought,
        places,
    )


def batch_of_pieces(pieces: Sequence[Rows], header: Header, fresh: Positions, sought: Sought) -> Batch:
    """Like :func:`batch_of_rows`, for rows that lie in several arrays."""
    count = sum(map(len, pieces))
    if len(pieces) == 1 or len(fresh) < count:
        return batch_of_rows(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), header, fresh, sought)
    payload = Payload([piece.data for piece in pieces], np.full(count, pieces[0].shape[1], np.int64), header)
    return Batch(
        payload,
        {header.id: header},
        header.id,
        lambda: np.concatenate([checksums(piece, header.id) for piece in pieces]),
        sought,
        fresh,
    )


def batch_of_one(
    header: Header,
    nbytes: int,
    pieces: Sequence[Buffer],
    check: int,
    form: StoredForm | None,
    fresh: Positions,
    sought: Sought,
) -> Batch:
    """Batch of one blob in pieces, in the form in which it came, of which the checksum of the logical bytes is known."""
    payload = Payload(pieces, np.array([nbytes]), header, form=form)
    return Batch(payload, {header.id: header}, header.id, lambda: np.array([check], np.uint64), sought, fresh)


def batch_of_list(
    headers: Header | Sequence[Header], buffers: Sequence[Buffer], fresh: Positions, sought: Sought
) -> Batch:
    """Batch of the new ones among ``buffers``. ``fresh`` has their positions, in the order of their digests ``sought``."""
    kept = np.sort(fresh)
    positions = kept.tolist()
    chosen = [buffers[at] for at in positions]
    if isinstance(headers, Header):
        own: Header | list[Header] = headers
        named = {headers.id: headers}
        ids = [headers.id]
    else:
        own = [headers[at] for at in positions]
        named = {header.id: header for header in own}
        ids = [header.id for header in own]
    lengths = np.fromiter((memoryview(buffer).nbytes for buffer in chosen), np.int64, len(chosen))
    joined = [b"".join(chosen)] if len(chosen) > 1 and int(lengths.sum()) < _JOINED_BYTES * len(chosen) else chosen

    def sums() -> Words:
        seeds = repeat(ids[0]) if len(ids) == 1 else iter(ids)
        return np.fromiter(map(xxh3_64_intdigest, chosen, seeds), np.uint64, len(chosen))

    header_ids = ids[0] if isinstance(headers, Header) else np.array(ids, np.uint64)
    return Batch(Payload(joined, lengths, own), named, header_ids, sums, sought, np.searchsorted(kept, fresh))
