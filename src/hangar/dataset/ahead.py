"""Fetching ahead: what a pass over a data set will read, and only a remote has, is asked for before it is read.

The batches of a pass are known before they are read. They are handed out in groups: while the batches of one group are used,
a thread fetches what is missing of the next one, with one request for each column. The first group is one batch, so that it
comes at once; each is up to twice as large as the one before, until a request has some megabytes. What comes is stored, so
that memory does not grow with it.

If a request fails, nothing more is fetched ahead. The batches are handed out all the same, and the first that is not here
raises the error when it is read.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

import numpy as np

from hangar.dataset.sampler import ItemArray
from hangar.dataset.selection import Selection
from hangar.errors import HangarError
from hangar.threads import Task, in_background

__all__ = ["fetched_ahead"]

_ITEMS: Final = 4_096
_BYTES: Final = 16 * 2**20
"""About the largest request for the data of one group. Ending a pass waits for one of them."""


class _Group(NamedTuple):
    batches: list[ItemArray]
    fetching: Task[int]


def fetched_ahead(
    selection: Selection, batches: Iterator[ItemArray], *, for_others: bool = False
) -> Generator[ItemArray, None, None]:
    """The batches, each handed out when its data was fetched; at once if nothing is missing.

    Parameters
    ----------
    selection
        Columns and items.
    batches
        Item numbers of each batch, in the order in which they are read.
    for_others
        Other processes read them.
    """
    if not selection.begin():
        yield from batches
        return
    count = 1
    group = _group(selection, batches, count, for_others)
    try:
        while group.batches:
            try:
                nbytes = group.fetching.result()
            except HangarError:
                yield from chain(group.batches, batches)
                return
            count = _next_count(count, sum(map(len, group.batches)), nbytes)
            following = _group(selection, batches, count, for_others)
            in_background(following.fetching.run, "hangar-fetch-ahead")
            current, group = group.batches, following
            yield from current
    finally:
        group.fetching.settle()


def _group(selection: Selection, batches: Iterator[ItemArray], count: int, for_others: bool) -> _Group:
    """The next batches, of at least ``count`` items as long as there are any."""
    found: list[ItemArray] = []
    while count > 0:
        batch = next(batches, None)
        if batch is None:
            break
        found.append(batch)
        count -= len(batch)
    return _Group(found, Task(partial(_fetch, selection, found, for_others)))


def _fetch(selection: Selection, batches: list[ItemArray], for_others: bool) -> int:
    if not batches:
        return 0
    nbytes = selection.fetch(np.concatenate(batches))
    if for_others and nbytes:
        selection.settle()
    return nbytes


def _next_count(before: int, items: int, nbytes: int) -> int:
    """Items of the next group, by what the last one had."""
    fits = items * _BYTES // nbytes if nbytes else _ITEMS
    return max(1, min(2 * max(before, items), fits, _ITEMS))
