"""Catalog: the rows of the database that list blob files, runs and headers.

Keys of the table ``files`` begin with a letter for the kind of file, so that the few runs are found without scanning
the many blob files. Ids come from one counter, and a published id is never used again. Rows are decoded strictly: a row
that does not decode is a ``CorruptionError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from hangar import _fs
from hangar.backends.location import FILE_BITS
from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.tables import FILES, HEADERS, META
from hangar.digest import Header
from hangar.errors import CorruptionError, HangarError, InvalidInputError, StorageError
from hangar.rollback import BLOB_DIRECTORY, RUN_DIRECTORY, kept_files

__all__ = [
    "BLOB_DIRECTORY",
    "NEXT_FILE_ID",
    "RUN_DIRECTORY",
    "BlobFileRow",
    "RunRow",
    "blob_file_path",
    "claim_ids",
    "file_id_of_key",
    "first_free_id",
    "free_ids",
    "get_blob_file",
    "get_header",
    "put_blob_file",
    "put_headers",
    "put_run",
    "remove_blob_file",
    "remove_run",
    "removed_blob_files",
    "run_path",
    "scan_blob_files",
    "scan_runs",
    "settle_removed",
]

_BLOB_FILE = b"b"
_RUN = b"r"
NEXT_FILE_ID = b"next file id"
_REMOVED = b"removed file/"
_ID_BYTES = 4
_STRAY_FILES = 10_000


class BlobFileRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A blob file: backend tag, recorded end, epoch of the writer that owns it, and whether it is finished (``sealed``)."""

    tag: str
    end: int
    owner: int
    sealed: bool


class RunRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A run: the number of its locations."""

    count: int


_T = TypeVar("_T")
_decode_blob_file: Callable[[bytes], BlobFileRow] = msgspec.msgpack.Decoder(BlobFileRow).decode
_decode_run: Callable[[bytes], RunRow] = msgspec.msgpack.Decoder(RunRow).decode


def _decode(decode: Callable[[bytes], _T], key: bytes, data: bytes) -> _T:
    try:
        return decode(data)
    except (msgspec.DecodeError, ValueError) as error:
        raise CorruptionError(f"a row of table 'files' cannot be read (key {key.hex()}): {error}") from None


def _key(kind: bytes, file_id: int) -> bytes:
    return kind + file_id.to_bytes(_ID_BYTES, "big")


def _id(key: bytes) -> int:
    if len(key) != 1 + _ID_BYTES:
        raise CorruptionError(f"table 'files' has a malformed key ({key.hex()})")
    return int.from_bytes(key[1:], "big")


def file_id_of_key(key: bytes) -> int | None:
    """The id in a key of the table ``files``; None if it is malformed."""
    return int.from_bytes(key[1:], "big") if len(key) == 1 + _ID_BYTES else None


def blob_file_path(directory: Path, file_id: int, tag: str) -> Path:
    """Path of a blob file."""
    if not (tag.isascii() and tag.isalnum() and len(tag) <= 8):
        raise CorruptionError(f"blob file {file_id:08x} names the backend {tag!r}, which is not a valid tag")
    return directory / BLOB_DIRECTORY / f"{file_id:08x}.{tag}"


def run_path(directory: Path, run_id: int) -> Path:
    """Path of a run."""
    return directory / RUN_DIRECTORY / f"{run_id:08x}.run"


def get_blob_file(transaction: ReadTransaction, file_id: int) -> BlobFileRow | None:
    """The row of a blob file."""
    key = _key(_BLOB_FILE, file_id)
    data = transaction.get(FILES, key)
    return None if data is None else _decode(_decode_blob_file, key, data)


def scan_blob_files(transaction: ReadTransaction) -> list[tuple[int, BlobFileRow]]:
    """All blob files, sorted by id."""
    rows = transaction.scan(FILES, prefix=_BLOB_FILE)
    return [(_id(key), _decode(_decode_blob_file, key, data)) for key, data in rows]


def put_blob_file(transaction: WriteTransaction, file_id: int, row: BlobFileRow) -> None:
    """Record a blob file."""
    transaction.put(FILES, _key(_BLOB_FILE, file_id), msgspec.msgpack.encode(row))


def remove_blob_file(transaction: WriteTransaction, file_id: int) -> None:
    """Delete the row of a blob file, and record that the file is to be removed."""
    row = get_blob_file(transaction, file_id)
    if row is not None:
        transaction.delete(FILES, _key(_BLOB_FILE, file_id))
        transaction.put(META, _REMOVED + file_id.to_bytes(_ID_BYTES, "big"), row.tag.encode())


def removed_blob_files(transaction: ReadTransaction) -> list[tuple[int, str]]:
    """Files without a row that are still to be removed: id and backend tag of each."""
    rows = list(transaction.scan(META, prefix=_REMOVED))
    if any(len(key) != len(_REMOVED) + _ID_BYTES or not tag.isascii() for key, tag in rows):
        raise CorruptionError("table 'meta' has a malformed row of a removed file")
    return [(int.from_bytes(key[len(_REMOVED) :], "big"), tag.decode("ascii")) for key, tag in rows]


def settle_removed(transaction: WriteTransaction, file_id: int) -> None:
    """Record that a file of :func:`removed_blob_files` was removed."""
    transaction.delete(META, _REMOVED + file_id.to_bytes(_ID_BYTES, "big"))


def scan_runs(transaction: ReadTransaction) -> list[tuple[int, RunRow]]:
    """All runs, sorted by id, that is by age."""
    rows = transaction.scan(FILES, prefix=_RUN)
    return [(_id(key), _decode(_decode_run, key, data)) for key, data in rows]


def put_run(transaction: WriteTransaction, run_id: int, row: RunRow) -> None:
    """Record a run."""
    transaction.put(FILES, _key(_RUN, run_id), msgspec.msgpack.encode(row))


def remove_run(transaction: WriteTransaction, run_id: int) -> bool:
    """Delete the row of a run; return whether there was one."""
    return transaction.delete(FILES, _key(_RUN, run_id))


def first_free_id(transaction: ReadTransaction) -> int:
    """The lowest id above all ids that were ever published, and above the files that are kept after a rollback."""
    data = transaction.get(META, NEXT_FILE_ID)
    return max(1 if data is None else int.from_bytes(data, "big"), kept_files(transaction) + 1)


def free_ids(db: Database, directory: Path) -> Iterator[int]:
    """Unused ids, ascending: never published, and no existing file has one. Creating the file takes the id.

    Raises
    ------
    StorageError
        There are too many files that the database does not know.
    """
    db.require_in_place()
    with db.read() as transaction:
        first = first_free_id(transaction)
    present: set[str] = set()
    for name in (BLOB_DIRECTORY, RUN_DIRECTORY):
        place = directory / name
        if not place.is_dir():
            _fs.make_directory(place)
        present.update(name.partition(".")[0] for name in _fs.list_directory(place))
    for file_id in range(first, first + _STRAY_FILES):
        if f"{file_id:08x}" not in present:
            yield file_id
    raise StorageError(
        f"{directory} has {_STRAY_FILES:,} files or more that the database does not know: `hangar fsck` lists them"
    )


def claim_ids(transaction: WriteTransaction, highest: int) -> None:
    """Mark all ids up to ``highest`` as used."""
    if highest >= FILE_BITS:
        raise CorruptionError("the repository has used up its file ids")
    if highest >= first_free_id(transaction):
        transaction.put(META, NEXT_FILE_ID, (highest + 1).to_bytes(_ID_BYTES, "big"))


def _header_key(header_id: int) -> bytes:
    return header_id.to_bytes(8, "big")


def get_header(transaction: ReadTransaction, header_id: int) -> Header:
    """The header with an id.

    Raises
    ------
    CorruptionError
        It is not recorded, or the recorded header has another id.
    """
    data = transaction.get(HEADERS, _header_key(header_id))
    try:
        header = None if data is None else Header.decode(data)
    except (InvalidInputError, ValueError) as error:
        raise CorruptionError(f"a blob header in the database cannot be read: {error}") from None
    if header is None or header.id != header_id:
        raise CorruptionError(f"the blob header {header_id:016x} is missing from the database")
    return header


def put_headers(transaction: WriteTransaction, headers: dict[int, Header]) -> None:
    """Record headers under their ids; those that are recorded already stay as they are.

    Raises
    ------
    HangarError
        Two headers have the same id (a chance of one in 2^64, unless somebody made them so).
    """
    keys = [_header_key(header_id) for header_id in headers]
    rows = [header.encode() for header in headers.values()]
    fresh = []
    for key, row, found in zip(keys, rows, transaction.get_many(HEADERS, keys), strict=True):
        if found is None:
            fresh.append((key, row))
        elif found != row:
            raise HangarError(
                "two blob headers have the same id (a hash collision): this data cannot be stored in this repository"
            )
    transaction.put_many(HEADERS, sorted(fresh))
