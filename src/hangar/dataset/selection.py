"""Selection: which items a data set has, and how a batch of them is read.

An item is one sample of each of several columns. The keys of all items are resolved to positions once, in bulk; for all
samples of a column, and for a slice of them, this takes no memory. A batch is then one gather for each column.

A selection belongs to commits, which never change. It stays usable after the checkout of its columns is closed, and it
pickles as path, commit and name of each column with the positions; in another process it opens them at the first read.

A sample whose data is not on this disk raises the error of its column, ``NotLocalError``, when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hangar.checkout.reader import reopen_column
from hangar.checkout.session import ReaderSession
from hangar.columns import is_column, is_writer_column
from hangar.columns.keybatch import KeyBatch, position_batch
from hangar.columns.nested import whole_samples
from hangar.columns.opening import ColumnReader, open_reader
from hangar.columns.positions import PositionReader
from hangar.errors import (
    AccessError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    SampleNotFoundError,
)
from hangar.schema import ColumnSchema
from hangar.wording import plural

__all__ = ["ColumnPart", "Items", "Selection", "select"]

Items = npt.NDArray[np.int64] | range
"""Items of a data set, by number."""
Where = npt.NDArray[Any] | range
"""For each item its position: a range, or an unsigned integer array as narrow as possible."""

_PAYS: Final = 32
"""The table of locations is built for a selection of at least 1/``_PAYS`` of the entries."""


class ColumnPart:
    """One column of a selection.

    Parameters
    ----------
    column
        Column of a reader checkout.
    where
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
    """

    def __init__(self, column: ColumnReader, where: Where, whole: bool) -> None:
        session = column._session
        assert isinstance(session, ReaderSession)
        self.path, self.commit, self.name = str(session.stores.directory), session.commit, column.column
        self.where = where
        self.whole = whole
        self._reader: PositionReader | None = PositionReader(column)
        self._reads = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_reader": None, "_reads": 0}

    @property
    def reader(self) -> PositionReader:
        """The column, opened on first use in this process."""
        reader = self._reader
        if reader is None:
            reader = self._reader = PositionReader(reopen_column(self.path, self.commit, self.name))
        return reader

    @property
    def schema(self) -> ColumnSchema:
        """Schema of the column: ``kind_name``, ``dtype``, ``shape``, ``variable``, ``nested``."""
        return self.reader.schema

    @property
    def lists(self) -> bool:
        """Whether a batch of it is a list: its values have no common shape, or are dicts."""
        return self.whole or self.reader.lists

    def positions(self, items: Items) -> Items:
        """Positions of items, all of which exist."""
        where = self.where
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

    def read(self, items: Items, out: npt.NDArray[Any] | None) -> Any:
        """Values of items, as :meth:`Selection.gather` gives them."""
        positions, reader = self.positions(items), self.reader
        # The first batch comes at once, by the tree. Whoever asks for a second one reads on, and an epoch pays for the table.
        self._reads += 1
        if self._reads == 2 and len(self.where) * _PAYS >= reader.entries:
            reader.prepare()
        return reader.read_samples(positions) if self.whole else reader.read(positions, out)

    def keys(self, items: Items) -> list[Any]:
        """Keys of items; of whole samples of a nested column the sample keys."""
        positions = np.asarray(self.positions(items), np.int64)
        return self.reader.sample_keys(positions) if self.whole else self.reader.keys(positions)


class Selection:
    """Items of one or several columns, by number from 0.

    Attributes
    ----------
    parts
        The columns, in the order in which they were given.
    names
        Their names.
    """

    def __init__(self, parts: Sequence[ColumnPart]) -> None:
        self.parts = tuple(parts)
        self.names = tuple(part.name for part in parts)

    def __len__(self) -> int:
        return len(self.parts[0].where)

    @property
    def nbytes(self) -> int:
        """Bytes of the positions of all items; arrays that columns share count once."""
        arrays = {id(part.where): part.where for part in self.parts if isinstance(part.where, np.ndarray)}
        return sum(array.nbytes for array in arrays.values())

    def prepare(self) -> None:
        """Build the tables of locations of all columns now, so that all later reads have one speed."""
        for part in self.parts:
            part.reader.prepare()

    def items(self, numbers: Any) -> Items:
        """Check item numbers: a slice, a sequence or an integer array; negative ones count from the end.

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

    def gather(self, items: Items, out: Sequence[npt.NDArray[Any] | None] | None = None) -> tuple[Any, ...]:
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
        given = (None,) * len(self.parts) if out is None else out
        return tuple([part.read(items, into) for part, into in zip(self.parts, given, strict=True)])

    def keys(self, items: Items) -> list[Any]:
        """Keys of items: those of the only column, or tuples of one key for each column."""
        keys = [part.keys(items) for part in self.parts]
        return keys[0] if len(keys) == 1 else list(zip(*keys, strict=True))

    def take(self, numbers: Any) -> Selection:
        """The selection of some of the items, in the order of ``numbers``; see :meth:`items`."""
        chosen = self.items(numbers)
        made: dict[int, Where] = {}
        for part in self.parts:
            if id(part.where) not in made:
                made[id(part.where)] = _taken(part.where, chosen)
        return Selection([_moved(part, made[id(part.where)]) for part in self.parts])


def _moved(part: ColumnPart, where: Where) -> ColumnPart:
    moved = ColumnPart.__new__(ColumnPart)
    moved.__dict__.update(part.__dict__, where=where)
    return moved


def _taken(where: Where, chosen: Items) -> Where:
    if isinstance(chosen, range):
        return where[chosen.start : chosen.stop]
    if isinstance(where, range):
        return narrow(chosen * where.step + where.start)
    return where[chosen]


def narrow(positions: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Positions as uint32, if they fit, else as uint64."""
    return positions.astype(np.uint32 if not len(positions) or int(positions.max()) < 2**32 else np.uint64)


# ---------------------------------------------------------------------- what users give


def select(columns: Any, keys: Any = None, index_range: slice | None = None) -> Selection:
    """Resolve what a user asks a data set to have.

    Parameters
    ----------
    columns
        One column of a reader checkout, or a sequence of them. They may belong to several commits or repositories.
    keys
        Keys of the items in their order, repeated or not; None for all. For one column a sequence of keys: of samples,
        or in a nested column pairs ``(sample, subsample)``, or ``(sample, ...)`` for whole samples. For several columns
        a sequence of tuples, one key for each column. Integer arrays of shape (n,) and (n, columns) are accepted too.
    index_range
        Slice of positions in key order, instead of ``keys``.

    Raises
    ------
    InvalidTypeError
        (a ``TypeError``) no column was given, or something else; ``keys`` is no sequence of keys; ``index_range`` is no slice.
    AccessError
        (a ``PermissionError``) a column of a writer, or one that shows the staging area.
    SampleNotFoundError
        (a ``KeyError``) a key does not exist; without ``keys``, the columns have different keys.
    InvalidInputError
        (a ``ValueError``) without ``keys``, flat and nested columns together; ``keys`` and ``index_range``; an empty choice.
    InvalidStateError
        (a ``RuntimeError``) a column has no samples.
    """
    chosen = _columns(columns)
    if keys is not None:
        if index_range is not None:
            raise InvalidInputError("a data set takes keys or index_range, not both")
        return Selection(_by_keys(chosen, keys))
    return Selection(_all(chosen, index_range))


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
    PositionReader(column)  # it can be read by position
    session = column._session
    assert isinstance(session, ReaderSession)
    return open_reader(ReaderSession(session.stores, session.commit, reopen_column), column._source)


def _all(columns: list[ColumnReader], index_range: slice | None) -> list[ColumnPart]:
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
    where = range(first.samples)
    if index_range is not None:
        where = _sliced(where, index_range)
    return [ColumnPart(column, where, column.contains_subsamples) for column in columns]


def _sliced(where: range, index_range: Any) -> range:
    if not isinstance(index_range, slice):
        raise InvalidTypeError(
            f"index_range is a slice of positions, such as slice(0, 100), not {type(index_range).__name__}"
        )
    try:
        sliced = where[index_range]
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{index_range!r} selects no positions: {error}") from None
    if not sliced:
        raise InvalidInputError(f"{index_range!r} selects none of the {plural(len(where), 'sample')}")
    return sliced


def _by_keys(columns: list[ColumnReader], keys: Any) -> list[ColumnPart]:
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


def _part_by_keys(column: ColumnReader, keys: Any) -> ColumnPart:
    reader = PositionReader(column)
    whole = whole_samples(keys) if column.contains_subsamples else None
    found = reader.find(keys) if whole is None else reader.find_samples(whole)
    return ColumnPart(column, _consecutive(found), whole is not None)


def _consecutive(positions: npt.NDArray[np.int64]) -> Where:
    """Positions as a range, if they are consecutive, else as a narrow array."""
    first, last = int(positions[0]), int(positions[-1])
    if last - first == len(positions) - 1 and bool((np.diff(positions) == 1).all()):
        return range(first, last + 1)
    return narrow(positions)
