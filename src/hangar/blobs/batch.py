"""What is left of a batch when what is stored already is taken out: ready for a backend, and for the index afterwards.

Bytes are copied only where many small pieces would cost more than the copy. Checksums are computed when they are asked for, so
that it can be done while the bytes are being written.
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
from hangar.blobs.index import Positions, Sought
from hangar.digest import Header, checksums

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Batch", "batch_of_list", "batch_of_rows"]

_SEGMENT_BYTES: Final = 2048
"""Rows that are kept are written where they lie if the pieces between those dropped have this size on average."""
_JOINED_BYTES: Final = 16 * 1024
"""Buffers smaller than this on average are joined into one before they are written."""


class Batch(msgspec.Struct, frozen=True):
    """New blobs, none of them twice.

    Attributes
    ----------
    payload
        What is written.
    headers
        Their headers, by id.
    header_ids
        Id of the header of each, or the one of all.
    sums
        Computes the checksum of each.
    sought
        Their digests, sorted.
    places
        Which blob of the payload each of these names.
    """

    payload: Payload
    headers: dict[int, Header]
    header_ids: Words | int
    sums: Callable[[], Words]
    sought: Sought
    places: Positions


def batch_of_rows(rows: Rows, header: Header, fresh: Positions, sought: Sought) -> Batch:
    """The batch of those ``rows`` that are ``fresh``: positions in the order of the digests ``sought``."""
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


def batch_of_list(
    headers: Header | Sequence[Header], buffers: Sequence[Buffer], fresh: Positions, sought: Sought
) -> Batch:
    """The batch of those ``buffers`` that are ``fresh``: positions in the order of the digests ``sought``."""
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
