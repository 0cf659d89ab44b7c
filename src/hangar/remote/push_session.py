"""One push, as the server sees it: what was received and is not published yet, and what is still missing.

Objects are in a quarantine file, blobs in blob files that no row names yet. Nothing of them is visible to anybody until
:meth:`PushSession.finish`, which verifies everything and publishes it together with the moves of the refs. A session
that ends in another way leaves no trace, or all that it received to a later session of the same push.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from hangar.backends.preference import Preference, load_preference
from hangar.blobs import BlobWriter
from hangar.blobs.catalog import first_free_id
from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests, Index
from hangar.blobs.journal import Journal, read_journal
from hangar.blobs.ownership import OwnFiles
from hangar.blobs.resumed import take_over
from hangar.blobs.tombstones import FOREIGN, Tombstone, put_tombstones
from hangar.blobs.unfinished import JOURNAL
from hangar.db import ReadTransaction, WriteTransaction
from hangar.db.epoch import gc_epoch
from hangar.db.tables import TOMBSTONES
from hangar.digest import DIGEST_BYTES, Digest, Header, digest_list
from hangar.errors import HangarError, InvalidInputError, InvalidStateError, LockedError
from hangar.history.leases import Lease
from hangar.remote.blobs_in import BlobsIn
from hangar.remote.leafscan import LeafScan
from hangar.remote.objects_in import ObjectsIn
from hangar.remote.parts import PartFiles
from hangar.remote.peer import BlobFrame, BlobNames, Limits, Missing, Objects, RefResult, RefUpdate, TombstonePage
from hangar.remote.policy import Policy, check_forward, check_updates, record_operation
from hangar.remote.publication import Publication, publish_received
from hangar.remote.quarantine import Quarantine, quarantine_path
from hangar.remote.source import ObjectSource
from hangar.remote.standing import standing_leaves
from hangar.remote.unasked import Unasked, UnaskedCount
from hangar.remote.verify import NewHistory, verify_history
from hangar.stores import Stores

__all__ = ["PushSession"]

_MOST_TOMBSTONES: Final = 1_000_000
_MOST_LISTS: Final = 128
"""Lists of blobs of one answer, but for those of one group; a message has at most 1,000."""


class PushSession:
    """A push in progress. Its methods may be called from any thread; those that change it run one at a time.

    Parameters
    ----------
    name
        Name of the push, by which its files are found again.
    limits
        What one message holds.
    object_bytes
        Bytes of all objects of the push.
    hours
        How long what it received is kept for a later session.
    unasked
        Bounds the objects that nothing named, of all pushes together.

    Attributes
    ----------
    used
        When it was used last (:func:`time.monotonic`).
    unasked
        Counts the objects that nothing named.
    """

    def __init__(
        self, stores: Stores, name: str, limits: Limits, object_bytes: int, hours: int, unasked: Unasked
    ) -> None:
        self.unasked = UnaskedCount(unasked)
        self._stores = stores
        self._name = name
        self._limits = limits
        self._object_bytes = object_bytes
        self._hours = hours
        self._lock = threading.RLock()
        self._writer_lock = threading.Lock()
        self._heads: tuple[bytes, ...] = ()
        self._standing: tuple[Digest, ...] = ()
        self._history: NewHistory | None = None
        self._scans: list[LeafScan] = []
        # What the last two answers asked for.
        self._asked = DigestSet(), DigestSet()
        self._listed: dict[int, Digests] = {}
        self._tombstones: dict[bytes, Tombstone] = {}
        self._open = self._closed = self._keep = False
        self._places: dict[int, Preference] = {}
        self._parts = PartFiles(stores.directory, name)
        self.used = time.monotonic()

    def _start(self) -> None:
        """Open the files of the push, with what an earlier session left."""
        stores = self._stores
        with contextlib.ExitStack() as stack:
            with stores.db.read() as transaction:
                first = first_free_id(transaction)
                self._epoch = gc_epoch(transaction)
            stack.enter_context(Lease(stores.db, (), first))
            quarantine = self._open_quarantine()
            stack.callback(lambda: quarantine.close(remove=not self._keep))
            stack.callback(self.unasked.close)
            self._source = ObjectSource(stores.db, quarantine)
            self._objects = ObjectsIn(self._source, quarantine, self._object_bytes, self.unasked)
            self._writer = BlobWriter(stores.blobs, OwnFiles(), own_files=True)
            stack.callback(self._close_writer)
            self._writer.unpublished.spill_to = quarantine.path.parent
            path = quarantine.path.with_suffix(JOURNAL)
            entries = read_journal(path)
            if entries is not None:
                take_over(stores.blobs, self._writer, entries)
            self._journal = Journal(path, self._hours, 0 if entries is None else entries.end)
            stack.callback(self._close_journal)
            self._writer.unpublished.noted = self._note
            self._stack = stack.pop_all()
        self._open = True

    def _open_quarantine(self) -> Quarantine:
        """The quarantine of the push; one that is not found again if another server of the repository uses that."""
        try:
            return Quarantine(quarantine_path(self._stores.directory, self._name))
        except LockedError:
            self._name = f"{self._name}-{os.urandom(4).hex()}"
            self._parts = PartFiles(self._stores.directory, self._name)
            return Quarantine(quarantine_path(self._stores.directory, self._name))

    def _note(self, index: Index) -> None:
        self._journal.add(index, self._writer.unpublished.headers, self._stores.blobs.files.written)

    def begin(self, updates: Sequence[RefUpdate], standing: Sequence[Digest] = ()) -> None:
        """Note which commits the push will publish, and of which others it brings the blobs that are only promised here."""
        with self._using(start=True):
            self._standing = tuple(standing)
            self._heads = tuple(update.new for update in updates if update.new is not None)
            self._forget_history()
            self._want_heads()

    def _want_heads(self) -> None:
        heads = np.frombuffer(b"".join(self._heads), np.uint8).reshape(-1, DIGEST_BYTES)
        self._objects.want("commit", heads)

    def _forget_history(self) -> None:
        self._history = None
        self._scans = []
        self._asked = DigestSet(), DigestSet()
        self._listed = {}

    @contextlib.contextmanager
    def _using(self, *, start: bool = False) -> Iterator[None]:
        with self._lock:
            if self._closed or not (start or self._open):
                raise InvalidStateError("this push was given up: begin it again")
            if not self._open:
                self._start()
            self.used = time.monotonic()
            yield
            self.used = time.monotonic()

    # ------------------------------------------------------------------ receiving

    def add_objects(self, frame: Objects) -> None:
        """Take objects."""
        with self._using():
            if self._history is not None:
                self._forget_history()
            self._objects.add(frame)

    def missing(self) -> Missing:
        """What is missing.

        Raises
        ------
        InvalidInputError
            All objects are there, and are not valid.
        """
        with self._using():
            while True:
                self._follow_gc()
                try:
                    return self._missing()
                except HangarError:
                    if self._gc_epoch() == self._epoch:
                        raise  # else what was found is not there any more: look again

    def _missing(self) -> Missing:
        names, more = self._objects.missing(self._limits.names)
        if names:
            return Missing(tuple(names), (), more)
        if self._history is None:
            self._history = verify_history(self._source, self._heads)
            received = self._writer.unpublished
            self._scans = [
                LeafScan(self._stores, self._source, leaves, received) for leaves in self._history.leaves.values()
            ]
            self._scans += [
                LeafScan(self._stores, self._source, leaves, received, complete=True)
                for leaves in standing_leaves(self._stores, self._standing)
            ]
        return self._missing_blobs()

    def _missing_blobs(self) -> Missing:
        found: list[BlobNames] = []
        left, more = self._limits.names, False
        begun = self._parts.lengths()
        # What was asked for before and has not come is asked for again, or it is not needed any more.
        self._asked = self._asked[1], DigestSet()
        for group, scan in enumerate(self._scans):
            with self._writer_lock:
                digests, rest = scan.missing(left)
            if len(digests) > left:
                digests, rest = digests[:left], True
            if len(digests):
                self._asked[1].add(digests)
                found += self._names(digests, group, begun)
                left -= len(digests)
            more |= rest
            if not left or len(found) > _MOST_LISTS:
                more |= group + 1 < len(self._scans)
                break
        return Missing((), tuple(found), more, sum(len(scan.promised) for scan in self._scans))

    def _names(self, digests: Digests, group: int, begun: dict[bytes, int]) -> Iterator[BlobNames]:
        """Blobs to ask for: the rest of those of which the first bytes are here, and the others."""
        if begun:
            names = digest_list(digests)
            here = np.fromiter((name in begun for name in names), np.bool_, len(names))
            yield from (BlobNames(name, group, begun[name], True) for name in digest_list(digests[here]))
            digests = digests[~here]
        self._listed[group] = digests
        if len(digests):
            yield BlobNames(digests.tobytes(), group, stored=True)

    def _named(self, frame: BlobFrame) -> bytes | None:
        """Which blob a frame begins or continues, as far as can be told; its digest is computed in the end."""
        if frame.start:
            total = int.from_bytes(frame.lengths, "little")
            return self._parts.find(Header.decode(frame.headers[0]), total, frame.start)
        listed = self._listed.get(frame.group)
        place = int.from_bytes(frame.places[:4], "little")
        return listed[place].tobytes() if listed is not None and place < len(listed) else None

    def _gc_epoch(self) -> int:
        with self._stores.db.read() as transaction:
            return gc_epoch(transaction)

    def _follow_gc(self) -> None:
        """Look again at everything if garbage collection ran meanwhile."""
        epoch = self._gc_epoch()
        if epoch != self._epoch:
            self._stores.blobs.refresh()
            self._epoch = epoch
            self._forget_history()
            self._objects.rescan()
            self._want_heads()

    def add_blobs(self, frames: Iterator[BlobFrame]) -> int:
        """Take a stream of blobs; returns how many were stored."""
        with self._using():
            asked = self._asked
            stream = BlobsIn(
                self._writer,
                self._writer_lock,
                self._place,
                lambda digests: asked[0].holds(digests) | asked[1].holds(digests),
                self._source.quarantine.path.parent,  # type: ignore[union-attr]
                most=self._limits.blob_bytes,
                fits=self._fits,
                parts=self._parts,
                named=self._named,
            )
        cut = True
        try:
            for frame in frames:
                if self._closed:
                    raise InvalidStateError("this push was given up: begin it again")
                self.used = time.monotonic()
                stream.add(frame)
            with self._using():
                stream.finish()
            cut = False
        except InvalidInputError:
            cut = False
            with contextlib.suppress(HangarError):
                stream.wait()  # nothing is written any more when the push is dropped
            raise
        finally:
            if cut:
                self._keep_part(stream)
        return stream.blobs

    def _keep_part(self, stream: BlobsIn) -> None:
        """Keep what came of a stream that was cut. The error that ended it is the one to tell."""
        with contextlib.suppress(HangarError):
            stream.leave()
            stream.flush()

    def _fits(self, group: int, header: Header, shortest: int) -> bool:
        if not 0 <= group < len(self._scans):
            raise InvalidInputError(f"blobs of the group {group}, which was not asked for")
        schema = self._scans[group].leaves.schema
        return bool(schema.needs) or (schema.check_header(header) and shortest > schema.inline_bytes)

    def _place(self, group: int, header: Header) -> Preference:
        found = self._places.get(group)
        if found is None:
            leaves = self._scans[group].leaves
            found = self._places[group] = load_preference(self._stores.db, leaves.column_id, leaves.schema)
        return found

    def add_tombstones(self, page: TombstonePage) -> int:
        """Take tombstones; returns how many are new here."""
        with self._using():
            if len(self._tombstones) + len(page.items) > _MOST_TOMBSTONES:
                raise InvalidInputError(f"a push brings at most {_MOST_TOMBSTONES:,} tombstones")
            if any(len(digest) != DIGEST_BYTES for digest, _ in page.items):
                raise InvalidInputError("a tombstone names a digest of a wrong length")
            fresh = {
                digest: msgspec.structs.replace(tombstone, state=FOREIGN)
                for digest, tombstone in page.items
                if digest not in self._tombstones
            }
            with self._stores.db.read() as transaction:
                for digest in list(fresh):
                    if transaction.get(TOMBSTONES, digest) is not None:
                        del fresh[digest]
            self._tombstones.update(fresh)
            return len(fresh)

    # ------------------------------------------------------------------ the end

    def finish(
        self, updates: Sequence[RefUpdate], who: tuple[str, str], *, read_only: bool, protected: Policy
    ) -> tuple[RefResult, ...]:
        """Publish everything, and move the refs."""
        with self._using():
            with self._stores.db.read() as transaction:
                todo = check_updates(self._stores, transaction, updates, read_only=read_only, protected=protected)
            heads = tuple(update.new for update in todo if update.new is not None)
            if heads != self._heads:
                self._heads = heads
                self._forget_history()
                self._want_heads()
            if self.missing():
                raise InvalidStateError("something of this push is missing: ask what, and send it")
            check_forward(self._source, updates, protected)
            left: list[RefUpdate] = []

            def check(transaction: ReadTransaction) -> None:
                left[:] = check_updates(self._stores, transaction, updates, read_only=read_only, protected=protected)

            def move(transaction: WriteTransaction) -> None:
                for update in left:
                    self._move(transaction, update, who)
                if self._tombstones:
                    known = {digest for digest in self._tombstones if transaction.get(TOMBSTONES, digest) is not None}
                    put_tombstones(transaction, {key: one for key, one in self._tombstones.items() if key not in known})

            with self._writer_lock:
                publish_received(
                    self._stores,
                    Publication(self._source, self._history, self._writer, epoch=self._epoch, check=check, move=move),
                )
            moved = {update.name for update in left}
            return tuple(RefResult(update.name, update.name not in moved) for update in updates)

    def _move(self, transaction: WriteTransaction, update: RefUpdate, who: tuple[str, str]) -> None:
        refs = self._stores.refs
        time_ns = time.time_ns()
        old = None if update.old is None else Digest(update.old)
        if update.new is None:
            refs.delete(transaction, update.name, old, who=who, operation="push (delete)")
        elif refs.exists(update.name, transaction):
            operation = "push (forced)" if update.force else "push"
            refs.update(transaction, update.name, old, Digest(update.new), who=who, operation=operation)
        else:
            refs.create(
                transaction, update.name, Digest(update.new), who=who, operation="push", annotation=update.annotation
            )
        record_operation(transaction, update, time_ns)

    def _close_writer(self) -> None:
        with self._writer_lock, contextlib.suppress(HangarError):
            written = list(self._stores.blobs.files.written)
            if not self._keep:
                self._writer.rollback()
            self._writer.close(keep=self._keep)
            for file_id in written:
                if file_id not in self._stores.blobs.files.written:
                    self._stores.blobs.files.forget(file_id)  # an open file could not be removed

    def _close_journal(self) -> None:
        self._journal.close(remove=not self._keep)
        if not self._keep:
            self._parts.remove()

    def _received_any(self) -> bool:
        return bool(self._objects.quarantine.count or len(self._writer.unpublished) or self._parts.lengths())

    def close(self, *, keep: bool = False) -> None:
        """Drop everything that was not published, or ``keep`` it for a later session of the push."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._keep = keep and self._open and self._received_any()
                if self._open:
                    self._stack.close()
