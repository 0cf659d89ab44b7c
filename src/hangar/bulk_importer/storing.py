"""Store the results of chunks in the columns of a write checkout, in large batches and in the order of the items."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from hangar.bulk_importer.encode import ChunkResult, Failure, Target
from hangar.bulk_importer.pool import Result
from hangar.columns.write import EncodedEntries
from hangar.digest import Digest, Header
from hangar.errors import ConflictError
from hangar.schema.keys import decode_keys, split_nested_key

__all__ = ["Storing"]

GROUP_BYTES: Final = 16 * 2**20
GROUP_ENTRIES: Final = 16_384
GROUP_SECONDS: Final = 1.0

_Owner = tuple[int, int]
"""Index of a chunk in a group, and of an item in the chunk."""


class Storing:
    """Writes the results of an import.

    Parameters
    ----------
    columns
        Writer columns, in the order of the targets of the import.
    overwrite
        Whether existing samples with different content are replaced. Otherwise an item with such a sample fails.

    Attributes
    ----------
    entries
        Number of entries written, by column.
    nbytes
        Bytes of the values of the items stored.
    failures
        Failures of the items of the last :meth:`store`.
    items
        Indices of the items of the last :meth:`store`, failed ones too.
    """

    def __init__(self, columns: Sequence[Any], targets: Sequence[Target], overwrite: bool) -> None:
        self._writers = [column.entry_writer() for column in columns]
        self._targets = targets
        self._overwrite = overwrite
        self._headers: dict[bytes, Header] = {}
        self._group: list[Result] = []
        self._since = 0.0
        self.entries: Counter[str] = Counter()
        self.nbytes = 0
        self.failures: list[Failure] = []
        self.items: list[int] = []

    def add(self, result: Result) -> bool:
        """Add a result to the group. Returns whether the group is large enough to be stored."""
        if not self._group:
            self._since = time.monotonic()
        self._group.append(result)
        chunks = [one.chunk for one in self._group]
        return (
            sum(chunk.used for chunk in chunks) >= GROUP_BYTES
            or sum(len(part.keys) for chunk in chunks for part in chunk.parts.values()) >= GROUP_ENTRIES
            or time.monotonic() - self._since >= GROUP_SECONDS
        )

    def store(self) -> None:
        """Write the group to the columns, and release its memory."""
        group = self._group
        self.failures = [failure for one in group for failure in one.chunk.failures]
        self.items = [index for one in group for index in one.chunk.indices]
        if not group:
            return
        dropped = {} if self._overwrite else self._conflicts([one.chunk for one in group])
        self.failures += dropped.values()
        for at, target in enumerate(self._targets):
            batch = self._batch(at, group, dropped)
            if batch is not None:
                self._writers[at].put_encoded(batch)
                self.entries[target.name] += len(batch.keys)
            del batch  # its buffers are views of the slots
        self.nbytes += sum(one.chunk.nbytes for one in group)
        self._group = []
        for result in group:
            result.release()

    def _batch(self, at: int, group: Sequence[Result], dropped: dict[_Owner, Failure]) -> EncodedEntries | None:
        """The entries of one column, without those of dropped items."""
        keys: list[bytes] = []
        cells: list[bytes] = []
        headers: list[Header] = []
        buffers: list[memoryview] = []
        digests: list[Digest] = []
        for number, result in enumerate(group):
            part = result.chunk.parts.get(at)
            if part is None:
                continue
            memory = result.slot.view(result.chunk.used)
            if not dropped:
                keys += part.keys
                cells += part.cells
                blobs: Any = range(len(part.digests))
            else:
                kept = [(number, owner) not in dropped for owner in part.owners]
                keys += [key for key, keep in zip(part.keys, kept, strict=True) if keep]
                cells += [cell for cell, keep in zip(part.cells, kept, strict=True) if keep]
                blobs = [i for i, entry in enumerate(part.blob_entries) if kept[entry]]
            headers += [self._header(part.headers[i]) for i in blobs]
            buffers += [memory[slice(*part.places[i])] for i in blobs]
            digests += [Digest(part.digests[i]) for i in blobs]
        return EncodedEntries(keys, cells, headers, buffers, digests) if keys else None

    def _header(self, data: bytes) -> Header:
        found = self._headers.get(data)
        if found is None:
            if len(self._headers) > 4096:
                self._headers.clear()
            found = self._headers[data] = Header.decode(data)
        return found

    # ------------------------------------------------------------------ conflicts

    def _conflicts(self, chunks: Sequence[ChunkResult]) -> dict[_Owner, Failure]:
        """The items that would change an existing sample, or one of an item before them."""
        known: list[dict[bytes, bytes | None]] = []
        clean = True
        for at, writer in enumerate(self._writers):
            parts = [chunk.parts[at] for chunk in chunks if at in chunk.parts]
            keys = [key for part in parts for key in part.keys]
            cells = [cell for part in parts for cell in part.cells]
            stored = writer.stored_cells(keys) if keys else []
            known.append(dict(zip(keys, stored, strict=True)))
            clean &= len(known[at]) == len(keys)
            clean &= all(old is None or old == new for old, new in zip(stored, cells, strict=True))
        return {} if clean else dict(self._find_conflicts(chunks, known))

    def _find_conflicts(
        self, chunks: Sequence[ChunkResult], known: list[dict[bytes, bytes | None]]
    ) -> Iterator[tuple[_Owner, Failure]]:
        """Compare the items one after the other; an item that conflicts does not count for those after it."""
        for number, chunk in enumerate(chunks):
            items: dict[int, list[tuple[int, bytes, bytes]]] = {}
            for at, part in chunk.parts.items():
                for owner, key, cell in zip(part.owners, part.keys, part.cells, strict=True):
                    items.setdefault(owner, []).append((at, key, cell))
            for owner in sorted(items):
                new: dict[tuple[int, bytes], bytes] = {}
                problem = None
                for at, key, cell in items[owner]:
                    old = new.get((at, key), known[at][key])
                    if old is not None and old != cell:
                        problem = self._text(at, key)
                        break
                    new[at, key] = cell
                if problem is None:
                    for (at, key), cell in new.items():
                        known[at][key] = cell
                else:
                    index = chunk.indices[owner]
                    yield (number, owner), Failure(index, ConflictError.__name__, problem, "", ConflictError(problem))

    def _text(self, at: int, encoded: bytes) -> str:
        target = self._targets[at]
        key = split_nested_key(encoded) if target.nested else decode_keys([encoded])[0]
        return (
            f"column {target.name!r} has a sample {key!r} already, with different content "
            "(of before, or of another item of this import)"
        )
