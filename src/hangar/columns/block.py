"""``with`` blocks of checkouts, column collections, columns and samples: each block is one batch of writes."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from hangar.statements import Managed

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BatchBlock", "OpenBlock"]


class OpenBlock(Managed, Protocol):
    """Context manager of one ``with`` block."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: Any) -> None: ...


class _LookedUp(threading.local):
    """The latest look-up of ``__exit__`` on this thread, by a ``with`` statement that is about to call ``__enter__``."""

    block: tuple[Callable[[], BatchBlock | None], Callable[[], OpenBlock | None]] | None = None
    """Look-up on an instance: weak references to the instance and to the block created for it."""
    by_class: tuple[list[OpenBlock], Callable[[], object]] | None = None
    """Look-up on the class (``contextlib.ExitStack`` does it): the list to put the block into, and a weak reference that tells whether
    the result is still held."""


_looked_up = _LookedUp()


class _BlockExit:
    """Descriptor for ``__exit__`` that creates the block. A ``with`` statement looks ``__exit__`` up before it calls ``__enter__``.

    Only the ``with`` statement holds the bound method, until it is left in any way, interrupts included. So a weak
    reference to it tells whether the statement is still running; see ``hangar.statements``.
    """

    def __get__(self, owner: BatchBlock | None, kind: type) -> Callable[..., None]:
        if owner is None:
            entered: list[OpenBlock] = []
            leave = partial(_leave_by_class, entered)
            _looked_up.by_class = entered, weakref.ref(leave)
            return leave
        block = owner._open_batch()
        _looked_up.block = weakref.ref(owner), weakref.ref(block)
        return block.__exit__


def _leave_by_class(entered: list[OpenBlock], owner: BatchBlock, *error: Any) -> None:
    (entered.pop() if entered else owner).__exit__(*error)


class BatchBlock:
    """Base class of objects whose ``with`` block is one batch of writes."""

    def _open_batch(self) -> OpenBlock:
        """Create the context manager of a new block."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        looked_up, by_class = _looked_up.block, _looked_up.by_class
        _looked_up.block = _looked_up.by_class = None
        block = looked_up[1]() if looked_up is not None and looked_up[0]() is self else None
        if block is None:
            block = self._open_batch()
            if by_class is not None and by_class[1]() is not None:
                entered, block.running = by_class
                entered.append(block)
        block.__enter__()
        return self

    if TYPE_CHECKING:

        def __exit__(self, *_: Any) -> None: ...

    else:
        __exit__ = _BlockExit()
