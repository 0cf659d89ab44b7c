"""Updates staged changes after their base commit was rewritten, and removes chosen entries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import msgspec

from hangar.db import WriteTransaction
from hangar.db.tables import STAGING
from hangar.digest import Digest
from hangar.objects.commit import ColumnEntry
from hangar.staging.rows import (
    COLUMN,
    HEAD,
    LONG_ROW,
    ROW,
    decode_column,
    decode_entry,
    decode_head,
    number_of,
)

__all__ = ["rewrite_staging"]


def rewrite_staging(
    transaction: WriteTransaction,
    replaced: Mapping[bytes, Digest],
    column: Callable[[ColumnEntry], ColumnEntry],
    column_id: bytes,
    gone: Mapping[bytes, Collection[bytes]],
) -> None:
    """Base staged changes on the replacements of commits, and drop chosen changes.

    Parameters
    ----------
    replaced
        New digest by old digest of commits.
    column
        Gives the replacement of a column, whose tree is stored.
    column_id
        Column of the changes to drop.
    gone
        Changes to drop: inline values by encoded key. The entry is then that of the base commit.
    """
    data = transaction.get(STAGING, HEAD)
    if data is None:
        return
    head = decode_head(data)
    operation = head.operation
    if operation is not None:
        operation = msgspec.structs.replace(operation, commits=[replaced.get(one, one) for one in operation.commits])
    parents = [replaced.get(parent, parent) for parent in head.parents]
    head = msgspec.structs.replace(head, parents=parents, operation=operation)
    transaction.put(STAGING, HEAD, msgspec.msgpack.encode(head))
    numbers: set[int] = set()
    for key, value in list(transaction.scan(STAGING)):
        if key[:1] == COLUMN:
            row = decode_column(value)
            if row.column.id == column_id:
                numbers.add(number_of(key))
            changed = msgspec.structs.replace(row, column=column(row.column))
            transaction.put(STAGING, key, msgspec.msgpack.encode(changed))
        elif key[:1] in (ROW, LONG_ROW) and number_of(key) in numbers:
            entry, cell = decode_entry(key, value)
            if cell is not None and cell in gone.get(entry, ()):
                transaction.delete(STAGING, key)
