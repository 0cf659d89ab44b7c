"""``with`` blocks of checkouts, their collections, columns and samples: one batch of writes each."""

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
    """The context manager of one block, made for it."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: Any) -> None: ...


class _LookedUp(threading.local):
    """What the ``with`` statement that is just beginning on this thread has got for ``__exit__``."""

    block: tuple[Callable[[], BatchBlock | None], Callable[[], OpenBlock | None]] | None = None
    """Of a look-up in an instance: which one, and the block made for it, as long as the statement holds that."""
    by_class: tuple[list[OpenBlock], Callable[[], object]] | None = None
    """Of a look-up in the class, as ``contextlib.ExitStack`` does it: where it expects the block, and whether it is still held."""


_looked_up = _LookedUp()


class _BlockExit:
    """The ``__exit__`` of whatever opens blocks: looked up before ``__enter__`` is called, it makes the block.

    A ``with`` statement holds what it gets here until it is left, however that happens, and nobody else does. So its life tells whether the
    statement is running, as ``hangar.statements`` says.
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
    """Something whose ``with`` block is one batch of writes."""

    def _open_batch(self) -> OpenBlock:
        """The context manager of a new block."""
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
