"""Whether a ``with`` statement is still running, also where an interrupt kept its ``__exit__`` from running.

Ctrl-C, or any exception that a signal handler raises, can strike as a Python function is entered, before its first instruction. In ``__exit__`` that is before
any ``try``: nothing of it runs, and whatever the block held stays held. What must not stay so asks the interpreter instead: a ``with``
statement looks up ``__exit__`` before it calls ``__enter__``, and keeps what it got on its stack until the statement is left, however that
happens. An ``__exit__`` that is :class:`FreshExit` gives it an object made for this one statement, to which the manager has a weak reference.

A traceback, which notebooks keep, does not keep that object alive: it is made and called by C code, and no frame has it as a variable.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

__all__ = ["FreshExit", "Managed", "Running", "is_running"]

Running = Callable[[], object]
"""Returns something that is not None as long as the statement is running."""


class Managed(Protocol):
    """A context manager for one ``with`` statement.

    Attributes
    ----------
    running
        Set when ``__exit__`` is looked up. None: there is no statement, the manager is entered and left by calls.
    """

    running: Running | None


class FreshExit:
    """An ``__exit__`` that is another object each time it is looked up.

    Parameters
    ----------
    end
        Called as ``end(manager, type, exception, traceback)``.
    """

    __slots__ = ("_end",)

    def __init__(self, end: Callable[..., None]) -> None:
        self._end = end

    def __get__(self, manager: Managed | None, owner: type) -> Callable[..., None]:
        if manager is None:
            return self._end
        leave = partial(self._end, manager)
        if manager.running is None:
            manager.running = weakref.ref(leave)
        return leave


def is_running(manager: Managed) -> bool:
    """Whether the statement of a manager that was entered has not been left, in whatever way; True where there is no statement."""
    running: Any = manager.running
    return running is None or running() is not None
