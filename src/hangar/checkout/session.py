"""What a checkout shares with its columns: whether it may be used, and the batches of its writes.

A reader's session knows whether it was closed. A writer's also holds the writer lock, the staging area and the blob writer, and
publishes them together, as ``hangar.publishing`` says: only then is anything acknowledged.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

from hangar.backends.preference import Preference, load_preference, store_preference
from hangar.blobs import BlobWriter
from hangar.db import WriteTransaction
from hangar.digest import Digest
from hangar.errors import AccessError, ClosedError, LockedError, StaleRefError
from hangar.lock import WriterLock
from hangar.objects.attributes import AttributeMap, load_attributes
from hangar.objects.store import NodeStore
from hangar.publishing import publish, publish_rows
from hangar.schema import ColumnSchema
from hangar.staging import Staging
from hangar.stores import Stores

__all__ = ["ReaderSession", "WriterSession"]

Reopen = Callable[[str, str, str], object]
"""What a column pickles as a call of: path of the repository, commit, and name give the column."""
_NO_BATCH: AbstractContextManager[None] = nullcontext()


class ReaderSession:
    """A reader's: open, or closed."""

    writable = False

    def __init__(self, stores: Stores, commit: str = "", reopen_column: Reopen | None = None) -> None:
        self.stores = stores
        self.nodes = stores.nodes
        self.commit = commit
        self._reopen_column = reopen_column
        self.closed = False

    def check(self) -> None:
        """Raise ClosedError after :meth:`close`."""
        if self.closed:
            raise ClosedError("this checkout was closed: open another with `repo.checkout()`")

    def reduce_column(self, name: str) -> tuple[Any, ...]:
        """What a column pickles as: the repository, the commit and its name."""
        self.check()
        if self._reopen_column is None:
            raise AccessError("a view of the staging area cannot be pickled")
        return self._reopen_column, (str(self.stores.directory), self.commit, name)

    def load_attributes(self, digest: Digest) -> AttributeMap:
        """The attributes of a digest."""
        return load_attributes(self.stores.db, digest)

    def batch(self) -> AbstractContextManager[None]:
        """Nothing is written, so nothing is gathered."""
        return _NO_BATCH

    def close(self) -> None:
        """Refuse everything from now on."""
        self.check()
        self.closed = True


class WriterSession:
    """A writer's: the lock, the staging area, and one batch at a time.

    As a context manager it is that batch: nested blocks join the outermost, whose end publishes, or after an exception
    goes back to what was published last.
    """

    writable = True

    def __init__(self, stores: Stores, lock: WriterLock, branch: str, head: Digest | None) -> None:
        self.stores = stores
        self.nodes = NodeStore(stores.db)
        self.lock = lock
        self.closed = False
        self.staging = Staging(stores.db, self.nodes, branch, head)
        self.blobs = BlobWriter(stores.blobs, lock)
        self._process = os.getpid()
        self._gate = threading.RLock()
        self._depth = 0
        self._preferences: dict[bytes, Preference] = {}
        weakref.finalize(self, lock.release)

    def check(self) -> None:
        """Raise ClosedError after :meth:`close`, LockedError where the lock was taken over or belongs to a parent process."""
        if self.closed:
            raise ClosedError("this checkout was closed: open another with `repo.checkout(write=True)`")
        self.lock.check()

    def reduce_column(self, name: str) -> tuple[Any, ...]:
        """A writer's column does not pickle: AccessError."""
        raise AccessError("a writer's column cannot be pickled: it belongs to the process that holds the writer lock")

    def load_attributes(self, digest: Digest) -> AttributeMap:
        """The attributes of a digest, stored or still in a batch."""
        return self.staging.load_attributes(digest)

    # ------------------------------------------------------------------ batches

    def batch(self) -> AbstractContextManager[None]:
        """The batch of a ``with`` block."""
        return self

    def writing(self) -> AbstractContextManager[None]:
        """The batch of one call."""
        return self

    @property
    def in_batch(self) -> bool:
        """Whether a batch is open."""
        return self._depth > 0

    def __enter__(self) -> None:
        self._gate.acquire()
        try:
            self.check()
        except BaseException:
            self._gate.release()
            raise
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._depth -= 1
            if self._depth or self.closed:
                return
            if error is None:
                self.publish()
            else:
                self.rollback()
        finally:
            self._gate.release()

    def spill_if_large(self) -> None:
        """Store nodes of a long batch that take too much memory."""
        self.staging.spill()

    def publish(self) -> None:
        """Make everything written so far durable and visible, as one transaction. After an error nothing of it is."""
        if self.staging.unpublished() or self.blobs.replaces:
            publish(self.stores.db, self.lock, _Batch(self))
        else:
            self.blobs.rollback()

    def rollback(self) -> None:
        """Go back to what the database holds, which may be more than this process knows to be published.

        Where that does not come to its end the checkout is closed: what is half forgotten must not be published later.
        """
        try:
            self.blobs.rollback()
            if not self._taken_over():
                self.staging.rebase(self.stores.refs.get(f"heads/{self.staging.branch}"))
        except BaseException:
            self.abandon()
            raise

    def _taken_over(self) -> bool:
        """Whether every further access is refused, because somebody else is the writer."""
        try:
            self.lock.check()
        except LockedError:
            return True
        return False

    # ------------------------------------------------------------------ preferences

    def preference(self, column_id: bytes, schema: ColumnSchema) -> Preference:
        """Backend that new blobs of a column go to."""
        found = self._preferences.get(column_id)
        if found is None:
            found = self._preferences[column_id] = load_preference(self.stores.db, column_id, schema)
        return found

    def set_preference(self, column_id: bytes, preference: Preference) -> None:
        """Let new blobs of a column go to another backend."""
        publish_rows(
            self.stores.db, self.lock, lambda transaction: store_preference(transaction, column_id, preference)
        )
        self._preferences[column_id] = preference

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Publish what an open batch has gathered, free the lock, refuse everything from now on."""
        try:
            self.check()
        except LockedError:
            if self.lock.held:
                # A thread may still be writing: until it is done its files are nobody else's.
                with self._gate:
                    self.abandon()
            raise
        with self._gate:
            if self._depth:
                self.publish()
            self.abandon()

    def abandon(self) -> None:
        """Free the lock and refuse everything; what was not published is gone."""
        self.closed = True
        try:
            self.blobs.close()
        finally:
            self.lock.release()


class _Batch:
    """What a batch records: the blobs and the staged rows of a session."""

    def __init__(self, session: WriterSession) -> None:
        self._session = session

    def prepare(self) -> None:
        self._session.blobs.prepare()

    def publish(self, transaction: WriteTransaction) -> None:
        session = self._session
        self._require_base(transaction)
        session.blobs.publish(transaction)
        session.staging.write(transaction)

    def _require_base(self, transaction: WriteTransaction) -> None:
        """Make sure that the branch stands where the staging area does: rows on another commit could never be committed."""
        session = self._session
        branch = session.staging.branch
        if session.stores.refs.get(f"heads/{branch}", transaction) != session.staging.base:
            raise StaleRefError(
                f"branch {branch!r} moved beneath this checkout, perhaps by a commit of its own whose outcome was not known: "
                "what was written since is not stored; look at the column and write it again"
            )

    def published(self) -> None:
        self._session.blobs.published()
        self._session.staging.written()

    def rollback(self) -> None:
        self._session.rollback()
