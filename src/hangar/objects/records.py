"""Loading and storing commits and the other records that are not tree nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hangar.db.epoch import raise_if_collected
from hangar.digest import Digest
from hangar.errors import CorruptionError, HangarError
from hangar.objects.commit import Commit, decode_commit
from hangar.objects.content import has_record, load_record, read_record, store_record

if TYPE_CHECKING:
    from hangar.db import Database, ReadTransaction, WriteTransaction

__all__ = ["has_record", "load_commit", "load_record", "read_commit", "read_record", "store_commit", "store_record"]


def store_commit(transaction: WriteTransaction, commit: Commit) -> Digest:
    """Store a commit if it does not exist yet, and return its digest.

    Raises
    ------
    InvalidInputError
        A field is invalid or exceeds a limit.
    """
    return store_record(transaction, "commit", commit.encode())


def read_commit(transaction: ReadTransaction, digest: Digest) -> Commit:
    """The commit of this digest.

    Raises
    ------
    CorruptionError
        It is missing, damaged, or not a commit.
    UnsupportedVersionError
        A newer Hangar wrote it.
    """
    try:
        return decode_commit(read_record(transaction, "commit", digest))
    except HangarError as error:
        if digest.hex() in str(error):
            raise
        raise type(error)(f"{error} (commit {digest.hex()})") from None


def load_commit(db: Database, digest: Digest) -> Commit:
    """Like :func:`read_commit`, in its own transaction."""
    with db.read() as transaction:
        try:
            return read_commit(transaction, digest)
        except CorruptionError:
            if not has_record(transaction, "commit", digest):
                raise_if_collected(db, transaction, f"commit {digest.hex()}")
            raise
