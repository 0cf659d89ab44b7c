"""How an open database goes through a fork of its process.

Parent and child share LMDB's table of readers, so the child must not end a transaction it inherited: that would free a slot the
parent believes to own, and with it the pages the parent reads. So before a fork the transactions of other threads end and new ones
are kept out; the child drops what it inherited of LMDB's transactions untouched, closes the environment (which then frees nothing
that is shared) and opens its own on first use. The parent goes on as before.
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
"""Inherited environments that cannot be closed; kept, because their destructor would close them."""


class Fork:
    """One database while a fork is under way: made in the parent before it, ended on either side after it."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._environment: lmdb.Environment | None = None
        self._writing = False
        self._gate = False
        self._at_rest = False

    def begin(self) -> None:
        """Bring the database to rest, as far as that can be had in a bounded time."""
        self._writing = self._handle.writing.acquire(timeout=FORK_WAIT_SECONDS)
        self._gate = self._writing and self._handle.gate.acquire(timeout=FORK_WAIT_SECONDS)
        self._at_rest = self._gate and self._rest(self._handle)

    def _rest(self, handle: Handle) -> bool:
        self._environment, handle.environment = handle.environment, None
        handle.taken = self._environment
        try:
            handle.wait_for_readers(FORK_WAIT_SECONDS)
        except StorageError:
            return False
        return True

    def end_in_parent(self) -> None:
        """Go on as before."""
        if self._gate:
            self._handle.taken, self._handle.environment = None, self._environment
            self._handle.gate.release()
        if self._writing:
            self._handle.writing.release()

    def end_in_child(self) -> None:
        """Close what was inherited, without touching what is shared with the parent."""
        handle = self._handle
        handle.writing = threading.RLock()
        handle.gate = threading.RLock()
        environment = self._environment or handle.environment or handle.taken
        handle.environment = handle.taken = handle.opened = None
        handle.writable = False
        handle.presence = None  # its descriptor is closed by _fs
        left = self._forget_transactions()
        if environment is None:
            return
        if self._at_rest and not left:
            handle.tables = []
            environment.close()
            return
        # Closing would wait for a thread that does not exist here, or free a slot of the parent.
        _abandoned.append(environment)
        handle.unusable = (
            f"this process was forked while a transaction was open on {handle.path}: "
            "fork outside of transactions, or start workers with the spawn method"
        )

    def _forget_transactions(self) -> bool:
        """Drop the transactions; whether one of them lives on."""
        handle = self._handle
        wrappers = [*handle.readers(), *([handle.writer] if handle.writer is not None else [])]
        references = [weakref.ref(w.lmdb_transaction) for w in wrappers if w.lmdb_transaction is not None]
        for wrapper in wrappers:
            wrapper.forget()
        handle.live.clear()
        handle.writer = None
        return any(reference() is not None for reference in references)
