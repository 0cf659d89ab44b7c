"""Tombstones: the digests of purged blobs, with who purged them, when and why.

The bytes of a purged blob are gone for good, and history still names its digest. Reading it raises ``PurgedError``, and
its bytes are not stored again until the tombstone is lifted. A lifted one stays: it still says why the blob is missing,
unless its bytes were stored again. Tombstones are looked up for blobs that have no location, and for new blobs; where
there are none, that costs nothing. A tombstone that came from another repository has no effect until somebody accepts it
here: otherwise a hostile peer could make data unreadable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Final

import msgspec

from hangar.db import ReadTransaction, WriteTransaction
from hangar.db.tables import TOMBSTONES
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError, InvalidInputError, PurgedError
from hangar.names import SampleKey
from hangar.wording import plural

__all__ = [
    "FOREIGN",
    "IN_EFFECT",
    "LIFTED",
    "MOST_NAMED",
    "Tombstone",
    "find_tombstones",
    "lift_tombstones",
    "purged_error",
    "put_tombstones",
    "refuse_purged",
    "scan_tombstones",
]

FOREIGN: Final = 0
"""State of a tombstone that came from another repository and was not accepted here."""
IN_EFFECT: Final = 1
"""State of a tombstone that explains a missing blob, and refuses its bytes."""
LIFTED: Final = 2
"""State of a tombstone that explains a missing blob, and allows its bytes to be stored again."""
MOST_NAMED: Final = 8
"""Number of samples that a tombstone names."""
_SHOWN: Final = 5


class Tombstone(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Tombstone of one blob.

    Attributes
    ----------
    name, email
        Who purged it.
    time_ns, tz
        When: nanoseconds since 1970 (UTC), and the zone in minutes east of UTC.
    reason
        Why, in the user's words; may be empty.
    samples
        Samples that held the blob, at most :data:`MOST_NAMED`: ``[column, sample]`` or ``[column, sample, subsample]``.
    state
        :data:`FOREIGN`, :data:`IN_EFFECT` or :data:`LIFTED`.
    """

    name: str
    email: str
    time_ns: int
    tz: int
    reason: str
    samples: list[list[SampleKey]]
    state: int = 1

    @property
    def date(self) -> str:
        """When, in the time zone of who did it."""
        zone = timezone(timedelta(minutes=self.tz))
        return f"{datetime.fromtimestamp(self.time_ns // 10**9, zone):%Y-%m-%d %H:%M:%S %z}"

    def __str__(self) -> str:
        who = f"{self.name} <{self.email}>" if self.email else self.name
        return f"purged by {who or 'an unknown user'} on {self.date}" + (f": {self.reason}" if self.reason else "")


def put_tombstones(transaction: WriteTransaction, tombstones: Mapping[bytes, Tombstone]) -> None:
    """Record tombstones, by digest of the blob. Those that exist are replaced."""
    try:
        rows = [(digest, msgspec.msgpack.encode(tombstones[digest])) for digest in sorted(tombstones)]
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"text that cannot be encoded as UTF-8: {error.object[:80]!r}") from None
    transaction.put_many(TOMBSTONES, rows)


def lift_tombstones(transaction: WriteTransaction, digests: Iterable[bytes]) -> int:
    """Lift tombstones that are in effect; return how many there were. The bytes are not brought back."""
    found = find_tombstones(transaction, list(digests))
    lifted = {digest: one for digest, one in found.items() if one.state == IN_EFFECT}
    put_tombstones(transaction, {digest: msgspec.structs.replace(one, state=LIFTED) for digest, one in lifted.items()})
    return len(lifted)


def find_tombstones(
    transaction: ReadTransaction, digests: Sequence[bytes], *, foreign: bool = False
) -> dict[bytes, Tombstone]:
    """The tombstones of those blobs that have one, by default without foreign ones."""
    count = transaction.count(TOMBSTONES)
    if not count:
        transaction.check_count(TOMBSTONES)  # lost rows must not look like none
        return {}
    if count < len(digests):
        every = dict(transaction.scan(TOMBSTONES))
        hits = every.keys() & digests
        found = {digest: every[digest] for digest in digests if digest in hits} if hits else {}
    else:
        names = list(dict.fromkeys(digests))
        rows = zip(names, transaction.get_many(TOMBSTONES, names), strict=True)
        found = {digest: row for digest, row in rows if row is not None}
    decoded = {digest: _decode(digest, row) for digest, row in found.items()}
    return {digest: tombstone for digest, tombstone in decoded.items() if foreign or tombstone.state != FOREIGN}


def scan_tombstones(transaction: ReadTransaction) -> Iterator[tuple[Digest, Tombstone]]:
    """All tombstones, sorted by digest."""
    for digest, row in transaction.scan(TOMBSTONES):
        yield Digest(digest), _decode(digest, row)


def refuse_purged(transaction: ReadTransaction, digests: Sequence[bytes]) -> None:
    """Refuse to store blobs that were purged.

    Raises
    ------
    PurgedError
        One of them was.
    """
    every = find_tombstones(transaction, digests)
    found = {digest: tombstone for digest, tombstone in every.items() if tombstone.state == IN_EFFECT}
    if found:
        digest, tombstone = next(iter(found.items()))
        more = f" (and {plural(len(found) - 1, 'more value')})" if len(found) > 1 else ""
        raise PurgedError(
            f"this value{more} was {tombstone}. It is not stored again, and nothing was written: lift the tombstone with "
            f"`hangar purge --lift {digest.hex()[:16]}` if it may be"
        )


def purged_error(found: Mapping[bytes, Tombstone]) -> PurgedError:
    """The error of a read that meets purged blobs. It names their samples."""
    tombstones = list(found.values())
    named = [_names(digest, tombstone) for digest, tombstone in list(found.items())[:_SHOWN]]
    more = len(found) - len(named)
    what = ", ".join(named) + (f" and {plural(more, 'more value')}" if more else "")
    said = str(tombstones[0])
    others = sum(str(one) != said for one in tombstones)
    also = f" ({plural(others, 'other')} at other times)" if others else ""
    error = PurgedError(f"{what}: the data is gone, it was {said}{also}. `hangar purge --list` shows what was purged")
    error.why = said
    return error


def _names(digest: bytes, tombstone: Tombstone) -> str:
    if not tombstone.samples:
        return f"blob {digest.hex()[:16]}"
    column, *key = tombstone.samples[0]
    more = len(tombstone.samples) - 1
    also = f" (or {plural(more, 'other sample')} with the same data)" if more else ""
    return f"sample {(key[0] if len(key) == 1 else tuple(key))!r} of column {column!r}{also}"


_decoder: Final = msgspec.msgpack.Decoder(Tombstone)


def _decode(digest: bytes, row: bytes) -> Tombstone:
    try:
        found = _decoder.decode(row)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CorruptionError(f"the tombstone of blob {digest.hex()} cannot be read: {error}") from None
    if (
        len(digest) != DIGEST_BYTES
        or not FOREIGN <= found.state <= LIFTED
        or not all(len(one) in (2, 3) and isinstance(one[0], str) for one in found.samples)
    ):
        raise CorruptionError(f"the tombstone of blob {digest.hex()} is malformed: run `hangar fsck`")
    return found
