"""Work done on threads ahead of who needs it: results in the order of the tasks, and a bound on the bytes that are held.

Threads serve because what takes time, decoding and encoding and the disk, lets the interpreter go meanwhile. Whoever takes a result tells when
its memory is free again (:meth:`Ahead.free`), so that a consumer that gathers results is bounded too.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Generic, TypeVar

__all__ = ["Ahead", "threads_for"]

MAX_THREADS: Final = 16
HELD_BYTES: Final = 512 * 2**20
"""What all threads together may hold at most; where one task alone needs more there are no threads."""

T = TypeVar("T")


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(task_bytes: int) -> int:
    """How many threads to use for tasks that hold ``task_bytes`` each; 0 where the caller's own does as well."""
    threads = min(_cores(), MAX_THREADS, HELD_BYTES // max(1, task_bytes))
    return threads if threads > 1 else 0


class Ahead(Generic[T]):
    """Tasks, and their results in order; a context manager, at whose end what has not begun never will.

    Parameters
    ----------
    threads
        How many; with 0 a task is done when its result is taken.
    budget
        Bytes that may be held. A task is let in beyond them where a thread would be idle otherwise.
    name
        Of the threads.

    Attributes
    ----------
    held
        Weight of the tasks let in and not yet told to be free.
    """

    def __init__(self, threads: int, budget: int, name: str) -> None:
        self.held = 0
        self._threads = max(1, threads)
        self._budget = budget
        self._waiting: deque[Callable[[], T]] = deque()
        self._pool = ThreadPoolExecutor(threads, name) if threads else None

    def __len__(self) -> int:
        """How many results are to be taken."""
        return len(self._waiting)

    def room(self, weight: int) -> bool:
        """Whether a task of ``weight`` bytes is let in."""
        return self.held + weight <= self._budget or len(self._waiting) < self._threads

    def offer(self, task: Callable[[], T], weight: int) -> None:
        """Let a task in."""
        self.held += weight
        if self._pool is None:
            self._waiting.append(task)
        else:
            future: Future[T] = self._pool.submit(task)
            self._waiting.append(future.result)

    def take(self) -> T:
        """The result of the oldest task; raises what the task raised."""
        return self._waiting.popleft()()

    def free(self, weight: int) -> None:
        """``weight`` bytes are not held any more."""
        self.held -= weight

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
