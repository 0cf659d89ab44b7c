"""Convert the stored blobs of a column to another backend: all history and staged data, in place, while others read.

Commits do not change, because they refer to content, and storage locations are local. The blobs of a column are those
of all live commits (see ``history.roots``), under every name the column had, and those of the staging area. Blobs
that other columns share are moved too, because a blob belongs to no column. Shared tree nodes are walked once. After
an interrupt at any point the converted blobs stay converted, and the same call continues. Old files are removed when
nobody reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hangar import limits
from hangar.backends.preference import Preference, check_preference, load_preference, store_preference
from hangar.blobs import BlobWriter
from hangar.blobs.moving import Mover
from hangar.blobs.release import Released, release_files
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import ColumnNotFoundError
from hangar.history.branches import unknown_branch
from hangar.history.roots import live_roots
from hangar.lock import WriterLock, under_lock
from hangar.objects.commit import ColumnEntry
from hangar.objects.graph import ancestors
from hangar.objects.node import Node
from hangar.objects.records import load_commit, load_record
from hangar.objects.store import NodeStore
from hangar.objects.walk import blob_leaves
from hangar.progress import Progress, Reporter, report
from hangar.publishing import publish_rows
from hangar.refs import BRANCHES
from hangar.schema import ColumnSchema, open_schema
from hangar.staging import read_staged
from hangar.stores import Stores
from hangar.wording import plural

__all__ = ["ConvertReport", "convert"]

_GATHERED_BLOBS: Final = 65_536
"""Number of blobs that are looked up together."""
_RELEASE_BYTES: Final = 4 * limits.BLOB_FILE_BYTES
"""Converted bytes after which old files are removed, so that converting a large column does not need twice its size."""


@dataclass(frozen=True, slots=True)
class ConvertReport:
    """Result of a conversion.

    Attributes
    ----------
    column, backend, options
        The column, backend and options of the conversion, with defaults filled in.
    converted, nbytes
        Number of blobs written, and their logical bytes; other blobs were in the backend already.
    removed_files, removed_nbytes
        Number of old files that were removed, and their size.
    kept_files
        Number of unreferenced old files that a process has open; the next conversion removes them.
    damaged
        Error message by digest (hex) of each blob that cannot be read; these blobs are not moved.
    """

    column: str
    backend: str
    options: dict[str, Any]
    converted: int
    nbytes: int
    removed_files: int
    removed_nbytes: int
    kept_files: int
    damaged: dict[str, str] = field(default_factory=dict)


def convert(
    stores: Stores,
    column: str,
    backend: str | None = None,
    options: object = None,
    *,
    branch: str = "",
    progress: Progress = None,
) -> ConvertReport:
    """Move all stored data of a column to a backend, and store new data there too.

    Parameters
    ----------
    stores
        Stores of the repository.
    column
        Its name on ``branch``.
    backend, options
        A backend tag and its options; None: the present choice of the column.
    branch
        By default the branch last written.
    progress
        See :mod:`hangar.progress`; the unit is blobs.

    Raises
    ------
    ColumnNotFoundError, RevisionNotFoundError
        There is no such column or branch.
    InvalidInputError, InvalidTypeError
        The backend or its options are not valid; nothing was changed.
    LockedError
        A writer holds the writer lock.
    DiskFullError, StorageError
        Converted blobs stay converted, and nothing was lost.
    """

    def convert_locked(lock: WriterLock) -> ConvertReport:
        conversion = _Conversion(stores, lock, column, branch or stores.refs.head().last_written)
        conversion.prefer(backend, options)
        return conversion.run(progress)

    return under_lock(stores.db, convert_locked)


class _Conversion:
    def __init__(self, stores: Stores, lock: WriterLock, column: str, branch: str) -> None:
        self._stores = stores
        self._lock = lock
        self._staging = read_staged(stores.db)
        self._column = self._find(column, branch)
        self._released = Released()

    def _find(self, name: str, branch: str) -> ColumnEntry:
        """The column ``name`` on a branch, with the staged changes."""
        refs = self._stores.refs
        if not refs.exists(BRANCHES + branch):
            raise unknown_branch(refs, branch)
        head = refs.get(BRANCHES + branch)
        if self._staging is not None and self._staging.branch == branch:
            entries: Sequence[ColumnEntry] = self._staging.entries()
        else:
            entries = () if head is None else load_commit(self._stores.db, head).columns
        for entry in entries:
            if entry.name == name:
                return entry
        names = ", ".join(entry.name for entry in entries) or "none"
        raise ColumnNotFoundError(f"there is no column {name!r} on branch {branch!r}; there are: {names}")

    def _schema(self, digest: Digest) -> ColumnSchema:
        return open_schema(load_record(self._stores.db, "schema", digest))

    # ------------------------------------------------------------------ the backend

    def prefer(self, backend: object, options: object) -> None:
        """Resolve the backend and its options, and set it as the choice of the column."""
        schema = self._schema(Digest(self._column.schema))
        wanted = check_preference(schema, backend, options)
        self._wanted: Preference = wanted or load_preference(self._stores.db, self._column.id, schema)
        for digest in {Digest(entry.schema) for _, entry in self._entries()}:
            # The column may have been widened since; blobs of older schemas are converted too.
            check_preference(self._schema(digest), self._wanted.tag, self._wanted.options)
        if wanted is not None:
            publish_rows(
                self._stores.db,
                self._lock,
                lambda transaction: store_preference(transaction, self._column.id, self._wanted),
            )

    # ------------------------------------------------------------------ blobs of the column

    def _entries(self) -> Iterator[tuple[NodeStore, ColumnEntry]]:
        """The column in the staging area and in every commit, each with the node store of its tree."""
        if self._staging is not None:
            for entry in self._staging.entries():
                if entry.id == self._column.id:
                    yield self._staging.nodes, entry
        for _, commit in ancestors(self._stores.db, live_roots(self._stores).commits):
            for entry in commit.columns:
                if entry.id == self._column.id:
                    yield self._stores.nodes, entry

    def _leaves(self) -> Iterator[Node]:
        """Every leaf of the column, and of the chunk maps of its arrays, once."""
        walked: set[Digest] = set()
        for nodes, entry in self._entries():
            if entry.root is not None:
                for _, leaf in blob_leaves(nodes, entry.root, walked):
                    yield leaf

    def _gathered(self) -> Iterator[Any]:
        """Digests of the blobs in batches of some thousand, without duplicates in a batch: uint8, shape (n, 32)."""
        parts: list[Any] = []
        count = 0
        for leaf in self._leaves():
            digests = leaf.blobs()
            parts.append(digests)
            count += len(digests)
            if count >= _GATHERED_BLOBS:
                yield np.concatenate(parts)
                parts, count = [], 0
        if count:
            yield np.concatenate(parts)

    # ------------------------------------------------------------------ the work

    def run(self, progress: Progress) -> ConvertReport:
        """Convert."""
        stores = self._stores
        writer = BlobWriter(stores.blobs, self._lock, own_files=True)
        mover = Mover(stores.blobs, self._lock, writer, self._wanted.tag, self._wanted.options)
        try:
            total = sum(len(leaf.blobs()) for leaf in self._leaves())
            with (
                report(progress, total, "blobs", f"converting {self._column.name}") as reporter,
                _interrupt_message(mover),
            ):
                self._move_all(mover, reporter)
        finally:
            writer.close()
        self._release()
        return ConvertReport(
            self._column.name,
            self._wanted.tag,
            dict(self._wanted.options),
            mover.moved,
            mover.nbytes,
            self._released.removed,
            self._released.nbytes,
            self._released.kept,
            {digest.hex(): detail for digest, detail in mover.damaged.items()},
        )

    def _move_all(self, mover: Mover, reporter: Reporter) -> None:
        released = 0
        for digests in self._gathered():
            names = digests.view(f"V{DIGEST_BYTES}")[:, 0]
            _, first = np.unique(names, return_index=True)
            reporter.advance(len(digests) - len(first))
            mover.move(digests[first], reporter.advance)
            if mover.nbytes - released >= _RELEASE_BYTES:
                released = mover.nbytes
                self._release()
        mover.publish()

    def _release(self) -> None:
        found, before = release_files(self._stores.blobs, self._lock), self._released
        self._released = Released(before.removed + found.removed, before.nbytes + found.nbytes, found.kept)


@contextmanager
def _interrupt_message(mover: Mover) -> Iterator[None]:
    """Add the state of the conversion to the message of an interrupt."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"what was converted ({plural(mover.moved, 'blob')}) stays converted; run the same command again to continue"
        ) from None
