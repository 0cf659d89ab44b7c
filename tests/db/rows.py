"""Small helpers over rows."""

from __future__ import annotations

from pathlib import Path

from hangar.db import Database
from hangar.db.tables import REFS


def number(key: int) -> bytes:
    return key.to_bytes(8, "big")


def get(db: Database, key: bytes) -> bytes | None:
    """A ref, in a transaction of its own."""
    with db.read() as transaction:
        return transaction.get(REFS, key)


def value(directory: Path, key: bytes) -> bytes | None:
    """A ref, in a database opened for it."""
    db = Database.open(directory)
    try:
        return get(db, key)
    finally:
        db.close()
