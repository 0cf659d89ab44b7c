"""Read-only mapping from keys to values: the base of flat columns and of the subsamples of a sample.

Keys are sorted, values are read on access, and batches are selected by key or by position. The key space defines the
keys and their range in the tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from hangar.columns.entries import EntryReader, chunk_entries
from hangar.columns.keybatch import check_position, position_batch
from hangar.columns.keyspace import KeySpace
from hangar.columns.sampletable import Positions
from hangar.columns.views import SampleItems, SampleKeys, SampleValues
from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError
from hangar.names import SampleKey
from hangar.objects.node import Root
from hangar.objects.order import rank, select, select_cells, select_keys
from hangar.objects.store import NodeStore

__all__ = ["ValueMapping"]


_CPU = 1
"""DLPack device type of CPU memory (kDLCPU)."""


class ValueMapping(EntryReader):
    """Mapping of keys to values, in key order."""

    def get(self, key: SampleKey, default: Any = None) -> Any:
        """Value of ``key``, or ``default`` if it does not exist."""
        cell = self._cell(key)
        return default if cell is None else self._opened(key, cell)

    def __contains__(self, key: object) -> bool:
        self._session.check()
        try:
            encoded = self._space.lookup(key)
        except InvalidTypeError:
            return False
        return encoded is not None and self._source.cell(encoded) is not None

    def __len__(self) -> int:
        self._session.check()
        first, last = self._span(self._source.root())
        return last - first

    # ------------------------------------------------------------------ batches

    def _span(self, root: Root | None) -> tuple[int, int]:
        """Range of positions in the tree: from the first up to, not including, the second."""
        return (0, 0) if root is None else span(self._nodes, root, self._space)

    def _holder(self) -> str:
        """Beginning of error messages about positions."""
        return f"column {self._source.name!r} has samples:"

    def _chosen(self, positions: Any, root: Root | None) -> range | Positions:
        """Convert positions of a user to positions in the tree."""
        first, last = self._span(root)
        chosen = position_batch(positions, last - first, self._holder())
        if isinstance(chosen, range):
            return range(chosen.start + first, chosen.stop + first)
        return chosen + first if first else chosen

    def _dict_at(self, positions: slice) -> dict[SampleKey, Any]:
        """Keys and values at ``positions`` in key order."""
        self._session.check()
        root = self._source.root()
        chosen = self._chosen(positions, root)
        if root is None or not len(chosen):
            return {}
        keys = self._space.decode(select_keys(self._nodes, root.digest, chosen))
        return dict(zip(keys, self._list_at(chosen, root), strict=True))

    def read(
        self,
        keys: Sequence[SampleKey] | npt.NDArray[Any] | slice | None = None,
        out: np.ndarray[Any, Any] | None = None,
        *,
        positions: Sequence[int] | npt.NDArray[Any] | slice | None = None,
    ) -> Any:
        """Read a batch.

        Parameters
        ----------
        keys
            Keys in any order, repeated or not: a sequence, a generator or an integer array. A ``slice`` selects by
            position in key order.
        out
            Array of shape ``(n, *shape)`` and the column's dtype to read into.
        positions
            Instead of ``keys``: positions in key order, negative ones from the end.

        Returns
        -------
        numpy.ndarray or list
            Arrays stacked to ``(n, *shape of a sample)``, new memory or ``out``; str and bytes as a list.

        Raises
        ------
        SampleNotFoundError, PositionNotFoundError
            A key or position does not exist; nothing was read.
        InvalidInputError
            The samples differ in shape, or ``out`` does not fit.
        CorruptionError
            The stored bytes are damaged.
        """
        self._session.check()
        if (keys is None) == (positions is None):
            raise InvalidTypeError("read takes keys or positions, one of them")
        if positions is None and not isinstance(keys, slice):
            return self._read_keys(keys, out)
        self._check_out(out)
        root = self._source.root()
        chosen = self._chosen(keys if positions is None else positions, root)
        return self._read_at(chosen, root, out)

    def read_slice(self, key: SampleKey, slices: Any) -> np.ndarray[Any, Any]:
        """Part of one sample: ``slices`` is the index expression of ``array[...]``.

        The whole sample is read and checked; of a chunked array only the chunks that the part touches.

        Raises
        ------
        PositionNotFoundError
            (an ``IndexError``) the sample has no such part.
        """
        return self._read_slice(key, slices)

    def at(self, position: int) -> SampleKey:
        """The key at ``position`` in key order; negative ones count from the end.

        Raises
        ------
        PositionNotFoundError
            (an ``IndexError``) there are fewer keys.
        InvalidTypeError
            (a ``TypeError``) ``position`` is not an integer.
        """
        self._session.check()
        root = self._source.root()
        first, last = self._span(root)
        index = check_position(position, last - first)
        if root is None or index is None:
            raise PositionNotFoundError(f"{self._holder()} {last - first:,}, and none at position {position}")
        key: SampleKey = self._space.decode([select(self._nodes, root.digest, first + index)[0]])[0]
        return key

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """All values stacked in key order, new memory of shape ``(len, *shape)``; for ``numpy.asarray``."""
        self._session.check()
        if not self._schema.stacks:
            raise InvalidTypeError(f"a column of {self._schema.kind_name} is no array")
        if copy is False:
            raise InvalidInputError("the samples of a column are stored separately: an array of them is always a copy")
        stacked: np.ndarray[Any, Any] = self.read(slice(None))
        return stacked if dtype is None else stacked.astype(dtype, copy=False)

    def __dlpack__(self, **options: Any) -> Any:
        """All values stacked in key order, as :meth:`__array__`; for ``torch.from_dlpack`` and ``torch.as_tensor``."""
        if options.pop("copy", None) is False:
            raise BufferError("the samples of a column are stored separately: an array of them is always a copy")
        return self.__array__().__dlpack__(**{name: value for name, value in options.items() if value is not None})

    def __dlpack_device__(self) -> tuple[int, int]:
        """CPU memory."""
        self._session.check()
        return _CPU, 0

    # ------------------------------------------------------------------ iteration

    def __iter__(self) -> Iterator[SampleKey]:
        return self._iterate_keys()

    def __reversed__(self) -> Iterator[SampleKey]:
        return self._iterate_keys(backwards=True)

    def keys(self, local: bool = False) -> SampleKeys:
        """Keys in order: ints by value, then strings by code point. A view, as that of a dict. ``local``: only of data on this disk."""
        return SampleKeys(self._viewed(local))

    def values(self, local: bool = False) -> SampleValues:
        """Values in key order, a view: each iteration reads ahead in batches and does not see later writes."""
        return SampleValues(self._viewed(local))

    def items(self, local: bool = False) -> SampleItems:
        """Pairs of key and value in key order, a view: each iteration reads ahead in batches and does not see later writes."""
        return SampleItems(self._viewed(local))

    def _iterate_keys(self, *, backwards: bool = False) -> Iterator[SampleKey]:
        chunks = self._chunks_back() if backwards else self._chunks()
        return chain.from_iterable(self._live(self._space.decode(keys)) for keys, _ in chunks)

    def _iterate_values(self, *, backwards: bool = False) -> Iterator[Any]:
        return chain.from_iterable(self._live(values) for _, values in self._read_ahead(backwards=backwards))

    def _iterate_items(self, *, backwards: bool = False) -> Iterator[tuple[SampleKey, Any]]:
        return chain.from_iterable(
            self._live(zip(self._space.decode(keys), values, strict=True))
            for keys, values in self._read_ahead(backwards=backwards)
        )

    def _read_ahead(self, *, backwards: bool) -> Iterator[tuple[list[bytes], list[Any]]]:
        """Encoded keys and values in key order, many at a time."""
        if backwards:
            for keys, cells in self._chunks_back():
                yield keys, self._values.many(cells)
            return
        nodes, root = self._snapshot()
        at = 0 if root is None else span(nodes, root, self._space)[0]
        for keys, cells in self._chunks_of(nodes, root):
            yield keys, self._values_of(cells, at, root)
            at += len(keys)

    def _chunks_back(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Like :meth:`_chunks`, from the last key to the first."""
        nodes, root = self._snapshot()
        if root is None:
            return
        first, last = span(nodes, root, self._space)
        most = chunk_entries(self._schema)
        for stop in range(last, first, -most):
            chosen = range(max(first, stop - most), stop)
            keys = select_keys(nodes, root.digest, chosen)
            yield keys[::-1], select_cells(nodes, root.digest, chosen)[::-1]
            self._session.check()

    def _values_of(self, cells: list[bytes], start: int, root: Root | None) -> list[Any]:
        """Values of consecutive cells of the tree ``root``, from position ``start`` on."""
        found: list[Any] = self._by_table(
            self._table_of(root),
            len(cells),
            lambda *_: range(start, start + len(cells)),
            self._values.many_of,
            lambda: self._values.many(cells),
        )
        return found


Mapping.register(ValueMapping)  # So that pandas.Series(column) uses the keys as index.


def span(nodes: NodeStore, root: Root, space: KeySpace) -> tuple[int, int]:
    """Range of positions of a key space in a tree: from the first up to, not including, the second."""
    return (
        rank(nodes, root.digest, space.start) if space.start else 0,
        root.entries if space.stop is None else rank(nodes, root.digest, space.stop),
    )
