"""Thread helpers: number of threads, background calls, parallel map, and a bounded pipeline.

The only module that starts worker threads. Four rules hold everywhere. A thread without work ends after
:data:`IDLE_SECONDS`, and at once when the process ends, so no pool has to be shut down. A forked child starts threads of
its own and waits for none of its parent. If no thread can be started ("can't start new thread"), the calling thread
does the work. Each call is made exactly once, by the thread that claims it first.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

__all__ = [
    "Pipeline",
    "Task",
    "cores",
    "in_background",
    "parallel_list",
    "parallel_map",
    "run_parallel",
    "share_cores",
    "start_thread",
    "threads_for",
]

MAX_CORES: Final = 16
"""Maximum number of cores that one call uses."""
HELD_BYTES: Final = 512 * 2**20
"""Maximum total memory of the tasks of a :class:`Pipeline`; if one task needs more, no threads are used."""
IDLE_SECONDS: Final = 0.05
"""A worker thread without work waits so long for more: giving it work takes 2 microseconds, starting a thread 60 or more."""
_POLL_SECONDS: Final = 0.001
IDLE_NAME: Final = "hangar-idle"
"""Name of a worker thread while it has no work."""

T = TypeVar("T")
R = TypeVar("R")


_processes = 1


def cores() -> int:
    """Number of cores that this process may use, at most :data:`MAX_CORES`."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(1, count // _processes), MAX_CORES)


def share_cores(processes: int) -> None:
    """Note that ``processes`` processes like this one share the cores: each uses its part of them from now on."""
    global _processes  # noqa: PLW0603  the cores belong to the process
    _processes = processes


def start_thread(run: Callable[[], Any], name: str, *, daemon: bool = False) -> threading.Thread | None:
    """Start a thread; None if the system cannot start one. The process waits for it at exit unless ``daemon``."""
    thread = threading.Thread(target=run, name=name, daemon=daemon)
    try:
        thread.start()
    except (RuntimeError, MemoryError):  # "can't start new thread"
        return None
    return thread


Work = tuple[Callable[[], Any], str]
"""A call, and the name that the thread has meanwhile."""


class _Worker:
    """A thread that makes calls, one after the other."""

    def __init__(self, call: Callable[[], Any], name: str) -> None:
        self.inbox: SimpleQueue[Work | None] = SimpleQueue()
        self.inbox.put((call, name))
        self.ended = False

    def run(self) -> None:
        """Make the calls of the inbox until none comes for :data:`IDLE_SECONDS`."""
        thread = threading.current_thread()
        work = self.inbox.get()
        while work is not None:
            call, thread.name = work
            call()
            # An idle thread holds no memory of its last call.
            del call, work
            thread.name = IDLE_NAME
            work = self._next()

    def _next(self) -> Work | None:
        if _exiting:
            return None
        # Appending to a list and popping from it are atomic: whoever pops a worker is the only one who gives it work.
        _idle.append(self)
        try:
            return self.inbox.get(timeout=IDLE_SECONDS)
        except Empty:
            self.ended = True
        # Work may have come before that was seen. Who gave it takes it back, unless it is taken here: see in_background.
        try:
            work = self.inbox.get_nowait()
        except Empty:
            with suppress(ValueError):
                _idle.remove(self)
            return None
        self.ended = False
        return work


_idle: list[_Worker] = []
_exiting = False


def in_background(call: Callable[[], Any], name: str) -> bool:
    """Make a call on a worker thread, an idle one or a new one; False if the system cannot start one.

    The process waits for it at exit.
    """
    while _idle:
        try:
            worker = _idle.pop()
        except IndexError:  # another thread was faster
            break
        # After an interrupt here, the worker waits in vain and ends.
        worker.inbox.put((call, name))
        if not worker.ended:
            return True
        try:
            worker.inbox.get_nowait()
        except Empty:
            return True
    return start_thread(_Worker(call, name).run, name) is not None


def _end_idle_workers() -> None:
    """End idle workers at once when the process ends: it waits for them."""
    global _exiting  # noqa: PLW0603  the threads belong to the process
    _exiting = True
    while _idle:
        try:
            _idle.pop().inbox.put(None)
        except IndexError:
            break


# An atexit function is called too late, after Python has waited for the threads. Without this, exit takes up to IDLE_SECONDS.
with suppress(AttributeError, RuntimeError):
    threading._register_atexit(_end_idle_workers)  # type: ignore[attr-defined]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


class Task(Generic[R]):
    """A call that is made once, either by a worker thread or by the thread that asks for its result."""

    def __init__(self, call: Callable[[], R]) -> None:
        self._call = call
        self._process = os.getpid()
        # The first thread to append its id makes the call. Appending is atomic, and unlike a lock it still tells the
        # owner if an interrupt comes right after it.
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
        """The result of the call, or its exception. A call that no thread has begun is made here, unless ``wait``."""
        if not wait:
            self.run()
        if wait or not self._claim():
            self.wait()
            if not self._over.is_set():
                raise RuntimeError("a call of the parent process was not over when this process was forked")
        if self._error is not None:
            raise self._error
        return self._results[0]

    @property
    def over(self) -> bool:
        """Whether the call was made."""
        return self._over.is_set()

    @property
    def begun(self) -> bool:
        """Whether a thread makes the call, or has made it."""
        return bool(self._claims)

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the call was made. After a fork, a thread of the parent is not waited for."""
        if not self._over.is_set() and self._process == os.getpid():
            self._over.wait(seconds)

    def settle(self) -> None:
        """Wait until the call is over, or cancel it if it has not begun. An interrupt is raised after the wait."""
        interrupt: BaseException | None = None
        while True:
            try:
                if not self._claim():
                    self.wait()
                break
            except BaseException as error:  # noqa: BLE001 - raised below
                interrupt = error
        if interrupt is not None:
            raise interrupt


def run_parallel(works: list[Callable[[], None]], name: str = "hangar-decode") -> None:
    """Run all of ``works`` on several threads; the first error is raised when all have ended."""
    threads = min(cores(), len(works))
    if threads < 2:
        for work in works:
            work()
        return
    left = iter(works)

    def run() -> None:
        # Taking the next item is atomic in the interpreter, so no lock is needed.
        for work in left:
            work()

    helpers = [Task(run) for _ in range(threads - 1)]
    try:
        for helper in helpers:
            if not in_background(helper.run, name):
                break
        run()
    finally:
        for helper in helpers:
            helper.settle()
    for helper in helpers:
        if helper._error is not None:
            raise helper._error


def parallel_list(work: Callable[[T], R], items: Sequence[T], name: str = "hangar-decode") -> list[R]:
    """``list(map(work, items))`` on several threads. The first error ends it."""
    count = len(items)
    if count < 2 or min(cores(), count) < 2:
        return list(map(work, items))
    results: list[Any] = [None] * count
    left = iter(range(count))

    def run() -> None:
        # Taking the next index is atomic in the interpreter, so no lock is needed.
        try:
            for index in left:
                results[index] = work(items[index])
        except BaseException:
            for _ in left:  # Nobody waits for what is left.
                pass
            raise

    run_parallel([run] * min(cores(), count), name)
    return results


class _Pool(Generic[R]):
    """At most so many worker threads for one job; a context manager."""

    def __init__(self, threads: int, name: str) -> None:
        self._most = threads
        self._name = name
        self._waiting: deque[Task[R]] = deque()
        self._helpers: list[Task[None]] = []

    def submit(self, call: Callable[[], R]) -> Task[R]:
        """Submit a call."""
        task = Task(call)
        self._waiting.append(task)
        self._helpers = [helper for helper in self._helpers if not helper.over]
        if len(self._helpers) < self._most:
            helper = Task(self._work)
            # Kept before it begins: after an interrupt here, it is waited for.
            self._helpers.append(helper)
            if not in_background(helper.run, self._name):
                self._helpers.pop()
        return task

    def result(self, task: Task[R]) -> R:
        """The result of a task. If no thread has begun it, the call is made here, unless it would overlap with others of the one thread."""
        if self._most == 1:
            while not task.begun and any(not helper.over for helper in self._helpers):
                # Ends with the call; the time only matters if the thread ends just now, without having begun it.
                task.wait(_POLL_SECONDS)
        return task.result()

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
        """Cancel the tasks that have not begun, and wait for the others."""
        self._waiting.clear()
        for helper in self._helpers:
            if not helper._claim():
                helper.wait()


def parallel_map(work: Callable[[T], R], items: Iterable[T], name: str = "hangar-encode") -> Iterator[R]:
    """Parallel ``map(work, items)`` on several threads; results come in order, with a few items computed ahead."""
    source = iter(items)
    threads = cores()
    if threads < 2:
        yield from map(work, source)
        return
    with _Pool[R](threads, name) as pool:

        def submitted(count: int) -> list[Task[R]]:
            return [pool.submit(lambda item=item: work(item)) for item in islice(source, count)]  # type: ignore[misc]

        waiting = deque(submitted(threads + 2))
        while waiting:
            done = waiting.popleft().result()
            waiting += submitted(1)
            yield done


def threads_for(task_bytes: int) -> int:
    """Number of threads for a :class:`Pipeline` of tasks of ``task_bytes`` bytes each; 0 if threads would not help."""
    threads = min(cores(), HELD_BYTES // max(1, task_bytes))
    return threads if threads > 1 else 0


class Pipeline(Generic[T]):
    """Bounded read-ahead: tasks run on threads, results come in the order of the tasks, and the bytes held are limited.

    A context manager; at its end, tasks that have not begun are cancelled. The consumer of a result calls
    :meth:`free` when its memory is free again, so that a consumer that collects results is bounded too.

    Parameters
    ----------
    threads
        Number of threads; with 0 a task runs when its result is taken. With 1, one task runs at a time, in their order.
    budget
        Maximum bytes held. It may be exceeded by a task for a thread that would be idle otherwise.
    name
        Name of the threads.

    Attributes
    ----------
    held
        Total weight of the submitted tasks that are not freed yet.
    """

    def __init__(self, threads: int, budget: int, name: str) -> None:
        self.held = 0
        self._threads = max(1, threads)
        self._budget = budget
        self._waiting: deque[Task[T]] = deque()
        self._pool: _Pool[T] = _Pool(threads, name)

    def __len__(self) -> int:
        """Number of results that are not taken yet."""
        return len(self._waiting)

    def room(self, weight: int) -> bool:
        """Whether a task of ``weight`` bytes may be submitted now."""
        return self.held + weight <= self._budget or len(self._waiting) < self._threads

    def offer(self, call: Callable[[], T], weight: int) -> None:
        """Submit a task."""
        self.held += weight
        self._waiting.append(self._pool.submit(call))

    def take(self) -> T:
        """The result of the oldest task, or its exception."""
        return self._pool.result(self._waiting.popleft())

    def free(self, weight: int) -> None:
        """Report that ``weight`` bytes are not held any more."""
        self.held -= weight

    def __enter__(self) -> Pipeline[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, traceback)
