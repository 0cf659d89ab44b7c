"""Detect whether a ``with`` statement is still running, even if an interrupt kept its ``__exit__`` from running.

Ctrl-C, or any exception of a signal handler, can be raised when a Python function is entered, before its first
instruction. In ``__exit__`` this is before any ``try``, so nothing of it runs and the resource stays taken. This
module detects that: a ``with`` statement looks up ``__exit__`` before it calls ``__enter__``, and keeps the result on
the interpreter's stack until the statement is left in any way. A :class:`FreshExit` descriptor returns a new object
for each statement, and the manager has a weak reference to it. The statement has ended when that reference is dead.

A traceback, which notebooks keep, does not keep this object alive: it is created and called by C code, and no frame
has it as a variable.
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
    """Descriptor for ``__exit__`` that returns a new object on each lookup.

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
    """Whether the statement of an entered manager is still running; True if it was entered without a statement."""
    running: Any = manager.running
    return running is None or running() is not None
