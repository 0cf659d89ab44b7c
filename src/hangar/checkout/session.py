"""Session: the state that a checkout shares with its columns.

The session of a reader knows whether the checkout is closed. The session of a writer also holds the writer lock, the
staging area and the blob writer. It publishes their changes in one transaction (``hangar.publishing``), and only then
acknowledges a write.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any, Final

from hangar.backends.preference import Preference, load_preference, store_preference
from hangar.blobs import BlobWriter
from hangar.checkout.turns import BLOCK, CALL, CLOSE, Statement, Turn, Turns
from hangar.columns.base import ResolveColumn
from hangar.columns.chunked.buffer import ChunkBuffer
from hangar.columns.views import LiveChunks
from hangar.db import WriteTransaction
from hangar.digest import Digest
from hangar.errors import AccessError, ClosedError, HangarError, InvalidStateError, LockedError, StaleRefError
from hangar.lock import WriterLock
from hangar.objects.attributes import AttributeMap, load_attributes
from hangar.objects.store import NodeStore
from hangar.publishing import publish, publish_rows
from hangar.schema import ColumnSchema
from hangar.staging import Staging
from hangar.statements import Running
from hangar.stores import Stores

__all__ = ["ReaderSession", "WriterSession"]

Reopen = Callable[[str, str, str, "ResolveColumn | None"], object]
"""Function that opens a column from repository path, commit, name and resolver; called when unpickling."""
_SPOILT: Final = "a write in this `with` block was interrupted or failed, so that nothing of the block was stored: leave it and write it again"


class ReaderBlock(AbstractContextManager[None]):
    """A ``with`` block of a reader: it does nothing."""

    running: Running | None = None

    def __init__(self, session: ReaderSession) -> None:
        self._session = session

    def __enter__(self) -> None:
        self._session.check()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class ReaderSession:
    """Session of a reader: open or closed."""

    writable = False

    def __init__(
        self,
        stores: Stores,
        commit: str = "",
        reopen_column: Reopen | None = None,
        resolve: ResolveColumn | None = None,
    ) -> None:
        self.stores = stores
        self.nodes = stores.nodes
        self.commit = commit
        self.resolve = resolve
        self._reopen_column = reopen_column
        self.closed = False
        self.live = LiveChunks()

    @property
    def rev(self) -> str:
        """The commit, as a short digest."""
        return self.commit[:12]

    def check(self) -> None:
        """Raise ClosedError after :meth:`close`."""
        if self.closed:
            raise ClosedError("this checkout was closed: open another with `repo.checkout()`")

    def reduce_column(self, name: str) -> tuple[Any, ...]:
        """Result of ``__reduce__`` for a column: repository path, commit and name."""
        self.check()
        if self._reopen_column is None:
            raise AccessError("a view of the staging area cannot be pickled")
        return self._reopen_column, (str(self.stores.directory), self.commit, name, self.resolve)

    def load_attributes(self, digest: Digest) -> AttributeMap:
        """Load attributes by digest."""
        return load_attributes(self.stores.db, digest)

    def batch(self) -> ReaderBlock:
        """A block that does nothing, because a reader does not write."""
        return ReaderBlock(self)

    def close(self) -> None:
        """Refuse everything from now on."""
        self.check()
        self.closed = True
        self.live.stop()
        close_fetching(self.resolve)


class WriterSession:
    """Session of a writer: the lock, the staging area, and one batch at a time.

    Attributes
    ----------
    by_hand
        Blocks that were opened by calling ``__enter__`` directly, innermost last.
    """

    writable = True

    def __init__(
        self, stores: Stores, lock: WriterLock, branch: str, head: Digest | None, resolve: ResolveColumn | None = None
    ) -> None:
        self.stores = stores
        self.resolve = resolve
        self.nodes = NodeStore(stores.db)
        self.lock = lock
        self.live = LiveChunks()
        self._staging = Staging(stores.db, self.nodes, branch, head)
        self.blobs = BlobWriter(stores.blobs, lock)
        self._process = os.getpid()
        self._turns = Turns()
        self.arrays = ChunkBuffer(partial(_is_writing, self._turns))
        self.by_hand: list[Statement] = []
        self._preferences: dict[bytes, Preference] = {}
        weakref.finalize(self, lock.release)

    @property
    def staging(self) -> Staging:
        """The staging area, with all changes of the present batch."""
        self.arrays.settle()
        return self._staging

    @property
    def closed(self) -> bool:
        """Whether the lock was released. That closes the session and lets others write, in one step."""
        return self.lock.released

    def check(self) -> None:
        """Make sure that the checkout can be used, and that what it shows is in line with the database.

        Raises
        ------
        ClosedError
            After :meth:`close`.
        LockedError
            The lock was taken over, or belongs to a parent process.
        """
        try:
            self.lock.check()
        except InvalidStateError:
            raise _closed() from None
        turn = self._turns.known
        # In nearly all calls nobody is writing, or this thread is in a block and between two writes.
        if not turn.over and (turn.call is not None or not turn.mine()):
            self._settle()

    def _refuse(self, *, look: bool = True) -> None:
        """Refuse a closed checkout and one of a parent process; with ``look`` also one whose lock was taken over, which the database tells."""
        try:
            if look:
                self.lock.check()
            else:
                self.lock.require_held()
        except InvalidStateError:
            raise _closed() from None

    @property
    def rev(self) -> str:
        """The branch."""
        return self.staging.branch

    def reduce_column(self, name: str) -> tuple[Any, ...]:
        """A writer's column does not pickle: AccessError."""
        raise AccessError("a writer's column cannot be pickled: it belongs to the process that holds the writer lock")

    def load_attributes(self, digest: Digest) -> AttributeMap:
        """Load attributes by digest, stored or in the current batch."""
        return self.staging.load_attributes(digest)

    # ------------------------------------------------------------------ turns

    def batch(self) -> Statement:
        """Batch of a ``with`` block. Nested blocks join the outermost one, which publishes at its end, or rolls back after an exception."""
        return Statement(self, BLOCK)

    def writing(self) -> Statement:
        """The batch of one call; inside a block it waits for the end of that. The caller has called :meth:`check`."""
        return Statement(self, CALL)

    @property
    def in_batch(self) -> bool:
        """Whether this thread is in a ``with`` block."""
        turn = self._turns.current
        return turn.mine() and turn.call is not turn.running

    @property
    def unfinished(self) -> bool:
        """Whether a write is in progress, or was interrupted and not rolled back yet."""
        return not self._turns.current.over

    def enter(self, statement: Statement, running: Running) -> None:
        """Begin a statement: wait for its turn, and roll back an interrupted one first."""
        turn = self._turns.known
        if not turn.mine():
            turn = self._turns.take(running)
        statement.turn = turn
        outermost = turn.running is running
        if turn.call is not None and not outermost:
            self._look_at_call(turn, turn.call)
        kind = statement.kind
        if kind is not CLOSE:
            # Inside a block the caller has just looked; the end of the block looks again, in the transaction that publishes.
            self._refuse(look=outermost)
            if outermost and not turn.aligned:
                self.rollback()
            if turn.spoilt and kind is CALL:
                raise InvalidStateError(_SPOILT)
        if kind is not BLOCK:
            turn.call = running
            turn.aligned = False

    def leave(self, statement: Statement, error: BaseException | None) -> None:
        """End a statement."""
        if statement.turn is None:
            if not self.by_hand:
                raise InvalidStateError("no `with` block of this checkout is open")
            statement = self.by_hand.pop()
        turn = statement.turn
        assert turn is not None
        if turn.running is statement.running:
            self._end_turn(turn, error)
        elif turn.call is statement.running:
            if error is None or isinstance(error, HangarError) or turn.aligned:
                turn.call = None
            else:
                self._spoil(turn)

    def _end_turn(self, turn: Turn, error: BaseException | None) -> None:
        if turn.over:
            return
        if not self.closed:
            if turn.call is not None and turn.call is not turn.running:
                self._spoil(turn)
            try:
                if not turn.aligned:
                    if error is None and not turn.spoilt:
                        self.publish()
                    else:
                        self.rollback()
            finally:
                if turn.aligned:
                    turn.finish()
            if turn.spoilt and error is None:
                raise InvalidStateError(_SPOILT)
        turn.finish()

    def _look_at_call(self, turn: Turn, call: Running) -> None:
        """Check that no other write is in progress in this thread's turn. An interrupted write spoils the block."""
        if call() is not None:
            raise InvalidStateError(
                "a write was begun while the same thread is in the middle of another one (in a signal handler, or in a mapping "
                "that writes while it is being read)"
            )
        self._spoil(turn)

    def _spoil(self, turn: Turn) -> None:
        """Drop all writes of a block and refuse further ones, because half a batch must not become visible."""
        turn.spoilt = True
        self.rollback()
        turn.call = None

    def drop(self) -> None:
        """Drop all writes of the current turn, because publishing failed."""
        self._spoil(self._turns.current)

    def _settle(self) -> None:
        """Roll back an interrupted statement, before anything is read."""
        turn = self._turns.current
        if turn.mine():
            if turn.call is not None and turn.call() is None:
                self._spoil(turn)
        elif turn.interrupted() and not turn.aligned:
            with self.batch():
                pass

    # ------------------------------------------------------------------ publishing

    def spill_if_large(self) -> None:
        """Store tree nodes if a long batch holds too many in memory."""
        self._staging.spill()

    def publish(self) -> None:
        """Make all writes so far durable and visible, in one transaction. After an error none of them is."""
        try:
            self.arrays.flush()
        except BaseException:
            self.drop()
            raise
        if self._staging.unpublished() or self.blobs.replaces:
            publish(self.stores.db, self.lock, _Batch(self))
        else:
            self.blobs.rollback()
            self.aligned()

    def note_written(self, transaction: WriteTransaction) -> None:
        """Record that the branch was written last."""
        refs, branch = self.stores.refs, self._staging.branch
        if refs.head(transaction).last_written != branch:
            refs.set_head(transaction, last_written=branch)

    def aligned(self) -> None:
        """Mark that memory agrees with the database."""
        self._turns.current.aligned = True

    def rollback(self) -> None:
        """Set memory back to the state in the database, which may include a commit whose outcome this process does not know.

        If the rollback is interrupted, it is repeated before the next read or write.
        """
        self.arrays.clear()
        self.blobs.rollback()
        if not self._taken_over():
            self._staging.rebase(self.stores.refs.get(f"heads/{self._staging.branch}"))
        self.aligned()

    def _taken_over(self) -> bool:
        """Whether another writer has taken over, so that all further access is refused."""
        try:
            self.lock.check()
        except LockedError:
            return True
        return False

    # ------------------------------------------------------------------ preferences

    def preference(self, column_id: bytes, schema: ColumnSchema) -> Preference:
        """Backend for new blobs of a column."""
        found = self._preferences.get(column_id)
        if found is None:
            found = self._preferences[column_id] = load_preference(self.stores.db, column_id, schema)
        return found

    def set_preference(self, column_id: bytes, preference: Preference) -> None:
        """Set the backend for new blobs of a column."""
        # Drop the cached value first; it is read again when needed. So memory never differs from the database.
        self._preferences.pop(column_id, None)
        publish_rows(
            self.stores.db, self.lock, lambda transaction: store_preference(transaction, column_id, preference)
        )

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Publish the open block of this thread, release the lock, and refuse all further use."""
        try:
            self._refuse()
        except LockedError:
            if self.lock.held:
                # A thread may still be writing. Wait, because its files must not get a second writer.
                with Statement(self, CLOSE):
                    self.abandon()
            raise
        closing = Statement(self, CLOSE)
        with closing:
            if not closing.outermost and not self._turns.current.spoilt:
                self.publish()
            self.abandon()

    def abandon(self) -> None:
        """Release the lock and refuse all further use. Unpublished writes are lost."""
        try:
            self.blobs.close()
            self.lock.release()
            self.live.stop()
        except BaseException:
            # The session is closed in this case too, so that a half closed blob writer is not used.
            self.lock.release()
            self.live.stop()
            raise
        close_fetching(self.resolve)


def close_fetching(resolve: ResolveColumn | None) -> None:
    """Close connections and files that fetching on read keeps open. They are opened again if a data set goes on."""
    close = getattr(resolve, "close", None)
    if close is not None:
        close()


def _is_writing(turns: Turns) -> bool:
    """Whether this thread has the turn. A method would make a cycle with the session."""
    return turns.current.mine()


def _closed() -> ClosedError:
    return ClosedError("this checkout was closed: open another with `repo.checkout(write=True)`")


class _Batch:
    """Publishable change of a batch: the new blobs and the staged rows of a session."""

    def __init__(self, session: WriterSession) -> None:
        self._session = session

    def prepare(self) -> None:
        self._session.blobs.prepare()

    def record(self, transaction: WriteTransaction) -> None:
        session = self._session
        self._require_base(transaction)
        session.blobs.record(transaction)
        session.staging.write(transaction)
        session.note_written(transaction)

    def _require_base(self, transaction: WriteTransaction) -> None:
        """Check that the branch is at the base commit of the staging area. Rows on another base could never be committed."""
        session = self._session
        branch = session.staging.branch
        if session.stores.refs.get(f"heads/{branch}", transaction) != session.staging.base:
            raise StaleRefError(
                f"branch {branch!r} moved beneath this checkout, perhaps by a commit of its own whose outcome was not known: "
                "what was written since is not stored; look at the column and write it again"
            )

    def committed(self) -> None:
        self._session.blobs.committed()
        self._session.staging.written()
        self._session.aligned()

    def rollback(self) -> None:
        self._session.drop()
