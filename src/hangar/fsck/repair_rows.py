"""Repair of the rows of checksummed tables: flipped bits are corrected, other damaged rows move to lost-found.

Later steps derive the content of a removed row from other data, for refs, files, locations and the staging area.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hangar import _fs
from hangar.blobs.catalog import NEXT_FILE_ID, file_id_of_key
from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.format import FORMAT_VERSION, VERSION_KEY
from hangar.db.tables import CONFLICTS, FILES, META, REFLOG, REFS, STAGING, TABLES, Table, strip_checksum
from hangar.errors import CorruptionError, HangarError
from hangar.fsck.bitflip import BitFlipCorrector
from hangar.fsck.context import Changes, RepairContext
from hangar.fsck.lostfound import LostFound
from hangar.fsck.report import Repair
from hangar.lockfile import EPOCH, TOKEN_BYTES, highest_count, lock_epochs, record_epoch
from hangar.publishing import publish_rows
from hangar.rollback import BLOB_DIRECTORY, KEPT_FILE_ID, PUBLISH_COUNT, RUN_DIRECTORY, file_id_of
from hangar.staging.conflicts import INCOMPLETE, mark_incomplete
from hangar.staging.imports import forget_imports
from hangar.staging.rows import HEAD, decode_head
from hangar.wording import plural

__all__ = ["TableState", "examine", "repair_meta", "repair_rows", "table_repairs"]


def _damaged_rows(transaction: ReadTransaction, table: Table) -> Iterator[tuple[bytes, bytes]]:
    """The rows of a checked table whose checksums do not match."""
    for key, row in transaction.raw_rows(table):
        try:
            strip_checksum(table, key, row)
        except CorruptionError:
            yield key, row


def repair_meta(db: Database, lost: LostFound) -> Iterator[Repair]:
    """Repair the table ``meta``, which publishing itself needs; the writer lock cannot be taken before."""
    bit_flips = BitFlipCorrector()
    with db.read() as transaction:
        damaged = list(_damaged_rows(transaction, META))
        present = {key for key, _ in transaction.raw_rows(META)}
    changes = Changes()
    corrected = 0
    for key, row in damaged:
        fixed = bit_flips.correct_row(META, key, row)
        if fixed is not None:
            changes.replace(META, key, row, fixed, "a bit was flipped")
            corrected += 1
            present.add(fixed[0])
        else:
            changes.drop(META, key, row, "its checksum does not match")
            present.discard(key)
    missing = [key for key in (EPOCH, VERSION_KEY, PUBLISH_COUNT, NEXT_FILE_ID) if key not in present]
    # A counter that is missing in a new repository is right: the first use of the counter makes the row.
    needed = [key for key in missing if key in (EPOCH, VERSION_KEY) or key in {old for old, _ in damaged}]
    if any(key == KEPT_FILE_ID for key, _ in damaged) and KEPT_FILE_ID not in present:
        needed.append(KEPT_FILE_ID)
    if not damaged and not needed:
        return
    kept = changes.keep(lost)

    def write(transaction: WriteTransaction) -> None:
        changes.make(transaction)
        for key in needed:
            _derive(db.directory, transaction, key)

    db.update(write)
    names = ", ".join(key.decode("latin-1") for key in needed)
    if corrected:
        yield Repair("table", f"corrected a flipped bit in {plural(corrected, 'row')} of table 'meta'", kept)
    if needed:
        yield Repair("table", f"wrote rows of table 'meta' again: {names}", kept)
    elif len(damaged) > corrected:
        yield Repair("table", f"removed damaged rows from table 'meta': {len(damaged) - corrected}", kept)


def _derive(directory: Path, transaction: WriteTransaction, key: bytes) -> None:
    """Write a lost row of ``meta`` from what is on disk."""
    if key == VERSION_KEY:
        transaction.put(META, key, str(FORMAT_VERSION).encode())
    elif key == EPOCH:
        # The lock file of this epoch does not have this token, so the next step makes a new one, with a higher epoch.
        record_epoch(transaction, max(lock_epochs(directory), default=0) + 1, os.urandom(TOKEN_BYTES))
    elif key == PUBLISH_COUNT:
        transaction.put(META, key, highest_count(directory).to_bytes(8, "little"))
    else:
        # Above the ids of all files on disk and of all rows.
        used = [
            file_id
            for name in (BLOB_DIRECTORY, RUN_DIRECTORY)
            for file_id in map(file_id_of, _fs.list_directory(directory / name))
            if file_id is not None
        ]
        recorded = [file_id_of_key(one) for one, _ in transaction.raw_rows(FILES)]
        highest = max([0, *used, *(file_id for file_id in recorded if file_id is not None)])
        value = highest.to_bytes(8, "little") if key == KEPT_FILE_ID else (highest + 1).to_bytes(4, "big")
        transaction.put(META, key, value)


@dataclass(slots=True)
class TableState:
    """The rows of a checked table.

    Attributes
    ----------
    sound
        Rows with a right checksum, corrected ones included: key and payload.
    changes
        Changes that correct or remove the other rows.
    corrected, dropped
        Numbers of these.
    counted
        Whether the recorded number of rows is right.
    """

    sound: list[tuple[bytes, bytes]]
    changes: Changes
    corrected: int
    dropped: int
    counted: bool

    @property
    def damaged(self) -> bool:
        """Whether there is something to repair."""
        return bool(self.corrected or self.dropped) or not self.counted


def examine(context: RepairContext, table: Table) -> TableState:
    """Check all rows of a table; changes nothing."""
    with context.stores.db.read() as transaction:
        rows = list(transaction.raw_rows(table))
        counted = not table.counted or _is_counted(transaction, table)
    state = TableState([], Changes(), 0, 0, counted)
    for key, row in rows:
        try:
            state.sound.append((key, strip_checksum(table, key, row)))
            continue
        except CorruptionError:
            fixed = context.bit_flips.correct_row(table, key, row)
        if fixed is None:
            state.changes.drop(table, key, row, "its checksum does not match")
            state.dropped += 1
        else:
            state.changes.replace(table, key, row, fixed, "a bit was flipped")
            state.sound.append(fixed)
            state.corrected += 1
    return state


def _is_counted(transaction: ReadTransaction, table: Table) -> bool:
    try:
        transaction.check_count(table)
    except CorruptionError:
        return False
    return True


def table_repairs(table: Table, state: TableState, kept: str) -> Iterator[Repair]:
    """Descriptions of the repairs of a table."""
    if state.corrected:
        detail = f"corrected a flipped bit in {plural(state.corrected, 'row')} of table '{table.name}'"
        yield Repair("table", detail, kept)
    if state.dropped:
        yield Repair("table", f"removed {plural(state.dropped, 'damaged row')} from table '{table.name}'", kept)
    if not state.counted:
        yield Repair("table", f"set the number of rows of table '{table.name}', of which rows were lost")


def repair_rows(context: RepairContext) -> Iterator[Repair]:
    """Repair the rows of the checked tables but ``meta`` and those of refs, which :mod:`hangar.fsck.repair_refs` repairs."""
    for table in TABLES:
        if not table.checked or table in (META, REFS, REFLOG):
            continue
        state = examine(context, table)
        if not state.damaged:
            continue
        kept = state.changes.keep(context.lost)

        def write(transaction: WriteTransaction, table: Table = table, changes: Changes = state.changes) -> None:
            changes.make(transaction)
            if forgets:  # noqa: B023
                forget_imports(transaction)
            if table.counted:
                transaction.recount(table)
            if marks:  # noqa: B023
                mark_incomplete(transaction)

        lost = state.dropped > 0 or not state.counted
        # The progress of an import claims rows that may be among the lost ones.
        forgets = table is STAGING and lost
        marks = table in (STAGING, CONFLICTS) and lost and _is_merging(context)
        publish_rows(context.stores.db, context.lock, write)
        yield from table_repairs(table, state, kept)
        if marks:
            yield Repair("conflict", INCOMPLETE)


def _is_merging(context: RepairContext) -> bool:
    """Whether a merge, cherry-pick or revert is in progress, as far as the rows still say."""
    with context.stores.db.read() as transaction:
        if any(transaction.raw_rows(CONFLICTS)):
            return True
        try:
            data = transaction.get(STAGING, HEAD)
            return data is not None and decode_head(data).operation is not None
        except HangarError:
            return False
