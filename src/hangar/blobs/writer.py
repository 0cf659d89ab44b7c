"""The writer's side of the blob store: deduplicate, append in batches, and publish within the caller's transaction.

The order is: append bytes, sync file, sync directory, write and sync the run, commit the caller's transaction, acknowledge. Until then nobody
but this process sees any of it, and a crash leaves at most bytes behind the recorded end of a file, or files that no row names.
A content that is stored, or comes twice in a batch, is stored once. A failed sync ends the writer, because the kernel may
have dropped what it could not write.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
import weakref
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hangar import limits
from hangar.backends.base import Options, Rows
from hangar.backends.location import Locations
from hangar.blobs.appender import Appender
from hangar.blobs.batch import Batch, batch_of_list, batch_of_rows
from hangar.blobs.index import Digests, Index, Mask, Positions, Sought, sort_digests
from hangar.blobs.intact import check_intact
from hangar.blobs.ownership import FileOwner
from hangar.blobs.pending import Buffered, Pending
from hangar.blobs.publication import Publication
from hangar.blobs.store import BlobStore
from hangar.db import WriteTransaction
from hangar.digest import DIGEST_BYTES, Header, digest_array
from hangar.errors import HangarError, InvalidInputError, InvalidStateError, RepairedWarning, StorageError
from hangar.publishing import OutdatedError
from hangar.threads import Task, start_thread

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BlobWriter"]

_NO_OPTIONS: Final[Options] = {}
_LARGE_BYTES: Final = 2**20
"""A single blob from this size on goes to its file at once, without a copy in memory."""
_OVERLAPPED_BYTES: Final = 4 * 2**20
"""A batch of this size is written on a thread, while its checksums are computed and the caller goes on."""


class _Append:
    """A batch that is being written to its file."""

    __slots__ = ("batch", "write")

    def __init__(self, batch: Batch, write: Task[Locations]) -> None:
        self.batch = batch
        self.write = write


class BlobWriter:
    """Writes blobs of one repository, for one thread. Several writers may use one store, in one process or in many.

    Parameters
    ----------
    store
        Where they go. It reads what is unpublished too, until the writer is closed.
    owner
        The right to append to files: the writer lock, or ``OwnFiles`` of who writes without it.
    own_files
        Append to files that this writer makes, and to none that is there.

    Attributes
    ----------
    pending
        What is not published yet; ``digest in writer.pending``, ``len(writer.pending)``.
    """

    def __init__(self, store: BlobStore, owner: FileOwner, *, own_files: bool = False) -> None:
        self._store = store
        self._owner = owner
        owner.check()
        store.refresh()
        self.pending = Pending()
        store.locator.add_pending(self.pending)
        # A writer that is forgotten and not closed is not found any more either.
        self._unregister = weakref.finalize(self, store.locator.remove_pending, self.pending)
        self._unregister.atexit = False
        self._appender = Appender(store.db, store.directory, owner, store.files.written, own_files=own_files)
        self._writing: _Append | None = None
        self._prepared: Publication | None = None
        self._attempted = False
        self._replaces = False
        self._dead: str | None = None
        self._recorded_headers: set[int] = set()

    # ------------------------------------------------------------------ adding

    def add_rows(
        self,
        tag: str,
        header: Header,
        rows: Rows,
        digests: Digests,
        options: Options = _NO_OPTIONS,
        *,
        again: bool = False,
    ) -> None:
        """Add blobs of one header: :meth:`begin_rows`, and then :meth:`finish`."""
        self.begin_rows(tag, header, rows, digests, options, again=again)
        self.finish()

    def add_list(
        self,
        tag: str,
        headers: Header | Sequence[Header],
        buffers: Sequence[Buffer],
        digests: Sequence[bytes],
        options: Options = _NO_OPTIONS,
        *,
        again: bool = False,
    ) -> None:
        """Add blobs of any sizes: :meth:`begin_list`, and then :meth:`finish`."""
        self.begin_list(tag, headers, buffers, digests, options, again=again)
        self.finish()

    def begin_rows(
        self,
        tag: str,
        header: Header,
        rows: Rows,
        digests: Digests,
        options: Options = _NO_OPTIONS,
        *,
        again: bool = False,
    ) -> None:
        """Begin to add blobs of one header. The bytes of a large batch are written on a thread, until :meth:`finish`.

        Parameters
        ----------
        tag
            Backend for those that are new.
        header
            Header of all.
        rows
            Their logical bytes: uint8, shape (n, size), C order. They do not change before :meth:`finish` returns.
        digests
            uint8, shape (n, 32).
        options
            Of the backend, as its ``check_options`` gave them.
        again
            Store what is stored already in a further place, which counts from its publishing on.

        Raises
        ------
        DiskFullError, StorageError
            None of them was added.
        """
        if (
            rows.dtype != np.uint8
            or rows.ndim != 2
            or not rows.flags.c_contiguous
            or digests.shape != (len(rows), DIGEST_BYTES)
        ):
            raise InvalidInputError("`rows` must be a uint8 array (n, size) in C order, and `digests` one of (n, 32)")
        self._begin_adding()
        self._flush()
        new, sought = self._select_new(np.ascontiguousarray(digests), again)
        if len(new):
            self._append(tag, options, batch_of_rows(rows, header, new, sought))

    def begin_list(
        self,
        tag: str,
        headers: Header | Sequence[Header],
        buffers: Sequence[Buffer],
        digests: Sequence[bytes],
        options: Options = _NO_OPTIONS,
        *,
        again: bool = False,
    ) -> None:
        """Begin to add blobs of any sizes; see :meth:`begin_rows`.

        Parameters
        ----------
        headers
            Header of each, or the one of all.
        buffers
            Logical bytes of each, contiguous. They do not change before :meth:`finish` returns.
        digests
            Digest of each.
        """
        if len(buffers) != len(digests) or not (isinstance(headers, Header) or len(headers) == len(digests)):
            raise InvalidInputError("as many headers and buffers as digests are needed")
        self._begin_adding()
        self._flush()
        self._begin_list(tag, headers, buffers, digests, options, again)

    def finish(self) -> None:
        """Wait until the batch that was begun last is written, and index it. Without it the next call of any other method drops the batch.

        Raises
        ------
        DiskFullError, StorageError
            It was not written, and none of it was added.
        """
        append = self._writing
        if append is None:
            return
        batch = append.batch
        sums = batch.sums()  # while the bytes are being written
        try:
            locations = append.write.result()
        finally:
            append.write.settle()
            self._writing = None
        locations.set_checks(batch.header_ids, sums)
        self.pending.headers.update(batch.headers)
        self.pending.add(Index.build(batch.sought, locations.take(batch.places)))
        self._store.locator.arrange()

    def add_one(self, tag: str, header: Header, buffer: Buffer, digest: bytes, options: Options = _NO_OPTIONS) -> None:
        """Add one blob: kept in memory until there are enough for a batch, and readable at once."""
        pending = self.pending
        if digest in pending.buffers:
            return
        size = len(buffer) if type(buffer) is bytes else memoryview(buffer).nbytes
        if size >= _LARGE_BYTES:
            self.add_list(tag, header, [buffer], [digest], options)
            return
        self._begin_adding()
        pending.buffers[digest] = Buffered(tag, options, header, bytes(buffer))
        pending.buffered_bytes += size
        if pending.buffered_bytes >= limits.BATCH_BUFFER_BYTES:
            self._flush()

    def _begin_adding(self) -> None:
        if self._dead is not None:
            raise StorageError(
                f"this writer met an error after which nothing more can be written: {self._dead}. Open a new one"
            )
        self._drop_writing()
        if self._prepared is not None:
            self._drop_prepared()

    def _drop_writing(self) -> None:
        """Give up a batch that was begun and not finished, because its caller failed. Its write is over when this returns."""
        append = self._writing
        if append is not None:
            append.write.settle()
            self._writing = None

    def _drop_prepared(self) -> None:
        prepared, self._prepared = self._prepared, None
        # Once a transaction was tried its outcome may not be known, and what was written is left to gc.
        if prepared is not None and not self._attempted and self._owner.held:
            prepared.discard()

    def _flush(self) -> None:
        """Hand what single writes gathered to the backends."""
        pending = self.pending
        if not pending.buffers:
            return
        groups: dict[tuple[str, tuple[tuple[str, Any], ...]], list[tuple[bytes, Buffered]]] = {}
        for digest, blob in pending.buffers.items():
            groups.setdefault((blob.tag, tuple(sorted(blob.options.items()))), []).append((digest, blob))
        for (tag, options), blobs in groups.items():
            headers = [blob.header for _, blob in blobs]
            self._begin_list(
                tag, headers, [blob.data for _, blob in blobs], [digest for digest, _ in blobs], dict(options), False
            )
            self.finish()
            for digest, blob in blobs:
                del pending.buffers[digest]
                pending.buffered_bytes -= len(blob.data)

    def _select_new(self, digests: Digests, again: bool) -> tuple[Positions, Sought]:
        """Positions of the digests that are to be stored, in the order of digests, and these digests."""
        order, sought, skipped = sort_digests(digests)
        if again:
            self._replaces = True
        else:
            skipped |= self._stored(sought, skipped)
        if not skipped.any():
            return order, sought
        left = np.flatnonzero(~skipped)
        return order.take(left), sought.take(left)

    def _stored(self, sought: Sought, repeats: Mask) -> Mask:
        """Which blobs need not be stored: those that are pending, and those whose location holds them intact."""
        stored = self.pending.holds(sought)
        located = self._store.locator.locate_published(sought)
        known = np.flatnonzero(located.stored & ~stored & ~repeats)
        if known.size:
            check = check_intact(self._store, located.words.take(known, axis=0))
            stored[known[check.intact]] = True
            if check.reasons:
                _warn_of_repair(len(known) - int(check.intact.sum()), check.reasons)
                self._replaces = True
        return stored

    def _begin_list(
        self,
        tag: str,
        headers: Header | Sequence[Header],
        buffers: Sequence[Buffer],
        digests: Sequence[bytes],
        options: Options,
        again: bool,
    ) -> None:
        new, sought = self._select_new(digest_array(digests), again)
        if len(new):
            self._append(tag, options, batch_of_list(headers, buffers, new, sought))

    def _append(self, tag: str, options: Options, batch: Batch) -> None:
        """Begin to write a batch; a small one is written at once."""
        self._owner.require_held()
        file = self._appender.file(tag)
        write = Task(lambda: file.write(batch.payload, options))
        # Remembered before it begins: whatever interrupts, nobody writes to the file before it is over.
        self._writing = _Append(batch, write)
        if batch.payload.nbytes < _OVERLAPPED_BYTES or start_thread(write.run, "hangar-write") is None:
            write.run()

    # ------------------------------------------------------------------ publishing

    @property
    def replaces(self) -> bool:
        """Whether a new location replaces one that is published, so that there is something to publish although no value changed."""
        return self._replaces

    def prepare(self) -> None:
        """Make everything that was added durable, so that a transaction can publish it; nothing to do is fine.

        Raises
        ------
        DiskFullError
            Nothing is lost; it may be tried again.
        StorageError
            A sync failed, and the writer is of no further use.
        """
        self._begin_adding()
        self._owner.require_held()
        self._flush()
        with self._ended_by(HangarError):
            self._appender.prepare()
        headers = {header_id: header for header_id, header in self.pending.headers.items() if header_id not in self._recorded_headers}
        store = self._store
        with self._ended_by(StorageError):
            # Runs are asked before the table, so a new place of what is stored in a run counts if it is in a newer one.
            self._prepared = Publication.prepare(
                store.db, store.directory, store.locator, self.pending.merged(), headers, as_run=self._replaces
            )

    @contextlib.contextmanager
    def _ended_by(self, failure: type[HangarError]) -> Iterator[None]:
        """Write no more after such a failure. A full disk ends the writer too where a sync found it: what that could not write may be gone."""
        try:
            yield
        except failure as error:
            self._dead = str(error)
            raise

    def publish(self, transaction: WriteTransaction) -> None:
        """Record what :meth:`prepare` made durable. May be run again in another transaction where this one did not commit.

        Raises
        ------
        LockedError
            The lock was forced.
        InvalidStateError
            Something was added since ``prepare``, or that was never called.
        OutdatedError
            What it was made from has changed since: it is prepared anew.
        """
        prepared = self._prepared
        if prepared is None:
            raise InvalidStateError("blobs were added that are not prepared for publishing")
        self._owner.check(transaction)
        self._attempted = True
        self._appender.publish(transaction)
        try:
            prepared.record(transaction)
        except OutdatedError:
            # This transaction ends here, so that its outcome is known, and the run that was written for it can go.
            self._attempted = False
            raise

    def published(self) -> None:
        """The transaction of the last :meth:`publish` was committed: readers see the blobs now."""
        prepared = self._prepared
        if prepared is None:
            raise InvalidStateError("nothing was published")
        self._attempted = False
        self._appender.published()
        self._recorded_headers.update(prepared.headers)
        for header in prepared.headers.values():
            self._store.remember_header(header)
        self._prepared = None
        if prepared.adds_run:
            self._store.locator.refresh()
        self._forget()

    def rollback(self) -> None:
        """Forget everything that was added and not published."""
        self._drop_writing()
        self._drop_prepared()
        self._appender.rollback()
        self._attempted = False
        self._forget()

    def close(self) -> None:
        """Let go of all files; what is not published is lost, and nothing more is written."""
        self._drop_writing()
        self._drop_prepared()
        self._appender.close()
        self._forget()
        self._unregister()
        self._dead = self._dead or "it was closed"

    def _forget(self) -> None:
        self._replaces = False
        self.pending.clear()
        self._store.locator.arrange()


def _warn_of_repair(count: int, reasons: list[str]) -> None:
    """Tell the caller of Hangar that what it writes replaces what was lost."""
    message = f"{count:,} of the values written were stored before and cannot be read any more ({'; '.join(reasons)}): they are stored again"
    warnings.warn(
        f"{message}. Run `hangar fsck --data` to see what else is affected",
        RepairedWarning,
        stacklevel=_frames_of_hangar(),
    )


def _frames_of_hangar() -> int:
    """How many frames up the caller of the package is, for ``stacklevel``."""
    depth = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "hangar":
        depth, frame = depth + 1, frame.f_back
    return depth
