"""numpy data sets: batches as arrays, read with one gather for each column.

A batch is new memory that belongs to the caller, so JAX and other libraries that take numpy arrays use it without a copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import numpy as np

from hangar.dataset.ahead import fetched_ahead
from hangar.dataset.batch import Batch, ItemForm, Transform, collate_items
from hangar.dataset.sampler import Sampler
from hangar.dataset.selection import Selection, select
from hangar.dataset.stats import LoaderStats
from hangar.errors import InvalidInputError, InvalidStateError, InvalidTypeError, PositionNotFoundError
from hangar.flags import check_flag

__all__ = ["NumpyDataset", "NumpyItems", "check_batch_size", "make_numpy_dataset"]

_BLOCK: Final = 256
"""Items that are read together where there are no batches."""


def check_batch_size(batch_size: Any, count: int) -> int:
    """A batch size for ``count`` items; InvalidStateError (a ``RuntimeError``) if it is larger."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise InvalidTypeError(f"batch_size is an int or None, not {type(batch_size).__name__}: {batch_size!r}")
    if batch_size < 1:
        raise InvalidInputError(f"batch_size is at least 1, not {batch_size}")
    if batch_size > count:
        raise InvalidStateError(f"a batch of {batch_size:,} is larger than the data set, which has {count:,} items")
    return int(batch_size)


class NumpyItems(Sequence[Any]):
    """The items of a data set by number: a sequence, each read when it is asked for.

    Attributes
    ----------
    selection
        Its columns and items.
    form
        Form of an item.
    """

    def __init__(self, selection: Selection, form: ItemForm) -> None:
        self.selection = selection
        self.form = form

    def __len__(self) -> int:
        return len(self.selection)

    def __getitem__(self, index: Any) -> Any:
        """The item at ``index``, or a list of items for a slice; PositionNotFoundError (an ``IndexError``) if there is none."""
        if isinstance(index, slice):
            return Batch(self.selection, self.form, self.selection.items(index)).items
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
            raise InvalidTypeError(f"an item is selected by an int or a slice, not {type(index).__name__}")
        count = len(self)
        if not -count <= index < count:
            raise PositionNotFoundError(f"the data set has items: {count:,}, and none at position {index}")
        number = int(index) % count
        return Batch(self.selection, self.form, range(number, number + 1)).items[0]

    def __repr__(self) -> str:
        return f"<NumpyItems: {len(self):,} items of {', '.join(self.selection.names)}>"


class NumpyDataset:
    """Iterates over items of columns, or batches of them; :func:`hangar.make_numpy_dataset` makes it.

    If ``shuffle`` is set, each iteration has a new random order. It is pickled as repository, commit, columns and positions.

    Attributes
    ----------
    dataset
        The items by number, in their own order.
    sampler
        Order of the items, with the state of the iteration.
    """

    def __init__(
        self,
        selection: Selection,
        form: ItemForm,
        batch_size: int | None,
        *,
        drop_last: bool,
        shuffle: bool,
        collate_fn: Callable[[list[Any]], Any] | None,
        seed: int,
    ) -> None:
        self.dataset = NumpyItems(selection, form)
        self._drop_last = check_flag(drop_last, "drop_last")
        if collate_fn is not None and not callable(collate_fn):
            raise InvalidTypeError(f"collate_fn is a function of a list of items, not {type(collate_fn).__name__}")
        self._collate_fn = collate_fn
        self._seed = seed
        self._shuffle = check_flag(shuffle, "shuffle")
        self._batch_size = self._checked(batch_size)
        self.sampler = self._sampler()
        self._stats = LoaderStats()

    def _checked(self, batch_size: Any) -> int | None:
        if batch_size is None:
            if self._drop_last or self._collate_fn is not None:
                name = "drop_last" if self._drop_last else "collate_fn"
                raise InvalidStateError(f"{name} is for batches: give a batch_size")
            return None
        return check_batch_size(batch_size, len(self))

    def _sampler(self) -> Sampler:
        return Sampler(
            len(self),
            self._batch_size or _BLOCK,
            shuffle=self._shuffle,
            seed=self._seed,
            drop_last=self._drop_last,
            rank=0,
            world_size=1,
        )

    def __len__(self) -> int:
        """Number of items, with and without batches."""
        return len(self.dataset)

    @property
    def num_batches(self) -> int | None:
        """Number of batches of an iteration; None without batches."""
        return None if self._batch_size is None else len(self.sampler)

    @property
    def batch_size(self) -> int | None:
        """Items of a batch; None: an iteration gives single items. Holds from the next iteration on."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int | None) -> None:
        self._batch_size = self._checked(batch_size)
        self._begin_again()

    @property
    def shuffle(self) -> bool:
        """Whether the order is random, another one in each iteration. Holds from the next iteration on."""
        return self._shuffle

    @shuffle.setter
    def shuffle(self, shuffle: bool) -> None:
        self._shuffle = check_flag(shuffle, "shuffle")
        self._begin_again()

    def _begin_again(self) -> None:
        """A sampler with the new settings, whose first iteration is one that the old one has not begun."""
        state = self.sampler.state_dict()
        begun = state["position"] > 0
        self.sampler = self._sampler()
        self.sampler.set_epoch(state["epoch"] + begun)

    def __iter__(self) -> Iterator[Any]:
        """Batches; without a batch size items, which are read in blocks."""
        selection, form, collate_fn, single = (
            self.dataset.selection,
            self.dataset.form,
            self._collate_fn,
            self._batch_size is None,
        )
        stats = self._stats = LoaderStats()
        sampler = self.sampler
        epoch, position = sampler.begin()
        with closing(fetched_ahead(selection, sampler.batches(epoch, position))) as batches:
            began = time.perf_counter()
            for numbers in batches:
                batch = Batch(selection, form, numbers)
                made = batch.items if single else collate(batch) if collate_fn is None else collate_fn(batch.items)
                stats.add(made, len(numbers), time.perf_counter() - began)
                if single:
                    for item in made:
                        position += 1
                        sampler.note(epoch, position)
                        yield item
                else:
                    position += len(numbers)
                    sampler.note(epoch, position)
                    yield made
                stats.returned()
                began = time.perf_counter()

    def stats(self) -> LoaderStats:
        """Figures of the current iteration, or of the last one: samples/s, share of the time that waits for data, bytes."""
        return self._stats

    def state_dict(self) -> dict[str, Any]:
        """The state of the iteration: a small dict for JSON. It counts what was delivered."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a state: the next iteration gives what had not been delivered; see :meth:`Sampler.load_state_dict`."""
        self.sampler.load_state_dict(state)

    def __repr__(self) -> str:
        batches = "" if self._batch_size is None else f" in batches of {self._batch_size}"
        names = ", ".join(self.dataset.selection.names)
        return f"<NumpyDataset: {len(self):,} items of {names}{batches}{', shuffled' if self._shuffle else ''}>"


def collate(batch: Batch) -> Any:
    """A batch as numpy arrays: one value for each column, in the form of an item.

    Arrays of one shape are one array ``(n, *shape)``, also of a column of variable shape if they happen to be equal; else
    they are a list, and so are str, bytes, and dicts of subsamples.
    """
    form = batch.form
    if form.item_transform is not None:
        return collate_items(batch.items, _collate_values)
    values = batch.columns()
    together = form.assemble([_collate_values(column) if isinstance(column, list) else column for column in values])
    return dict(together) if form.as_dict else together


def _collate_values(values: list[Any]) -> Any:
    """Arrays of equal shape and dtype as one, and numbers as an array; all else stays a list."""
    first = values[0] if values else None
    if isinstance(first, (np.ndarray, np.generic)):
        alike = {(np.shape(value), getattr(value, "dtype", None)) for value in values}
        return np.stack(values) if len(alike) == 1 else values
    if isinstance(first, (bool, int, float, complex)) and len(set(map(type, values))) == 1:
        return np.array(values)
    return values


def make_numpy_dataset(
    columns: Any,
    keys: Any = None,
    batch_size: int | None = None,
    drop_last: bool = False,
    shuffle: bool = True,
    collate_fn: Callable[[list[Any]], Any] | None = None,
    *,
    index_range: slice | None = None,
    slices: Any = None,
    transform: Transform = None,
    as_dict: bool = False,
    seed: int = 0,
) -> NumpyDataset:
    """Make a data set of numpy arrays, which can be iterated over many times.

    Parameters
    ----------
    columns
        One column of a reader checkout, or a sequence of them, of any kind and layout.
    keys
        Keys of the items; None for all samples. For one column a sequence of keys: of samples, or in a nested column
        pairs ``(sample, subsample)`` or ``(sample, ...)``. For several columns a sequence of tuples, one key for each.
    batch_size
        Items of a batch; None: an iteration gives single items.
    drop_last
        Whether to leave out the last batch if it is not full.
    shuffle
        Whether the order is random over all items, another one in each iteration.
    collate_fn
        Function that makes a batch of a list of items. Default: arrays are stacked, str, bytes and dicts are a list, and
        with several columns a batch is a tuple of these.
    index_range
        Slice of positions in key order, instead of ``keys``.
    slices
        Part of each item of chunked and sparse columns, of which only the chunks that it touches are read: an index
        expression for all items (``np.s_[0:2, :64]``); a sequence of one for each item; an integer array of shape (items,
        axes, 2) with start and stop along each axis; or a function of key and shape that returns one, called at each read.
        ``{column name: ...}`` slices these columns, also those of arrays. Without it an item is the whole array.
    transform
        A callable on an item, or ``{column name: callable on its value}``.
    as_dict
        Whether an item and a batch are ``{column name: value}``. Else the value of the only column, or a tuple.
    seed
        Of the order: equal seeds give equal orders, of :class:`hangar.dataset.Sampler` too.

    Raises
    ------
    InvalidStateError
        (a ``RuntimeError``) ``drop_last`` or ``collate_fn`` without a batch size, a batch larger than the data, or no samples.
    InvalidTypeError, AccessError, SampleNotFoundError, InvalidInputError
        See :func:`hangar.make_torch_dataset`.
    """
    selection = select(columns, keys, index_range, slices)
    form = ItemForm(selection.names, check_flag(as_dict, "as_dict"), transform)
    return NumpyDataset(
        selection, form, batch_size, drop_last=drop_last, shuffle=shuffle, collate_fn=collate_fn, seed=seed
    )
