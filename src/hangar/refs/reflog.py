"""The reflog: one entry for each move of each ref, numbered in order."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Final

from hangar import limits
from hangar.db.tables import REFLOG
from hangar.digest import Digest
from hangar.errors import CorruptionError
from hangar.refs.rows import ReflogEntry, check_digest, decode, encode, key_name, name_key, now

if TYPE_CHECKING:
    from hangar.db.transaction import ReadTransaction, WriteTransaction

__all__ = ["MESSAGE_CHARACTERS", "append", "commits", "delete", "expired", "move", "names", "read"]

MESSAGE_CHARACTERS: Final = 200
"""Maximum length of a reflog message, which is the first line of the given one."""
_SEQUENCE: Final = struct.Struct(">Q")
_SEPARATOR: Final = b"\x00"


def append(
    transaction: WriteTransaction,
    name: str,
    old: Digest | None,
    new: Digest | None,
    who: tuple[str, str],
    operation: str,
    message: str,
) -> None:
    """Add the entry for one move."""
    first_line = message.strip().partition("\n")[0][:MESSAGE_CHARACTERS]
    prefix = name_key(name) + _SEPARATOR
    key = prefix + _SEQUENCE.pack(_next_number(transaction, prefix))
    transaction.put(REFLOG, key, encode(ReflogEntry(old, new, *who, *now(), operation, first_line)))


def read(transaction: ReadTransaction, name: str, limit: int | None) -> list[ReflogEntry]:
    """The entries of ``name``, newest first; at most ``limit`` of them."""
    start = prefix = name_key(name) + _SEPARATOR
    if len(prefix) + _SEQUENCE.size > limits.DATABASE_MAX_KEY_BYTES:
        return []
    transaction.check_count(REFLOG)
    if limit is not None:
        start = prefix + _SEQUENCE.pack(max(0, _next_number(transaction, prefix) - limit))
    what = f"the reflog of {name}"
    entries = [decode(data, ReflogEntry, what) for _, data in transaction.scan(REFLOG, prefix=prefix, start=start)]
    for entry in entries:
        check_digest(entry.old, what)
        check_digest(entry.new, what)
    return entries[::-1]


def commits(transaction: ReadTransaction, without: Collection[bytes] = ()) -> list[Digest]:
    """Every commit in any reflog entry, each once; entries of deleted refs are included.

    Parameters
    ----------
    without
        Keys of entries that do not count, as :func:`expired` returns them.

    Raises
    ------
    CorruptionError
        An entry is damaged.
    """
    found: dict[Digest, None] = {}
    for key, what, entry in _entries(transaction):
        if key not in without:
            for digest in (check_digest(entry.old, what), check_digest(entry.new, what)):
                if digest is not None:
                    found[digest] = None
    return list(found)


def expired(transaction: ReadTransaction, expires: Callable[[str, ReflogEntry], bool]) -> frozenset[bytes]:
    """Keys of the entries to expire: of each ref, the oldest ones up to the first that does not expire.

    Parameters
    ----------
    expires
        Whether an entry may expire, by the full name of its ref and the entry.
    """
    found: set[bytes] = set()
    ended: set[bytes] = set()
    for key, _, entry in _entries(transaction):
        name = key[: -_SEQUENCE.size - len(_SEPARATOR)]
        if name not in ended and expires(key_name(name), entry):
            found.add(key)
        else:
            ended.add(name)
    return frozenset(found)


def delete(transaction: WriteTransaction, keys: Collection[bytes]) -> int:
    """Delete entries by their keys; return how many there were."""
    return sum(transaction.delete(REFLOG, key) for key in keys)


def _entries(transaction: ReadTransaction) -> Iterator[tuple[bytes, str, ReflogEntry]]:
    """Key, description of the reflog and entry of every row, oldest first for each ref."""
    for key, data in transaction.scan(REFLOG):
        what = f"the reflog of {key[: -_SEQUENCE.size - len(_SEPARATOR)].decode('utf-8', 'replace')}"
        yield key, what, decode(data, ReflogEntry, what)


def names(transaction: ReadTransaction) -> list[str]:
    """Full names of all refs that have entries, deleted ones too, in the order of their keys."""
    keys = (key[: -_SEQUENCE.size - len(_SEPARATOR)] for key, _ in transaction.scan(REFLOG))
    return list(dict.fromkeys(key_name(key) for key in keys))


def move(transaction: WriteTransaction, old: str, new: str) -> None:
    """Move the entries of ``old`` to ``new``; they are appended to the entries of ``new``."""
    source, target = name_key(old) + _SEPARATOR, name_key(new) + _SEPARATOR
    first = _next_number(transaction, target)
    for number, (key, data) in enumerate(list(transaction.scan(REFLOG, prefix=source)), first):
        transaction.put(REFLOG, target + _SEQUENCE.pack(number), data)
        transaction.delete(REFLOG, key)


def _next_number(transaction: ReadTransaction, prefix: bytes) -> int:
    last = transaction.last(REFLOG, prefix)
    if last is None:
        return 0
    number = last[0][len(prefix) :]
    if len(number) != _SEQUENCE.size:
        raise CorruptionError(f"the key of a reflog entry is damaged: {last[0][:80]!r}")
    return int.from_bytes(number, "big") + 1
