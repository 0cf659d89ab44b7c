"""Statistics of a loader: how fast it delivers, and how long the training step waits for it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["LoaderStats"]


class LoaderStats:
    """Statistics of one iteration of a loader: speed, waiting time, bytes.

    Attributes
    ----------
    batches, samples
        Number delivered so far.
    bytes_read
        Bytes of the delivered values: of arrays and bytes their size, of texts their number of characters.
    seconds
        Time from the first request to the last, in seconds; the time of the training steps is part of it.
    waited
        The part of ``seconds`` in which the loop waited for a batch, in seconds.
    """

    def __init__(self) -> None:
        self.batches = self.samples = self.bytes_read = 0
        self.seconds = self.waited = 0.0
        self._began: float | None = None

    def add(self, batch: Any, samples: int, waited: float) -> None:
        """Count a batch of ``samples`` samples that is delivered now, after the loop waited for it."""
        now = time.perf_counter()
        if self._began is None:
            self._began = now - waited
        self.batches += 1
        self.samples += samples
        self.bytes_read += _bytes(batch)
        self.waited += waited
        self.seconds = now - self._began

    def returned(self) -> None:
        """Note that the loop has used a batch and asks for the next one."""
        if self._began is not None:
            self.seconds = time.perf_counter() - self._began

    @property
    def samples_per_second(self) -> float:
        """Samples delivered in a second; 0 before the first."""
        return self.samples / self.seconds if self.seconds else 0.0

    @property
    def wait_share(self) -> float:
        """Share of the time in which the loop waited for data, from 0 to 1."""
        return self.waited / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        return (
            f"{self.samples:,} samples in {self.seconds:.1f} s: {self.samples_per_second:,.0f} samples/s, "
            f"{self.wait_share:.1%} of the time waiting for data, {self.bytes_read / 1e6:,.1f} MB read"
        )

    def __repr__(self) -> str:
        return f"<LoaderStats: {self}>"


def _bytes(value: Any) -> int:
    """Bytes of the values of a batch of any form."""
    size = getattr(value, "nbytes", None)
    if size is not None:
        return int(size)
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, Sequence) else 0
