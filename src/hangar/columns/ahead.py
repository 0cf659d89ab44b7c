"""What iteration over a nested column has read ahead: the values of many whole samples, fetched as one batch when the first is asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from hangar.columns.entries import chunk_entries
from hangar.columns.keyspace import range_end
from hangar.columns.values import ValueReader
from hangar.objects.node import Root
from hangar.objects.samples import sample_of
from hangar.objects.scan import leaves
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.schema.keys import decode_keys

__all__ = ["ReadAhead", "windows"]


class ReadAhead:
    """Consecutive entries of a nested column, all those of some samples.

    Attributes
    ----------
    root
        The tree they are from.
    keys
        Encoded keys.
    """

    __slots__ = ("__weakref__", "_cells", "_reader", "_values", "keys", "root")

    def __init__(self, root: Root, keys: list[bytes], cells: list[bytes], reader: ValueReader) -> None:
        self.root, self.keys = root, keys
        self._cells, self._reader = cells, reader
        self._values: list[Any] | None = None

    def samples(self) -> Iterator[tuple[bytes, int, int]]:
        """Of each sample the prefix of its keys, and the range of its entries."""
        start, keys = 0, self.keys
        while start < len(keys):
            prefix = sample_of(keys[start])
            stop = bisect_left(keys, range_end(prefix), start)
            yield prefix, start, stop
            start = stop

    def take(self, skip: int, start: int, stop: int) -> dict[Any, Any]:
        """The subsamples of one sample, whose prefix is ``skip`` bytes long; to be taken once, as they become the user's own."""
        if self._values is None:
            self._values = self._reader.many(self._cells)
        subsamples = decode_keys([key[skip:] for key in self.keys[start:stop]])
        return dict(zip(subsamples, self._values[start:stop], strict=True))


def windows(nodes: NodeStore, root: Root, schema: ColumnSchema, reader: ValueReader) -> Iterator[ReadAhead | bytes]:
    """A nested column in pieces that are read ahead together; of a sample that is larger than a piece the prefix of its keys."""
    most = chunk_entries(schema)
    keys: list[bytes] = []
    cells: list[bytes] = []
    start = b""
    while True:
        for leaf, first, last in leaves(nodes, root.digest, start):
            keys += leaf.keys[first:last]
            cells += leaf.cells(first, last)
            if len(keys) < most:
                continue
            prefix = sample_of(keys[-1])
            cut = bisect_left(keys, prefix)
            if cut:
                yield ReadAhead(root, keys[:cut], cells[:cut], reader)
                del keys[:cut], cells[:cut]
            if len(keys) >= most:
                yield prefix
                start = range_end(prefix)
                keys, cells = [], []
                break
        else:
            break
    if keys:
        yield ReadAhead(root, keys, cells, reader)
