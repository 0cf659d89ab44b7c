"""Lists tombstones for users, and lifts them, so that the same bytes can be stored again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hangar.blobs.tombstones import (
    FOREIGN,
    IN_EFFECT,
    LIFTED,
    Tombstone,
    find_tombstones,
    lift_tombstones,
    scan_tombstones,
)
from hangar.db.tables import TOMBSTONES
from hangar.digest import Digest
from hangar.errors import InvalidInputError, InvalidStateError, NotFoundError
from hangar.lock import WriterLock, under_lock
from hangar.pending_purge import read_pending_purge
from hangar.publishing import publish_rows
from hangar.purge.plan import stored_digests
from hangar.purge.report import SampleName
from hangar.stores import Stores

__all__ = ["PurgedBlob", "lift", "list_purged"]

_STATES: Final = {FOREIGN: "foreign", IN_EFFECT: "in effect", LIFTED: "lifted"}
_PREFIX: Final = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True, slots=True)
class PurgedBlob:
    """A purged blob.

    Attributes
    ----------
    digest
        Its digest, in hex.
    name, email, time, tz
        Who purged it, and when: seconds since 1970, and the time zone in minutes east of UTC.
    reason
        Why; may be empty.
    samples
        Some of the samples that held it: column and key of each.
    state
        ``'in effect'``; ``'lifted'`` if the data may be stored again; ``'foreign'`` if it was purged in another
        repository, which has no effect here.
    summary
        Who, when and why, as text.
    """

    digest: str
    name: str
    email: str
    time: float
    tz: int
    reason: str
    samples: tuple[tuple[str, SampleName], ...]
    state: str
    summary: str

    @classmethod
    def of(cls, digest: Digest, tombstone: Tombstone) -> PurgedBlob:
        """The blob of a tombstone."""
        return cls(
            digest.hex(),
            tombstone.name,
            tombstone.email,
            tombstone.time_ns / 1e9,
            tombstone.tz,
            tombstone.reason,
            tuple((str(column), tuple(key)) for column, *key in tombstone.samples),
            _STATES[tombstone.state],
            f"{tombstone}{'' if tombstone.state == IN_EFFECT else f' ({_STATES[tombstone.state]})'}",
        )


def list_purged(stores: Stores) -> list[PurgedBlob]:
    """All purged blobs, the oldest first."""
    with stores.db.read() as transaction:
        transaction.check_count(TOMBSTONES)
        rows = sorted(scan_tombstones(transaction), key=lambda row: row[1].time_ns)
    return [PurgedBlob.of(digest, tombstone) for digest, tombstone in rows]


def lift(
    stores: Stores, *, digest: str = "", column: str = "", keys: object = (), branch: str = "", rev: str = ""
) -> list[str]:
    """Lift tombstones: those of a blob, or of all stored values of samples. The data itself does not come back.

    Parameters
    ----------
    digest
        Digest of a blob in hex, or the beginning of it (at least 4 digits).
    column, keys, branch, rev
        Instead of it, samples; see :func:`~hangar.purge.plan.make_plan`.

    Returns
    -------
    list
        Digests (hex) of the lifted tombstones.

    Raises
    ------
    NotFoundError
        There is no such tombstone.
    InvalidInputError
        ``digest`` is not the beginning of one digest.
    InvalidStateError
        A purge is not finished: its bytes might be erased after they were stored again.
    LockedError
        A writer holds the writer lock.
    """
    found = _by_digest(stores, digest) if digest else _by_sample(stores, column, keys, branch, rev)

    def lift_locked(lock: WriterLock) -> list[str]:
        with stores.db.read() as transaction:
            if read_pending_purge(transaction) is not None:
                raise InvalidStateError("a purge is not finished: run `hangar purge --continue` first")
        publish_rows(stores.db, lock, lambda transaction: lift_tombstones(transaction, found))
        return [one.hex() for one in found]

    return under_lock(stores.db, lift_locked)


def _by_digest(stores: Stores, text: str) -> list[bytes]:
    if not _PREFIX.fullmatch(text):
        raise InvalidInputError(f"{text!r} is not a digest: write 4 to 64 hexadecimal digits")
    with stores.db.read() as transaction:
        every = [(digest, one) for digest, one in scan_tombstones(transaction) if digest.hex().startswith(text)]
    found: list[bytes] = [digest for digest, one in every if one.state == IN_EFFECT]
    if len(found) > 1:
        raise InvalidInputError(f"{len(found):,} tombstones begin with {text}: write more digits")
    if not found:
        raise NotFoundError(f"there is no tombstone of a blob {text}: `hangar purge --list` shows them")
    return found


def _by_sample(stores: Stores, column: str, keys: object, branch: str, rev: str) -> list[bytes]:
    digests = stored_digests(stores, column, keys, branch=branch, rev=rev)
    with stores.db.read() as transaction:
        tombstones = find_tombstones(transaction, digests)
    found = sorted(digest for digest, one in tombstones.items() if one.state == IN_EFFECT)
    if not found:
        raise NotFoundError(f"none of these samples of {column!r} was purged: `hangar purge --list` shows what was")
    return found
