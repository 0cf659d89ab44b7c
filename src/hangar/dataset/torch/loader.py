"""Loader: batches of a data set, read ahead by a thread or by worker processes, with a state that counts what was delivered.

Reading releases the interpreter lock, so one thread is enough to read ahead, and worker processes would only add copies.
They are useful if a transform is slow. In both cases the order is that of the sampler. When the loop ends in any way (its
end, ``break``, an error, Ctrl-C), no thread and no process is left, except persistent workers, which end with the loader.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any, Final

import torch
from torch.utils.data import DataLoader, Dataset

from hangar.dataset.ahead import fetched_ahead
from hangar.dataset.sampler import ItemArray, Sampler, check_number
from hangar.dataset.selection import Selection
from hangar.dataset.stats import LoaderStats
from hangar.dataset.torch.tensors import collate, collate_into
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.flags import check_flag
from hangar.threads import Pipeline
from hangar.wording import plural

__all__ = ["Loader"]

_FAST_READ_SECONDS: Final = 0.0005
"""If reading a batch takes less than this, in seconds, it is not read ahead."""

_OPTIONS: Final = ("persistent_workers", "multiprocessing_context", "worker_init_fn", "timeout", "generator")
_INSTEAD: Final = {
    "prefetch_factor": ": prefetch= is the number of batches that are read ahead",
    "batch_sampler": ": sampler= takes a hangar.dataset.Sampler, which makes batches",
    "in_order": ", since batches always come in order",
}

Collate = Callable[[Sequence[Any]], Any]


class Loader:
    """Iterates over batches of a data set; each iteration is one epoch.

    Parameters
    ----------
    dataset
        A data set of ``hangar.make_torch_dataset``, or any map-style data set of torch.
    sampler
        A ``hangar.dataset.Sampler`` with a ``batch_size``; None: one is made of the next four arguments.
    batch_size, shuffle, seed, drop_last
        See :class:`hangar.dataset.Sampler`.
    collate_fn
        Makes a batch of a sequence of items; default :func:`hangar.dataset.collate`.
    num_workers
        Number of worker processes. With 0, a thread of this process reads ahead, as soon as reading a batch
        takes longer than starting one.
    prefetch
        Batches that are read ahead, for each worker if there are any; default 4, or 2 for each worker. 0: no thread.
    pin_memory
        Whether batches lie in pinned memory, for copies to a GPU; without a GPU it has no effect.
    options
        For the ``torch.utils.data.DataLoader`` of the workers: ``persistent_workers``, ``multiprocessing_context``,
        ``worker_init_fn``, ``timeout``, ``generator``.

    Attributes
    ----------
    sampler
        The sampler, which holds the state.

    Raises
    ------
    InvalidInputError, InvalidTypeError
        (a ``ValueError``, a ``TypeError``) arguments contradict each other, or have a wrong type.

    Notes
    -----
    One iteration goes on at a time. A new one begins the next epoch; see :class:`hangar.dataset.Sampler`.
    """

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler | None = None,
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        collate_fn: Collate | None = None,
        num_workers: int = 0,
        prefetch: int | None = None,
        pin_memory: bool = False,
        **options: Any,
    ) -> None:
        if sampler is None:
            sampler = Sampler(
                dataset, 1 if batch_size is None else batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last
            )
        elif batch_size is not None or shuffle or seed or drop_last:
            raise InvalidInputError("batch_size, shuffle, seed and drop_last are those of the sampler: give them to it")
        given: object = sampler
        if not isinstance(given, Sampler) or given.batch_size is None:
            raise InvalidTypeError("a loader needs a hangar.dataset.Sampler with a batch_size")
        if hasattr(dataset, "__len__") and sampler.data_count != len(dataset):
            raise InvalidInputError(
                f"the sampler was made for {plural(sampler.data_count, 'item')}, and the data set has {len(dataset):,}: "
                "make the sampler of this data set; its `where` chooses some of the items"
            )
        if collate_fn is not None and not callable(collate_fn):
            raise InvalidTypeError(f"collate_fn is a function of a sequence of items, not {type(collate_fn).__name__}")
        check_number(num_workers, "num_workers", 0)
        if prefetch is not None:
            check_number(prefetch, "prefetch", 0)
        self.dataset = dataset
        self.sampler = sampler
        self.collate_fn: Collate = collate if collate_fn is None else collate_fn
        self.num_workers = num_workers
        self._pinned = check_flag(pin_memory, "pin_memory") and torch.cuda.is_available()
        self._prefetch = (2 if num_workers else 4) if prefetch is None else prefetch
        self._worker_batches = _WorkerBatches(sampler, dataset)
        self._workers = self._make_workers(options)
        self._stats = LoaderStats()

    def _make_workers(self, options: dict[str, Any]) -> DataLoader | None:
        for name in options:
            if name not in _OPTIONS:
                raise InvalidTypeError(f"a loader has no argument {name!r}{_INSTEAD.get(name, '')}")
        if not self.num_workers:
            options = {name: value for name, value in options.items() if value}
            if options:
                raise InvalidInputError(
                    f"{', '.join(options)}: only for worker processes, which num_workers=0 has none of"
                )
            return None
        return DataLoader(
            self.dataset,
            batch_sampler=self._worker_batches,
            collate_fn=self.collate_fn,
            num_workers=self.num_workers,
            prefetch_factor=max(1, self._prefetch),
            pin_memory=self._pinned,
            **options,
        )

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        sampler = self.sampler
        epoch, position = sampler.begin()
        step = (sampler.batch_size or 1) * sampler.world_size
        stats = self._stats = LoaderStats()
        source = self._by_thread(epoch, position) if self._workers is None else self._by_workers(epoch, position)
        while True:
            asked = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                return
            stats.add(batch, sampler.length_at(position), time.perf_counter() - asked)
            position += step
            sampler.note(epoch, position)
            yield batch
            del batch  # The consumer's memory is free before the next one is waited for.
            stats.returned()

    def _by_workers(self, epoch: int, position: int) -> Iterator[Any]:
        assert self._workers is not None
        self._worker_batches.start = epoch, position
        selection = getattr(self.dataset, "selection", None)
        if isinstance(selection, Selection):
            # Once here, and not in each worker.
            selection.prepare()
        batches = iter(self._workers)
        try:
            yield from batches
        except BaseException:
            if not self._workers.persistent_workers:
                # Now, for a traceback that someone keeps would keep them alive.
                batches._shutdown_workers()
            raise
        finally:
            self._worker_batches.close()

    def _by_thread(self, epoch: int, position: int) -> Iterator[Any]:
        with closing(_ahead(self.dataset, self.sampler.batches(epoch, position))) as batches:
            yield from self._read_ahead(batches)

    def _read_ahead(self, batches: Iterator[ItemArray]) -> Iterator[Any]:
        slow = 0
        for items in batches:
            began = time.perf_counter()
            batch = self._read(items)
            # A thread is of no use where reading costs less than starting it and waiting for it. One slow read may be chance.
            slow = slow + 1 if time.perf_counter() - began > _FAST_READ_SECONDS else 0
            yield batch
            del batch
            if slow == 2 and self._prefetch:
                break
        with Pipeline[Any](1, self._prefetch, "hangar-prefetch") as ahead:
            while True:
                if len(ahead) <= self._prefetch // 2:
                    for items in islice(batches, self._prefetch - len(ahead)):
                        ahead.offer(partial(self._read, items), 1)
                if not len(ahead):
                    return
                batch = ahead.take()
                ahead.free(1)
                yield batch
                del batch

    def _read(self, items: ItemArray) -> Any:
        dataset: Any = self.dataset
        whole = getattr(dataset, "__getitems__", None)
        batch = whole(items.tolist()) if callable(whole) else [dataset[index] for index in items.tolist()]
        made = collate_into(batch, pinned=self._pinned) if self.collate_fn is collate else self.collate_fn(batch)
        # What a transform made is not pinned yet; what is pinned already stays as it is.
        return torch.utils.data._utils.pin_memory.pin_memory(made) if self._pinned else made

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """The state after the last batch that was delivered, not read ahead: a small dict for JSON; see :class:`hangar.dataset.Sampler`."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state: the next iteration gives exactly the batches that were not delivered, with any number of ranks and workers.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) ``state`` is not a state, or belongs to other data or another order.
        """
        self.sampler.load_state_dict(state)

    def stats(self) -> LoaderStats:
        """Figures of the current iteration, or of the last one: samples/s, share of the time that waits for data, bytes."""
        return self._stats


def _ahead(dataset: Any, batches: Iterator[ItemArray], *, for_others: bool = False) -> Generator[ItemArray, None, None]:
    """The batches, those of a data set of Hangar with what only a remote has of them fetched ahead."""
    selection = getattr(dataset, "selection", None)
    if isinstance(selection, Selection):
        return fetched_ahead(selection, batches, for_others=for_others)
    return (items for items in batches)


class _WorkerBatches:
    """The ``batch_sampler`` for workers: item numbers of each batch, from the position where the loader begins."""

    def __init__(self, sampler: Sampler, dataset: Dataset) -> None:
        self._sampler = sampler
        self._dataset = dataset
        self._batches: Generator[ItemArray, None, None] | None = None
        self.start = 0, 0

    def __iter__(self) -> Iterator[list[int]]:
        self.close()
        # Data that only a remote has is fetched by this process, so that the workers need no connections.
        self._batches = _ahead(self._dataset, self._sampler.batches(*self.start), for_others=True)
        # Data sets of others may want lists of int.
        return (items.tolist() for items in self._batches)

    def close(self) -> None:
        """End what is fetched ahead."""
        if self._batches is not None:
            self._batches.close()

    def __len__(self) -> int:
        return len(self._sampler)
