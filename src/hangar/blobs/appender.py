"""The blob files that one writer appends to: which to continue, when to begin another, what to record of them.

A file belongs to the epoch of the writer lock under which it was last published. A writer continues a file of its own epoch, or of
an older one where no holder of that epoch or a later one lives, at the recorded end; else it makes a new one, under an id that no
published file ever had. A file of a writer without that lock is its own for ever (see ``ownership``). Since an epoch has one holder at a time,
and the writers of one process know each other's files, no file has two writers. A file whose last publishing has an
outcome that is not known is never appended to again by this writer, because what lies behind the recorded end may be named by the
database after all.
"""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

from hangar import _fs, limits
from hangar.backends.base import FileWriter
from hangar.backends.registry import get_backend
from hangar.blobs.catalog import (
    BLOB_DIRECTORY,
    BlobFileRow,
    blob_file_path,
    claim_ids,
    free_ids,
    get_blob_file,
    put_blob_file,
    scan_blob_files,
)
from hangar.blobs.orphans import remove_orphans
from hangar.blobs.ownership import NO_EPOCH, FileOwner
from hangar.db import Database, WriteTransaction
from hangar.errors import CorruptionError, HangarError, LockedError, PathNotFoundError, StorageError
from hangar.lock import owner_alive

__all__ = ["Appender"]


class _Growing:
    """A blob file that is being written, and what the database says of it."""

    __slots__ = (
        "attempted",
        "dirty",
        "first_end",
        "new_entry",
        "prepared",
        "recorded",
        "sealed",
        "tag",
        "used",
        "writer",
    )

    def __init__(self, tag: str, writer: FileWriter, recorded: BlobFileRow | None) -> None:
        self.tag = tag
        self.writer = writer
        self.recorded = recorded
        self.first_end = writer.end
        self.attempted = False
        self.prepared: BlobFileRow | None = None
        self.new_entry = recorded is None
        self.dirty = recorded is None
        self.sealed = False
        self.used = False

    def changed(self, owner: int) -> BlobFileRow | None:
        """The row that is to be published, or None where nothing was appended."""
        row = BlobFileRow(self.tag, self.writer.end, owner, self.sealed)
        if self.recorded is None:
            # Blobs without bytes need their file too.
            return row if self.used else None
        return row if (row.end, row.sealed) != (self.recorded.end, self.recorded.sealed) else None


class Appender:
    """Gives out blob files to append to.

    Parameters
    ----------
    written
        Backend of each file that a writer of this process has open, by id. Shared by them, so that no file has two.
    own_files
        Never continue a file that is there.
    """

    def __init__(
        self, db: Database, directory: Path, owner: FileOwner, written: dict[int, str], *, own_files: bool = False
    ) -> None:
        self._db = db
        self._directory = directory
        self._owner = owner
        self._written = written
        self._own_files = own_files or owner.epoch == NO_EPOCH
        self._open: dict[str, _Growing] = {}
        self._full: list[_Growing] = []
        self._doubtful: set[int] = set()
        self._tidied = False

    def file(self, tag: str) -> FileWriter:
        """The file that the next batch for a backend goes to.

        Raises
        ------
        InvalidInputError
            There is no such backend.
        DiskFullError, StorageError
            No file can be made.
        """
        if self._owner.epoch != NO_EPOCH and not self._tidied:
            self._tidied = True
            remove_orphans(self._db, self._directory)
        growing = self._open.get(tag)
        if growing is not None and growing.writer.end >= limits.BLOB_FILE_BYTES:
            growing.writer.seal()
            growing.sealed = growing.dirty = True
            self._full.append(self._open.pop(tag))
            growing = None
        if growing is not None and not growing.used and not growing.writer.is_current():
            self._drop(growing)
            growing = None
        if growing is None:
            growing = self._open[tag] = self._continue(tag) or self._begin(tag)
            self._written[growing.writer.file_id] = tag
        growing.dirty = growing.used = True
        return growing.writer

    def _continue(self, tag: str) -> _Growing | None:
        if self._own_files:
            return None
        backend = get_backend(tag)
        with self._db.read() as transaction:
            rows = scan_blob_files(transaction)
        taken = self._doubtful | self._written.keys()
        for file_id, row in reversed(rows):
            if row.tag != tag or row.sealed or row.end >= limits.BLOB_FILE_BYTES or file_id in taken:
                continue
            if not self._may_continue(row.owner):
                continue
            try:
                writer = backend.open_writer(blob_file_path(self._directory, file_id, tag), file_id, row.end)
            except (CorruptionError, PathNotFoundError):
                continue  # A damaged file is left as it is for fsck, and not added to.
            return _Growing(tag, writer, row)
        return None

    def _may_continue(self, owner: int) -> bool:
        """Whether nobody else may be writing a file of this epoch: it is ours, or every holder from then until now is dead.

        Those in between too: one of them may have gone on with the file, and not published it yet.
        """
        epoch = self._owner.epoch
        return (
            owner != NO_EPOCH
            and owner <= epoch
            and not any(owner_alive(self._db, earlier) for earlier in range(owner, epoch))
        )

    def _begin(self, tag: str) -> _Growing:
        for file_id in free_ids(self._db, self._directory):
            path = blob_file_path(self._directory, file_id, tag)
            try:
                return _Growing(tag, get_backend(tag).open_writer(path, file_id, None), None)
            except StorageError as error:
                if error.errno != errno.EEXIST:
                    raise
        raise AssertionError("ids do not end")

    def _growing(self) -> list[_Growing]:
        return [*self._full, *self._open.values()]

    # ------------------------------------------------------------------ publishing

    def prepare(self) -> None:
        """Bring everything that was appended to disk, and settle what is to be recorded of it.

        Raises
        ------
        StorageError
            It may not be there; the appender is not used again.
        """
        entries = False
        for growing in self._growing():
            if growing.dirty:
                if not growing.writer.is_current():
                    raise StorageError(
                        f"blob file {growing.writer.path} was deleted, cut or damaged while it was written"
                    )
                growing.writer.sync()
                growing.dirty = False
            entries = entries or growing.new_entry
            growing.prepared = growing.changed(self._owner.epoch)
        if entries:
            _fs.sync_directory(self._directory / BLOB_DIRECTORY)
            for growing in self._growing():
                growing.new_entry = False

    def publish(self, transaction: WriteTransaction) -> None:
        """Record the files as :meth:`prepare` left them.

        Raises
        ------
        LockedError
            Somebody else recorded something of a file that is ours.
        """
        for growing in self._growing():
            if growing.prepared is None:
                continue
            file_id = growing.writer.file_id
            growing.attempted = True
            if get_blob_file(transaction, file_id) != growing.recorded:
                raise LockedError(
                    f"blob file {file_id:08x} was taken over by another writer: open a new write checkout"
                )
            if growing.recorded is None:
                claim_ids(transaction, file_id)
            put_blob_file(transaction, file_id, growing.prepared)

    def published(self) -> None:
        """What :meth:`publish` recorded was committed."""
        for growing in self._growing():
            if growing.prepared is not None:
                growing.recorded, growing.prepared = growing.prepared, None
                growing.attempted = growing.used = False
        for growing in self._full:
            growing.writer.close()
            self._written.pop(growing.writer.file_id, None)
        self._full.clear()

    def rollback(self) -> None:
        """Drop what was appended since the last publishing."""
        for growing in self._growing():
            growing.prepared = None
            growing.used = False
            if growing.attempted or growing.sealed:
                self._drop(growing)
            else:
                growing.writer.end = growing.first_end if growing.recorded is None else growing.recorded.end
        self._full.clear()

    def close(self) -> None:
        """Let go of all files."""
        for growing in self._growing():
            self._drop(growing)
        self._open.clear()
        self._full.clear()

    def _drop(self, growing: _Growing) -> None:
        """Let go of a file; one that the database cannot name is removed (by the lock's holder, not by a fork of it)."""
        file_id = growing.writer.file_id
        growing.writer.close()
        self._doubtful.add(file_id)
        self._written.pop(file_id, None)
        if self._open.get(growing.tag) is growing:
            del self._open[growing.tag]
        if growing.recorded is None and not growing.attempted and self._owner.held:
            with contextlib.suppress(HangarError):
                _fs.remove_file(growing.writer.path)
