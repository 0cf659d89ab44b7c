"""Content-addressed storage of schema, attribute and commit records, as bytes.

Their encodings are in ``commit``, ``attributes`` and ``schema/``. Tree nodes are far more numerous and have their own
``store``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from hangar.db.epoch import raise_if_collected
from hangar.db.tables import ATTRIBUTES, COMMITS, SCHEMAS, Table
from hangar.digest import Digest, record_digest
from hangar.errors import CorruptionError

if TYPE_CHECKING:
    from hangar.db import Database, ReadTransaction, WriteTransaction

__all__ = ["StoredClass", "has_record", "load_record", "read_record", "store_record"]

StoredClass: TypeAlias = Literal["commit", "schema", "attributes"]

_TABLES: Final[dict[str, Table]] = {"commit": COMMITS, "schema": SCHEMAS, "attributes": ATTRIBUTES}


def store_record(transaction: WriteTransaction, record_class: StoredClass, data: bytes) -> Digest:
    """Store a record if it does not exist yet, and return its digest."""
    digest = record_digest(record_class, data)
    if not has_record(transaction, record_class, digest):
        transaction.put(_TABLES[record_class], digest, data)
    return digest


def has_record(transaction: ReadTransaction, record_class: StoredClass, digest: Digest) -> bool:
    """Whether a record of this digest is stored."""
    return transaction.get(_TABLES[record_class], digest) is not None


def read_record(transaction: ReadTransaction, record_class: StoredClass, digest: Digest) -> bytes:
    """The bytes of a record.

    Raises
    ------
    CorruptionError
        It is missing, or its bytes have another digest.
    """
    data = transaction.get(_TABLES[record_class], digest)
    if data is None:
        raise CorruptionError(f"{record_class} record {digest.hex()} is missing: run `hangar fsck`")
    if record_digest(record_class, data) != digest:
        raise CorruptionError(f"{record_class} record {digest.hex()} is damaged: run `hangar fsck`")
    return data


def load_record(db: Database, record_class: StoredClass, digest: Digest) -> bytes:
    """Like :func:`read_record`, in its own transaction."""
    with db.read() as transaction:
        try:
            return read_record(transaction, record_class, digest)
        except CorruptionError:
            if not has_record(transaction, record_class, digest):
                raise_if_collected(db, transaction, f"{record_class} {digest.hex()}")
            raise
