"""Fetch of blobs: of columns, samples or chunks, with a budget, in parallel streams, kept as they come."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import numpy as np
import numpy.typing as npt

from hangar.backends.preference import Preference, load_preference
from hangar.blobs import BlobWriter
from hangar.blobs.catalog import first_free_id
from hangar.blobs.digests import DigestSet, Marks
from hangar.blobs.held import HeldBatch
from hangar.blobs.index import Digests, Mask, Sought
from hangar.blobs.journal import QUARANTINE_DIRECTORY
from hangar.blobs.ownership import OwnFiles
from hangar.blobs.tombstones import IN_EFFECT, find_tombstones
from hangar.digest import DIGEST_BYTES, Header, digest_list
from hangar.errors import CorruptionError, HangarError, InvalidInputError
from hangar.history.leases import Lease
from hangar.progress import Progress, Reporter, report
from hangar.remote.blobs_in import BlobsIn
from hangar.remote.parts import PartFiles
from hangar.remote.peer import ABSENT, BlobFrame, BlobNames, Limits, Reader, ended_by
from hangar.remote.publication import Publication, publish_received
from hangar.remote.source import ObjectSource
from hangar.remote.transfer_types import ColumnBlobs, FetchedBlobs
from hangar.schema import ColumnSchema
from hangar.stores import Stores
from hangar.threads import run_parallel

__all__ = ["FetchFiles", "fetch_blobs"]

_PUBLISH_BYTES: Final = 256 * 2**20
"""Blobs are published when so much has come, so that a fetch that is killed loses no more."""
_PUBLISH_SECONDS: Final = 5.0
"""They are published after so long too, which bounds the loss on a slow line."""
_PUBLISH_BLOBS: Final = 2**18
_MANY_BLOBS: Final = 16_384
_SMALL_BYTES: Final = 16_384
_LARGE_BYTES: Final = 4 * 2**20
_PART_BYTES: Final = 64 * 2**20
"""About so much is asked for with one call, if there are several streams."""


@dataclass(slots=True)
class _Group:
    """Missing blobs of one column: digests, shape (n, 32), and the size of each, -1 where it is not known."""

    column: ColumnBlobs
    preference: Preference
    digests: Digests
    sizes: npt.NDArray[np.int64]


def fetch_blobs(
    stores: Stores,
    reader: Reader,
    chosen: Iterable[ColumnBlobs],
    *,
    nbytes: int | None = None,
    streams: int | None = None,
    limits: Limits | None = None,
    files: FetchFiles | None = None,
    progress: Progress = None,
) -> FetchedBlobs:
    """Fetch blobs of columns, verify them, and store them with the backends of the columns here.

    Parameters
    ----------
    chosen
        Blobs that are here already are skipped. To fetch a part of a chunked array, choose the digests of its chunks.
    nbytes
        Stop before a blob that would make more than so many logical bytes in total; None: no limit.
    streams
        Calls of the peer at the same time; None: two for many small blobs, else one.
    limits
        What one message to the peer holds, by its :class:`~hangar.remote.peer.Welcome`.
    files
        Where to append the blobs, for many small fetches in a row. The caller publishes them; until then readers of
        ``stores`` find them. None: new files, which are published.
    progress
        Counts blobs, with their total; the bytes are those of :class:`hangar.progress.Reporter`.

    Raises
    ------
    CorruptionError
        What the peer sent is not what was asked for. What came before is kept.
    UnreachableError
        The connection was lost. What came is kept.
    """
    bounds = limits or Limits()
    groups, purged = _missing(stores, chosen)
    left, left_nbytes, absent = _size(reader, groups, nbytes, bounds)
    total = sum(len(group.digests) for group in groups)
    if not total:
        return FetchedBlobs(0, 0, left, left_nbytes, absent, purged)
    with contextlib.ExitStack() as stack:
        reporter = stack.enter_context(report(progress, total, "values", "fetching data"))
        into = files or stack.enter_context(FetchFiles(stores))
        fetch = _Fetch(stores, reader, bounds, reporter, into, publishes=files is None)
        fetch.run(groups, _streams(groups) if streams is None else streams)
    return FetchedBlobs(fetch.blobs, fetch.nbytes, left, left_nbytes, np.concatenate([absent, *fetch.absent]), purged)


# ---------------------------------------------------------------------------------------------------- what to ask for


def _missing(stores: Stores, chosen: Iterable[ColumnBlobs]) -> tuple[list[_Group], int]:
    """The blobs that are not here, each once, and how many are not wanted because they were purged here."""
    seen = DigestSet()
    groups: list[_Group] = []
    purged = 0
    for column in chosen:
        digests = np.ascontiguousarray(column.digests)
        if not len(digests):
            continue
        digests = digests[seen.admit(digests)]
        digests = digests[~_stored(stores, digests)]
        with stores.db.read() as transaction:
            found = find_tombstones(transaction, digest_list(digests)) if len(digests) else {}
        gone = {digest for digest, tombstone in found.items() if tombstone.state == IN_EFFECT}
        if gone:
            kept = [digest not in gone for digest in digest_list(digests)]
            purged += len(digests) - sum(kept)
            digests = digests[np.array(kept, np.bool_)]
        if len(digests):
            preference = load_preference(stores.db, column.column_id, column.schema)
            size = _uniform_size(column.schema)
            groups.append(_Group(column, preference, digests, np.full(len(digests), size, np.int64)))
    return groups, purged


def _uniform_size(schema: ColumnSchema) -> int:
    """Size of every blob of a column; -1 if they differ."""
    return schema.nbytes if not schema.needs and schema.uniform else -1


def _stored(stores: Stores, digests: Digests) -> Mask:
    return stores.blobs.locator.locate_published(Sought.of(digests)).stored


def _size(reader: Reader, groups: list[_Group], budget: int | None, limits: Limits) -> tuple[int, int, Digests]:
    """Ask for the sizes that are not known, and keep within a budget; returns what is left out, and what is absent there."""
    left = left_nbytes = 0
    absent = [np.empty((0, DIGEST_BYTES), np.uint8)]
    for group in groups:
        if len(group.sizes) and budget is not None:  # what is absent there must not use up the budget
            sizes = _ask_sizes(reader, group.digests, limits)
            here = sizes != ABSENT
            absent.append(group.digests[~here])
            group.digests, group.sizes = group.digests[here], sizes[here].astype(np.int64)
        if budget is not None:
            ends = group.sizes.cumsum()
            count = int(np.searchsorted(ends, budget, side="right"))
            left += len(group.sizes) - count
            left_nbytes += int(group.sizes[count:].sum())
            budget = 0 if count < len(group.sizes) else budget - int(group.sizes.sum())
            group.digests, group.sizes = group.digests[:count], group.sizes[:count]
    return left, left_nbytes, np.concatenate(absent)


def _ask_sizes(reader: Reader, digests: Digests, limits: Limits) -> npt.NDArray[np.uint64]:
    parts = []
    for start in range(0, len(digests), limits.names):
        part = digests[start : start + limits.names]
        sizes = np.frombuffer(reader.blob_sizes(BlobNames(part.tobytes())), "<u8")
        if len(sizes) != len(part):
            raise CorruptionError("the remote gave the sizes of other blobs than those it was asked for")
        # A size that no blob can have is that of no blob.
        parts.append(np.where(sizes > 2**41, ABSENT, sizes).astype(np.uint64))
    return np.concatenate(parts)


# ---------------------------------------------------------------------------------------------------- fetching


class FetchFiles:
    """Blob files of a process that fetches, and the lease that keeps garbage collection from them; a context manager.

    Several threads may use it. A forked child must not.

    Attributes
    ----------
    writer
        Appends to them.
    lock
        Held while the writer is used.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self.lock = threading.Lock()
        with stores.db.read() as transaction:
            first = first_free_id(transaction)
        self._lease = Lease(stores.db, (), first)
        self._lease.__enter__()
        try:
            self.writer = BlobWriter(stores.blobs, OwnFiles(), own_files=True)
        except BaseException:
            self._lease.__exit__(None, None, None)
            raise

    def add(self, batches: Iterable[HeldBatch[tuple[bytes, ColumnSchema]]]) -> None:
        """Add verified rows of columns. Raises what the writer raises."""
        for (column_id, schema), header, pieces, digests in batches:
            preference = load_preference(self._stores.db, column_id, schema)
            with self.lock:
                self.writer.begin_rows(preference.tag, header, pieces, digests, preference.options)
                self.writer.finish()

    def publish(self) -> None:
        """Make what came durable and visible."""
        with self.lock:
            change = Publication(
                ObjectSource(self._stores.db), None, self.writer, epoch=None, check=None, move=lambda _: None
            )
            publish_received(self._stores, change)

    def close(self) -> None:
        """Close the files, and end the lease. What is not published is dropped."""
        try:
            self.writer.close()
        finally:
            self._lease.__exit__(None, None, None)

    def __enter__(self) -> FetchFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _streams(groups: list[_Group]) -> int:
    """How many streams win: of many small blobs, and of large ones, the processor has more to do than the connection.

    The parts of a large blob are decoded and hashed one after the other. More than two streams were slower.
    """
    count = sum(len(group.digests) for group in groups)
    size = sum(int(group.sizes.clip(0).sum()) for group in groups)
    many = count >= _MANY_BLOBS and size < count * _SMALL_BYTES
    return 2 if many or (size > _PART_BYTES and size >= count * _LARGE_BYTES) else 1


class _Fetch:
    """A fetch in progress: one writer, and one or more streams."""

    def __init__(
        self, stores: Stores, reader: Reader, limits: Limits, reporter: Reporter, files: FetchFiles, *, publishes: bool
    ) -> None:
        self._stores = stores
        self._reader = reader
        self._limits = limits
        self._reporter = reporter
        self._tell = threading.Lock()
        self._files = files
        self._publishes = publishes
        self._waiting_blobs = self._waiting_bytes = 0
        self._published = time.monotonic()
        self._parts = PartFiles(stores.directory, "fetch")
        self._stopped = False
        self.blobs = self.nbytes = 0
        # Blobs that the peer does not have.
        self.absent: list[Digests] = []

    def run(self, groups: list[_Group], streams: int) -> None:
        begun = self._parts.lengths()
        parts = [one for group in groups for one in self._requests(group, streams, begun)]
        try:
            if streams <= 1 or len(parts) == 1:
                for group, names in parts:
                    self._fetch(group, names)
            else:
                self._fetch_in_streams(parts, streams)
        except BaseException:
            # What came is kept. The error that ended the fetch is the one to tell.
            with contextlib.suppress(HangarError):
                self._publish()
            raise
        self._publish()

    def _fetch_in_streams(self, parts: list[tuple[_Group, BlobNames]], streams: int) -> None:
        """Each thread takes the next part; the first error, and an interrupt of this one, ends them all."""
        left = iter(parts)

        def stream() -> None:
            try:
                for group, names in left:
                    if self._stopped:
                        return
                    self._fetch(group, names)
            except BaseException:
                self._stopped = True
                raise

        run_parallel([stream] * min(streams, len(parts)), "hangar-fetch")

    def _requests(self, group: _Group, streams: int, begun: dict[bytes, int]) -> Iterator[tuple[_Group, BlobNames]]:
        """What to ask for: the rest of large blobs that came in part, and all others some at a time."""
        digests = group.digests
        if begun:
            names = digest_list(digests)
            here = np.fromiter((name in begun for name in names), np.bool_, len(names))
            for digest in digest_list(digests[here]):
                yield group, BlobNames(digest, start=begun[digest], stored=True)
            digests = digests[~here]
        step = self._limits.names
        if streams > 1:
            size = max(1, int(group.sizes.mean())) if len(group.sizes) else 1
            step = max(1, min(step, _PART_BYTES // size, -(-len(digests) // streams)))
        for start in range(0, len(digests), step):
            part = digests[start : start + step]
            each = _uniform_size(group.column.schema)
            yield group, BlobNames(part.tobytes(), stored=True, nbytes=len(part) * each if each >= 0 else -1)

    def _fetch(self, group: _Group, names: BlobNames) -> None:
        digests = np.frombuffer(names.digests, np.uint8).reshape(-1, DIGEST_BYTES)
        wanted = Marks(digests)
        stream = BlobsIn(
            self._files.writer,
            self._files.lock,
            lambda number, header: group.preference,
            lambda found: wanted.mark(found)[1],
            self._stores.directory / QUARANTINE_DIRECTORY,
            most=self._limits.blob_bytes,
            fits=lambda number, header, shortest: _fits(group.column.schema, header, shortest),
            parts=self._parts,
            named=lambda frame: _named(digests, frame),
        )
        try:
            try:
                for frame in self._reader.blobs(names):
                    if self._stopped:
                        return
                    stream.add(frame)
                    self._note(frame)
                    if time.monotonic() - self._published > _PUBLISH_SECONDS:
                        stream.flush()
                    self._count(stream)
            finally:
                # Blobs that came whole are kept, also if the stream was cut, and the first bytes of a large one.
                stream.leave()
                try:
                    stream.flush()
                finally:
                    self._count(stream)
            if stream.spoiled:
                self._fetch(group, BlobNames(wanted.unmarked().tobytes()))
            elif wanted.marked < len(wanted):
                self.absent.append(wanted.unmarked())
        except InvalidInputError as error:
            raise CorruptionError(f"what the remote sent is not valid, and was not stored: {error}") from error

    def _note(self, frame: BlobFrame) -> None:
        with self._tell:
            self._reporter.advance(ended_by(frame), frame.nbytes)

    def _count(self, stream: BlobsIn) -> None:
        """Note what a stream has stored since it was noted last, and publish it if it is time."""
        with self._tell:
            blobs, nbytes = stream.take_count()
            self.blobs += blobs
            self.nbytes += nbytes
            self._waiting_blobs += blobs
            self._waiting_bytes += nbytes
            due = self._waiting_bytes >= _PUBLISH_BYTES or self._waiting_blobs >= _PUBLISH_BLOBS
            late = time.monotonic() - self._published > _PUBLISH_SECONDS
        if due or (late and self._waiting_blobs):
            self._publish()

    def _publish(self) -> None:
        """Make what came durable and visible, unless the caller does it."""
        if self._publishes:
            with self._tell:
                self._waiting_blobs = self._waiting_bytes = 0
                self._published = time.monotonic()
            self._files.publish()


def _named(digests: Digests, frame: BlobFrame) -> bytes | None:
    """The first blob of a frame; None if it names none of the question."""
    place = int.from_bytes(frame.places[:4], "little")
    return digests[place].tobytes() if place < len(digests) else None


def _fits(schema: ColumnSchema, header: Header, shortest: int) -> bool:
    return bool(schema.needs) or (schema.check_header(header) and shortest > schema.inline_bytes)
