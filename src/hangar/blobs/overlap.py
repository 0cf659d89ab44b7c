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

    An error of either is raised, that of ``waiting`` where both fail; never before both are over.
    """
    results: list[A] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(waiting())
        except BaseException as error:  # noqa: BLE001 - it is raised below
            errors.append(error)

    thread = threading.Thread(target=run, name="hangar-write")
    thread.start()
    try:
        computed = computing()
    finally:
        thread.join()
        if errors:
            raise errors[0]
    return results[0], computed
