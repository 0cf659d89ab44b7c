"""Sample table: in-memory index of a column of a commit, from key to position and from position to blob location or inline value.

A column of a commit never changes. So the table is built once, in one pass over the leaves of the tree, and later reads
load no node and search no blob index. It takes at most 24 bytes a sample: 16 for the location (20 if blobs are in
several files or in chunks), or the inline value; and nothing for consecutive integer keys, else 4 or 8 bytes for a key.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hangar.blobs import BlobStore
from hangar.blobs.offsets import OffsetTable
from hangar.columns.tablefile import Arrays, TableFile
from hangar.errors import CorruptionError
from hangar.objects.bulk import cells_of
from hangar.objects.node import BY_DIGEST, FIXED_INLINE, Root
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.schema.cells import Rows

__all__ = ["SampleTable", "build_table", "has_table", "load_table"]

_MOST_BYTES: Final = 24
"""Maximum bytes a sample."""
_EXTENT_BYTES: Final = 20

Positions = npt.NDArray[np.int64]
Ints = npt.NDArray[np.uint64]
Keys = npt.NDArray[np.uint64] | npt.NDArray[np.uint32]


class SampleTable:
    """The samples of one column of one commit, by position.

    Attributes
    ----------
    count
        Number of samples.
    offsets
        Locations of their blobs; None for inline values.
    values
        Inline values as one array, shape (n, *shape); None for blobs. Not writable.
    file
        Cache file that the table was loaded from; None if it was built.
    """

    __slots__ = ("_keys", "_keys_view", "_least", "_rows", "count", "file", "offsets", "values")

    def __init__(
        self,
        schema: ColumnSchema,
        count: int,
        least: int,
        keys: Keys,
        held: OffsetTable | Rows,
        file: TableFile | None = None,
    ) -> None:
        self.count: Final = count
        self._least = least
        self._keys = keys
        self._keys_view = keys.data
        self.file: Final = file
        self._rows = held if isinstance(held, np.ndarray) else None
        self.offsets: Final = held if isinstance(held, OffsetTable) else None
        self.values: Any = None if self._rows is None else schema.decode_rows(schema.header, self._rows)

    @property
    def nbytes(self) -> int:
        """Size of the table in bytes, in memory or in the mapped file."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> Arrays:
        """All arrays of the table, for a cache file."""
        keys: dict[str, npt.NDArray[Any]] = {"least": np.array([self._least], np.int64), "keys": self._keys}
        if self._rows is not None:
            return keys | {"rows": self._rows}
        assert self.offsets is not None
        return keys | self.offsets.arrays()

    # ------------------------------------------------------------------ keys

    @property
    def knows_keys(self) -> bool:
        """Whether the table has the keys: all are integers of a flat column, and they fit into the size limit."""
        return self._least >= 0

    def position(self, key: int) -> int:
        """Position of an integer key; -1 if the table does not have it."""
        at = key - self._least
        if not len(self._keys_view):
            return at if self._least >= 0 and 0 <= at < self.count else -1
        found = bisect_left(self._keys_view, at)
        return found if found < self.count and self._keys_view[found] == at else -1

    def positions(self, keys: npt.NDArray[np.uint64]) -> Positions | None:
        """Positions of integer keys, shape (n,); None if the table does not have all of them."""
        if self._least < 0:
            return None
        # A key below the least one wraps around to a very large number.
        relative = keys - np.uint64(self._least)
        if not len(self._keys):
            return relative.view(np.int64) if int(relative.max()) < self.count else None
        if self._keys.dtype == np.uint32 and int(relative.max()) > 0xFFFF_FFFF:
            return None
        found = self._keys.searchsorted(relative.astype(self._keys.dtype))
        return found if bool((self._keys.take(found, mode="clip") == relative).all()) else None


def has_table(schema: ColumnSchema) -> bool:
    """Whether a column of this schema can have a table: all values are blobs, or all are small inline values of one size."""
    if schema.needs:
        return False
    kind = schema.form.kind
    if kind == FIXED_INLINE:
        return schema.uniform and schema.stacks and schema.form.width <= _MOST_BYTES
    return kind == BY_DIGEST


def build_table(nodes: NodeStore, blobs: BlobStore, root: Root, schema: ColumnSchema) -> SampleTable:
    """Build the table of a column, in one pass over the leaves of its tree.

    Raises
    ------
    HangarError
        A node or a record of a location cannot be read.
    """
    ints: list[Ints] = []
    passed = _cells(nodes, root, schema, ints)
    held: OffsetTable | Rows
    if schema.form.kind == FIXED_INLINE:
        held = np.concatenate(list(passed))
        taken = schema.form.width
    else:
        located = (blobs.locate(digests).words for digests in passed)
        held = OffsetTable.build(located, lambda file_id: not blobs.files.get(file_id)[1].capabilities.raw)
        taken = _EXTENT_BYTES
    count = len(held) if isinstance(held, np.ndarray) else held.count
    if count != root.entries:
        raise CorruptionError(
            f"the tree of root {root.digest.hex()} counts entries that are not there: run `hangar fsck`"
        )
    least, keys = _keys(np.concatenate([np.empty(0, np.uint64), *ints]), count, _MOST_BYTES - taken)
    return SampleTable(schema, count, least, keys, held)


def _cells(nodes: NodeStore, root: Root, schema: ColumnSchema, ints: list[Ints]) -> Iterator[Rows]:
    """Yield the cells of a tree in order, in batches. Integer keys of a flat column are collected in ``ints``."""
    for cells in cells_of(nodes, root.digest, schema.form, keys=not schema.nested):
        ints.append(cells.keys)
        yield cells.rows


def _keys(ints: npt.NDArray[np.uint64], count: int, room: int) -> tuple[int, Keys]:
    """The least key (-1 if the table has no keys), and all keys relative to it (empty if they are consecutive)."""
    none = np.empty(0, np.uint32)
    if len(ints) != count or int(ints[-1]) >= 2**63:
        return -1, none
    least, span = int(ints[0]), int(ints[-1]) - int(ints[0])
    if span == count - 1:
        return least, none
    if span <= 0xFFFF_FFFF and room >= 4:
        return least, (ints - ints[0]).astype(np.uint32)
    return (least, ints - ints[0]) if room >= 8 else (-1, none)


def _are_cells(rows: Rows, schema: ColumnSchema) -> bool:
    return rows.dtype == np.uint8 and rows.ndim == 2 and rows.shape[1] == schema.form.width


def load_table(file: TableFile, schema: ColumnSchema, root: Root) -> SampleTable | None:
    """Load the table from a cache file; None if it does not fit this column."""
    arrays = dict(file.arrays)
    try:
        least, keys = int(arrays.pop("least")[0]), arrays.pop("keys")
        held: Any = arrays["rows"] if schema.form.kind == FIXED_INLINE else OffsetTable.of(**arrays)
        count = len(held) if isinstance(held, np.ndarray) else held.count
        if count != root.entries or (isinstance(held, np.ndarray) and not _are_cells(held, schema)):
            return None
        if keys.dtype not in (np.uint32, np.uint64) or keys.shape not in ((0,), (count,)):
            return None
        # Keys have no checksums of their own. They are copied now, after the file was verified: a mapped file may be damaged later.
        return SampleTable(schema, count, least, keys.copy(), held, file)
    except (KeyError, TypeError, IndexError, ValueError):
        return None
