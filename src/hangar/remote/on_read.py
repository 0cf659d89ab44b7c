"""Fetching on read: what a checkout with ``fetch_on_read=True`` calls for data that is not here.

The columns of a checkout call it with the blobs of one batch. It fetches them from the remotes that promise them and
stores them, so that the next read finds them. It is pickled with columns and data sets as the path of the repository;
each process has its own connections, which all its threads use and which stay open between batches.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from hangar.blobs.asked import AskedRows
from hangar.blobs.index import Digests
from hangar.errors import HangarError, UnreachableError
from hangar.refs.remotes import RemoteRow, list_remotes
from hangar.remote.correcting import correct
from hangar.remote.kept_open import KeptOpen
from hangar.remote.received import Received
from hangar.remote.transfer import ColumnBlobs
from hangar.schema import ColumnSchema
from hangar.stores import Stores

__all__ = ["FetchOnRead"]

_ATTEMPTS: Final = 2
"""A connection that was idle for long may have been closed: it is opened again once."""


class _Process:
    """What one process has open."""

    def __init__(self, stores: Stores) -> None:
        self.pid = os.getpid()
        self.stores = stores
        self.connections = KeptOpen()
        self.received = Received(stores)


class FetchOnRead:
    """Fetches blobs of columns of one repository when they are read.

    Parameters
    ----------
    directory
        The ``.hangar`` of the repository.
    stores
        The open repository whose columns are read; None: the one that all unpickled objects of this process share.

    Attributes
    ----------
    calls, fetched, nbytes
        Number of requests, and number and bytes of the blobs that this object has fetched in this process.
    """

    def __init__(self, directory: str, stores: Stores | None = None) -> None:
        self._directory = directory
        self._stores = stores
        self._process: _Process | None = None
        self.calls = self.fetched = self.nbytes = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return FetchOnRead, (self._directory,)

    def __call__(
        self, column_id: bytes, schema: ColumnSchema, digests: Digests, *, asked: AskedRows | None = None
    ) -> int:
        """Fetch blobs of a column, as far as remotes have them; return their bytes.

        Small ones of one header are handed over to ``asked``, if the first remote that is asked has all of them.

        Raises
        ------
        UnreachableError
            (a ``ConnectionError``) a remote that promises them does not answer, and no other remote has them.
        """
        process = self._of_process()
        stores = process.stores
        left, before = digests, self.nbytes
        with stores.db.read() as transaction:
            remotes = {row.number: (name, row) for name, row in list_remotes(transaction).items()}
        promising = [number for number in stores.blobs.promises.remotes() if number in remotes]
        failed: HangarError | None = None
        # A partial clone promises what it may not have, and another remote may.
        for number in [*promising, *(number for number in remotes if number not in promising)]:
            if not len(left):
                break
            try:
                left = self._fetch(process, *remotes[number], ColumnBlobs(column_id, schema, left), asked)
                asked = None  # a second remote is asked for a part of them
            except HangarError as error:
                if number in promising:
                    failed = failed or error
        if failed is not None and len(left) and stores.blobs.promises.promised(left).any():
            raise failed
        return self.nbytes - before

    def close(self) -> None:
        """Publish what was fetched, and close connections and files. They are opened again when needed.

        Raises
        ------
        StorageError, DiskFullError
            What was fetched cannot be stored. It was read, and will be fetched again.
        """
        process = self._process
        if process is not None and process.pid == os.getpid():
            process.connections.close()
            process.received.close()

    def _of_process(self) -> _Process:
        found = self._process
        if found is None or found.pid != os.getpid():
            # A forked child must not use, or close, the connections and files of its parent.
            stores = self._stores or Stores.shared(Path(self._directory))
            # If two threads race, one wins. What the other has opened closes when it is not used any more.
            found = self._process = _Process(stores)
        return found

    def _fetch(
        self, process: _Process, name: str, row: RemoteRow, wanted: ColumnBlobs, asked: AskedRows | None
    ) -> Digests:
        """Fetch from one remote; return the blobs that it does not have."""
        for attempt in range(_ATTEMPTS):
            fresh = not process.connections.has(name)
            try:
                with process.connections.use(name, row) as reader:
                    found = process.received.fetch(reader, wanted, asked)
                    correct(process.stores, row.number, absent=found.absent, reader=reader)
            except UnreachableError:
                process.connections.drop(name)
                if fresh or attempt + 1 == _ATTEMPTS:
                    raise
                continue
            self.calls += 1
            self.fetched += found.blobs
            self.nbytes += found.nbytes
            return found.absent
        raise AssertionError("every attempt returns or raises")
