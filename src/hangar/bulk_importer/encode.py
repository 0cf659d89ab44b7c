"""Encode and hash what a user function makes of items: the part of a bulk import that runs in many processes.

An item is atomic: if any of its values cannot be stored, none of them is. The result of a chunk of items has the
encoded keys, the cells and the digests, and the bytes of the blobs are in the slot of the chunk.
"""

from __future__ import annotations

import contextlib
import pickle
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from hangar.bulk_importer.slots import HEADER_BYTES, NO_ITEM, Slot
from hangar.digest import Header, blob_digest
from hangar.errors import HangarError, InvalidInputError, InvalidTypeError, StorageError
from hangar.names import check_key
from hangar.schema import open_schema
from hangar.schema.keys import encode_key, encode_nested_key

__all__ = ["Chunk", "ChunkEncoder", "ChunkResult", "ColumnPart", "Failure", "Target", "Values", "died"]

MOST_TEXT: Final = 4000
"""Longest text of an error or traceback that is kept, in characters."""

Values = Iterable[tuple[Any, Any, Any]]
"""Triples of column name, key and value."""


class Target(NamedTuple):
    """A column to import into, as a worker process needs it."""

    name: str
    schema: bytes
    nested: bool


class Chunk(NamedTuple):
    """Some items in a row."""

    position: int
    """Position of the first in the order of the import."""
    indices: Sequence[int]
    """Index of each item in the recipe."""
    items: Sequence[Any]
    dead: Collection[int] = ()
    """Indices of items that ended their process, and are not tried again."""


class Failure(NamedTuple):
    """An item that failed.

    ``item`` is its index, ``error`` the exception if it can be sent between processes, else None; ``kind`` is the name of its class.
    """

    item: int
    kind: str
    message: str
    traceback: str
    error: BaseException | None


class ColumnPart(NamedTuple):
    """Entries of one column. Blobs are described by four lists of one length."""

    owners: list[int]
    """Position in the chunk of the item of each entry."""
    keys: list[bytes]
    cells: list[bytes]
    blob_entries: list[int]
    """Index in ``keys`` of each blob."""
    headers: list[bytes]
    places: list[tuple[int, int]]
    """Start and end of each blob in the slot."""
    digests: list[bytes]


class ChunkResult(NamedTuple):
    """Result of a chunk: its entries by index of the column, and its failures."""

    position: int
    indices: Sequence[int]
    parts: dict[int, ColumnPart]
    failures: list[Failure]
    used: int
    """Bytes used in the slot."""
    nbytes: int
    """Bytes of the values, those in the tree too."""
    seconds: float


class _Column:
    """Encodes the keys and values of one column."""

    def __init__(self, target: Target) -> None:
        self.name = target.name
        self.schema = open_schema(target.schema)
        self.schema.require()
        self._nested = target.nested
        self._headers: dict[Header, bytes] = {}

    def key(self, key: Any) -> bytes:
        if not self._nested:
            return encode_key(check_key(key))
        if not isinstance(key, (tuple, list)) or len(key) != 2:
            raise InvalidInputError(f"key {key!r} is not suitable: column {self.name!r} is nested, so a key is a pair")
        return encode_nested_key(check_key(key[0]), check_key(key[1]))

    def header(self, header: Header) -> bytes:
        found = self._headers.get(header)
        if found is None:
            if len(self._headers) > 4096:
                self._headers.clear()
            found = self._headers[header] = header.encode()
        return found


class _Entry(NamedTuple):
    column: int
    key: bytes
    cell: bytes
    header: bytes
    buffer: bytes | memoryview | None
    digest: bytes
    nbytes: int


class ChunkEncoder:
    """Runs the user function on chunks of items.

    Parameters
    ----------
    function
        Called with each item; gives the triples of its values.
    targets
        The columns that values may go to.
    """

    def __init__(self, function: Callable[[Any], Values], targets: Sequence[Target]) -> None:
        self._function = function
        self._columns = [_Column(target) for target in targets]
        self._places = {target.name: i for i, target in enumerate(targets)}

    def run(self, chunk: Chunk, slot: Slot) -> ChunkResult:
        """Encode the values of a chunk; the bytes of blobs go to ``slot``."""
        begun = time.monotonic()
        slot.begin()
        parts: dict[int, ColumnPart] = {}
        failures: list[Failure] = []
        used, nbytes = HEADER_BYTES, 0
        for owner, (index, item) in enumerate(zip(chunk.indices, chunk.items, strict=True)):
            if index in chunk.dead:
                failures.append(died(index))
                continue
            slot.note_item(index)
            try:
                entries = list(self._entries(item))
                end = used
                placed: list[tuple[int, int]] = []
                for entry in entries:
                    if entry.buffer is not None:
                        start, end = end, slot.put(end, entry.buffer)
                        placed.append((start, end))
            except Exception as error:  # noqa: BLE001  the user's function may raise anything
                failures.append(_failure(index, error))
                continue
            used = end
            nbytes += sum(entry.nbytes for entry in entries)
            _append(parts, owner, entries, placed)
        slot.note_item(NO_ITEM)
        return ChunkResult(chunk.position, chunk.indices, parts, failures, used, nbytes, time.monotonic() - begun)

    def _entries(self, item: Any) -> Iterable[_Entry]:
        for name, key, value in self._function(item):
            at = self._places.get(name) if isinstance(name, str) else None
            if at is None:
                names = ", ".join(self._places)
                raise InvalidInputError(f"the import does not write to a column {name!r}, only to: {names}")
            column = self._columns[at]
            encoded = column.key(key)
            try:
                header, buffer = column.schema.encode(value)
            except (InvalidInputError, InvalidTypeError) as error:
                raise InvalidInputError(f"the value for {key!r} in column {name!r} does not fit: {error}") from error
            size = len(buffer)
            cell = column.schema.cell(buffer)
            if cell is not None:
                yield _Entry(at, encoded, cell, b"", None, b"", size)
                continue
            digest = blob_digest(header, buffer)
            yield _Entry(at, encoded, column.schema.digest_cell(digest), column.header(header), buffer, digest, size)


def _append(
    parts: dict[int, ColumnPart], owner: int, entries: Sequence[_Entry], placed: Iterable[tuple[int, int]]
) -> None:
    places = iter(placed)
    for entry in entries:
        part = parts.get(entry.column)
        if part is None:
            part = parts[entry.column] = ColumnPart([], [], [], [], [], [], [])
        if entry.buffer is not None:
            part.blob_entries.append(len(part.keys))
            part.headers.append(entry.header)
            part.places.append(next(places))
            part.digests.append(entry.digest)
        part.owners.append(owner)
        part.keys.append(entry.key)
        part.cells.append(entry.cell)


def _failure(index: int, error: Exception) -> Failure:
    sent: BaseException | None = None
    with contextlib.suppress(Exception):
        # Some exceptions can be pickled and not unpickled.
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
        sent = copy if type(copy) is type(error) else None
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    message = str(error) if isinstance(error, HangarError) else f"{type(error).__name__}: {error}"
    return Failure(index, type(error).__name__, message[:MOST_TEXT], text[-MOST_TEXT:], sent)


def died(index: int) -> Failure:
    """The failure of an item whose worker process died, twice."""
    message = "the worker process died while it was at this item: out of memory, or a fault in a compiled library"
    return Failure(index, StorageError.__name__, message, "", StorageError(message))
