"""Fork handling of an open database.

Parent and child share LMDB's reader table, so the child must not end an inherited transaction: that would free a
reader slot of the parent, and then the pages that the parent reads. So before a fork, transactions of other threads
are awaited and new ones are blocked. The child drops the inherited LMDB transactions without calling LMDB, closes the
environment (which then frees nothing shared) and opens a new one on first use. The parent continues as before.
"""

from __future__ import annotations

import threading
import weakref
from typing import Final

import lmdb

from hangar.db.handle import Handle
from hangar.errors import StorageError

__all__ = ["Fork"]

FORK_WAIT_SECONDS: Final = 20.0

_abandoned: Final[list[lmdb.Environment]] = []
"""Inherited environments that must not be closed; kept referenced, because their destructor would close them."""


class Fork:
    """State of one database during a fork: created in the parent before it, ended on both sides after it."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._environment: lmdb.Environment | None = None
        self._writing = False
        self._gate = False
        self._at_rest = False

    def begin(self) -> None:
        """Wait for running transactions, for a bounded time, and block new ones."""
        self._writing = self._handle.writing.acquire(timeout=FORK_WAIT_SECONDS)
        self._gate = self._writing and self._handle.gate.acquire(timeout=FORK_WAIT_SECONDS)
        self._at_rest = self._gate and self._rest(self._handle)

    def _rest(self, handle: Handle) -> bool:
        self._environment, handle.environment = handle.environment, None
        handle.exclusive = self._environment
        try:
            handle.wait_for_readers(FORK_WAIT_SECONDS)
        except StorageError:
            return False
        return True

    def end_in_parent(self) -> None:
        """Continue as before the fork."""
        if self._gate:
            self._handle.exclusive, self._handle.environment = None, self._environment
            self._handle.gate.release()
        if self._writing:
            self._handle.writing.release()

    def end_in_child(self) -> None:
        """Close the inherited environment without touching the state shared with the parent."""
        handle = self._handle
        handle.writing = threading.RLock()
        handle.gate = threading.RLock()
        environment = self._environment or handle.environment or handle.exclusive
        handle.environment = handle.exclusive = handle.opened = None
        handle.writable = False
        handle.presence = None  # its descriptor is closed by _fs
        left = self._forget_transactions()
        if environment is None:
            return
        if self._at_rest and not left:
            handle.tables = []
            environment.close()
            return
        # Closing would wait for a thread that does not exist in the child, or free a reader slot of the parent.
        _abandoned.append(environment)
        handle.unusable = (
            f"this process was forked while a transaction was open on {handle.path}: "
            "fork outside of transactions, or start workers with the spawn method"
        )

    def _forget_transactions(self) -> bool:
        """Drop the transactions. Returns whether one of them is still referenced."""
        handle = self._handle
        wrappers = [*handle.readers(), *([handle.writer] if handle.writer is not None else [])]
        references = [weakref.ref(w.lmdb_transaction) for w in wrappers if w.lmdb_transaction is not None]
        for wrapper in wrappers:
            wrapper.forget()
        handle.live.clear()
        handle.writer = None
        return any(reference() is not None for reference in references)
