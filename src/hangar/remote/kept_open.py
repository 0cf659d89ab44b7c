"""Connections to remotes that stay open between reads; all threads of a process use the same ones."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from hangar.refs.remotes import RemoteRow
from hangar.remote.connect import connected

__all__ = ["KeptOpen"]


class _Connection:
    """An open connection. The last of its users closes it, if it was dropped."""

    def __init__(self, name: str, row: RemoteRow) -> None:
        self.users = 0
        self.dropped = False
        self._stack = contextlib.ExitStack()
        self.peer: Any = self._stack.enter_context(connected(name, row))
        self._closed = weakref.finalize(self, _close, self._stack, os.getpid())
        self._closed.atexit = False

    def close(self) -> None:
        self._closed()


class KeptOpen:
    """Connections by the name of the remote, for one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, _Connection] = {}

    def has(self, name: str) -> bool:
        """Whether there is a connection, which may have been lost."""
        return name in self._open

    @contextlib.contextmanager
    def use(self, name: str, row: RemoteRow) -> Iterator[Any]:
        """The connection to a remote, opened if there is none; it stays open for the time of the block.

        Raises
        ------
        UnreachableError
            (a ``ConnectionError``) it does not answer.
        """
        with self._lock:
            found = self._open.get(name)
            if found is None:
                found = self._open[name] = _Connection(name, row)
            found.users += 1
        try:
            yield found.peer
        finally:
            with self._lock:
                found.users -= 1
                last = found.dropped and not found.users
            if last:
                found.close()

    def drop(self, name: str) -> None:
        """Close the connection to a remote as soon as nobody uses it. The next use opens another one."""
        with self._lock:
            found = self._open.pop(name, None)
            if found is None:
                return
            found.dropped = True
            idle = not found.users
        if idle:
            found.close()

    def close(self) -> None:
        """Close all connections, those in use as soon as nobody uses them."""
        for name in list(self._open):
            self.drop(name)


def _close(stack: contextlib.ExitStack, pid: int) -> None:
    if pid == os.getpid():
        with contextlib.suppress(Exception):
            stack.close()
