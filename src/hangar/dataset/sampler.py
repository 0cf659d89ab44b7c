"""Sampler: which items are in each batch of an epoch, on each rank. Its state is only the epoch and the position.

The global order of an epoch depends on seed and epoch alone. With ``world_size`` ranks, rank ``r`` takes positions ``r``,
``r + world_size``, ... of it. After a step, all ranks together have delivered the positions up to one number, which is the
state. So a run resumes exactly, also with another number of ranks, workers or samples in a batch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sized
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from hangar.dataset.orders import Balanced, BlockShuffled, Filtered, Order, Sequential, Shuffled, Weighted
from hangar.dataset.selection import Selection, narrow
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.flags import check_flag

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Sampler", "check_number", "this_rank"]

_POSITIONS_AT_ONCE: Final = 16_384
"""Positions whose items are computed together, so that a batch of them costs little."""
_VERSION: Final = 1

ItemArray = npt.NDArray[np.int64]


class Sampler:
    """Order of the items of a data set: for ``batch_sampler`` (or ``sampler``) of a ``DataLoader``, and for ``hangar.dataset.Loader``.

    Parameters
    ----------
    data
        A data set, or its number of items.
    batch_size
        Items of a batch on this rank: an iteration gives int64 arrays of them. None: it gives single items, for
        ``sampler=`` of a ``DataLoader``.
    shuffle
        Whether the order is random over all items, another one in each epoch. Nothing is stored: it is a permutation
        function of seed and epoch.
    seed
        From 0 to 2**64 - 1.
    block_size
        For data on a slow disk, which is then read in long runs: shuffle blocks of this many neighbours, and the items
        within a window of ``window`` blocks.
    window
        Blocks of a window.
    weights
        Weight of each item, finite and not negative, shape (n,): draw with replacement, in proportion to it.
    balance
        Class of each item, shape (n,), or the name of a column of the data set: draw with replacement, all classes
        equally often.
    where
        The items to draw from: a boolean mask of shape (n,), or item numbers without repeats.
    num_samples
        With ``weights`` or ``balance``: draws of an epoch over all ranks; default the number of items.
    drop_last
        Whether to leave out the last batch of an epoch if not all ranks can fill it.
    rank, world_size
        This process and their number. Default: those of ``torch.distributed`` if it is initialized, else of the
        environment variables ``RANK`` and ``WORLD_SIZE``, else one process.
    pad
        Whether the last batch of several ranks, if it is not full, repeats the first items of the epoch so that all
        ranks have batches of one size, as ``DistributedSampler`` does. Without it each item comes exactly once, and
        ranks may differ by one item and by one batch.

    Attributes
    ----------
    epoch
        Current epoch, from 0: the one that an iteration goes through, or the next one if none has begun.
    order
        The global order.
    data_count
        Number of items of the data set. The order has fewer if ``where`` chooses some, or another number of draws.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        (a ``ValueError``, a ``TypeError``) an argument is out of range, or arguments contradict each other.

    Notes
    -----
    Each new iteration is the next epoch if the iteration before gave any batch, whether it came to its end or not. After
    :meth:`load_state_dict` it continues in the middle of an epoch.

    A ``DataLoader`` with workers requests batches before it delivers them. Pass the number of delivered batches to
    :meth:`state_dict`. ``hangar.dataset.Loader`` counts them itself.
    """

    def __init__(
        self,
        data: Sized | int | np.integer[Any],
        batch_size: int | None = None,
        *,
        shuffle: bool = True,
        seed: int = 0,
        block_size: int | None = None,
        window: int = 16,
        weights: npt.ArrayLike | None = None,
        balance: npt.ArrayLike | str | None = None,
        where: npt.ArrayLike | None = None,
        num_samples: int | None = None,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        pad: bool = True,
    ) -> None:
        for flag, name in ((shuffle, "shuffle"), (drop_last, "drop_last"), (pad, "pad")):
            check_flag(flag, name)
        count = self.data_count = _count_of(data)
        check_number(seed, "seed", 0, 2**64 - 1)
        self.batch_size = None if batch_size is None else check_number(batch_size, "batch_size", 1)
        self.seed, self.drop_last, self.pad = seed, drop_last, pad
        self.rank, self.world_size = this_rank(rank, world_size)
        chosen = None if where is None else _chosen(where, count)
        draws = None if num_samples is None else check_number(num_samples, "num_samples", 1)
        made = [
            *([_weighted(weights, count, chosen, seed, draws)] if weights is not None else []),
            *([_balanced(balance, data, count, chosen, seed, draws)] if balance is not None else []),
            *([_blocks(block_size, window, count, chosen, seed)] if block_size is not None else []),
        ]
        if len(made) > 1 or (made and not shuffle):
            raise InvalidInputError(
                "a sampler takes one of weights=, balance=, block_size= and shuffle=False, not several"
            )
        if draws is not None and weights is None and balance is None:
            raise InvalidInputError("num_samples is for draws with replacement: give weights or balance too")
        plain = count if chosen is None else len(chosen)
        order: Order = made[0] if made else Shuffled(plain, seed) if shuffle else Sequential(plain)
        self.order: Order = order if chosen is None else Filtered(order, chosen)
        self.epoch = 0
        self._position = 0
        self._begun_at: int | None = None

    # ------------------------------------------------------------------ what comes when

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank; without ``batch_size`` its items."""
        count, size = self.order.count, (self.batch_size or 1)
        step = size * self.world_size
        if self.drop_last:
            return count // step
        mine = count + step - 1 if self.pad else max(0, count - self.rank + step - 1)
        return mine // step

    def items(self, epoch: int, start: int, stop: int) -> ItemArray:
        """Items at positions ``start`` to ``stop`` of the global order of an epoch, of all ranks."""
        positions = np.arange(start, min(stop, self.order.count), dtype=np.uint64)
        return self.order.at(positions, epoch).astype(np.int64)

    def batch(self, epoch: int, index: int) -> ItemArray:
        """Items of the batch ``index`` of an epoch on this rank, int64; empty after the last."""
        size = self.batch_size or 1
        return next(self.batches(epoch, index * size * self.world_size), np.empty(0, np.int64))

    def batches(self, epoch: int, position: int = 0) -> Iterator[ItemArray]:
        """The batches of this rank from a global position of an epoch on. Does not change the state."""
        size, world = self.batch_size or 1, self.world_size
        step, count = size * world, self.order.count
        whole = max(0, count - position) // step
        together = max(1, _POSITIONS_AT_ONCE // size)
        for first in range(0, whole, together):
            number = min(together, whole - first)
            begin = position + first * step + self.rank
            positions = np.arange(begin, begin + number * step, world, dtype=np.uint64)
            yield from self.order.at(positions, epoch).astype(np.int64).reshape(number, size)
        rest = self._rest(position + whole * step)
        if len(rest):
            yield self.order.at(rest, epoch).astype(np.int64)

    def length_at(self, position: int) -> int:
        """Items of the batch of this rank that begins at a global position."""
        size = self.batch_size or 1
        return size if self.order.count - position >= size * self.world_size else len(self._rest(position))

    def _rest(self, position: int) -> npt.NDArray[np.uint64]:
        """Positions of this rank in the last batch, which is not full."""
        count, world = self.order.count, self.world_size
        left = count - position
        if left <= 0 or self.drop_last:
            return np.empty(0, np.uint64)
        if self.pad:
            mine = np.arange(position + self.rank, position + -(-left // world) * world, world, dtype=np.uint64)
            wrapped: npt.NDArray[np.uint64] = mine % np.uint64(count)
            return wrapped
        return np.arange(position + self.rank, count, world, dtype=np.uint64)

    # ------------------------------------------------------------------ iteration

    def __iter__(self) -> Iterator[Any]:
        """Batches of the current epoch from where it stands, as int64 arrays; without ``batch_size`` items, as ints."""
        epoch, position = self.begin()
        for drawn in self.batches(epoch, position):
            position += (self.batch_size or 1) * self.world_size
            self.note(epoch, position)
            yield drawn if self.batch_size is not None else int(drawn[0])

    def begin(self) -> tuple[int, int]:
        """Begin an iteration: its epoch, and the global position where it starts."""
        if self._begun_at is not None:
            self.epoch, self._position = self.epoch + 1, 0
        self._begun_at = self._position
        return self.epoch, self._position

    def note(self, epoch: int, position: int) -> None:
        """Note that an iteration has delivered all up to a global position."""
        self.epoch, self._position = epoch, position

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch. If it is the epoch of a state that was just loaded, its position stays."""
        check_number(epoch, "epoch", 0)
        if epoch != self.epoch or self._begun_at is not None:
            self.epoch, self._position, self._begun_at = epoch, 0, None

    # ------------------------------------------------------------------ state

    def state_dict(self, delivered: int | None = None) -> dict[str, Any]:
        """The state: a small dict for JSON, the same on all ranks after the same number of batches.

        Parameters
        ----------
        delivered
            Number of batches of the current iteration that were delivered, if a loader requested more of them ahead. None:
        all batches that the sampler gave.
        """
        epoch, position = self.epoch, self._position
        if delivered is not None:
            check_number(delivered, "delivered", 0)
            position = (self._begun_at or 0) + delivered * (self.batch_size or 1) * self.world_size
        end = self.order.count
        if self.drop_last:
            # What is left is less than a batch, for these ranks.
            end -= (self.batch_size or 1) * self.world_size - 1
        if position >= end:
            epoch, position = epoch + 1, 0
        return {"version": _VERSION, "epoch": epoch, "position": position, "order": self.order.name}

    def load_state_dict(self, state: dict[str, Any]) -> Self:
        """Load a state: the next iteration gives exactly the batches that were not delivered.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) ``state`` is not a state, or belongs to another order: other data, another seed or other
            weights.
        """
        try:
            version, epoch, position, order = (state[name] for name in ("version", "epoch", "position", "order"))
        except (TypeError, KeyError):
            raise InvalidInputError(f"not the state of a sampler: {state!r}") from None
        if version != _VERSION:
            raise InvalidInputError(f"a state of version {version!r} needs a newer Hangar: install a newer version")
        if order != self.order.name:
            raise InvalidInputError(f"the state belongs to another order: {order!r}, and this is {self.order.name!r}")
        epoch, position = check_number(epoch, "epoch", 0), check_number(position, "position", 0, self.order.count)
        self.epoch, self._position, self._begun_at = epoch, position, None
        return self

    def __repr__(self) -> str:
        return f"<Sampler: {self.order.name}, epoch {self.epoch}, position {self._position:,} of {self.order.count:,}, rank {self.rank} of {self.world_size}>"


def this_rank(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Rank and number of processes: as given, of ``torch.distributed``, of the environment, or one process."""
    if (rank is None) != (world_size is None):
        raise InvalidInputError("rank and world_size are given together, or neither")
    if rank is None or world_size is None:
        distributed: Any = sys.modules.get("torch.distributed")
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            rank, world_size = distributed.get_rank(), distributed.get_world_size()
        else:
            rank, world_size = (_from_environment(name, default) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    check_number(world_size, "world_size", 1)
    return check_number(rank, "rank", 0, world_size - 1), world_size


def _from_environment(name: str, default: int) -> int:
    given = os.environ.get(name, "")
    if given and not given.isdecimal():
        raise InvalidInputError(f"the environment variable {name} is no number: {given!r}")
    return int(given or default)


def check_number(value: Any, name: str, least: int, most: int | None = None) -> int:
    """Return ``value``, the argument ``name``, as an int in its bounds; InvalidTypeError or InvalidInputError if it is not."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"{name} is an int, not {type(value).__name__}: {value!r}")
    if value < least or (most is not None and value > most):
        raise InvalidInputError(
            f"{name} is {'at least' if most is None else 'from'} {least}{'' if most is None else f' to {most}'}, not {value}"
        )
    return int(value)


def _count_of(data: Any) -> int:
    given = data if isinstance(data, (int, np.integer)) or not hasattr(data, "__len__") else len(data)
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
        raise InvalidTypeError(
            f"a sampler takes a data set that has a length, or a number of items, not {type(data).__name__}"
        )
    return check_number(given, "the number of items", 1)


def _each(given: Any, count: int, name: str) -> npt.NDArray[Any]:
    array = np.asarray(given)
    if array.shape != (count,):
        raise InvalidInputError(f"{name} has one value for each of the {count:,} items, not the shape {array.shape}")
    return array


def _chosen(where: Any, count: int) -> npt.NDArray[Any]:
    array = np.asarray(where)
    if array.dtype == np.bool_:
        array = np.flatnonzero(_each(array, count, "where"))
    elif array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise InvalidTypeError("where is a boolean mask of the items, or a one-dimensional sequence of item numbers")
    if not len(array):
        raise InvalidInputError("where selects no item")
    if int(array.min()) < 0 or int(array.max()) >= count:
        raise InvalidInputError(f"where has item numbers that are not from 0 to {count - 1}")
    if len(np.unique(array)) < len(array):
        raise InvalidInputError("where has an item number more than once: use weights to draw items more often")
    return narrow(array)


def _weighted(weights: Any, count: int, chosen: Any, seed: int, draws: int | None) -> Order:
    array = _each(weights, count, "weights").astype(np.float64)
    array = array if chosen is None else array[chosen]
    if not np.isfinite(array).all() or (array < 0).any() or not array.sum() > 0:
        raise InvalidInputError("weights are finite numbers from 0 on, and not all 0")
    return Weighted(array, seed, draws or len(array))


def _balanced(balance: Any, data: Any, count: int, chosen: Any, seed: int, draws: int | None) -> Order:
    labels = _each(_labels(data, balance) if isinstance(balance, str) else balance, count, "balance")
    classes = np.unique(labels if chosen is None else labels[chosen], return_inverse=True)[1]
    return Balanced(classes.astype(np.int64), seed, draws or len(classes))


def _labels(data: Any, name: str) -> Any:
    selection = getattr(data, "selection", data)
    if not isinstance(selection, Selection) or name not in selection.names:
        raise InvalidInputError(
            f"balance={name!r} names a column of the data set, and it has none of this name: give the classes as an array"
        )
    return selection.columns[selection.names.index(name)].read(range(len(selection)), None)


def _blocks(block_size: Any, window: Any, count: int, chosen: Any, seed: int) -> Order:
    size = check_number(block_size, "block_size", 1)
    return BlockShuffled(count if chosen is None else len(chosen), seed, size, check_number(window, "window", 1))
