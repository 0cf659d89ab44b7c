"""Appender: chooses the blob file that a batch is appended to, and records the files of a writer.

A file belongs to the epoch of the writer lock under which it was last published. A writer continues a file at its
recorded end if the file is of its own epoch, or of an older one and no holder of that epoch or a later one is alive.
Otherwise it creates a file, with an id that no published file ever had. A file of a writer without the lock is never
continued by others (see ``ownership``). An epoch has one holder at a time, and the writers of one process share the
list of their files, so no file has two writers. If the outcome of the last publishing is not known, this writer never
appends to the file again: the database may name the bytes behind the recorded end.
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
from hangar.blobs.orphans import remove_orphan_runs, remove_orphans
from hangar.blobs.ownership import NO_EPOCH, FileOwner
from hangar.blobs.removal import finish_removals
from hangar.db import Database, WriteTransaction
from hangar.errors import CorruptionError, HangarError, InvalidInputError, LockedError, PathNotFoundError, StorageError
from hangar.lock import owner_alive
from hangar.rollback import kept_files

__all__ = ["Appender"]


class _GrowingFile:
    """A blob file that is being written, and the row of it that the database has."""

    __slots__ = (
        "dirty",
        "first_end",
        "new_in_directory",
        "new_row",
        "outcome_unknown",
        "recorded_row",
        "sealed",
        "tag",
        "used",
        "writer",
    )

    def __init__(self, tag: str, writer: FileWriter, recorded: BlobFileRow | None) -> None:
        self.tag = tag
        self.writer = writer
        self.recorded_row = recorded
        self.first_end = writer.end
        self.outcome_unknown = False
        self.new_row: BlobFileRow | None = None
        self.new_in_directory = recorded is None
        self.dirty = recorded is None
        self.sealed = False
        self.used = False

    def row_to_record(self, owner: int) -> BlobFileRow | None:
        """The row to record, or None if nothing was appended."""
        row = BlobFileRow(self.tag, self.writer.end, owner, self.sealed)
        if self.recorded_row is None:
            # Blobs of zero bytes need a recorded file too.
            return row if self.used else None
        return row if (row.end, row.sealed) != (self.recorded_row.end, self.recorded_row.sealed) else None


class Appender:
    """Opens blob files for appending.

    Parameters
    ----------
    written
        Backend tag of each file that a writer of this process has open, by id. All writers of a store share it, so that
        no file has two writers.
    own_files
        Never continue an existing file.
    keep_orphans
        Do not remove files without a row, which a repair may need.
    """

    def __init__(
        self,
        db: Database,
        directory: Path,
        owner: FileOwner,
        written: dict[int, str],
        *,
        own_files: bool = False,
        keep_orphans: bool = False,
    ) -> None:
        self._db = db
        self._directory = directory
        self._owner = owner
        self._open_ids = written
        self._own_files = own_files or owner.epoch == NO_EPOCH
        self._open: dict[str, _GrowingFile] = {}
        self._full: list[_GrowingFile] = []
        self._abandoned: set[int] = set()
        self._orphans_removed = keep_orphans

    def file(self, tag: str) -> FileWriter:
        """The file to append the next batch of a backend to.

        Raises
        ------
        InvalidInputError
            There is no such backend.
        DiskFullError, StorageError
            No file can be made.
        """
        if self._owner.epoch != NO_EPOCH and not self._orphans_removed:
            self._orphans_removed = True
            finish_removals(self._db, self._directory, self._owner)
            remove_orphans(self._db, self._directory)
            remove_orphan_runs(self._db, self._directory)
        growing = self._open.get(tag)
        if growing is not None and not growing.used and not growing.writer.is_current():
            self._drop(growing)
            growing = None
        if growing is not None and growing.writer.end >= limits.BLOB_FILE_BYTES:
            growing.writer.seal()
            growing.sealed = growing.dirty = True
            self._full.append(self._open.pop(tag))
            growing = None
        if growing is None:
            growing = self._open[tag] = self._continue(tag) or self._begin(tag)
            self._open_ids[growing.writer.file_id] = tag
        growing.dirty = growing.used = True
        return growing.writer

    def _continue(self, tag: str) -> _GrowingFile | None:
        if self._own_files:
            return None
        backend = get_backend(tag)
        with self._db.read() as transaction:
            rows, kept = scan_blob_files(transaction), kept_files(transaction)
        taken = self._abandoned | self._open_ids.keys()
        for file_id, row in reversed(rows):
            if row.tag != tag or row.sealed or row.end >= limits.BLOB_FILE_BYTES or file_id in taken:
                continue
            if file_id <= kept:
                break  # Another copy of the database may name bytes after the recorded ends of this file and older ones.
            if not self._may_continue(row.owner):
                continue
            try:
                writer = backend.open_writer(blob_file_path(self._directory, file_id, tag), file_id, row.end)
            except (CorruptionError, PathNotFoundError):
                continue  # A damaged file is not continued. fsck reports it.
            return _GrowingFile(tag, writer, row)
        return None

    def _may_continue(self, owner: int) -> bool:
        """Whether no other process can be writing a file of this epoch: it is our own, or every holder since is dead.

        The holders in between count too: one of them may have continued the file and not published it yet.
        """
        epoch = self._owner.epoch
        return (
            owner != NO_EPOCH
            and owner <= epoch
            and not any(owner_alive(self._db, earlier) for earlier in range(owner, epoch))
        )

    def _begin(self, tag: str) -> _GrowingFile:
        for file_id in free_ids(self._db, self._directory):
            path = blob_file_path(self._directory, file_id, tag)
            try:
                growing = _GrowingFile(tag, get_backend(tag).open_writer(path, file_id, None), None)
            except StorageError as error:
                if error.errno != errno.EEXIST:
                    raise
                continue
            if not self._is_shared(path):
                return growing
            growing.writer.close()
            with contextlib.suppress(HangarError):
                _fs.remove_file(path)
        raise AssertionError("ids do not end")

    def _is_shared(self, path: Path) -> bool:
        """Whether another writer has made a file with the same id for another backend: its name is another, so nothing keeps both from it.

        Both look after they have made their file, so at least one of them sees the other, and gives way.
        """
        stem = path.name.partition(".")[0]
        names = _fs.list_directory(path.parent)
        return any(name != path.name and name.partition(".")[0] == stem for name in names)

    def _growing(self) -> list[_GrowingFile]:
        return [*self._full, *self._open.values()]

    # ------------------------------------------------------------------ publishing

    def prepare(self) -> None:
        """Sync all appended bytes, and determine the rows to record.

        Raises
        ------
        StorageError
            The bytes may be lost. Do not use the appender again.
        """
        directory_changed = False
        for growing in self._growing():
            if growing.dirty:
                if not growing.writer.is_current():
                    raise StorageError(
                        f"blob file {growing.writer.path} was deleted, cut or damaged while it was written"
                    )
                growing.writer.sync()
                growing.dirty = False
            directory_changed = directory_changed or growing.new_in_directory
            growing.new_row = growing.row_to_record(self._owner.epoch)
        if directory_changed:
            _fs.sync_directory(self._directory / BLOB_DIRECTORY)
            for growing in self._growing():
                growing.new_in_directory = False

    def record(self, transaction: WriteTransaction) -> None:
        """Record the rows of the files that :meth:`prepare` determined.

        Raises
        ------
        LockedError
            Another writer has changed the row of one of our files.
        """
        for growing in self._growing():
            if growing.new_row is None:
                continue
            file_id = growing.writer.file_id
            growing.outcome_unknown = True
            if get_blob_file(transaction, file_id) != growing.recorded_row:
                raise LockedError(
                    f"blob file {file_id:08x} was taken over by another writer: open a new write checkout"
                )
            if growing.recorded_row is None:
                claim_ids(transaction, file_id)
            put_blob_file(transaction, file_id, growing.new_row)

    def committed(self) -> None:
        """Call it when the transaction of :meth:`record` was committed."""
        for growing in self._growing():
            if growing.new_row is not None:
                growing.recorded_row, growing.new_row = growing.new_row, None
                growing.outcome_unknown = growing.used = False
        for growing in self._full:
            growing.writer.close()
            self._open_ids.pop(growing.writer.file_id, None)
        self._full.clear()

    def rollback(self) -> None:
        """Drop all bytes appended since the last publishing."""
        for growing in self._growing():
            growing.new_row = None
            growing.used = False
            if growing.outcome_unknown or growing.sealed:
                self._drop(growing)
            else:
                growing.writer.end = growing.first_end if growing.recorded_row is None else growing.recorded_row.end
        self._full.clear()

    def take_over(self, file_id: int, tag: str, end: int) -> bool:
        """Publish a file of a dead writer with the next update, but append nothing to it; False if it is not there as it was.

        The caller knows that nobody else takes it over, and syncs it.
        """
        with self._db.read() as transaction:
            if get_blob_file(transaction, file_id) is not None or file_id <= kept_files(transaction):
                return False
        try:
            path = blob_file_path(self._directory, file_id, tag)
            writer = get_backend(tag).open_writer(path, file_id, end)
        except (CorruptionError, PathNotFoundError, InvalidInputError):
            return False
        growing = _GrowingFile(tag, writer, None)
        growing.used = growing.sealed = True
        growing.dirty = False
        self._full.append(growing)
        self._open_ids[file_id] = tag
        return True

    def close(self, *, keep: bool = False) -> None:
        """Close all files; ``keep`` those too that no row names."""
        for growing in self._growing():
            self._drop(growing, keep=keep)
        self._open.clear()
        self._full.clear()

    def _drop(self, growing: _GrowingFile, *, keep: bool = False) -> None:
        """Close a file. Remove it if the database cannot name it (only the lock's holder does, not a fork of it)."""
        file_id = growing.writer.file_id
        growing.writer.close()
        self._abandoned.add(file_id)
        self._open_ids.pop(file_id, None)
        if self._open.get(growing.tag) is growing:
            del self._open[growing.tag]
        if growing.recorded_row is None and not growing.outcome_unknown and not keep and self._owner.held:
            with contextlib.suppress(HangarError):
                _fs.remove_file(growing.writer.path)
