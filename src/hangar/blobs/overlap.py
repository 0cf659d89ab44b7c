"""Two pieces of work at once, where one of them waits for the system most of the time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["both"]

A = TypeVar("A")
B = TypeVar("B")


def both(waiting: Callable[[], A], computing: Callable[[], B]) -> tuple[A, B]:
    """Run ``waiting`` in a thread of its own and ``computing`` in this one, and return when both are over.

    An error of either is raised, that of ``waiting`` where both fail; never before both are over. An interrupt waits for
    that too: a write that goes on behind the caller's back would fall on what is written next in its place.
    """
    results: list[A] = []
    errors: list[BaseException] = []
    begun, over = threading.Lock(), threading.Event()

    def run() -> None:
        try:
            if begun.acquire(blocking=False):
                results.append(waiting())
        except BaseException as error:  # noqa: BLE001 - it is raised below
            errors.append(error)
        finally:
            over.set()

    started = False
    interrupt: BaseException | None = None
    try:
        threading.Thread(target=run, name="hangar-write").start()
        started = True
        computed = computing()
    finally:
        # A thread that may not have come to its work, because its start failed or was interrupted, is kept from it.
        while started or not begun.acquire(blocking=False):
            try:
                over.wait()
                break
            except BaseException as error:  # noqa: BLE001 - it is raised below
                interrupt = error
        if interrupt is not None:
            raise interrupt
        if errors:
            raise errors[0]
    return results[0], computed
