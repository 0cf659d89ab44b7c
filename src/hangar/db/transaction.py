"""Read and write transactions, each on one consistent snapshot of the database.

Reads verify the checksums of checked tables and never return bytes that fail them. On commit, writes update the row
counts of counted tables by the difference, so that an earlier loss stays detectable. ``environment.Database``
controls begin, end and retry.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, NoReturn

import lmdb
from xxhash import xxh3_64_digest

from hangar.db.failures import translate
from hangar.db.handle import Handle, Reader
from hangar.db.tables import CHECKSUM_BYTES, META, Table, add_checksum, add_checksums, strip_checksum, strip_checksums
from hangar.errors import CorruptionError, InvalidStateError
from hangar.statements import FreshExit, Running
from hangar.wording import plural

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FullMapError", "ReadTransaction", "WriteTransaction"]

_ROWS: Final = b"rows:"
_LAST_ID: Final = b"last id:"
_META_PAGES: Final = 4
"""LMDB's two meta pages, and about as many for the table of tables and the list of free pages."""


class FullMapError(Exception):
    """The map is full: the transaction must end and run again with a larger map. Not raised outside of ``db``."""


def _ended(*_: object) -> NoReturn:
    raise InvalidStateError("this transaction has ended")


class ReadTransaction:
    """One consistent snapshot of the database; a context manager, for one thread."""

    __slots__ = ("__weakref__", "_get", "_handle", "_reference", "_tables", "_transaction", "running", "thread")

    _transaction: lmdb.Transaction[bytes] | None
    _get: Any

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._get = _ended
        self._transaction = None
        self.running: Running | None = None

    def __enter__(self) -> ReadTransaction:
        handle = self._handle
        self.thread = threading.get_ident()
        reference: weakref.ref[Reader] = weakref.ref(self)
        self._reference = reference
        try:
            # Register, then begin: an exclusive operation takes the environment, then waits for registered readers.
            handle.live.add(reference)
            try:
                transaction = handle.environment.begin()  # type: ignore[union-attr]
            except (AttributeError, lmdb.Error):
                transaction = handle.begin_slowly(reference)
            self._transaction = transaction
            self._get = transaction.get
            self._tables = handle.tables
        except BaseException:
            # End it now: the traceback of an interrupt may keep this transaction alive for a long time.
            self.end()
            raise
        return self

    def end(self, *_: object) -> None:
        """End the transaction. Idempotent; another thread may call it after an interrupted ``with`` statement."""
        transaction = self._transaction
        if transaction is not None:
            transaction.abort()
            self._get = _ended
            self._transaction = None
        self._handle.live.discard(self._reference)

    if TYPE_CHECKING:

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None: ...

    else:
        __exit__ = FreshExit(end)

    @property
    def lmdb_transaction(self) -> lmdb.Transaction[bytes] | None:
        """For the fork handler only."""
        return self._transaction

    def forget(self) -> None:
        """Drop the LMDB transaction without calling LMDB."""
        self._get = _ended
        self._transaction = None

    def _failed(self, error: lmdb.Error) -> NoReturn:
        raise translate(error, self._handle.path) from error

    def _alive(self) -> lmdb.Transaction[bytes]:
        if self._transaction is None:
            _ended()
        return self._transaction

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value of ``key``, or None.

        Raises
        ------
        CorruptionError
            The row exists and is damaged.
        """
        try:
            row: bytes | None = self._get(key, None, self._tables[table.number])
        except lmdb.Error as error:
            self._failed(error)
        if row is None:
            if table.sought:
                self._check_absence(table, key)
            return None
        if not table.checked:
            return row
        payload = row[:-CHECKSUM_BYTES]
        if xxh3_64_digest(key + payload, table.seed + len(key)) != row[-CHECKSUM_BYTES:]:
            strip_checksum(table, key, row)
        return payload

    def get_many(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of ``keys``, in their order, None if there is no row; without a Python call per key."""
        try:
            rows: list[bytes | None] = list(map(self._get, keys, repeat(None), repeat(self._tables[table.number])))
        except lmdb.Error as error:
            self._failed(error)
        if not table.checked:
            return rows
        if None not in rows:
            return list(strip_checksums(table, keys, rows))  # type: ignore[arg-type]
        if table.sought:
            for key, row in zip(keys, rows, strict=True):
                if row is None:
                    self._check_absence(table, key)
        present = [(key, row) for key, row in zip(keys, rows, strict=True) if row is not None]
        payloads = iter(strip_checksums(table, [key for key, _ in present], [row for _, row in present]))
        return [None if row is None else next(payloads) for row in rows]

    def _check_absence(self, table: Table, key: bytes) -> None:
        """Verify that a row is missing: its neighbours must be sound and in order.

        A damaged branch page sends the search to a wrong leaf, where one of the neighbours is on the wrong side.
        """
        try:
            cursor = self._alive().cursor(self._tables[table.number])
            following = cursor.item() if cursor.set_range(key) else None
            previous = cursor.item() if (cursor.prev() if following is not None else cursor.last()) else None
        except lmdb.Error as error:
            self._failed(error)
        for row, in_order in (
            (following, following is None or following[0] > key),
            (previous, previous is None or previous[0] < key),
        ):
            if not in_order:
                raise _damaged_pages(table, key)
            if row is not None:
                strip_checksum(table, *row)

    def scan(self, table: Table, *, prefix: bytes = b"", start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Rows in key order whose keys begin with ``prefix`` and are not before ``start``.

        Raises
        ------
        CorruptionError
            A row is damaged or out of order, or a whole counted table does not have the recorded number of rows.
        """
        first = max(prefix, start)
        number = 0
        try:
            cursor = self._alive().cursor(self._tables[table.number])
            if cursor.set_range(first) if first else cursor.first():
                previous = b""
                for key, row in cursor:
                    if key <= previous or key < first:
                        raise _damaged_pages(table, key)
                    if not key.startswith(prefix):
                        break
                    previous = key
                    number += 1
                    yield key, (strip_checksum(table, key, row) if table.checked else row)
        except lmdb.Error as error:
            self._failed(error)
        if table.counted and not first:
            self._compare_count(table, number)

    def raw_rows(self, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """Keys and stored rows in key order, with their checksums, which are not verified; to repair a table."""
        try:
            cursor = self._alive().cursor(self._tables[table.number])
            yield from cursor.iternext(keys=True, values=True)
        except lmdb.Error as error:
            self._failed(error)

    def keys(self, table: Table) -> Iterator[bytes]:
        """All keys, in order, without reading the rows.

        Raises
        ------
        CorruptionError
            They are out of order.
        """
        previous = b""
        try:
            cursor = self._alive().cursor(self._tables[table.number])
            for key in cursor.iternext(True, False):
                if key <= previous:
                    raise _damaged_pages(table, key)
                previous = key
                yield key
        except lmdb.Error as error:
            self._failed(error)

    def last(self, table: Table, prefix: bytes = b"") -> tuple[bytes, bytes] | None:
        """The last row whose key begins with ``prefix``, or None."""
        try:
            cursor = self._alive().cursor(self._tables[table.number])
            beyond = _beyond(prefix)
            following = cursor.key() if beyond is not None and cursor.set_range(beyond) else None
            if not (cursor.last() if following is None else cursor.prev()):
                return None
            key, row = cursor.item()
        except lmdb.Error as error:
            self._failed(error)
        if beyond is not None and (key >= beyond or (following is not None and following < beyond)):
            raise _damaged_pages(table, key)
        if not key.startswith(prefix):
            return None
        return key, (strip_checksum(table, key, row) if table.checked else row)

    def number(self) -> int:
        """Transaction number of the last commit in this snapshot."""
        return int(self._alive().id())

    def used_bytes(self) -> int:
        """Bytes of the pages of all tables, and of LMDB's meta pages."""
        try:
            stats = [self._alive().stat(handle) for handle in self._tables]
        except lmdb.Error as error:
            self._failed(error)
        pages = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        return stats[0]["psize"] * (pages + _META_PAGES)

    def count(self, table: Table) -> int:
        """The number of rows according to LMDB (no row is read)."""
        try:
            return self._alive().stat(self._tables[table.number])["entries"]
        except lmdb.Error as error:
            self._failed(error)

    def check_count(self, table: Table) -> None:
        """Compare the number of rows of a counted table with the recorded number.

        Raises
        ------
        CorruptionError
            They differ: rows were lost.
        """
        self._compare_count(table, self.count(table))

    def _compare_count(self, table: Table, number: int) -> None:
        recorded = self._recorded(table)
        if number != recorded:
            raise CorruptionError(
                f"table '{table.name}' has {plural(number, 'row')} and {recorded} were written: run `hangar fsck`"
            )

    def _recorded(self, table: Table) -> int:
        return int.from_bytes(self.get(META, _ROWS + table.name.encode()) or b"", "little")


class WriteTransaction(ReadTransaction):
    """The write transaction of a database; made only by ``Database.update``."""

    __slots__ = ("_before", "full")

    def __init__(self, handle: Handle) -> None:
        super().__init__(handle)
        self.thread = threading.get_ident()
        self._before: dict[Table, int] = {}
        self.full = False

    def begin(self) -> None:
        """Begin it, after it was registered in the handle: an interrupt must not leave LMDB's writer lock taken."""
        self._transaction = self._handle.begin_write()
        self._get = self._transaction.get
        self._tables = self._handle.tables

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set the value of ``key`` (1 to 511 bytes)."""
        self._changing(table)
        row = add_checksum(table, key, value) if table.checked else value
        try:
            self._alive().put(key, row, True, True, False, self._tables[table.number])
        except lmdb.Error as error:
            self._failed(error)

    def put_many(self, table: Table, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Set the values of many keys; the last of equal keys counts."""
        self._changing(table)
        rows = add_checksums(table, items) if table.checked else list(items)
        rows.sort(key=_first)
        try:
            self._alive().cursor(self._tables[table.number]).putmulti(rows)
        except lmdb.Error as error:
            self._failed(error)

    def delete(self, table: Table, key: bytes) -> bool:
        """Delete a row. Returns whether there was one."""
        self._changing(table)
        try:
            return self._alive().delete(key, b"", self._tables[table.number])
        except lmdb.Error as error:
            self._failed(error)

    def delete_prefix(self, table: Table, prefix: bytes) -> int:
        """Delete all rows whose key begins with ``prefix`` (all rows if it is empty). Returns their number."""
        self._changing(table)
        try:
            if not prefix:
                number = self.count(table)
                self._alive().drop(self._tables[table.number], False)
                return number
            cursor = self._alive().cursor(self._tables[table.number])
            number = 0
            if cursor.set_range(prefix):
                while cursor.key().startswith(prefix):  # b"" after the last row
                    cursor.delete()
                    number += 1
            return number
        except lmdb.Error as error:
            self._failed(error)

    def next_id(self, counter: str) -> int:
        """The next number of a counter, from 1 on; a committed number is never returned again."""
        key = _LAST_ID + counter.encode()
        number = int.from_bytes(self.get(META, key) or b"", "little") + 1
        self.put(META, key, number.to_bytes(8, "little"))
        return number

    def recount(self, table: Table) -> None:
        """Record the number of rows that a counted table has now, after rows were lost."""
        self._before.pop(table, None)
        self.put(META, _ROWS + table.name.encode(), self.count(table).to_bytes(8, "little"))

    def finish(self) -> None:
        """Record the new row counts of the counted tables; the last step before the commit."""
        for table, before in self._before.items():
            number = self._recorded(table) + self.count(table) - before
            self.put(META, _ROWS + table.name.encode(), max(number, 0).to_bytes(8, "little"))

    def commit(self) -> None:
        """Commit; ``lmdb.Error`` is not translated."""
        self._alive().commit()
        self.forget()

    def abandon(self) -> None:
        """End it without any change to the database.

        lmdb's ``abort`` waits until no thread reads, which may never happen with steady readers; the destructor of a
        transaction does not wait. So this class never keeps an LMDB transaction in a local variable, which the
        traceback of an error would keep alive. If it is still referenced (by the cursor of a suspended scan), readers
        are stopped.
        """
        transaction = self._transaction
        if transaction is None:
            return
        reference = weakref.ref(transaction)
        del transaction
        self.forget()
        left = reference()
        if left is not None:
            with self._handle.quiet():
                left.abort()

    def _changing(self, table: Table) -> None:
        if table.counted and table not in self._before:
            self._before[table] = self.count(table)

    def _compare_count(self, table: Table, number: int) -> None:
        if table in self._before:
            number += self._before[table] - self.count(table)
        super()._compare_count(table, number)

    def _failed(self, error: lmdb.Error) -> NoReturn:
        if isinstance(error, lmdb.MapFullError):
            self.full = True
            raise FullMapError from error
        super()._failed(error)


def _damaged_pages(table: Table, key: bytes) -> CorruptionError:
    return CorruptionError(f"the pages of table '{table.name}' are damaged (near key {key.hex()}): run `hangar fsck`")


def _first(item: tuple[bytes, bytes]) -> bytes:
    return item[0]


def _beyond(prefix: bytes) -> bytes | None:
    """The smallest key after all keys that begin with ``prefix``, or None if there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else None
