"""Repair of a staging area with lost or damaged rows: all other changes stay staged."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hangar.db import ReadTransaction, WriteTransaction
from hangar.db.tables import STAGING
from hangar.errors import HangarError
from hangar.fsck.context import Changes, RepairContext
from hangar.fsck.report import Repair
from hangar.objects.records import read_commit
from hangar.publishing import publish_rows
from hangar.refs import BRANCHES
from hangar.staging.imports import IMPORT, decode_import, forget_imports, recipe_of
from hangar.staging.rows import (
    COLUMN,
    HEAD,
    LONG_ROW,
    ROW,
    STAGING_VERSION,
    HeadRow,
    decode_column,
    decode_entry,
    decode_head,
    number_of,
)
from hangar.wording import plural

__all__ = ["repair_staging"]


def repair_staging(context: RepairContext) -> Iterator[Repair]:
    """Remove unreadable rows, and rows whose column is lost, from the staging area; restore a lost head."""
    with context.stores.db.read() as transaction:
        rows = list(transaction.scan(STAGING))
        head, numbers, wrong = _sorted_out(rows)
        fresh = _head(context, transaction, numbers) if head is None and len(rows) > len(wrong) else None
    if not wrong and fresh is None:
        return
    changes = Changes()
    for key, data in rows:
        if key in wrong:
            changes.drop(STAGING, key, data, wrong[key])
    if fresh is not None:
        changes.put.append((STAGING, HEAD, msgspec.msgpack.encode(fresh)))
    kept = changes.keep(context.lost)

    def write(transaction: WriteTransaction) -> None:
        changes.make(transaction)
        # The progress of an import claims rows that may be among the lost ones.
        forget_imports(transaction)

    publish_rows(context.stores.db, context.lock, write)
    if wrong:
        yield Repair(
            "staging", f"removed {plural(len(wrong), 'unreadable row')} from the staging area; the rest is staged", kept
        )
    if fresh is not None:
        yield Repair(
            "staging", f"wrote the head of the staging area again: it is based on branch {fresh.branch!r}", kept
        )


def _sorted_out(rows: list[tuple[bytes, bytes]]) -> tuple[HeadRow | None, set[int], dict[bytes, str]]:
    """The head, the numbers of the readable columns, and the reason by key of each unreadable row."""
    head = None
    numbers: set[int] = set()
    wrong: dict[bytes, str] = {}
    entries = []
    for key, data in rows:
        try:
            if key == HEAD:
                head = decode_head(data)
            elif key[:1] == COLUMN:
                decode_column(data)
                numbers.add(number_of(key))
            elif key[:1] in (ROW, LONG_ROW):
                decode_entry(key, data)
                entries.append(key)
            elif key[:1] == IMPORT:
                recipe_of(key)
                decode_import(data)
            else:
                wrong[key] = "a row of an unknown kind"
        except HangarError as error:
            wrong[key] = str(error)
    wrong.update((key, "the row of its column is lost") for key in entries if number_of(key) not in numbers)
    return head, numbers, wrong


def _head(context: RepairContext, transaction: ReadTransaction, numbers: set[int]) -> HeadRow | None:
    """A head for staged rows that lost theirs: based on the branch that HEAD names."""
    refs = context.stores.refs
    try:
        branch = refs.head(transaction).write_branch
        base = refs.get(BRANCHES + branch, transaction)
        attributes = None if base is None else read_commit(transaction, base).attributes
    except HangarError:
        return None
    parents = [] if base is None else [base]
    return HeadRow(STAGING_VERSION, branch, parents, max(numbers, default=0) + 1, attributes, None)
