"""Database rows of the conflicts of an operation in progress: a head, and one row for each conflict.

Key ``00`` is the head, ``01 COLUMN SUBJECT KEY`` a conflict: the id of the column (zeros for the commit itself), a byte
for the subject, and the key of the sample or attribute. If that is too long for LMDB, the row key is
``02 COLUMN SUBJECT DIGEST`` with the digest of the key, and the value has the key itself. A row stays when its conflict
is resolved, so that it can be resolved in another way until the operation is committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from hangar import limits
from hangar.db import ReadTransaction, WriteTransaction
from hangar.db.tables import CONFLICTS
from hangar.digest import Digest, record_digest
from hangar.errors import CorruptionError, UnsupportedVersionError
from hangar.objects.commit import COLUMN_ID_BYTES, ColumnEntry

__all__ = [
    "CONFLICT_KINDS",
    "INCOMPLETE",
    "SUBJECTS",
    "ConflictHead",
    "ConflictName",
    "ConflictRow",
    "check_conflicts",
    "clear_conflicts",
    "conflict_key",
    "mark_incomplete",
    "read_conflict_head",
    "read_conflicts",
    "write_conflicts",
]

CONFLICTS_VERSION: Final = 0
SUBJECTS: Final = ("column", "name", "clash", "attribute", "sample")
"""What can be in conflict, in the order of their numbers."""
CONFLICT_KINDS: Final = ("t1", "t21", "t22", "t3")
"""Kinds of conflict, in the order of their numbers."""
RESOLUTIONS: Final = ("ours", "theirs", "base", "value")
_HEAD: Final = b"\x00"
_ROW: Final = b"\x01"
_LONG_ROW: Final = b"\x02"
_COMMIT: Final = bytes(COLUMN_ID_BYTES)
_LONGEST: Final = limits.DATABASE_MAX_KEY_BYTES - 2 - COLUMN_ID_BYTES

INCOMPLETE: Final = (
    "changes or conflicts of the operation in progress were lost, so it cannot be committed: give it up with "
    "`hangar restore .`, and begin again"
)

ConflictName = tuple[str, "bytes | None", bytes]
"""Subject, id of the column (None: the commit itself) and key of a conflict."""


class ConflictHead(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The head of the conflicts.

    Attributes
    ----------
    bases
        The merge bases of a merge; of a cherry-pick or revert the commit that theirs is compared with, if there is one.
    total, unresolved
        Number of rows, and of those without a resolution; more unresolved than rows if some were lost (:attr:`incomplete`).
    """

    version: int
    bases: list[Digest]
    total: int
    unresolved: int

    @property
    def incomplete(self) -> bool:
        """Whether a repair found that rows of the merge were lost, so that it must not be committed."""
        return self.unresolved > self.total


class ConflictRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One conflict.

    Attributes
    ----------
    key
        The key of the sample or attribute if it is too long for the key of the row, else None.
    kind
        Position in :data:`CONFLICT_KINDS`.
    base, ours, theirs
        The three values (see ``hangar.diff.threeway.Conflict``), None where there is none.
    resolution
        ``'ours'``, ``'theirs'``, ``'base'`` or ``'value'``; None while the conflict is open.
    """

    key: bytes | None
    kind: int
    base: Any
    ours: Any
    theirs: Any
    resolution: str | None


_decode_head = msgspec.msgpack.Decoder(ConflictHead).decode
_decode_row = msgspec.msgpack.Decoder(ConflictRow).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def conflict_key(name: ConflictName) -> bytes:
    """Key of the row of a conflict."""
    subject, column, key = name
    rest = (_COMMIT if column is None else column) + bytes((SUBJECTS.index(subject),))
    return _ROW + rest + key if len(key) <= _LONGEST else _LONG_ROW + rest + record_digest("key", key)


def write_conflicts(
    transaction: WriteTransaction, head: ConflictHead, rows: Mapping[ConflictName, ConflictRow]
) -> None:
    """Store the head and some rows."""
    transaction.put(CONFLICTS, _HEAD, _encode(head))
    items = []
    for name, row in rows.items():
        key = conflict_key(name)
        items.append((key, _encode(msgspec.structs.replace(row, key=name[2] if key[:1] == _LONG_ROW else None))))
    transaction.put_many(CONFLICTS, sorted(items))


def mark_incomplete(transaction: WriteTransaction) -> None:
    """Record that rows of the merge in progress were lost."""
    try:
        head = read_conflict_head(transaction)
    except CorruptionError:
        head = None
    rows = sum(key != _HEAD for key, _ in transaction.raw_rows(CONFLICTS))
    # More than can be resolved, so that it stays more than the number of rows.
    marked = ConflictHead(CONFLICTS_VERSION, [] if head is None else head.bases, rows, 2 * rows + 1)
    transaction.put(CONFLICTS, _HEAD, _encode(marked))


def check_conflicts(transaction: ReadTransaction) -> None:
    """Read all conflicts, and check that none is lost.

    Raises
    ------
    CorruptionError
        One cannot be read, or is lost.
    """
    head, rows = read_conflict_head(transaction), [row for _, row in read_conflicts(transaction)]
    if head is not None and head.incomplete:
        raise CorruptionError(INCOMPLETE)
    numbers = (0, 0) if head is None else (head.total, head.unresolved)
    if numbers != (len(rows), sum(row.resolution is None for row in rows)):
        raise CorruptionError("the head of the conflicts is lost, or does not agree with the conflicts")


def clear_conflicts(transaction: WriteTransaction) -> None:
    """Delete every row."""
    transaction.delete_prefix(CONFLICTS, b"")


def read_conflict_head(transaction: ReadTransaction) -> ConflictHead | None:
    """The head; None if no conflicts are stored.

    Raises
    ------
    CorruptionError
        It cannot be read.
    """
    data = transaction.get(CONFLICTS, _HEAD)
    if data is None:
        transaction.check_count(CONFLICTS)
        return None
    try:
        head = _decode_head(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CorruptionError(f"the head of the conflicts cannot be read: {error}") from None
    if head.version != CONFLICTS_VERSION:
        raise UnsupportedVersionError(
            f"conflicts of version {head.version} need a newer Hangar: install a newer version"
        )
    return head


def read_conflicts(transaction: ReadTransaction) -> Iterator[tuple[ConflictName, ConflictRow]]:
    """All stored conflicts, by column.

    Raises
    ------
    CorruptionError
        A row cannot be read.
    """
    for key, data in transaction.scan(CONFLICTS):
        if key[:1] in (_ROW, _LONG_ROW):
            yield _decode_conflict(key, data)
        elif key != _HEAD:
            raise CorruptionError("the conflicts have a row of an unknown kind")


def _decode_conflict(key: bytes, data: bytes) -> tuple[ConflictName, ConflictRow]:
    try:
        row = _decode_row(data)
        end = 1 + COLUMN_ID_BYTES
        subject, column = SUBJECTS[key[end]], key[1:end]
        name = subject, None if column == _COMMIT else column, key[end + 1 :] if row.key is None else row.key
        form: Any = _FORMS[subject]
        base, ours, theirs = (msgspec.convert(value, form) for value in (row.base, row.ours, row.theirs))
    except (msgspec.MsgspecError, ValueError, IndexError, RecursionError) as error:
        raise CorruptionError(f"a conflict cannot be read: {error}") from None
    if (row.resolution is not None and row.resolution not in RESOLUTIONS) or not 0 <= row.kind < len(CONFLICT_KINDS):
        raise CorruptionError("a conflict has an unknown kind or resolution")
    if conflict_key(name) != key:
        raise CorruptionError("a conflict is stored under the wrong key")
    return name, ConflictRow(None, row.kind, base, ours, theirs, row.resolution)


_FORMS: Final = {
    "column": ColumnEntry | None,
    "name": str | None,
    "clash": tuple[ColumnEntry | None, ColumnEntry | None],
    "attribute": Any,
    "sample": bytes | None,
}
"""Type of the values of a conflict, by its subject."""
