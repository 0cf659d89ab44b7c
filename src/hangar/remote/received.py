"""Blobs that reads have fetched: readable at once in this process, made durable and visible to others a moment later.

A sync and a transaction for each batch of a read took longer than fetching it. What a remote has can be fetched again, so that
a read does not wait for them: a thread publishes what came, at most a second later or when there is enough of it. The thread
also ends the wait when the main thread ends, so that a process that exits in any way but a kill loses nothing. After a kill
the repository is as before, because blobs without a published location are in no file that it knows.

What small reads fetch is held in memory until then, because writing a batch costs several times what its bytes cost.

There are two sets of files. While one is published, reads append to the other.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from typing import Final

from hangar.blobs.asked import AskedRows
from hangar.blobs.held import HeldRows
from hangar.blobs.locator import Locator
from hangar.errors import HangarError
from hangar.remote.asked_rows import Held, fetch_asked, is_short
from hangar.remote.peer import Limits, Reader
from hangar.remote.transfer import ColumnBlobs, FetchedBlobs, fetch_blobs
from hangar.remote.transfer_blobs import FetchFiles
from hangar.stores import Stores
from hangar.threads import start_thread

__all__ = ["Received"]

_SECONDS: Final = 1.0
"""What a read has fetched is published after so long."""
_BYTES: Final = 64 * 2**20
"""It is published earlier if there is so much."""
_HELD_BYTES: Final = 16 * 2**20
"""What is held in memory is written when it is so much."""
_MOST_HELD_BYTES: Final = 4 * _HELD_BYTES
"""If the thread cannot keep up, the reads write."""
_POLL_SECONDS: Final = 0.05


class Received:
    """Blobs that reads of one process have fetched into one repository. All threads use it; a forked child must not.

    Parameters
    ----------
    stores
        The repository; its readers find the blobs.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._pid = os.getpid()
        self._publishing = threading.Lock()
        # Guards the attributes below; never held while something is fetched, published or closed.
        self._state = threading.Lock()
        self._files: list[FetchFiles | None] = [None, None]
        self._users = [0, 0]
        self._dirty = [False, False]
        self._current = 0
        self._waiting_bytes = 0
        self._waiting_since: float | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._failure: HangarError | None = None
        # Held while what is held in memory is written; taken inside of _publishing, and outside of _state.
        self._writing = threading.Lock()
        self._held: Held = HeldRows()
        stores.blobs.locator.add_unpublished(self._held)
        stores.unsettled[id(self)] = self
        _all[id(self)] = self
        weakref.finalize(self, _end, self._files, self._pid, stores.blobs.locator, self._held)

    def fetch(self, reader: Reader, wanted: ColumnBlobs, asked: AskedRows | None = None) -> FetchedBlobs:
        """Fetch blobs and make them readable. Raises what :func:`hangar.remote.transfer.fetch_blobs` raises.

        Small ones are handed over to ``asked``. What could not be published before is told by the next call, or by :meth:`close`.
        """
        self._raise_failure()
        for other in _everyone():
            # A copy that was pickled and loaded in this process may have fetched it.
            if other is not self and other._stores.directory == self._stores.directory:
                asked = asked if other._waiting_since is None else None  # the general way looks up what is published
                other.publish()
        if asked is not None and is_short(self._stores, wanted, asked, Limits()):
            found = self._fetch_asked(reader, wanted, asked)
            if found is not None:
                return found
        return self._fetch(reader, wanted)

    def _fetch_asked(self, reader: Reader, wanted: ColumnBlobs, asked: AskedRows) -> FetchedBlobs | None:
        try:
            return fetch_asked(reader, wanted, asked, self._held)
        finally:
            with self._state:
                self._came(asked.count * asked.nbytes)
            if self._held.nbytes >= _MOST_HELD_BYTES:
                self._write_held()
            self._publish_soon()

    def _fetch(self, reader: Reader, wanted: ColumnBlobs) -> FetchedBlobs:
        number, files = self._take()
        nbytes = 0
        try:
            found = fetch_blobs(self._stores, reader, [wanted], files=files, progress=False)
            nbytes = found.nbytes
        finally:
            with self._state:
                self._users[number] -= 1
                self._dirty[number] = True
                self._came(nbytes)
            self._publish_soon()
        return found

    def _came(self, nbytes: int) -> None:
        """Note that there is something to publish."""
        self._waiting_bytes += nbytes
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()

    def publish(self) -> None:
        """Make what came durable and visible to other processes. Raises the error if that is not possible."""
        if self._pid != os.getpid():
            return
        with self._publishing:
            with self._state:
                self._waiting_bytes, self._waiting_since = 0, None
            try:
                self._write_held()
            finally:
                with self._state:
                    numbers = [number for number, dirty in enumerate(self._dirty) if dirty]
                    self._dirty = [False, False]
                    if self._current in numbers:
                        self._current = 1 - self._current
                for number in numbers:
                    self._publish(number)

    def _publish(self, number: int) -> None:
        files = self._files[number]
        if files is None:
            return
        try:
            files.publish()
        except BaseException as error:
            # The reads that come next fetch again what is lost.
            with self._state:
                self._files[number] = None
                self._failure = error if isinstance(error, HangarError) else None
            with contextlib.suppress(HangarError):
                files.close()
            raise

    def _write_held(self) -> None:
        """Write what is held in memory, so that it can be published. If that fails, the reads that come next fetch it again."""
        with self._writing:
            batches = self._held.begin_writing()
            if not batches:
                return
            try:
                number, files = self._take()
                try:
                    files.add(batches)
                finally:
                    with self._state:
                        self._users[number] -= 1
                        self._dirty[number] = True
            except BaseException as error:
                self._failure = error if isinstance(error, HangarError) else None
                raise
            finally:
                self._held.end_writing()

    def close(self) -> None:
        """Publish what came, and close the files that no other thread uses. They are opened again at the next fetch."""
        if self._pid != os.getpid():
            return
        try:
            with contextlib.suppress(HangarError):  # told below
                self.publish()
        finally:
            idle: list[FetchFiles | None] = []
            with self._publishing, self._state:
                for number, users in enumerate(self._users):
                    if not users and not self._dirty[number]:
                        idle.append(self._files[number])
                        self._files[number] = None
            _close(idle, self._pid)
            self._wake.set()
        self._raise_failure()

    def _take(self) -> tuple[int, FetchFiles]:
        """The files to fetch into, and their number."""
        with self._state:
            number = self._current
            files = self._files[number]
            if files is None:
                files = self._files[number] = FetchFiles(self._stores)
            self._users[number] += 1
            return number, files

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    # ------------------------------------------------------------------ later

    def _publish_soon(self) -> None:
        """Have what came published by a thread; here, if there can be none."""
        with self._state:
            full = self._waiting_bytes >= _BYTES or self._held.nbytes >= _HELD_BYTES
            if self._thread is None or not self._thread.is_alive():  # an error that nobody foresaw may have ended it
                self._wake.clear()
                self._thread = start_thread(self._run, "hangar-publish")
            alone = self._thread is None
        if alone:
            self.publish()
        elif full:
            self._wake.set()

    def _run(self) -> None:
        main = threading.main_thread()
        while True:
            since = self._waiting_since
            while since is not None and time.monotonic() - since < _SECONDS and main.is_alive():
                if self._wake.wait(_POLL_SECONDS):
                    if self._waiting_bytes >= _BYTES:
                        break
                    self._wake.clear()
                    with contextlib.suppress(HangarError):  # told by the next fetch, or by close()
                        self._write_held()
                since = self._waiting_since
            self._wake.clear()
            with contextlib.suppress(HangarError):  # told by the next fetch, or by close()
                self.publish()
            with self._state:
                if self._waiting_since is None:
                    self._thread = None
                    return


_all: Final[weakref.WeakValueDictionary[int, Received]] = weakref.WeakValueDictionary()


def _everyone() -> list[Received]:
    """All that exist. Other threads may make new ones meanwhile."""
    return [one for reference in _all.valuerefs() if (one := reference()) is not None]


def _close(files: list[FetchFiles | None], pid: int) -> None:
    if pid == os.getpid():
        for one in files:
            if one is not None:
                with contextlib.suppress(Exception):
                    one.close()


def _end(files: list[FetchFiles | None], pid: int, locator: Locator, held: Held) -> None:
    """Nobody uses it any more. Nothing is held then, because the thread that writes it keeps it."""
    locator.remove_unpublished(held)
    _close(files, pid)


def _forget() -> None:
    """In a forked child: what its parent has not published is not found, because the parent may drop it."""
    for received in _everyone():
        received._stores.blobs.locator.remove_unpublished(received._held)
        for files in received._files:
            if files is not None:
                received._stores.blobs.locator.remove_unpublished(files.writer.unpublished)


os.register_at_fork(after_in_child=_forget)
