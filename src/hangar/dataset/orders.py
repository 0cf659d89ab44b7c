"""Orders: which item is at each position of an epoch, as a function of seed, epoch and position.

No item depends on the items before it, so an epoch can start at any position, with any number of ranks and workers.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from hangar.dataset.permutation import Numbers, hashed, key_of, permutation, uniform_below

__all__ = ["Balanced", "BlockShuffled", "Filtered", "Order", "Sequential", "Shuffled", "Weighted", "fingerprint"]


class Order(Protocol):
    """The order of the items of every epoch.

    Attributes
    ----------
    count
        Number of positions of an epoch.
    name
        Text that identifies the order, with count and seed. Two orders with equal names are equal in every epoch.
    """

    count: int
    name: str

    def at(self, positions: Numbers, epoch: int) -> Numbers:
        """Items at positions of an epoch: uint64, shape (m,)."""


class Sequential:
    """All items in order, the same in each epoch."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.name = f"sequential {count}"

    def at(self, positions: Numbers, epoch: int) -> Numbers:
        """See :class:`Order`."""
        return positions


class Shuffled:
    """Each item once, in an order that is random over all of them."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.name = f"shuffled {count} {seed}"
        self._key = key_of("shuffled", seed)
        self._cached: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cached": None}

    def at(self, positions: Numbers, epoch: int) -> Numbers:
        """See :class:`Order`."""
        cached = self._cached
        if cached is None or cached[0] != epoch:
            cached = self._cached = epoch, permutation(self.count, key_of(self._key, epoch))
        items: Numbers = cached[1](positions)
        return items


class BlockShuffled:
    """Each item once. Blocks of neighbours are in random order, and items are shuffled within a window of blocks.

    The disk then reads a few long runs at a time.

    Parameters
    ----------
    block
        Items of a block.
    window
        Blocks of a window.
    """

    def __init__(self, count: int, seed: int, block: int, window: int) -> None:
        self.count = count
        self.name = f"blocks {count} {seed} {block} {window}"
        self._key = key_of("blocks", seed)
        self._block, self._window = block, window
        self._cached: tuple[int, Numbers, Numbers] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cached": None}

    def _blocks(self, epoch: int) -> tuple[Numbers, Numbers]:
        """First item of each block in the order of the epoch, and the position where it begins."""
        cached = self._cached
        if cached is None or cached[0] != epoch:
            blocks = -(-self.count // self._block)
            order = permutation(blocks, key_of(self._key, epoch))(np.arange(blocks, dtype=np.uint64))
            sizes = np.where(order == blocks - 1, self.count - (blocks - 1) * self._block, self._block).astype(
                np.uint64
            )
            begins = np.concatenate([np.zeros(1, np.uint64), sizes.cumsum(dtype=np.uint64)])
            cached = self._cached = epoch, order * np.uint64(self._block), begins
        return cached[1], cached[2]

    def at(self, positions: Numbers, epoch: int) -> Numbers:
        """See :class:`Order`."""
        firsts, begins = self._blocks(epoch)
        windows = (begins[1:].searchsorted(positions, side="right")) // self._window
        items = np.empty(len(positions), np.uint64)
        for window in np.unique(windows).tolist():
            chosen = np.flatnonzero(windows == window)
            begin, end = begins[window * self._window], begins[min((window + 1) * self._window, len(firsts))]
            within = permutation(int(end - begin), key_of(self._key, epoch, window))(positions[chosen] - begin) + begin
            block = begins.searchsorted(within, side="right") - 1
            items[chosen] = firsts[block] + (within - begins[block])
        return items


class Weighted:
    """Draws with replacement: item ``i`` is drawn with a probability in proportion to ``weights[i]``, float64, shape (n,)."""

    def __init__(self, weights: npt.NDArray[np.float64], seed: int, count: int) -> None:
        self.count = count
        self.name = f"weighted {count} {seed} {fingerprint(weights)}"
        self._key = key_of("weighted", seed)
        self._ends = weights.cumsum()
        self._last = np.uint64(np.flatnonzero(weights)[-1])

    def at(self, positions: Numbers, epoch: int) -> Numbers:
        """See :class:`Order`."""
        fractions = (hashed(positions, key_of(self._key, epoch)) >> np.uint64(11)) * 2.0**-53
        found = self._ends.searchsorted(fractions * self._ends[-1], side="right").astype(np.uint64)
        items: Numbers = np.minimum(found, self._last)
        return items


class Balanced:
    """Draws with replacement, all classes equally often.

    Positions are divided into cycles. A cycle has each class once, in random order, with a random item of that class.

    Parameters
    ----------
    classes
        Class of each item: integers from 0, all of which occur.
    """

    def __init__(self, classes: npt.NDArray[np.int64], seed: int, count: int) -> None:
        self.count = count
        self.name = f"balanced {count} {seed} {fingerprint(classes)}"
        self._key = key_of("balanced", seed)
        self._members = np.argsort(classes, kind="stable").astype(np.uint32 if len(classes) <= 2**32 else np.uint64)
        self._sizes = np.bincount(classes).astype(np.uint64)
        self._starts = self._sizes.cumsum(dtype=np.uint64) - self._sizes

    def at(self, positions: Numbers, epoch: int) -> Numbers:
        """See :class:`Order`."""
        key = key_of(self._key, epoch)
        number = len(self._sizes)
        cycles, which = np.unique(positions // np.uint64(number), return_inverse=True)
        slots = cycles[:, None] * np.uint64(number) + np.arange(number, dtype=np.uint64)
        orders = np.argsort(hashed(slots, key), axis=1, kind="stable")
        classes = orders[which, (positions % np.uint64(number)).astype(np.intp)]
        within = uniform_below(positions, key_of(key, "member"), self._sizes[classes])
        items: Numbers = self._members[self._starts[classes] + within].astype(np.uint64)
        return items


class Filtered:
    """An order of some of the items.

    Parameters
    ----------
    order
        Order of the chosen items, numbered from 0.
    chosen
        Numbers of the chosen items, shape (order.count,).
    """

    def __init__(self, order: Order, chosen: npt.NDArray[np.integer[Any]]) -> None:
        self.count = order.count
        self.name = f"{order.name} of {fingerprint(chosen)}"
        self._order: Final = order
        self._chosen: Final = chosen

    def at(self, positions: Numbers, epoch: int) -> Numbers:
        """See :class:`Order`."""
        return self._chosen[self._order.at(positions, epoch)].astype(np.uint64)


def fingerprint(array: npt.NDArray[Any]) -> str:
    """Short digest of an array, the same on machines of any byte order."""
    fixed = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return blake2b(fixed.tobytes(), digest_size=8, person=b"hangar-order").hexdigest()
