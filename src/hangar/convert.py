"""Converting what a column has stored to another backend: all of its history and what is staged, in place, while others read.

No commit changes: a commit names content, and where content lies is local. The blobs of a column are those that any live commit
(see ``history.roots``) names in it, under whatever name it had, and those that are staged; what other columns share with it
moves too, because a blob belongs to no column. Trees are walked once each, shared parts once. An interrupt at any point leaves what
was converted converted, and the same call goes on from there. The space of the old files is given back when nobody reads them.
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
from hangar.objects.walk import walk
from hangar.progress import Progress, Reporter, report
from hangar.publishing import publish_rows
from hangar.refs import BRANCHES
from hangar.schema import ColumnSchema, open_schema
from hangar.staging import read_staged
from hangar.stores import Stores

__all__ = ["ConvertReport", "convert"]

_GATHERED_BLOBS: Final = 65_536
"""Blobs that are looked up together."""
_RELEASE_BYTES: Final = 4 * limits.BLOB_FILE_BYTES
"""Converted bytes after which old files are given back, so that a large column does not need its size twice."""


@dataclass(frozen=True, slots=True)
class ConvertReport:
    """What a conversion did.

    Attributes
    ----------
    column, backend, options
        What was asked for, completed.
    converted, nbytes
        Blobs that were written anew, and their logical bytes; the others were there already.
    removed_files, removed_nbytes
        Old files that were removed, and their size.
    kept_files
        Old files that nothing names any more and that somebody has open: the next conversion removes them.
    damaged
        Blobs that cannot be read, by digest (hex), and what is the matter; they stay where they are.
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
    """Bring everything a column has stored to a backend, and let new data go there too.

    Parameters
    ----------
    stores
        Of the repository.
    column
        Its name on ``branch``.
    backend, options
        A tag and options of it; None: those the column prefers now.
    branch
        By default the branch last written.
    progress
        As :mod:`hangar.progress` says, counting blobs.

    Raises
    ------
    ColumnNotFoundError, RevisionNotFoundError
        There is no such column, or branch.
    InvalidInputError, InvalidTypeError
        The backend cannot be; nothing was changed.
    LockedError
        A writer holds the writer lock.
    DiskFullError, StorageError
        What was converted stays so, and nothing was lost.
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
        """The column of a name on a branch, with what is staged there."""
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
        """Settle which backend it is to be, and have the column prefer it."""
        schema = self._schema(Digest(self._column.schema))
        wanted = check_preference(schema, backend, options)
        self._wanted: Preference = wanted or load_preference(self._stores.db, self._column.id, schema)
        for digest in {Digest(entry.schema) for _, entry in self._entries()}:
            # It may have been widened since; what it held before is converted too.
            check_preference(self._schema(digest), self._wanted.tag, self._wanted.options)
        if wanted is not None:
            publish_rows(
                self._stores.db,
                self._lock,
                lambda transaction: store_preference(transaction, self._column.id, self._wanted),
            )

    # ------------------------------------------------------------------ what there is

    def _entries(self) -> Iterator[tuple[NodeStore, ColumnEntry]]:
        """The column in the staging area and in every commit, and who has its nodes."""
        if self._staging is not None:
            for entry in self._staging.entries():
                if entry.id == self._column.id:
                    yield self._staging.nodes, entry
        for _, commit in ancestors(self._stores.db, live_roots(self._stores).commits):
            for entry in commit.columns:
                if entry.id == self._column.id:
                    yield self._stores.nodes, entry

    def _leaves(self) -> Iterator[Node]:
        """Every leaf of the column, once."""
        walked: set[Digest] = set()
        for nodes, entry in self._entries():
            if entry.root is not None:
                for _, node in walk(nodes, entry.root, walked):
                    if not node.level:
                        yield node

    def _gathered(self) -> Iterator[Any]:
        """Digests of the blobs, some thousand at a time: uint8, shape (n, 32), none twice in one."""
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
            with report(progress, total, "blobs", f"converting {self._column.name}") as reporter, _told(mover):
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
def _told(mover: Mover) -> Iterator[None]:
    """Let an interrupt say what it left."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{mover.moved:,} blobs were converted and stay so; the same command goes on with the others"
        ) from None
