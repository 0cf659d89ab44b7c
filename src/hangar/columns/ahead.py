"""Read-ahead of nested columns: iteration reads the values of many whole samples as one batch, when the first one is used."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from hangar.columns.entries import chunk_entries
from hangar.columns.keyspace import range_end
from hangar.columns.values import ValueReader
from hangar.names import SampleKey
from hangar.objects.node import Root
from hangar.objects.samples import sample_of, split_samples
from hangar.objects.scan import leaves
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.schema.keys import decode_keys, decode_prefixes

__all__ = ["ReadAhead", "windows"]


class ReadAhead:
    """Batch of consecutive whole samples of a nested column.

    Attributes
    ----------
    root
        Tree they are from.
    samples
        Their keys.
    prefixes
        Prefix of the encoded keys of each sample.
    """

    __slots__ = (
        "__weakref__",
        "_cells",
        "_reader",
        "_rests",
        "_stops",
        "_subsamples",
        "_values",
        "prefixes",
        "root",
        "samples",
    )

    def __init__(self, root: Root, keys: list[bytes], cells: list[bytes], reader: ValueReader) -> None:
        self.root = root
        stops, self._rests = split_samples(keys)
        self.prefixes = list(stops)
        self.samples = decode_prefixes(self.prefixes)
        self._stops = [0, *stops.values()]
        self._cells, self._reader = cells, reader
        self._values: list[Any] = []
        self._subsamples: list[SampleKey] = []

    def take(self, index: int) -> dict[SampleKey, Any]:
        """The subsamples of one sample. Call it once for each sample: the values belong to the user."""
        if not self._values:
            self._values = self._reader.many(self._cells)
            self._subsamples = decode_keys(self._rests)
        place = slice(self._stops[index], self._stops[index + 1])
        return dict(zip(self._subsamples[place], self._values[place], strict=True))


def windows(nodes: NodeStore, root: Root, schema: ColumnSchema, reader: ValueReader) -> Iterator[ReadAhead | bytes]:
    """Split a nested column into read-ahead batches; yields the key prefix of a sample that is larger than a batch."""
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
