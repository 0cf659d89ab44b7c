"""Database rows of the staging area: one for its head, one for each changed column, one for each changed entry.

The first byte of a row key is its type. Key ``00`` is the head, ``01 NUMBER`` a column, and ``02 NUMBER KEY`` an
entry, with the encoded key of the entry. If that key is too long for LMDB, the row key is ``03 NUMBER DIGEST`` with
the digest of the entry's key, and the value begins with the key itself.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from hangar import limits
from hangar.db import WriteTransaction
from hangar.db.tables import STAGING
from hangar.digest import Digest, record_digest
from hangar.errors import CorruptionError, UnsupportedVersionError
from hangar.objects.commit import ColumnEntry
from hangar.staging.conflicts import clear_conflicts

__all__ = [
    "COLUMN",
    "HEAD",
    "LONG_ROW",
    "OPERATIONS",
    "ROW",
    "STAGING_VERSION",
    "ColumnRow",
    "HeadRow",
    "Operation",
    "clear_staging",
    "column_key",
    "decode_column",
    "decode_entry",
    "decode_head",
    "delete_entries",
    "encode_entries",
    "move_staging",
    "number_of",
]

T = TypeVar("T")

STAGING_VERSION: Final = 0
OPERATIONS: Final = ("merge", "cherry-pick", "revert")
"""What can be in progress."""
HEAD: Final = b"\x00"
COLUMN: Final = b"\x01"
ROW: Final = b"\x02"
LONG_ROW: Final = b"\x03"
_NUMBER_BYTES: Final = 4
_LONGEST_ROW_KEY: Final = limits.DATABASE_MAX_KEY_BYTES - 1 - _NUMBER_BYTES
_TOMBSTONE: Final = b"\x00"
_PRESENT: Final = b"\x01"


class Operation(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An operation in progress: a merge, cherry-pick or revert that was begun and is not committed yet.

    Attributes
    ----------
    kind
        One of :data:`OPERATIONS`: the name of its command.
    name
        The revision being merged, picked or reverted, as the user named it.
    message, meta
        Default message and metadata of the commit.
    commits
        The commits whose difference is applied, theirs first and then its base. Empty for a merge, whose theirs are the
        further parents, and whose bases follow from the parents.
    """

    kind: str
    name: str
    message: str
    meta: dict[str, Any]
    commits: list[Digest]

    @property
    def title(self) -> str:
        """What it is, for messages."""
        return f"a {self.kind} of {self.name!r}"

    @property
    def advice(self) -> str:
        """How it ends, for messages."""
        return f"conclude it with `hangar {self.kind} --continue`, or give it up with `hangar {self.kind} --abort`"


class HeadRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The head row of the staging area.

    Attributes
    ----------
    branch
        Branch that the next commit goes to.
    parents
        Parents of the next commit. The first is the head of the branch. The list is empty before the first commit,
        and longer during a merge.
    next_number
        Number of the next changed column.
    attributes
        Digest of the attributes of the next commit.
    operation
        The operation in progress. If and only if it is a merge there are several parents.
    """

    version: int
    branch: str
    parents: list[Digest]
    next_number: int
    attributes: Digest | None
    operation: Operation | None

    @property
    def base(self) -> Digest | None:
        """The base commit: the head of the branch, None before the first commit."""
        return self.parents[0] if self.parents else None


class ColumnRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The row of a changed column.

    Attributes
    ----------
    removed
        Whether the column was removed.
    column
        The column, with the tree that the entry rows apply to. For a removed column: the column of the base commit.
    """

    removed: bool
    column: ColumnEntry


_head_decoder = msgspec.msgpack.Decoder(HeadRow)
_column_decoder = msgspec.msgpack.Decoder(ColumnRow)
_long_decoder = msgspec.msgpack.Decoder(tuple[bytes, bytes])


def decode_head(data: bytes) -> HeadRow:
    """The head that ``data`` encodes."""
    head = _decode(_head_decoder, data)
    if head.version != STAGING_VERSION:
        raise UnsupportedVersionError(
            f"a staging area of version {head.version} needs a newer Hangar: install a newer version"
        )
    kind = "" if head.operation is None else head.operation.kind
    if kind not in ("", *OPERATIONS):
        raise CorruptionError(f"the staging area has an unknown operation {kind!r} in progress")
    if (kind == "merge") != (len(head.parents) > 1):
        raise CorruptionError(f"the staging area has {len(head.parents)} parents and {kind or 'nothing'} in progress")
    if head.operation is not None and (kind == "merge") != (not head.operation.commits):
        raise CorruptionError(f"the {kind} in progress names {len(head.operation.commits)} commits to apply")
    if len(set(head.parents)) != len(head.parents):
        raise CorruptionError("the staging area names a parent of the next commit twice")
    return head


def decode_column(data: bytes) -> ColumnRow:
    """The column that ``data`` encodes."""
    return _decode(_column_decoder, data)


def decode_entry(key: bytes, value: bytes) -> tuple[bytes, bytes | None]:
    """Encoded key and cell (None: deleted) of an entry row."""
    if key[:1] == LONG_ROW:
        full, value = _decode(_long_decoder, value)
    else:
        full = key[1 + _NUMBER_BYTES :]
    if value == _TOMBSTONE:
        return full, None
    if value[:1] != _PRESENT:
        raise CorruptionError("the staging area has a malformed entry")
    return full, value[1:]


def encode_entries(number: int, overlay: dict[bytes, bytes | None]) -> list[tuple[bytes, bytes]]:
    """Rows of the changed entries of a column, sorted."""
    short, long = ROW + _number(number), LONG_ROW + _number(number)
    return sorted(
        (short + key, _TOMBSTONE if cell is None else _PRESENT + cell)
        if len(key) <= _LONGEST_ROW_KEY
        else (
            long + record_digest("key", key),
            msgspec.msgpack.encode((key, _TOMBSTONE if cell is None else _PRESENT + cell)),
        )
        for key, cell in overlay.items()
    )


def column_key(number: int) -> bytes:
    """Key of the row of a column."""
    return COLUMN + _number(number)


def number_of(key: bytes) -> int:
    """Number of the column that a row belongs to."""
    return int.from_bytes(key[1 : 1 + _NUMBER_BYTES], "big")


def delete_entries(transaction: WriteTransaction, number: int) -> None:
    """Delete the rows of all entries of a column."""
    for kind in (ROW, LONG_ROW):
        transaction.delete_prefix(STAGING, kind + _number(number))


def move_staging(transaction: WriteTransaction, old: str, new: str) -> bool:
    """Move staged changes from branch ``old`` to ``new``, which has the same head. Returns whether there were any."""
    data = transaction.get(STAGING, HEAD)
    if data is None:
        return False
    head = decode_head(data)
    if head.branch != old:
        return False
    transaction.put(STAGING, HEAD, msgspec.msgpack.encode(msgspec.structs.replace(head, branch=new)))
    return True


def clear_staging(transaction: WriteTransaction) -> None:
    """Delete every row of the staging area, and the conflicts of the operation in progress."""
    transaction.delete_prefix(STAGING, b"")
    clear_conflicts(transaction)


def _number(number: int) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "big")


def _decode(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CorruptionError(f"a row of the staging area cannot be read: {error}") from None
