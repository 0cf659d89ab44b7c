"""Stage the content of one commit on another: one row for each column that differs, whatever the number of samples."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from hangar.db import WriteTransaction
from hangar.db.tables import STAGING
from hangar.digest import Digest
from hangar.objects.commit import ColumnEntry, Commit
from hangar.staging.rows import HEAD, STAGING_VERSION, ColumnRow, HeadRow, clear_staging, column_key

__all__ = ["stage_content"]


def stage_content(
    transaction: WriteTransaction,
    branch: str,
    head: tuple[Digest, Commit],
    columns: Iterable[ColumnEntry],
    attributes: Digest | None,
) -> bool:
    """Replace the staging area by one in which ``branch`` has other columns and attributes than its head.

    Parameters
    ----------
    head
        Head commit of the branch.
    columns, attributes
        The staged content; the trees, schemas and attributes that it names must be stored.

    Returns
    -------
    bool
        Whether anything is staged now: False if the content is that of the head.
    """
    clear_staging(transaction)
    base, commit = head
    before = {entry.id: entry for entry in commit.columns}
    after = {entry.id: entry for entry in columns}
    rows = [ColumnRow(True, entry) for entry in commit.columns if entry.id not in after]
    rows += [ColumnRow(False, entry) for entry in after.values() if before.get(entry.id) != entry]
    if not rows and attributes == commit.attributes:
        return False
    encode = msgspec.msgpack.encode
    for number, row in enumerate(rows, 1):
        transaction.put(STAGING, column_key(number), encode(row))
    transaction.put(STAGING, HEAD, encode(HeadRow(STAGING_VERSION, branch, [base], len(rows) + 1, attributes, None)))
    return True
