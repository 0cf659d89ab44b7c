"""Slots: blocks of shared memory in which workers hand over the bytes of values, without a copy through a pipe.

A slot is an anonymous file in memory (``memfd``; an unlinked temporary file where the system has none), mapped by the
worker that fills it and by the process that writes to the repository. It has no name, so nothing is left behind when
processes are killed. One side uses a slot at a time. The first 8 bytes hold the index of the item in progress, so that
the item at which a worker died is known.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Final

from hangar.errors import ResourceLimitError

__all__ = ["HEADER_BYTES", "NO_ITEM", "Slot", "new_slot"]

SLOT_BYTES: Final = 8 * 2**20
"""Size of a new slot, to which a grown slot shrinks when it is free again."""
HEADER_BYTES: Final = 64
NO_ITEM: Final = 2**64 - 1


class Slot:
    """One slot, as one process sees it.

    Parameters
    ----------
    descriptor
        File descriptor of the memory. It is closed with the slot.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None
        self._size = 0

    def _memory(self, size: int) -> mmap.mmap:
        """The memory, at least ``size`` bytes; it grows if it is smaller."""
        actual = os.fstat(self.descriptor).st_size
        if actual < size:
            actual = max(size, 2 * actual)
            try:
                _allocate(self.descriptor, actual)
            except (OSError, MemoryError) as error:
                raise ResourceLimitError(f"no memory for a block of {actual:,} bytes: {error}") from error
        if self._map is None or self._size != actual:
            self._map = mmap.mmap(self.descriptor, actual)
            self._size = actual
        return self._map

    def begin(self) -> None:
        """Before a worker fills the slot: map it at its present size."""
        self._memory(HEADER_BYTES)

    def note_item(self, index: int) -> None:
        """Record which item is in progress; ``NO_ITEM`` after the last."""
        assert self._map is not None
        self._map[:8] = index.to_bytes(8, "little")

    def item(self) -> int:
        """The item in progress."""
        return int.from_bytes(self._memory(HEADER_BYTES)[:8], "little")

    def put(self, offset: int, buffer: bytes | memoryview) -> int:
        """Copy ``buffer`` to ``offset``; returns the end."""
        end = offset + memoryview(buffer).nbytes
        memory = self._map
        if memory is None or end > self._size:
            memory = self._memory(end)
        memory[offset:end] = buffer
        return end

    def view(self, size: int) -> memoryview:
        """The first ``size`` bytes, to read. Slices of it keep the memory mapped."""
        return memoryview(self._memory(max(size, HEADER_BYTES)))

    def free(self) -> None:
        """After its content was used: give back the memory by which it grew."""
        if self._size > SLOT_BYTES:
            self._map = None
            self._size = 0
            os.ftruncate(self.descriptor, SLOT_BYTES)

    def close(self) -> None:
        """Close it in this process."""
        self._map = None
        os.close(self.descriptor)


def new_slot() -> Slot:
    """Make a slot.

    Raises
    ------
    ResourceLimitError
        There are no more file descriptors, or no memory.
    """
    try:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("hangar-import", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, SLOT_BYTES)
        os.pwrite(descriptor, NO_ITEM.to_bytes(8, "little"), 0)
    except OSError as error:
        raise ResourceLimitError(f"no shared memory for a bulk import: {error}") from error
    return Slot(descriptor)


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        # A full memory is an error here. Without it, it would be a signal (SIGBUS) at the first access.
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
