"""Blob writer: deduplicates blobs, appends them in batches, and records them in the caller's transaction.

The order is: append the bytes, sync the file, sync the directory, write and sync the run, commit the caller's
transaction, acknowledge. Before the commit only this process sees the new blobs. A crash leaves at most bytes behind
the recorded end of a file, or files that no row names. Content is deduplicated, against the store and within a batch.
After a failed sync the writer refuses all further writes, because the kernel may have dropped the pages that it could
not write (see "fsyncgate 2018", the PostgreSQL wiki on fsync errors).
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from hangar import limits
from hangar.backends.base import Options, Rows
from hangar.backends.location import Locations, Words
from hangar.backends.stored import StoredForm
from hangar.blobs.appender import Appender
from hangar.blobs.batch import Batch, batch_of_list, batch_of_one, batch_of_pieces
from hangar.blobs.deduplicated import DeduplicatedBlobs
from hangar.blobs.index import Digests, Index, Mask, Positions, Sought, sort_digests
from hangar.blobs.intact import check_intact, warn_of_repair
from hangar.blobs.location_update import LocationUpdate
from hangar.blobs.ownership import NO_EPOCH, FileOwner
from hangar.blobs.store import BlobStore
from hangar.blobs.tombstones import refuse_purged
from hangar.blobs.unpublished import Buffered, UnpublishedBlobs
from hangar.db import WriteTransaction
from hangar.db.tables import TOMBSTONES
from hangar.digest import DIGEST_BYTES, Header, digest_array, digest_list
from hangar.errors import HangarError, InvalidInputError, InvalidStateError, StorageError
from hangar.publishing import OutdatedError
from hangar.threads import Task, in_background

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BlobWriter"]

_NO_OPTIONS: Final[Options] = {}
_LARGE_BYTES: Final = 2**20
"""A single blob of this size or more is written to its file at once, without a copy in memory."""
_OVERLAPPED_BYTES: Final = 4 * 2**20
"""A batch of this size or more is written on a background thread, while its checksums are computed."""
_ATTEMPTS: Final = 8
"""How often a blob that is moved again and again is looked up before it counts as lost."""


class _Append(NamedTuple):
    """A batch that is being written to its file."""

    batch: Batch
    write: Task[Locations]


class BlobWriter:
    """Writes blobs of one repository, for one thread. Several writers may use one store, in one process or in many.

    Parameters
    ----------
    store
        The store they are written to. It can read the unpublished blobs until the writer is closed.
    owner
        The right to append to files: the writer lock, or ``OwnFiles`` for a writer without that lock.
    own_files
        Append only to files that this writer creates, never to an existing one.
    keep_orphans
        Do not remove files that the database does not know.

    Attributes
    ----------
    unpublished
        Blobs that are added and not published yet; supports ``digest in writer.unpublished`` and
        ``len(writer.unpublished)``.
    """

    def __init__(
        self, store: BlobStore, owner: FileOwner, *, own_files: bool = False, keep_orphans: bool = False
    ) -> None:
        self._store = store
        self._owner = owner
        owner.check()
        store.refresh()
        self.unpublished = UnpublishedBlobs()
        store.locator.add_unpublished(self.unpublished)
        # If the writer is garbage-collected without close(), its blobs are not found any more.
        self._unregister = weakref.finalize(self, store.locator.remove_unpublished, self.unpublished)
        self._unregister.atexit = False
        self._appender = Appender(
            store.db, store.directory, owner, store.files.written, own_files=own_files, keep_orphans=keep_orphans
        )
        self._writing: _Append | None = None
        # What prepare() wrote and no transaction has recorded yet.
        self._update: LocationUpdate | None = None
        # A transaction with the update was tried, and may have committed.
        self._outcome_unknown = False
        self._replaces = False
        # Why every further write is refused, None while the writer works.
        self._failure: str | None = None
        self._stored_header_ids: set[int] = set()
        # Purging takes the writer lock. A writer without the lock is checked by the transaction that publishes.
        with store.db.read() as transaction:
            self._tombstones = transaction.count(TOMBSTONES) > 0
        # Only a writer without the lock has to expect that blobs are removed meanwhile.
        self._deduplicated = DeduplicatedBlobs(store) if owner.epoch == NO_EPOCH else None

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
        """Begin and finish: :meth:`begin_rows`, :meth:`finish`."""
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
        rows: Rows | Sequence[Rows],
        digests: Digests,
        options: Options = _NO_OPTIONS,
        *,
        again: bool = False,
    ) -> None:
        """Begin to add blobs of one header, in one array or several. The bytes of a large batch are written on a thread, until :meth:`finish`.

        Parameters
        ----------
        tag
            Tag of the backend for the new blobs.
        header
            Header of all.
        rows
            Their logical bytes: uint8, shape (n, size), C order. Do not change them before :meth:`finish` returns.
        options
            Options of the backend, as its ``check_options`` returned them.
        again
            Store blobs again that are stored already. The new location is used once it is published.

        Raises
        ------
        DiskFullError, StorageError
            None of the blobs was added.
        PurgedError
            One of the blobs was purged. None was added.
        """
        pieces = [rows] if isinstance(rows, np.ndarray) else rows
        if any(
            piece.dtype != np.uint8 or piece.ndim != 2 or not piece.flags.c_contiguous for piece in pieces
        ) or digests.shape != (sum(map(len, pieces)), DIGEST_BYTES):
            raise InvalidInputError("`rows` must be a uint8 array (n, size) in C order, and `digests` one of (n, 32)")
        self._begin_adding()
        self._flush()
        self._begin(tag, options, np.ascontiguousarray(digests), partial(batch_of_pieces, pieces, header), again)

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
        """Begin to add blobs of any sizes, as :meth:`begin_rows` does.

        Parameters
        ----------
        headers
            Header of each, or the one of all.
        buffers
            Logical bytes of each, contiguous. Do not change them before :meth:`finish` returns.
        digests
            Digest of each.
        """
        if len(buffers) != len(digests) or not (isinstance(headers, Header) or len(headers) == len(digests)):
            raise InvalidInputError("as many headers and buffers as digests are needed")
        self._begin_adding()
        self._flush()
        self._begin(tag, options, digest_array(digests), partial(batch_of_list, headers, buffers), again)

    def begin_one(
        self,
        tag: str,
        header: Header,
        nbytes: int,
        pieces: Sequence[Buffer],
        digest: bytes,
        check: int,
        form: StoredForm | None = None,
        options: Options = _NO_OPTIONS,
    ) -> None:
        """Begin to add one blob that came in pieces: bytes of it, or of a form that the backend :meth:`keeps <hangar.backends.base.Backend.keeps>`.

        Parameters
        ----------
        nbytes, check
            Size and checksum of its logical bytes. The caller has decoded and verified the pieces.
        """
        self._begin_adding()
        self._flush()
        make = partial(batch_of_one, header, nbytes, pieces, check, form)
        self._begin(tag, options, digest_array([digest]), make, False)

    def finish(self) -> None:
        """Wait until the last batch is written, and index it. Without this call, the next call of another method drops the batch.

        Raises
        ------
        DiskFullError, StorageError
            The batch was not written, and none of its blobs was added.
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
        self.unpublished.headers.update(batch.headers)
        self.unpublished.add(Index.build(batch.sought, locations.take(batch.places)))
        self._store.locator.update_indexes()

    def add_one(self, tag: str, header: Header, buffer: Buffer, digest: bytes, options: Options = _NO_OPTIONS) -> None:
        """Add one blob. It is buffered in memory until there are enough for a batch, and readable at once."""
        unpublished = self.unpublished
        if digest in unpublished.buffers:
            return
        size = len(buffer) if type(buffer) is bytes else memoryview(buffer).nbytes
        if size >= _LARGE_BYTES:
            self.add_list(tag, header, [buffer], [digest], options)
            return
        self._refuse_purged([digest])
        self._begin_adding()
        unpublished.buffers[digest] = Buffered(tag, options, header, bytes(buffer))
        unpublished.buffered_bytes += size
        if unpublished.buffered_bytes >= limits.BATCH_BUFFER_BYTES:
            self._flush()

    def _begin_adding(self) -> None:
        if self._failure is not None:
            raise StorageError(
                f"this writer failed and writes nothing more: {self._failure}. Close the checkout and open a new one"
            )
        self.drop_unfinished()
        if self._update is not None:
            self._drop_update()

    def drop_unfinished(self) -> None:
        """Drop a batch that was begun and not finished, because its caller failed. Waits until its write is over."""
        append = self._writing
        if append is not None:
            append.write.settle()
            self._writing = None

    def _drop_update(self) -> None:
        update, self._update = self._update, None
        # If a transaction may have recorded the run, its file is left for gc.
        if update is not None and not self._outcome_unknown and self._owner.held:
            update.discard()

    def _flush(self) -> None:
        """Write the buffered blobs of single writes to the backends."""
        unpublished = self.unpublished
        if not unpublished.buffers:
            return
        groups: dict[tuple[str, tuple[tuple[str, Any], ...]], list[tuple[bytes, Buffered]]] = {}
        for digest, blob in unpublished.buffers.items():
            groups.setdefault((blob.tag, tuple(sorted(blob.options.items()))), []).append((digest, blob))
        for (tag, options), blobs in groups.items():
            make = partial(batch_of_list, [blob.header for _, blob in blobs], [blob.data for _, blob in blobs])
            self._begin(tag, dict(options), digest_array([digest for digest, _ in blobs]), make, False)
            self.finish()
            for digest, blob in blobs:
                del unpublished.buffers[digest]
                unpublished.buffered_bytes -= len(blob.data)

    def _select_new(self, digests: Digests, again: bool) -> tuple[Positions, Sought]:
        """Positions of the blobs that must be stored, sorted by digest, and their digests."""
        if self._tombstones:
            self._refuse_purged(digest_list(digests))
        order, sought, skipped = sort_digests(digests)
        if again:
            self._replaces = True
        else:
            skipped |= self._stored(sought, skipped)
        if not skipped.any():
            return order, sought
        left = np.flatnonzero(~skipped)
        return order.take(left), sought.take(left)

    def _refuse_purged(self, digests: Sequence[bytes]) -> None:
        if self._tombstones:
            with self._store.db.read() as transaction:
                refuse_purged(transaction, digests)

    def _stored(self, sought: Sought, repeats: Mask) -> Mask:
        """Mask of the blobs that need not be stored: unpublished ones, and those that their location holds intact."""
        own = self.unpublished.holds(sought)
        stored: Mask = own.copy()
        located = self._store.locator.locate_published(sought)
        waiting = np.flatnonzero(located.stored & ~stored & ~repeats)
        words = located.words.take(waiting, axis=0)
        lost, reasons = 0, list[str]()
        for _ in range(_ATTEMPTS):
            if not waiting.size:
                break
            check = check_intact(self._store, words)
            stored[waiting[check.intact]] = True
            waiting, words = waiting[~check.intact], words[~check.intact]
            # Blobs that cannot be read here are stored again too, but they are not lost.
            lost, reasons = len(waiting) - int(check.unread.sum()), check.reasons
            # Without the writer lock this may be the location before a conversion, so look up the newest one.
            newest = self._locate_again(sought.take(waiting)) if waiting.size else words
            if (newest == words).all():
                break
            words = newest
        if waiting.size:
            self._replaces = True
        if lost:
            warn_of_repair(lost, reasons)
        if self._deduplicated is not None:
            self._deduplicated.add(sought.words[stored & ~own].view(np.uint8))
        return stored

    def _locate_again(self, sought: Sought) -> Words:
        """The newest published locations, looked up from scratch."""
        self._store.locator.forget()
        return self._store.locator.locate_published(sought).words

    def _begin(
        self, tag: str, options: Options, digests: Digests, make: Callable[[Positions, Sought], Batch], again: bool
    ) -> None:
        """Begin to write a batch without what is stored; a small one is written at once."""
        new, sought = self._select_new(digests, again)
        if not len(new):
            return
        batch = make(new, sought)
        self._owner.require_held()
        file = self._appender.file(tag)
        write = Task(lambda: file.write(batch.payload, options))
        # Kept before it starts: after an interrupt, nobody writes to the file before this write is over.
        self._writing = _Append(batch, write)
        if batch.payload.nbytes < _OVERLAPPED_BYTES or not in_background(write.run, "hangar-write"):
            write.run()

    # ------------------------------------------------------------------ publishing

    @property
    def replaces(self) -> bool:
        """Whether a new location replaces a published one. Then there is something to publish although no value changed."""
        return self._replaces

    def prepare(self) -> None:
        """Make all added blobs durable, so that a transaction can record them. Does nothing if there are none.

        Raises
        ------
        DiskFullError
            Nothing is lost. The call may be repeated.
        StorageError
            A sync failed. The writer refuses all further writes.
        """
        self._begin_adding()
        self._owner.require_held()
        self._flush()
        if self._deduplicated is not None and self._deduplicated.recheck():
            # Headers that no blob had any more were removed too.
            self._stored_header_ids.clear()
        with self._ended_by(HangarError):
            self._appender.prepare()
        headers = {
            header_id: header
            for header_id, header in self.unpublished.headers.items()
            if header_id not in self._stored_header_ids
        }
        store, fresh = self._store, self.unpublished.merged()
        store.locator.update_indexes()
        with self._ended_by(StorageError):
            # Runs are searched before the table. So a location that replaces one in a run must be in a newer run.
            self._update = LocationUpdate.prepare(
                store.db, store.directory, store.locator, fresh, headers, as_run=self._replaces
            )
        self.unpublished.release_pages()

    @contextlib.contextmanager
    def _ended_by(self, failure: type[HangarError]) -> Iterator[None]:
        """Refuse all writes after such a failure. That includes a full disk that a sync reports: the unwritten pages may be gone."""
        try:
            yield
        except failure as error:
            self._failure = str(error)
            raise

    def record(self, transaction: WriteTransaction) -> None:
        """Record what :meth:`prepare` made durable. May run again in another transaction, if this one did not commit.

        Raises
        ------
        LockedError
            The lock was taken over.
        InvalidStateError
            ``prepare`` was not called, or blobs were added after it.
        PurgedError
            One of the blobs was purged since it was added.
        OutdatedError
            The rows or runs that it replaces have changed since ``prepare``: call ``prepare`` again.
        """
        update = self._update
        if update is None:
            raise InvalidStateError("blobs were added that are not prepared for publishing")
        self._owner.check(transaction)
        if transaction.count(TOMBSTONES):
            refuse_purged(transaction, digest_list(self.unpublished.merged().digests()))
        if self._deduplicated is not None:
            self._deduplicated.check(transaction)
        self._outcome_unknown = True
        self._appender.record(transaction)
        try:
            update.record(transaction)
        except OutdatedError:
            # This transaction does not commit, so the run that was written for it can be removed.
            self._outcome_unknown = False
            raise

    def committed(self) -> None:
        """Call it when the transaction of the last :meth:`record` was committed. Readers see the blobs now."""
        update = self._update
        if update is None:
            raise InvalidStateError("nothing was published")
        self._outcome_unknown = False
        self._appender.committed()
        self._stored_header_ids.update(update.headers)
        for header in update.headers.values():
            self._store.remember_header(header)
        self._update = None
        if update.adds_run:
            self._store.locator.refresh()
        self._forget()

    def rollback(self) -> None:
        """Drop all blobs that were added and not published."""
        self.drop_unfinished()
        self._drop_update()
        self._appender.rollback()
        self._outcome_unknown = False
        self._forget()

    def take_over(self, file_id: int, tag: str, end: int) -> bool:
        """See :meth:`hangar.blobs.appender.Appender.take_over`."""
        return self._appender.take_over(file_id, tag, end)

    def close(self, *, keep: bool = False) -> None:
        """Close all files and refuse further writes. Unpublished blobs are lost, unless ``keep`` leaves their files for later."""
        self.drop_unfinished()
        self._drop_update()
        self._appender.close(keep=keep)
        self._forget()
        self._unregister()
        self._failure = self._failure or "it was closed"

    def _forget(self) -> None:
        self._replaces = False
        self.unpublished.clear()
        self._store.locator.update_indexes()
