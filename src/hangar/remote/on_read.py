"""Fetching on read: what a checkout with ``fetch_on_read=True`` calls for data that is not here.

The columns of a checkout call it with the blobs of one batch. It fetches them from the remotes that promise them and
stores them, so that the next read finds them. It is pickled with columns and data sets as the path of the repository;
each process and thread has its own connections, which stay open between batches.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from pathlib import Path
from typing import Any, Final

import numpy as np

from hangar.blobs.index import Digests
from hangar.blobs.store import not_there
from hangar.errors import HangarError, UnreachableError
from hangar.refs.remotes import RemoteRow, list_remotes
from hangar.remote.connect import connected
from hangar.remote.transfer import ColumnBlobs, fetch_blobs
from hangar.remote.transfer_blobs import FetchFiles
from hangar.schema import ColumnSchema
from hangar.stores import Stores

__all__ = ["FetchOnRead"]

_ATTEMPTS: Final = 2
"""A connection that was idle for long may have been closed: it is opened again once."""


class FetchOnRead:
    """Fetches blobs of columns of one repository when they are read.

    Parameters
    ----------
    directory
        The ``.hangar`` of the repository.

    Attributes
    ----------
    fetched, nbytes
        Number and bytes of the blobs that this object has fetched in this process.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.fetched = 0
        self.nbytes = 0
        self._stores: Stores | None = None
        self._connections = _Connections()

    def __reduce__(self) -> tuple[Any, ...]:
        return FetchOnRead, (self._directory,)

    def __call__(self, column_id: bytes, schema: ColumnSchema, digests: Digests) -> None:
        """Fetch blobs of a column, as far as remotes have them.

        Raises
        ------
        UnreachableError
            (a ``ConnectionError``) a remote that promises them does not answer.
        NotLocalError
            The remotes that promise them do not have them any more.
        """
        stores = self._stores = self._stores or Stores.shared(Path(self._directory))
        left = np.unique(digests, axis=0)
        with stores.db.read() as transaction:
            remotes = {row.number: (name, row) for name, row in list_remotes(transaction).items()}
        promising = [number for number in stores.blobs.promises.remotes() if number in remotes]
        asked: list[str] = []
        # A partial clone promises what it may not have, and another remote may.
        for number in [*promising, *(number for number in remotes if number not in promising)]:
            if not len(left):
                break
            with contextlib.nullcontext() if number in promising else contextlib.suppress(HangarError):
                left = self._fetch(stores, *remotes[number], ColumnBlobs(column_id, schema, left))
                asked.append(remotes[number][0])
        if len(left) and asked and stores.blobs.promises.promised(left).any():
            raise not_there(len(left), asked[: len(promising)])

    def close(self) -> None:
        """Close the connections and files of this thread. They are opened again when needed."""
        self._connections.close()

    def _fetch(self, stores: Stores, name: str, row: RemoteRow, wanted: ColumnBlobs) -> Digests:
        """Fetch from one remote; return the blobs that it does not have."""
        for attempt in range(_ATTEMPTS):
            fresh = not self._connections.has(name)
            try:
                reader, files = self._connections.get(name, row), self._connections.files(stores)
                found = fetch_blobs(stores, reader, [wanted], files=files, progress=False)
            except UnreachableError:
                self._connections.drop(name)
                if fresh or attempt + 1 == _ATTEMPTS:
                    raise
                continue
            except BaseException:
                self._connections.close()
                raise
            self.fetched += found.blobs
            self.nbytes += found.nbytes
            return found.absent
        raise AssertionError("every attempt returns or raises")


class _Connections:
    """Open connections of the threads of a process."""

    def __init__(self) -> None:
        self._local = threading.local()

    def _of_thread(self) -> dict[str, tuple[contextlib.ExitStack, Any]]:
        if getattr(self._local, "pid", None) != os.getpid():
            # A forked child must not use, or close, the connections of its parent.
            self._local.pid = os.getpid()
            self._local.open, self._local.files = {}, None
        found: dict[str, tuple[contextlib.ExitStack, Any]] = self._local.open
        return found

    def files(self, stores: Stores) -> FetchFiles:
        """The blob files that this thread appends to; the same for all batches."""
        self._of_thread()
        found: FetchFiles | None = self._local.files
        if found is None:
            found = self._local.files = FetchFiles(stores)
            weakref.finalize(self, _close, found, os.getpid())
        return found

    def close(self) -> None:
        """Close what this thread has open."""
        held, files = self._of_thread(), self._local.files
        self._local.open, self._local.files = {}, None
        for stack, _ in held.values():
            _close(stack, os.getpid())
        if files is not None:
            _close(files, os.getpid())

    def has(self, name: str) -> bool:
        """Whether there is a connection, which may have been lost."""
        return name in self._of_thread()

    def get(self, name: str, row: RemoteRow) -> Any:
        """The connection to a remote, opened if there is none."""
        held = self._of_thread()
        if name not in held:
            stack = contextlib.ExitStack()
            held[name] = stack, stack.enter_context(connected(name, row))
            weakref.finalize(self, _close, stack, os.getpid())
        return held[name][1]

    def drop(self, name: str) -> None:
        """Close the connection to a remote."""
        found = self._of_thread().pop(name, None)
        if found is not None:
            _close(found[0], os.getpid())


def _close(opened: contextlib.ExitStack | FetchFiles, pid: int) -> None:
    if pid == os.getpid():
        with contextlib.suppress(Exception):
            opened.close()
