"""Reads the entries of a committed column by position, for data sets.

A position is the index of an entry in key order: of a sample in a flat column, of a pair (sample, subsample) in a nested
one. A commit never changes, so a position can replace a key. Positions are looked up once, for all keys together. If they
are consecutive, they are a range and take no memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import eq
from typing import Any

import numpy as np
import numpy.typing as npt

from hangar.columns.base import CommittedSource
from hangar.columns.keybatch import KeyBatch
from hangar.columns.local import has_promised
from hangar.columns.opening import ColumnReader
from hangar.columns.samplestarts import SampleStarts
from hangar.columns.sampletable import Positions
from hangar.errors import AccessError, CorruptionError, HangarError, SampleNotFoundError
from hangar.objects.gather import SEARCH_BATCH
from hangar.objects.leafcells import LeafCells
from hangar.objects.lookup import key_positions
from hangar.objects.node import MIXED, Root
from hangar.objects.order import select, select_cells, select_keys
from hangar.objects.scan import leaves, scan_samples
from hangar.schema import ColumnSchema
from hangar.schema.keys import decode_key, decode_prefixes

__all__ = ["PositionReader"]


class PositionReader:
    """The entries of one column of a commit, by position.

    Parameters
    ----------
    column
        Column of a reader checkout.

    Raises
    ------
    AccessError
        (a ``PermissionError``) the column shows the staging area, which changes.
    """

    def __init__(self, column: ColumnReader) -> None:
        if not isinstance(column._source, CommittedSource):
            raise AccessError(
                f"column {column.column!r} shows the staging area, which changes: commit it, and use a reader checkout, `repo.checkout()`"
            )
        self.column = column
        self.name: str = column.column
        self.schema: ColumnSchema = column.schema
        self._root: Root | None = column._source.root()
        self._nodes = column._nodes
        self._starts: SampleStarts | None = None
        self._cells: LeafCells | None = None

    @property
    def entries(self) -> int:
        """Number of entries: samples of a flat column, pairs of a nested one."""
        return 0 if self._root is None else self._root.entries

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.column)

    @property
    def lists(self) -> bool:
        """Whether :meth:`read` returns a list: values have no common shape."""
        return self.schema.variable or not self.schema.stacks

    def prepare(self, *, whole: bool = False) -> None:
        """Build the table of locations now. Reads are slower before there is one; see ``hangar.columns.tables``.

        ``whole``: also what :meth:`read_samples` uses.
        """
        if self.column._table is not None:
            self.column._table.prepare()
            if whole and self._starts is None:
                self._starts = self.column._table.sample_starts()
        if self._cells is None and self._root is not None and self.schema.form.kind == MIXED:
            # A read of a damaged node will raise. Other reads go on through the tree.
            with contextlib.suppress(HangarError):
                self._cells = LeafCells(self._nodes, self._root)

    # ------------------------------------------------------------------ reading

    def read(self, positions: Positions | range, out: np.ndarray[Any, Any] | None = None) -> Any:
        """Values at ``positions``, which must all exist.

        Parameters
        ----------
        positions
            int64, shape (n,), or a range of step 1.
        out
            Array of shape ``(n, *shape)`` and the column's dtype to read into; not for columns that are read as a list.

        Returns
        -------
        numpy.ndarray or list
            Arrays of one shape stacked to ``(n, *shape)``, ``out`` or new memory; images and audio too, if those of
            ``positions`` have one shape. Arrays of a column of variable shape, str and bytes as a list.
        """
        column = self.column
        column._session.check()
        if self.schema.joins and self._root is not None:
            return column._together_at(positions, self._root)
        if not self.lists:
            return column._read_at(positions, self._root, out)
        return self._list_at(positions)

    def fetch(self, positions: Positions | range, *, whole: bool = False) -> int:
        """Have the data of entries, or with ``whole`` of samples, fetched that is not here; returns its bytes."""
        column = self.column
        column._session.check()
        if self._root is None or not len(positions):
            return 0
        if whole:
            starts = None if column._table is None else column._table.sample_starts()
            if starts is None:
                return 0  # a read fetches it
            positions = starts.subsamples(np.asarray(positions, np.int64))[0]
        return column._values.fetch(select_cells(self._nodes, self._root.digest, positions))

    @property
    def incomplete(self) -> bool:
        """Whether some data is not here, and fetched when it is read."""
        return self.column._session.resolve is not None and has_promised(self.column)

    def settle(self) -> None:
        """Publish what was fetched, for other processes."""
        self.column._session.stores.settle()

    def _list_at(self, positions: Positions | range) -> list[Any]:
        """Values of entries, as a list."""
        if self._root is None:
            return []
        if self._cells is None:
            return self.column._list_at(positions, self._root)
        return self.column._values.many(self._cells.at(positions))

    def read_samples(self, positions: Positions | range) -> list[dict[Any, Any]]:
        """Whole samples of a nested column, by their position among the samples."""
        column, starts = self.column, self._starts
        if starts is None or self._root is None:
            found: list[dict[Any, Any]] = column.read(positions=np.asarray(positions))
            return found
        column._session.check()
        entries, keys, counts = starts.subsamples(np.asarray(positions, np.int64))
        return starts.dicts(keys, self._list_at(entries), counts)

    # ------------------------------------------------------------------ keys

    def find(self, keys: Sequence[Any] | npt.NDArray[Any]) -> Positions:
        """Positions of keys: of samples in a flat column, of pairs in a nested one.

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) a key does not exist.
        InvalidTypeError
            ``keys`` is no sequence, or contains a value that can never be a key.
        """
        column = self.column
        column._session.check()
        batch = column._space.batch(keys)
        if not len(batch):
            return np.empty(0, np.int64)
        found = self._find(batch)
        if found is None:
            column._cells(keys, batch)  # Raises for the first of them that has no cell.
            raise CorruptionError(f"the tree of column {self.name!r} contradicts itself: run `hangar fsck`")
        return found

    def _find(self, batch: KeyBatch) -> Positions | None:
        root, holder = self._root, self.column._table
        if root is None:
            return None
        table = None if holder is None or batch.ints is None or batch.ints.ndim != 1 else holder.ready(len(batch))
        if table is not None and batch.ints is not None and table.knows_keys:
            return table.positions(batch.ints)
        encoded = batch.encoded()
        parts = []
        for start in range(0, len(encoded), SEARCH_BATCH):
            found = key_positions(self._nodes, root.digest, encoded[start : start + SEARCH_BATCH])
            if found is None:
                return None
            parts.append(found)
        return np.concatenate(parts)

    def find_samples(self, samples: Sequence[Any]) -> Positions:
        """Positions of samples of a nested column, among its samples; raises like :meth:`find`."""
        column = self.column
        wanted = column._prefixes(samples)  # type: ignore[union-attr]
        position_of = {prefix: at for at, prefix in enumerate(self._sample_prefixes())}
        try:
            return np.fromiter(map(position_of.__getitem__, wanted), np.int64, len(wanted))
        except KeyError:
            missing = next(key for key, prefix in zip(samples, wanted, strict=True) if prefix not in position_of)
            raise SampleNotFoundError(f"column {self.name!r} has no sample {missing!r}") from None

    def keys(self, positions: Positions) -> list[Any]:
        """Keys at positions: of samples, or pairs."""
        if self._root is None or not len(positions):
            return []
        return self.column._space.decode(select_keys(self._nodes, self._root.digest, positions))

    def sample_keys(self, positions: Positions) -> list[Any]:
        """Keys of the samples of a nested column at positions among the samples."""
        return decode_prefixes(self.column._prefixes_at(positions))  # type: ignore[union-attr]

    def first_integer(self) -> int | None:
        """The first key of a flat column whose keys are integers without a gap; None for other keys. Looks at two keys only."""
        root = self._root
        if root is None or self.schema.nested:
            return None
        first, last = (decode_key(select(self._nodes, root.digest, at)[0]) for at in (0, root.entries - 1))
        # Integers sort first, so that all keys are integers if the last one is.
        if isinstance(first, int) and isinstance(last, int) and last - first == root.entries - 1:
            return first
        return None

    def has_keys_of(self, other: PositionReader) -> bool:
        """Whether both columns, of one layout, have the same sample keys. Compares leaf by leaf, or less where that suffices."""
        if self._root is None or other._root is None:
            return self._root is other._root
        if self._root.digest == other._root.digest:
            return True
        if self.samples != other.samples:
            return False
        first = self.first_integer()
        if first is not None:
            return first == other.first_integer()
        if self.schema.nested:
            return all(map(eq, self._sample_prefixes(), other._sample_prefixes()))
        return all(map(eq, self._leaf_keys(), other._leaf_keys()))

    def first_unshared(self, other: PositionReader) -> Any:
        """The first sample key that only one of two columns has."""
        mine, theirs = set(self.column.keys()), set(other.column.keys())
        return next(key for key in chain(self.column.keys(), other.column.keys()) if (key in mine) != (key in theirs))

    def _sample_prefixes(self) -> Iterator[bytes]:
        assert self._root is not None
        return chain.from_iterable(scan_samples(self._nodes, self._root.digest))

    def _leaf_keys(self) -> Iterable[list[bytes]]:
        """Keys of each leaf. Keys alone decide where leaves end, so that equal keys are in equal leaves."""
        assert self._root is not None
        return (leaf.keys for leaf, _, _ in leaves(self._nodes, self._root.digest))
