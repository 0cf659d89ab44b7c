"""Recognise a database that was replaced by an older copy, and keep the files of the newer one as they are.

Blob files and runs are append-only, and the database records the end of the used part of each. An older ``data.mdb``
with newer files is a rollback. Without this check the next writer would overwrite the bytes behind the recorded ends, and
remove the files without a row. If the newer database were put back after that, its data would be gone.

Each publishing transaction raises the *publish count* in the database; afterwards the lock file gets the same number. So
a lock file with a higher count than the database proves a rollback. The next writer detects it when it takes the lock.
It raises the epoch of the lock and the publish count above all known numbers, and warns
(:class:`~hangar.errors.RolledBackWarning`). It also records the highest id of a blob file or run: files up to that id are
*kept*. They are neither appended to nor removed, and no id is reused. So either database can be put back later, and
finds all its bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hangar import _fs
from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.tables import META
from hangar.errors import CorruptionError, RolledBackWarning, StorageError, warn_caller
from hangar.lockfile import EPOCH, highest_count, read_count, write_count
from hangar.wording import plural

__all__ = [
    "BLOB_DIRECTORY",
    "KEPT_FILE_ID",
    "PUBLISH_COUNT",
    "RUN_DIRECTORY",
    "Rollback",
    "count_publish",
    "end_keeping",
    "file_id_of",
    "find_rollback",
    "keep_files",
    "kept_files",
    "note_publish",
    "publish_count",
    "warn_of_rollback",
]

BLOB_DIRECTORY: Final = "blobs"
RUN_DIRECTORY: Final = "runs"

PUBLISH_COUNT: Final = b"publish count"
KEPT_FILE_ID: Final = b"kept file id"
"""Keys of rows of ``meta``."""
_FILE_NAME: Final = re.compile(r"([0-9a-f]{8})\.[^.]{1,8}")
_NUMBER_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Rollback:
    """A database that is older than its files.

    Attributes
    ----------
    known
        Publish count of the database.
    published
        The highest publish count in a lock file.
    """

    known: int
    published: int

    def __str__(self) -> str:
        return (
            f"the database is older than the files beside it: it knows {plural(self.known, 'published change')}, and "
            f"{self.published:,} were made. It was restored from a copy"
        )


def find_rollback(directory: Path, transaction: ReadTransaction) -> Rollback | None:
    """Whether the database is older than its files, as far as the lock files tell.

    Parameters
    ----------
    directory
        The ``.hangar`` directory.
    """
    known, published = _number(transaction, PUBLISH_COUNT), highest_count(directory)
    return Rollback(known, published) if published > known else None


def warn_of_rollback(found: Rollback) -> None:
    """Warn the caller of a rollback, with the possible next steps."""
    warn_caller(
        f"{found}. If that was not meant, close what has the repository open and put the newer data.mdb back; everything that it "
        "names is kept. Or go on: new data goes to new files, and no file that is there now is changed or removed",
        RolledBackWarning,
    )


def publish_count(transaction: ReadTransaction) -> int:
    """Number of published changes according to the database."""
    return _number(transaction, PUBLISH_COUNT)


def count_publish(directory: Path, transaction: WriteTransaction) -> tuple[int, int]:
    """Raise the publish count in the database, as part of a change; returns the epoch of the lock, and the new count.

    Raises
    ------
    StorageError
        The database was replaced by an older copy since the writer lock was taken.
    """
    row, count = transaction.get(META, EPOCH), _number(transaction, PUBLISH_COUNT)
    epoch = 0 if row is None else int.from_bytes(row[:8], "little")
    published = read_count(directory, epoch)
    if published > count:
        raise StorageError(
            f"{Rollback(count, published)} while it was written to: nothing was changed. Close it, put the newer data.mdb "
            "back if you have it, and open a new write checkout"
        )
    _put(transaction, PUBLISH_COUNT, count + 1)
    return epoch, count + 1


def note_publish(db: Database, epoch: int, count: int) -> None:
    """Give the lock file the publish count of a transaction that was committed."""
    write_count(db.directory, epoch, count)


def keep_files(directory: Path, transaction: WriteTransaction, found: Rollback) -> None:
    """Record that the files that are there now are kept as they are, and raise the publish count above all that were seen."""
    present = [
        file_id
        for name in (BLOB_DIRECTORY, RUN_DIRECTORY)
        for file_id in map(file_id_of, _fs.list_directory(directory / name))
        if file_id is not None
    ]
    _put(transaction, KEPT_FILE_ID, max([kept_files(transaction), *present]))
    _put(transaction, PUBLISH_COUNT, found.published + 1)


def kept_files(transaction: ReadTransaction) -> int:
    """Up to which id blob files and runs are kept as they are, because another copy of the database may name them; 0 for none."""
    return _number(transaction, KEPT_FILE_ID)


def end_keeping(transaction: WriteTransaction) -> int:
    """Give up the kept files: a newer copy of the database would not find its bytes any more. Returns up to which id they were kept."""
    kept = kept_files(transaction)
    if kept:
        transaction.delete(META, KEPT_FILE_ID)
    return kept


def file_id_of(name: str) -> int | None:
    """Id of a blob file or run, by its name; None where it is not the name of one."""
    found = _FILE_NAME.fullmatch(name)
    return int(found[1], 16) if found else None


def _number(transaction: ReadTransaction, key: bytes) -> int:
    data = transaction.get(META, key)
    if data is not None and len(data) != _NUMBER_BYTES:
        raise CorruptionError(f"row {key.decode()!r} of table 'meta' is malformed: run `hangar fsck`")
    return 0 if data is None else int.from_bytes(data, "little")


def _put(transaction: WriteTransaction, key: bytes, number: int) -> None:
    transaction.put(META, key, number.to_bytes(_NUMBER_BYTES, "little"))
