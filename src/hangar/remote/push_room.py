"""Disk space of unfinished pushes: old ones are deleted, all together have a limit."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from hangar.blobs.orphans import drop_push
from hangar.blobs.unfinished import unfinished_pushes
from hangar.errors import HangarError, ResourceLimitError
from hangar.stores import Stores
from hangar.wording import plural

__all__ = ["PushRoom"]

T = TypeVar("T")
_STEP_BYTES: Final = 64 * 2**20
"""The space is measured again whenever so much has come."""
_CLEAN_SECONDS: Final = 600.0


class PushRoom:
    """The space that the pushes of a repository may take before they are published.

    Parameters
    ----------
    most
        Bytes of all of them together.
    """

    def __init__(self, stores: Stores, most: int) -> None:
        self._stores = stores
        self._most = most
        self._lock = threading.Lock()
        self._came = 0
        self._cleaned = -_CLEAN_SECONDS

    def clean(self) -> None:
        """Delete the pushes that nobody continued in time. Looks every ten minutes."""
        with self._lock:
            if time.monotonic() - self._cleaned < _CLEAN_SECONDS:
                return
            self._cleaned = time.monotonic()
        with contextlib.suppress(HangarError):
            for push in unfinished_pushes(self._stores.directory):
                if push.expired:
                    drop_push(self._stores.db, self._stores.directory, push)

    def checked(self, frames: Iterable[T], size: Callable[[T], int]) -> Iterator[T]:
        """The frames of a push, as long as there is room for them.

        Raises
        ------
        ResourceLimitError
            The pushes in progress take too much space.
        """
        for frame in frames:
            nbytes = size(frame)
            with self._lock:
                before = self._came // _STEP_BYTES
                self._came += nbytes
                due = self._came // _STEP_BYTES > before or self._came == nbytes
            if due or nbytes > self._most:
                self._make_room(nbytes)
            yield frame

    def _make_room(self, nbytes: int) -> None:
        pushes = unfinished_pushes(self._stores.directory)
        taken = sum(push.nbytes for push in pushes) + nbytes
        for push in pushes:
            if taken <= self._most:
                return
            if drop_push(self._stores.db, self._stores.directory, push):
                taken -= push.nbytes
        if taken > self._most:
            raise ResourceLimitError(
                f"unfinished pushes take more than the {plural(self._most, 'byte')} that this server allows them: push less "
                "at a time, for example older commits first, or have its operator raise unfinished-gb"
            )
