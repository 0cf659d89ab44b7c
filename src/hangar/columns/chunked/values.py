"""Values of chunked columns: the arrays that cells of the tree name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hangar.blobs.asked import Resolve
from hangar.columns.chunked.array import ArrayColumn, ChunkedArray
from hangar.columns.chunked.table import ChunkReader
from hangar.columns.values import ValueReader
from hangar.errors import InvalidInputError, NotLocalError
from hangar.objects.store import NodeStore
from hangar.schema import ChunkedSchema, ColumnSchema
from hangar.stores import Stores

__all__ = ["ChunkedValues", "open_values"]


class ChunkedValues(ValueReader):
    """Opens the arrays of one chunked column; nothing but their records is read.

    Attributes
    ----------
    reader
        Reads their chunks.
    """

    __slots__ = ("_column", "reader")

    def __init__(
        self,
        stores: Stores,
        nodes: NodeStore,
        schema: ChunkedSchema,
        resolve: Resolve | None = None,
        explain: Callable[[NotLocalError], NotLocalError] | None = None,
        column: ArrayColumn | None = None,
    ) -> None:
        super().__init__(stores.blobs, schema, resolve, explain)
        self.reader = ChunkReader(stores, nodes, schema, resolve, explain)
        self._column = column

    def one(self, cell: bytes) -> ChunkedArray:
        return ChunkedArray(self.reader, cell, self._column)

    def many(self, cells: Sequence[bytes]) -> list[Any]:
        return list(map(self.one, cells))

    def fetch(self, cells: Sequence[bytes]) -> int:
        return self.reader.fetch([self.reader.absent(cell) for cell in cells]) if self._resolve is not None else 0

    def stacked(self, cells: Any, out: Any = None) -> NoReturn:
        raise InvalidInputError("chunked arrays are not stacked: read them one by one")


def open_values(
    stores: Stores,
    nodes: NodeStore,
    schema: ColumnSchema,
    resolve: Resolve | None = None,
    explain: Callable[[NotLocalError], NotLocalError] | None = None,
    *,
    column: ArrayColumn | None = None,
) -> ValueReader:
    """The reader of the values of a column; ``resolve`` and ``explain`` as in :class:`ValueReader`."""
    if isinstance(schema, ChunkedSchema):
        return ChunkedValues(stores, nodes, schema, resolve, explain, column)
    return ValueReader(stores.blobs, schema, resolve, explain)
