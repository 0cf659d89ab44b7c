"""Read ahead: an iterator runs in a thread of its own, a bounded number of items before its consumer.

The network, the disk and hashing each take a part of the time of a transfer, and wait for each other otherwise.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

from hangar.threads import start_thread

__all__ = ["Ahead"]

T = TypeVar("T")
_POLL_SECONDS: Final = 0.5
JOIN_SECONDS: Final = 10.0


class _End:
    """The end of an iterator, with its error."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Ahead(Generic[T]):
    """Items of an iterator that runs in a thread, at most ``most`` items ahead; an iterator and a context manager.

    Parameters
    ----------
    make
        Makes the iterator, in the thread.
    most
        Number of items that wait for the consumer.
    """

    def __init__(self, make: Callable[[], Iterator[T]], most: int) -> None:
        self._make = make
        self._items: queue.Queue[T | _End] = queue.Queue(most)
        self._stopped = threading.Event()
        self._plain: Iterator[T] | None = None
        self._thread = start_thread(self._run, "hangar-remote-ahead", daemon=True)
        if self._thread is None:
            self._plain = make()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._make():
                if not self._offer(item):
                    return
        except BaseException as caught:  # noqa: BLE001 - raised where the items are taken
            error = caught
        self._offer(_End(error))

    def _offer(self, item: T | _End) -> bool:
        while not self._stopped.is_set():
            try:
                self._items.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def take(self, seconds: float | None = None) -> T:
        """The next item.

        Raises
        ------
        StopIteration
            There is none.
        TimeoutError
            None came within ``seconds``.
        """
        if self._plain is not None:
            return next(self._plain)
        try:
            found = self._items.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if not isinstance(found, _End):
            return found
        self._items.put(found)  # for whoever asks again
        raise StopIteration if found.error is None else found.error

    def __iter__(self) -> Ahead[T]:
        return self

    def __next__(self) -> T:
        return self.take()

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread; items that nobody took are dropped."""
        self._stopped.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._items.get_nowait()
        if self._thread is not None and self._thread is not threading.current_thread():
            # What the iterator reads may be closed next.
            self._thread.join(JOIN_SECONDS)
