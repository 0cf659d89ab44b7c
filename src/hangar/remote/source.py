"""Where a transfer reads objects: the repository, and before it the quarantine of what was received."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hangar.db import Database
from hangar.db.epoch import raise_if_collected
from hangar.db.tables import ATTRIBUTES, COMMITS, NODES, SCHEMAS, Table
from hangar.digest import Digest, RecordClass, record_digests
from hangar.errors import CorruptionError
from hangar.objects.commit import Commit, decode_commit
from hangar.remote.quarantine import Quarantine

__all__ = ["TABLES", "ObjectSource"]

TABLES: Final[dict[RecordClass, Table]] = {
    "commit": COMMITS,
    "schema": SCHEMAS,
    "attributes": ATTRIBUTES,
    "node": NODES,
    "array": NODES,
}
"""The table of each class of objects that travels."""


class ObjectSource:
    """Objects of a repository, and of a quarantine.

    Parameters
    ----------
    quarantine
        None: the repository alone.
    """

    def __init__(self, db: Database, quarantine: Quarantine | None = None) -> None:
        self.db = db
        self.quarantine = quarantine

    def stored(self, kind: RecordClass, digests: Sequence[bytes]) -> list[bool]:
        """Which of some objects the repository has."""
        if not digests:
            return []
        with self.db.read() as transaction:
            return [data is not None for data in transaction.get_many(TABLES[kind], digests)]

    def find(self, kind: RecordClass, digests: Sequence[bytes]) -> list[bytes | None]:
        """The objects of these digests, in their order; None for those that are nowhere.

        Raises
        ------
        CorruptionError
            A stored object does not match its digest.
        """
        names = list(digests)
        found: list[bytes | None] = (
            [None] * len(names) if self.quarantine is None else self.quarantine.get_many(kind, names)
        )
        absent = [at for at, data in enumerate(found) if data is None]
        if not absent:
            return found
        with self.db.read() as transaction:
            stored = transaction.get_many(TABLES[kind], [names[at] for at in absent])
        places = [at for at, data in zip(absent, stored, strict=True) if data is not None]
        datas = [data for data in stored if data is not None]
        for at, data, digest in zip(places, datas, record_digests(kind, datas), strict=True):
            if digest != names[at]:
                raise CorruptionError(f"{kind} {names[at].hex()} is damaged: run `hangar fsck`")
            found[at] = data
        return found

    def get(self, kind: RecordClass, digests: Sequence[bytes]) -> list[bytes]:
        """Like :meth:`find`; a missing object is a CorruptionError."""
        found = self.find(kind, digests)
        if None in found:
            with self.db.read() as transaction:
                raise_if_collected(self.db, transaction, f"{kind} {digests[found.index(None)].hex()}")
            raise CorruptionError(f"{kind} {digests[found.index(None)].hex()} is missing: run `hangar fsck`")
        return found  # type: ignore[return-value]

    def commit(self, digest: bytes) -> Commit:
        """A commit."""
        return decode_commit(self.get("commit", [digest])[0])

    def has(self, kind: RecordClass, digest: Digest) -> bool:
        """Whether the repository has one object."""
        with self.db.read() as transaction:
            return transaction.get(TABLES[kind], digest) is not None
