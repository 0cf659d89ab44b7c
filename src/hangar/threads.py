"""Threads: how many are worth having, and the ways to use them.

The only module that starts threads for work. Three rules hold everywhere. A thread ends when there is nothing left for it to do, so
none has to be ended at the exit of the interpreter, and a forked child misses none. Where no thread can be started ("can't start new
thread"), the calling thread does the work. A call is made exactly once, by whichever thread claims it first.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

__all__ = ["Pipeline", "Task", "both", "cores", "in_order", "start_thread", "threads_for", "together"]

MAX_CORES: Final = 16
"""Cores that one call uses at most."""
HELD_BYTES: Final = 512 * 2**20
"""What the threads of a :class:`Pipeline` may hold together; where one task alone needs more there are no threads."""

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Number of cores that this process may use, at most :data:`MAX_CORES`."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, MAX_CORES)


def start_thread(run: Callable[[], Any], name: str, *, daemon: bool = False) -> threading.Thread | None:
    """Start a thread; None where the system has none left. The end of the process waits for it unless it is a ``daemon``."""
    thread = threading.Thread(target=run, name=name, daemon=daemon)
    try:
        thread.start()
    except (RuntimeError, MemoryError):  # "can't start new thread"
        return None
    return thread


class Task(Generic[R]):
    """A call that a thread makes, or the caller who wants its result: whichever comes first, and only that one."""

    def __init__(self, call: Callable[[], R]) -> None:
        self._call = call
        # The first to append its thread id makes the call. Appending is atomic, and unlike a lock that was taken it still tells who
        # the owner is when an interrupt comes right after it.
        self._claims: list[int] = []
        self._over = threading.Event()
        self._results: list[R] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Make the call, unless it was claimed already."""
        if not self._claim() or self._over.is_set():
            return
        try:
            self._results.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised by result()
            self._error = error
        finally:
            self._over.set()

    def _claim(self) -> bool:
        thread = threading.get_ident()
        self._claims.append(thread)
        return self._claims[0] == thread

    def result(self, wait: bool = False) -> R:
        """What the call returned; raises what it raised. A call that no thread has begun is made here and now, unless ``wait``."""
        if not wait:
            self.run()
        if wait or not self._claim():
            self._over.wait()
        if self._error is not None:
            raise self._error
        return self._results[0]

    def settle(self) -> None:
        """Return when the call is over; one that has not begun never will. An interrupt meanwhile is raised after that."""
        interrupt: BaseException | None = None
        while True:
            try:
                if not self._claim():
                    self._over.wait()
                break
            except BaseException as error:  # noqa: BLE001 - raised below
                interrupt = error
        if interrupt is not None:
            raise interrupt


def both(waiting: Callable[[], T], computing: Callable[[], R], name: str = "hangar-write") -> tuple[T, R]:
    """Run an I/O-bound call on a thread of its own while the caller computes; return when both are over.

    An error of either is raised, that of ``waiting`` where both fail; never before both are over. An interrupt waits for
    that too: a write that goes on behind the caller's back would collide with the next write to the same place.
    """
    task = Task(waiting)
    try:
        started = start_thread(task.run, name) is not None
        computed = computing()
        return task.result(wait=started), computed
    finally:
        task.settle()
        if task._error is not None:
            raise task._error


def together(works: list[Callable[[], None]], name: str = "hangar-decode") -> None:
    """Do all of ``works``, on several threads; the first error is raised when none is being done any more."""
    threads = min(cores(), len(works))
    if threads < 2:
        for work in works:
            work()
        return
    left = iter(works)

    def run() -> None:
        # Taking the next one is a single step of the interpreter, so no lock is needed.
        for work in left:
            work()

    helpers = [Task(run) for _ in range(threads - 1)]
    try:
        for helper in helpers:
            if start_thread(helper.run, name) is None:
                break
        run()
    finally:
        for helper in helpers:
            helper.settle()
    for helper in helpers:
        if helper._error is not None:
            raise helper._error


class _Pool(Generic[R]):
    """Up to so many threads for tasks that are handed in one after the other; a context manager."""

    def __init__(self, threads: int, name: str) -> None:
        self._most = threads
        self._name = name
        self._waiting: deque[Task[R]] = deque()
        self._threads: list[threading.Thread] = []

    def submit(self, call: Callable[[], R]) -> Task[R]:
        """Hand in a call."""
        task = Task(call)
        self._waiting.append(task)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) < self._most:
            thread = start_thread(self._work, self._name)
            self._threads += [] if thread is None else [thread]
        return task

    def _work(self) -> None:
        while self._waiting:
            try:
                task = self._waiting.popleft()
            except IndexError:  # another thread was faster
                return
            task.run()

    def __enter__(self) -> _Pool[R]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drop what has not begun, and wait for what has."""
        self._waiting.clear()
        for thread in self._threads:
            thread.join()


def in_order(work: Callable[[T], R], things: Iterable[T], name: str = "hangar-encode") -> Iterator[R]:
    """``map(work, things)`` on several threads: results in the order of ``things``, a few of which are worked on ahead."""
    source = iter(things)
    threads = cores()
    if threads < 2:
        yield from map(work, source)
        return
    with _Pool[R](threads, name) as pool:

        def submitted(count: int) -> list[Task[R]]:
            return [pool.submit(lambda thing=thing: work(thing)) for thing in islice(source, count)]  # type: ignore[misc]

        waiting = deque(submitted(threads + 2))
        while waiting:
            done = waiting.popleft().result()
            waiting += submitted(1)
            yield done


def threads_for(task_bytes: int) -> int:
    """How many threads a :class:`Pipeline` is given for tasks that hold ``task_bytes`` each; 0 where the caller's own does as well."""
    threads = min(cores(), HELD_BYTES // max(1, task_bytes))
    return threads if threads > 1 else 0


class Pipeline(Generic[T]):
    """Bounded read-ahead: tasks run on threads, results come in the order of the tasks, and the bytes held are limited.

    A context manager; at its end what has not begun never will. Whoever takes a result tells when its memory is free again
    (:meth:`free`), so that a consumer that gathers results is bounded too.

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
        Weight of the tasks let in and not yet freed.
    """

    def __init__(self, threads: int, budget: int, name: str) -> None:
        self.held = 0
        self._threads = max(1, threads)
        self._budget = budget
        self._waiting: deque[Task[T]] = deque()
        self._pool: _Pool[T] = _Pool(threads, name)

    def __len__(self) -> int:
        """How many results are to be taken."""
        return len(self._waiting)

    def room(self, weight: int) -> bool:
        """Whether a task of ``weight`` bytes is let in."""
        return self.held + weight <= self._budget or len(self._waiting) < self._threads

    def offer(self, call: Callable[[], T], weight: int) -> None:
        """Let a task in."""
        self.held += weight
        self._waiting.append(self._pool.submit(call))

    def take(self) -> T:
        """The result of the oldest task; raises what the task raised."""
        return self._waiting.popleft().result()

    def free(self, weight: int) -> None:
        """``weight`` bytes are not held any more."""
        self.held -= weight

    def __enter__(self) -> Pipeline[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, traceback)
