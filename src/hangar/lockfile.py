"""The files ``lock.<epoch>``, their heading and the publish count that they carry; and the row that says which one counts.

The heading has the token that the database repeats. Behind it stands who holds the lock, for people, and then the *publish count*: how many
changes had been published when it was written. The database counts them too. The count in the file is written after each publishing
and not synced, so it is never ahead of the database, unless the database was replaced by an older copy (see :mod:`hangar.rollback`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from xxhash import xxh3_64_intdigest

from hangar import _fs
from hangar.db import ReadTransaction, WriteTransaction
from hangar.db.tables import META
from hangar.errors import CorruptionError

__all__ = [
    "EPOCH",
    "HEADING_BYTES",
    "HOLDER_BYTES",
    "TOKEN_BYTES",
    "epoch_row",
    "heading",
    "highest_count",
    "lock_epochs",
    "lock_path",
    "make",
    "parse_epoch",
    "read_count",
    "record_epoch",
    "write_count",
]

HEADING_BYTES: Final = 64
HOLDER_BYTES: Final = 1024
TOKEN_BYTES: Final = 16
EPOCH: Final = b"writer epoch"
_COUNT_OFFSET: Final = HEADING_BYTES + HOLDER_BYTES
_PREFIX: Final = "lock."


def epoch_row(transaction: ReadTransaction) -> bytes | None:
    """The row of ``meta`` with the epoch of the writer lock and the token of its file; None before there is one."""
    return transaction.get(META, EPOCH)


def parse_epoch(row: bytes) -> tuple[int, bytes]:
    """The epoch and the token of an :func:`epoch_row`."""
    if len(row) != 8 + TOKEN_BYTES:
        raise CorruptionError("the epoch of the writer lock cannot be read from the database: run `hangar fsck`")
    return int.from_bytes(row[:8], "little"), row[8:]


def record_epoch(transaction: WriteTransaction, epoch: int, token: bytes) -> None:
    """Make the lock file of ``epoch`` the one that counts."""
    transaction.put(META, EPOCH, epoch.to_bytes(8, "little") + token)


def lock_path(directory: Path, epoch: int) -> Path:
    """The lock file of an epoch, below ``.hangar``."""
    return directory / f"{_PREFIX}{epoch}"


def heading(epoch: int, token: bytes) -> bytes:
    """The first bytes of a lock file."""
    return f"hangar {epoch} {token.hex()}\n".encode("ascii").ljust(HEADING_BYTES)


def make(directory: Path, epoch: int, token: bytes, count: int) -> None:
    """Make a lock file that must not exist, durably.

    Parameters
    ----------
    count
        The publish count so far. With it the file has its full size, so that writing another one needs no space.
    """
    blank = b" " * HOLDER_BYTES
    _fs.write_new_file(lock_path(directory, epoch), [heading(epoch, token), blank, _encode(epoch, count)])


def lock_epochs(directory: Path) -> list[int]:
    """Epochs of the lock files that are there, ascending."""
    found = []
    for name in _fs.list_directory(directory):
        digits = name.removeprefix(_PREFIX)
        if (
            name.startswith(_PREFIX)
            and digits.isascii()
            and digits.isdecimal()
            and _is_lock_file(directory, int(digits))
        ):
            found.append(int(digits))
    return sorted(found)


def _is_lock_file(directory: Path, epoch: int) -> bool:
    return _read(directory, epoch, 0, HEADING_BYTES).startswith(f"hangar {epoch} ".encode("ascii"))


def read_count(directory: Path, epoch: int) -> int:
    """The publish count in a lock file; 0 where there is none that holds."""
    data = _read(directory, epoch, _COUNT_OFFSET, 16)
    count = int.from_bytes(data[:8], "little")
    return count if data == _encode(epoch, count) else 0


def highest_count(directory: Path) -> int:
    """The highest publish count in any lock file; 0 where there is none."""
    return max((read_count(directory, epoch) for epoch in lock_epochs(directory)), default=0)


def write_count(directory: Path, epoch: int, count: int) -> None:
    """Write the publish count. It is not synced, and left out where it cannot be written: then it is behind, which does no harm."""
    # Each publishing comes here, so no path object is made.
    _fs.write_hint(f"{directory}/{_PREFIX}{epoch}", _encode(epoch, count), _COUNT_OFFSET)


def _encode(epoch: int, count: int) -> bytes:
    data = count.to_bytes(8, "little")
    return data + xxh3_64_intdigest(data, epoch & (2**64 - 1)).to_bytes(8, "little")


def _read(directory: Path, epoch: int, offset: int, size: int) -> bytes:
    """Bytes of a lock file; none where it cannot be read."""
    try:
        descriptor = os.open(f"{directory}/{_PREFIX}{epoch}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, size, offset)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
