"""Work on chunks, on as many threads as there are processors.

Threads last one call: there is no pool that a forked child would find without its threads, or that anybody has to end.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

__all__ = ["in_order", "processors", "together"]

T = TypeVar("T")
R = TypeVar("R")

_MOST: Final = 16


def processors() -> int:
    """How many threads are worth having."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, _MOST)


def in_order(work: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
    """What ``work`` makes of each of ``things``, in their order; a few are worked on ahead of what was taken."""
    source = iter(things)
    threads = processors()
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, "hangar-encode") as pool:
        try:
            waiting.extend(pool.submit(work, thing) for thing in islice(source, threads + 2))
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(work, thing) for thing in islice(source, 1))
                yield done
        finally:
            for future in waiting:
                future.cancel()


def together(works: list[Callable[[], None]]) -> None:
    """Do all of ``works``; the first error is raised when none is being done any more."""
    threads = min(processors(), len(works))
    if threads < 2:
        for work in works:
            work()
        return
    left = iter(works)

    def run() -> None:
        # Taking the next one is a single step of the interpreter, so no lock is needed.
        for work in left:
            work()

    with ThreadPoolExecutor(threads - 1, "hangar-decode") as pool:
        futures = [pool.submit(run) for _ in range(threads - 1)]
        run()
    for future in futures:
        future.result()
