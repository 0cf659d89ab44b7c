"""Selection: which items a data set has, and how a batch of them is read.

An item is one sample of each column. The keys of all items are resolved to positions once, in bulk. All samples of a
column, or a slice of them, are a range and take no memory. Reading a batch is then one gather for each column.

A selection reads commits, which never change. It stays usable after the checkout of its columns is closed. It is pickled
as path, commit, name and positions of each column, and opens the columns at the first read in another process.

Reading a sample whose data is not on this disk raises ``NotLocalError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hangar.checkout.reader import reopen_column
from hangar.checkout.session import ReaderSession
from hangar.columns import is_column, is_writer_column
from hangar.columns.keybatch import KeyBatch, position_batch
from hangar.columns.local import local_mask
from hangar.columns.media import decoding_of, with_decoding
from hangar.columns.nested import whole_samples
from hangar.columns.opening import ColumnReader, open_reader
from hangar.columns.positions import PositionReader
from hangar.dataset.slices import Slicing, cut, fetch_parts, slicing_of
from hangar.errors import (
    AccessError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    SampleNotFoundError,
)
from hangar.schema import ColumnSchema
from hangar.wording import plural

__all__ = ["ItemNumbers", "SelectedColumn", "Selection", "select"]

ItemNumbers = npt.NDArray[np.int64] | range
"""Item numbers of a data set, from 0: int64 of shape (n,), or a range of step 1."""
ItemPositions = npt.NDArray[Any] | range
"""Position of each item in its column: a range, or an array of shape (n,), uint32 if they fit, else uint64."""

_TABLE_MIN_SHARE: Final = 32
"""The table of locations is built for a selection of at least 1/``_TABLE_MIN_SHARE`` of the entries of its column."""


class SelectedColumn:
    """One column of a selection.

    Parameters
    ----------
    column
        Column of a reader checkout.
    item_positions
        Position of each item: of an entry, or of a sample if ``whole``.
    whole
        Whether an item is a whole sample of a nested column, a dict of its subsamples.

    Attributes
    ----------
    path
        The ``.hangar`` directory of its repository.
    commit
        Digest of its commit in hex.
    name
        Name of the column.
    decoding
        Options of decoding that the column was given, see ``column.decoding``.
    """

    def __init__(self, column: ColumnReader, item_positions: ItemPositions, whole: bool) -> None:
        session = column._session
        assert isinstance(session, ReaderSession)
        self.path, self.commit, self.name = str(session.stores.directory), session.commit, column.column
        self._resolve = session.resolve
        self.decoding = decoding_of(column)
        self.item_positions = item_positions
        self.whole = whole
        self._reader: PositionReader | None = PositionReader(column)
        self._reads = 0
        self._prepared = False

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_reader": None, "_reads": 0, "_prepared": False}

    @property
    def reader(self) -> PositionReader:
        """The column, opened on first use in this process."""
        reader = self._reader
        if reader is None:
            reader = self._reader = PositionReader(
                with_decoding(reopen_column(self.path, self.commit, self.name, self._resolve), self.decoding)
            )
        return reader

    @property
    def schema(self) -> ColumnSchema:
        """Schema of the column: ``kind_name``, ``dtype``, ``shape``, ``variable``, ``nested``."""
        return self.reader.schema

    @property
    def lists(self) -> bool:
        """Whether a batch of it is a list: its values have no common shape, or are dicts."""
        return self.whole or self.reader.lists

    def positions(self, items: ItemNumbers) -> ItemNumbers:
        """Positions of items in the column. All ``items`` must exist."""
        where = self.item_positions
        if isinstance(where, range):
            if where.step != 1:
                return np.asarray(items, np.int64) * where.step + where.start
            if isinstance(items, range):
                return range(items.start + where.start, items.stop + where.start)
            return items + where.start if where.start else items
        return (
            where[items.start : items.stop].astype(np.int64)
            if isinstance(items, range)
            else where[items].astype(np.int64)
        )

    def read(self, items: ItemNumbers, out: npt.NDArray[Any] | None) -> Any:
        """Values of items, as :meth:`Selection.gather` gives them."""
        positions, reader = self.positions(items), self.reader
        # The first batch is read through the tree, so that it comes at once. A second one means a longer run of reads,
        # which the table makes faster.
        self._reads += 1
        if self._reads > 1 and not self._prepared:
            # Not at a certain number of reads, which several threads can miss.
            self._prepared = True
            # While data is fetched, a table would be stale at once.
            if len(self.item_positions) * _TABLE_MIN_SHARE >= reader.entries and not reader.incomplete:
                reader.prepare(whole=self.whole)
        return reader.read_samples(positions) if self.whole else reader.read(positions, out)

    def begin(self) -> bool:
        """Begin a pass over the data: whether some of it is not here, and fetched when it is read."""
        incomplete = self.reader.incomplete
        if self._resolve is not None and not incomplete:
            self._prepared = False  # the first passes may have fetched it
        return incomplete

    def fetch(self, items: ItemNumbers) -> int:
        """Have the data of items fetched that is not here, with one request; returns its bytes."""
        return self.reader.fetch(self.positions(items), whole=self.whole)

    def keys(self, items: ItemNumbers) -> list[Any]:
        """Keys of items; of whole samples of a nested column the sample keys."""
        positions = np.asarray(self.positions(items), np.int64)
        return self.reader.sample_keys(positions) if self.whole else self.reader.keys(positions)


class Selection:
    """Items of one or several columns, by number from 0.

    Attributes
    ----------
    columns
        The columns, in the order in which they were given.
    names
        Their names.
    slices
        Slices of the columns whose items are parts of arrays, by name.
    """

    def __init__(self, columns: Sequence[SelectedColumn], slices: Mapping[str, Slicing] | None = None) -> None:
        self.columns = tuple(columns)
        self.names = tuple(column.name for column in columns)
        self.slices = dict(slices or {})

    def __len__(self) -> int:
        return len(self.columns[0].item_positions)

    @property
    def nbytes(self) -> int:
        """Memory of the positions of all items, in bytes; arrays that columns share count once."""
        arrays = {
            id(column.item_positions): column.item_positions
            for column in self.columns
            if isinstance(column.item_positions, np.ndarray)
        }
        return sum(array.nbytes for array in arrays.values())

    def prepare(self) -> None:
        """Build the tables of locations of all columns now, so that the first batches are as fast as later ones."""
        for column in self.columns:
            if not column.reader.incomplete:
                column.reader.prepare(whole=column.whole)

    def items(self, numbers: Any) -> ItemNumbers:
        """Item numbers from what a user gives: a slice, a sequence or an integer array; negative ones count from the end.

        Returns
        -------
        range or numpy.ndarray
            Numbers from 0 to ``len - 1``: a range of step 1, or int64 of shape (n,).

        Raises
        ------
        PositionNotFoundError
            (an ``IndexError``) there is no such item.
        """
        return position_batch(numbers, len(self), "the data set has items:")

    def gather(self, items: ItemNumbers, out: Sequence[npt.NDArray[Any] | None] | None = None) -> tuple[Any, ...]:
        """Read a batch of items: one gather for each column.

        Parameters
        ----------
        items
            Item numbers in any order, repeated or not, as :meth:`items` returns them.
        out
            For each column an array ``(n, *shape)`` of its dtype to read into, or None for new memory.

        Returns
        -------
        tuple
            For each column an array ``(n, *shape)``, or a list of n values: arrays of a column of variable shape, str,
            bytes, or dicts of the subsamples of whole samples. All memory is new (or ``out``) and writable.

        Raises
        ------
        NotLocalError
            The data of a sample is not on this disk.
        CorruptionError
            The stored bytes are damaged.
        """
        given = (None,) * len(self.columns) if out is None else out
        if self.slices:
            return self._gather_parts(items, given)
        return tuple([column.read(items, into) for column, into in zip(self.columns, given, strict=True)])

    def _gather_parts(self, items: ItemNumbers, given: Sequence[npt.NDArray[Any] | None]) -> tuple[Any, ...]:
        """As :meth:`gather`, with parts of the arrays of some columns."""
        found: list[Any] = []
        known: dict[int, list[Any]] = {}
        for column, into in zip(self.columns, given, strict=True):
            slicing = self.slices.get(column.name)
            if slicing is None:
                found.append(column.read(items, into))
                continue
            values = column.read(items, None)
            if id(slicing) not in known:
                shapes = [value.shape for value in values]
                known[id(slicing)] = slicing.of(items, partial(column.keys, items), shapes)
            found.append(cut(values, known[id(slicing)]))
        return tuple(found)

    def begin(self) -> bool:
        """Begin a pass over the data: whether some of it is not here, and fetched when it is read."""
        incomplete = [column.begin() for column in self.columns if not self._chosen_late(column)]
        return any(incomplete)

    def _chosen_late(self, column: SelectedColumn) -> bool:
        """Whether a function chooses the parts of arrays of a column when they are read, maybe at random."""
        slicing = self.slices.get(column.name)
        return slicing is not None and slicing.function is not None and column.schema.kind_name == "chunked"

    def fetch(self, items: ItemNumbers) -> int:
        """Have the data of items fetched that is not here, with one request for each column; returns its bytes."""
        nbytes = 0
        for column in self.columns:
            slicing = self.slices.get(column.name)
            if slicing is None or column.schema.kind_name != "chunked":
                nbytes += column.fetch(items)
            elif slicing.function is None:
                nbytes += fetch_parts(column.read(items, None), slicing.of(items, list, ()))
        return nbytes

    def settle(self) -> None:
        """Publish what was fetched, for other processes."""
        for column in self.columns:
            column.reader.settle()

    def keys(self, items: ItemNumbers) -> list[Any]:
        """Keys of items: those of the only column, or tuples of one key for each column."""
        keys = [column.keys(items) for column in self.columns]
        return keys[0] if len(keys) == 1 else list(zip(*keys, strict=True))

    def take(self, numbers: Any) -> Selection:
        """A selection of some of the items, in the order of ``numbers``. Takes and raises what :meth:`items` does."""
        chosen = self.items(numbers)
        made: dict[int, ItemPositions] = {}
        for column in self.columns:
            if id(column.item_positions) not in made:
                made[id(column.item_positions)] = _take_positions(column.item_positions, chosen)
        columns = [_with_positions(column, made[id(column.item_positions)]) for column in self.columns]
        taken = {id(one): one.take(chosen) for one in self.slices.values()}
        return Selection(columns, {name: taken[id(one)] for name, one in self.slices.items()})


def _with_positions(column: SelectedColumn, where: ItemPositions) -> SelectedColumn:
    moved = SelectedColumn.__new__(SelectedColumn)
    moved.__dict__.update(column.__dict__, item_positions=where)
    return moved


def _take_positions(where: ItemPositions, chosen: ItemNumbers) -> ItemPositions:
    if isinstance(chosen, range):
        return where[chosen.start : chosen.stop]
    if isinstance(where, range):
        return narrow(chosen * where.step + where.start)
    return where[chosen]


def narrow(positions: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Positions as uint32, if they fit, else as uint64."""
    return positions.astype(np.uint32 if not len(positions) or int(positions.max()) < 2**32 else np.uint64)


# ---------------------------------------------------------------------- from the arguments of a user


def select(columns: Any, keys: Any = None, index_range: slice | None = None, slices: Any = None) -> Selection:
    """Make a selection: resolve columns and keys, as a user gives them, to positions.

    Parameters
    ----------
    columns
        One column of a reader checkout, or a sequence of them. They may belong to several commits or repositories.
    keys
        Keys of the items in their order, repeated or not; None for all whose data is on this disk. For one column a sequence of keys: of samples,
        or in a nested column pairs ``(sample, subsample)``, or ``(sample, ...)`` for whole samples. For several columns
        a sequence of tuples, one key for each column. Integer arrays of shape (n,) and (n, columns) are accepted too.
    index_range
        Slice of positions in key order, instead of ``keys``.
    slices
        Part of each item, see :func:`hangar.make_torch_dataset`.

    Raises
    ------
    InvalidTypeError
        (a ``TypeError``) ``columns`` is empty or holds something else than columns; ``keys`` is not a sequence of keys;
        ``index_range`` is not a slice.
    AccessError
        (a ``PermissionError``) a column belongs to a writer, or shows the staging area.
    SampleNotFoundError
        (a ``KeyError``) a key does not exist; or the columns have different keys, and ``keys`` was not given.
    InvalidInputError
        (a ``ValueError``) flat and nested columns without ``keys``; both ``keys`` and ``index_range``; or no item is left.
    InvalidStateError
        (a ``RuntimeError``) a column has no samples, or the data of none of them is on this disk.
    """
    chosen = _columns(columns)
    if keys is not None:
        if index_range is not None:
            raise InvalidInputError("a data set takes keys or index_range, not both")
        return _sliced_parts(_by_keys(chosen, keys), slices)
    return _sliced_parts(_all(chosen, index_range), slices)


def _sliced_parts(columns: list[SelectedColumn], slices: Any) -> Selection:
    if slices is not None and any(column.whole for column in columns):
        raise InvalidInputError("slices need single arrays: of a nested column give keys, pairs (sample, subsample)")
    schemas = {column.name: column.schema for column in columns}
    return Selection(columns, slicing_of(slices, schemas, len(columns[0].item_positions)))


def _columns(given: Any) -> list[ColumnReader]:
    columns = [given] if is_column(given) else given
    if not isinstance(columns, Sequence) or isinstance(columns, (str, bytes)):
        columns = (
            list(columns) if isinstance(columns, Iterable) and not isinstance(columns, (str, bytes)) else [columns]
        )
    if not len(columns):
        raise InvalidTypeError("a data set needs at least one column, such as `checkout.columns['images']`")
    for column in columns:
        if not is_column(column):
            raise InvalidTypeError(
                f"a data set takes columns, such as `checkout.columns['images']`, not {type(column).__name__}"
            )
        if is_writer_column(column):
            raise AccessError(
                f"column {column.column!r} belongs to a writer, and may change while it is read: commit, and use a reader checkout, `repo.checkout()`"
            )
    return [_independent(column) for column in columns]


def _independent(column: ColumnReader) -> ColumnReader:
    """The column in a session of its own, so that closing the checkout does not end a data set."""
    PositionReader(column)  # raises if the column cannot be read by position
    session = column._session
    assert isinstance(session, ReaderSession)
    own = ReaderSession(session.stores, session.commit, reopen_column, session.resolve)
    return with_decoding(open_reader(own, column._source), decoding_of(column))


def _all(columns: list[ColumnReader], index_range: slice | None) -> list[SelectedColumn]:
    """All samples of columns with equal keys, or a slice of them."""
    if len({column.contains_subsamples for column in columns}) > 1:
        layouts = ", ".join(f"{column.column!r} is {column.column_layout}" for column in columns)
        raise InvalidInputError(f"columns of different layouts need keys, one for each column: {layouts}")
    readers = list(map(PositionReader, columns))
    for reader in readers:
        if not reader.samples:
            raise InvalidStateError(f"No local data found in column {reader.name!r}")
    first = readers[0]
    for reader in readers[1:]:
        if not first.has_keys_of(reader):
            raise SampleNotFoundError(
                f"columns {first.name!r} and {reader.name!r} have different keys, such as {first.first_unshared(reader)!r}: "
                "give keys, a tuple of one key for each column"
            )
    where = _local(columns, first.samples)
    if index_range is not None:
        where = _sliced(where, index_range)
    return [SelectedColumn(column, where, column.contains_subsamples) for column in columns]


def _local(columns: list[ColumnReader], samples: int) -> ItemPositions:
    """Positions of the samples whose data is on this disk, in every column; all where data is fetched when it is read."""
    here: npt.NDArray[np.bool_] | None = None
    for column in columns:
        mask = None if column._session.resolve is not None else local_mask(column)
        if mask is not None and not mask.any():
            raise InvalidStateError(
                f"No local data found in column {column.column!r}: fetch some with `hangar fetch-data REMOTE REV -d {column.column}`, "
                "or open the checkout with fetch_on_read=True"
            )
        here = mask if here is None else here if mask is None else here & mask
    if here is None:
        return range(samples)
    if not here.any():
        names = ", ".join(repr(column.column) for column in columns)
        raise InvalidStateError(
            f"No local data found that the columns {names} have in common: fetch the same samples of each"
        )
    return narrow(np.flatnonzero(here))


def _sliced(where: ItemPositions, index_range: Any) -> ItemPositions:
    if not isinstance(index_range, slice):
        raise InvalidTypeError(
            f"index_range is a slice of positions, such as slice(0, 100), not {type(index_range).__name__}"
        )
    try:
        sliced = where[index_range]
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{index_range!r} selects no positions: {error}") from None
    if not len(sliced):
        raise InvalidInputError(f"{index_range!r} selects none of the {plural(len(where), 'sample')}")
    return sliced


def _by_keys(columns: list[ColumnReader], keys: Any) -> list[SelectedColumn]:
    given = keys if isinstance(keys, np.ndarray) else KeyBatch.checked(keys)
    if not len(given):
        raise InvalidInputError("keys is empty: a data set needs at least one item")
    return list(map(_part_by_keys, columns, _transposed(columns, given)))


def _transposed(columns: list[ColumnReader], keys: Any) -> Sequence[Any]:
    """The keys of each column."""
    if len(columns) == 1:
        return [keys]
    if isinstance(keys, np.ndarray):
        if keys.ndim == 2 and keys.shape[1] == len(columns):
            return list(keys.T)
        keys = keys.tolist()
    for key in keys:
        if not isinstance(key, (tuple, list)) or len(key) != len(columns):
            raise InvalidInputError(f"for {len(columns)} columns a key is a tuple of {len(columns)} keys, not {key!r}")
    return list(zip(*keys, strict=True))


def _part_by_keys(column: ColumnReader, keys: Any) -> SelectedColumn:
    reader = PositionReader(column)
    whole = whole_samples(keys) if column.contains_subsamples else None
    found = reader.find(keys) if whole is None else reader.find_samples(whole)
    return SelectedColumn(column, _consecutive(found), whole is not None)


def _consecutive(positions: npt.NDArray[np.int64]) -> ItemPositions:
    """Positions as a range, if they are consecutive, else as a narrow array."""
    first, last = int(positions[0]), int(positions[-1])
    if last - first == len(positions) - 1 and bool((np.diff(positions) == 1).all()):
        return range(first, last + 1)
    return narrow(positions)
