"""Reads the chunks of one array record.

Where the chunks of an array are is worked out once: a *chunk table* has the digest and the location of each. It is cached
by the digest of the record, which is that of its content, so it is never out of date; a chunk that was moved fails its
checksum, is looked up again, and the table is dropped. The table of an array of very many chunks is not made: the chunk
map is searched for those of a slice. Decoded chunks that a read needed only in part are cached by their digest.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hangar.backends.location import FILE_ROW, HEADER
from hangar.backends.parts import Parts
from hangar.blobs import BlobStore
from hangar.blobs.asked import Resolve
from hangar.blobs.reader import STALE
from hangar.columns.chunked.grid import ChunkIndex, chunk_keys, grid_of, indices_of
from hangar.digest import DIGEST_BYTES, digest_list
from hangar.errors import CorruptionError, NotLocalError
from hangar.objects.arrays import ArrayRecord
from hangar.objects.lookup import get_many
from hangar.objects.node import FIXED_INLINE
from hangar.objects.scan import leaves
from hangar.objects.store import NodeStore
from hangar.schema.cells import Rows
from hangar.schema.chunked import ChunkedSchema
from hangar.stores import Stores
from hangar.threads import cores, run_parallel

__all__ = ["ChunkReader", "ChunkTable"]

_TABLE_CHUNKS: Final = 65_536
"""The chunks of larger arrays are looked up slice by slice, without a table."""
_BATCH_BYTES: Final = 32 * 2**20
"""Chunks that are read and decoded together."""
_THREADED_BYTES: Final = 8 * 2**20
"""Fewer bytes are decoded faster without threads."""
_TABLE_KEY: Final = b" chunks"
_PARTS_KEY: Final = b" parts"
_PARTS_BYTES: Final = 1_500
"""Size that the cache counts for the parts of a chunk, without their checksums."""
_BYTES_A_CHECK: Final = 2_048
_SCRATCH_BYTES: Final = 4 * 2**20
_kept: Final = threading.local()
"""Scratch memory of each thread."""

Array = np.ndarray[Any, Any]


class ChunkTable:
    """Cells and locations of the chunks of one array record.

    Attributes
    ----------
    rows
        Position of each chunk that is present; None if all are, so that the position is the index in C order.
    cells
        Cells of the chunk map, uint8, shape (n, width).
    words
        Locations, uint64, shape (n, 5); None if chunks are inline.
    names
        Digests of the chunks; none if chunks are inline.
    """

    __slots__ = ("cells", "grid", "names", "rows", "strides", "words")

    def __init__(
        self,
        grid: tuple[int, ...],
        rows: dict[ChunkIndex, int] | None,
        cells: Rows,
        words: npt.NDArray[np.uint64] | None,
    ) -> None:
        self.grid, self.rows, self.cells, self.words = grid, rows, cells, words
        self.names = digest_list(cells) if words is not None else []
        self.strides = tuple(math.prod(grid[axis + 1 :]) for axis in range(len(grid)))

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        words = 0 if self.words is None else self.words.nbytes
        return (
            1_000
            + self.cells.nbytes
            + 73 * len(self.names)
            + words
            + (0 if self.rows is None else 200 * len(self.rows))
        )

    def find(self, index: ChunkIndex) -> int:
        """Position of a chunk, -1 if it is absent."""
        if self.rows is not None:
            return self.rows.get(index, -1)
        position = 0
        for at, extent, stride in zip(index, self.grid, self.strides):  # noqa: B905  the hot loop of small slices
            if at >= extent:
                return -1  # the array has grown since
            position += at * stride
        return position


class ChunkReader:
    """Reads chunks of the arrays of one column.

    Parameters
    ----------
    stores
        Stores of the repository.
    nodes
        Node store of the column.
    schema
        Schema of the column.
    resolve
        Fetches chunks that are not here; None: reading them is an error.
    explain
        Makes that error name the column.
    """

    __slots__ = (
        "_blobs",
        "_explain",
        "_header",
        "_nbytes",
        "_resolve",
        "_strides",
        "_tables",
        "nodes",
        "schema",
        "stores",
    )

    def __init__(
        self,
        stores: Stores,
        nodes: NodeStore,
        schema: ChunkedSchema,
        resolve: Resolve | None = None,
        explain: Callable[[NotLocalError], NotLocalError] | None = None,
    ) -> None:
        self.stores, self.nodes, self.schema = stores, nodes, schema
        self._resolve, self._explain = resolve, explain
        self._blobs: BlobStore = stores.blobs
        self._tables = stores.tables
        self._header = schema.chunk.header
        self._nbytes = schema.chunk.nbytes
        self._strides = tuple(
            math.prod(schema.chunks[axis + 1 :]) * schema.dtype.itemsize for axis in range(len(schema.chunks))
        )

    def record(self, digest: bytes) -> ArrayRecord:
        """The array record of this digest, checked against the schema."""
        return self.schema.check_record(self.nodes.load_arrays([digest])[0])

    # ------------------------------------------------------------------ finding

    def table(self, record: ArrayRecord, digest: bytes) -> ChunkTable | None:
        """The table of a record; None if it has too many chunks for one."""
        found: ChunkTable | None = self._tables.get(digest + _TABLE_KEY)
        if found is None and record.chunks <= _TABLE_CHUNKS:
            found = self._make_table(record)
            if self._is_settled(found):
                self._tables.put(digest + _TABLE_KEY, found, found.nbytes)
        return found

    def _make_table(self, record: ArrayRecord) -> ChunkTable:
        grid = grid_of(record.shape, self.schema.chunks)
        form = self.schema.chunk.form
        keys: list[bytes] = []
        parts: list[Rows] = []
        for leaf, start, stop in leaves(self.nodes, record.root) if record.root is not None else ():
            if (leaf.kind, leaf.width) != (form.kind, form.width):
                raise CorruptionError(
                    "a chunk map has leaves of another form than the chunks of its column: run `hangar fsck`"
                )
            keys += leaf.keys[start:stop]
            parts.append(leaf.rows[start:stop])
        if len(keys) != record.chunks:
            raise CorruptionError(
                f"a chunk map has {len(keys):,} chunks, not the {record.chunks:,} of its array record"
            )
        cells = np.concatenate(parts) if parts else np.empty((0, form.width), np.uint8)
        indices = indices_of(keys, grid)
        rows = None if len(keys) == math.prod(grid) else {index: i for i, index in enumerate(indices)}
        return ChunkTable(grid, rows, cells, None if form.kind == FIXED_INLINE else self._locate(cells))

    def _locate(self, digests: Rows) -> npt.NDArray[np.uint64]:
        # A chunk that is missing keeps the location of file 0, and reading it raises the error.
        return self._blobs.locate(np.ascontiguousarray(digests)).words

    @staticmethod
    def _is_settled(table: ChunkTable) -> bool:
        """Whether no chunk is in the memory of a writer, which will move it."""
        return table.words is None or bool((table.words[:, FILE_ROW] != 0).all())

    def _looked_up(self, record: ArrayRecord, indices: Sequence[ChunkIndex]) -> ChunkTable:
        """A table of some chunks."""
        form = self.schema.chunk.form
        grid = grid_of(record.shape, self.schema.chunks)
        found: list[bytes | None] = [None] * len(indices)
        if record.root is not None:
            found = get_many(self.nodes, form, record.root, chunk_keys(indices))
        there = [(index, cell) for index, cell in zip(indices, found, strict=True) if cell is not None]
        joined = np.frombuffer(b"".join([cell for _, cell in there]), np.uint8).reshape(len(there), form.width)
        words = None if form.kind == FIXED_INLINE else self._locate(joined)
        return ChunkTable(grid, {index: i for i, (index, _) in enumerate(there)}, joined, words)

    def indices(self, record: ArrayRecord) -> Iterator[ChunkIndex]:
        """The chunks that are present, in order."""
        grid = grid_of(record.shape, self.schema.chunks)
        for leaf, start, stop in leaves(self.nodes, record.root) if record.root is not None else ():
            yield from indices_of(leaf.keys[start:stop], grid)

    # ------------------------------------------------------------------ reading

    @property
    def few(self) -> int:
        """Number of chunks that are read one by one; more are read in batches, on threads."""
        return max(1, _THREADED_BYTES // self._nbytes)

    def read_one(self, table: ChunkTable, row: int) -> Array | None:
        """The chunk at a row of a table, from the cache or into it; None if :meth:`read` is needed. It must not be changed."""
        if table.words is None:
            inline: Array = self._shaped(table.cells[row : row + 1])[0]
            return inline
        cache, name = self._blobs.files.chunk_cache(), table.names[row]
        found: Array | None = cache.get(name)
        if found is None:
            blob = np.empty(self._nbytes, np.uint8)
            if not self._read_blob(table, row, name, blob):
                return None
            found = blob.view(self.schema.dtype).reshape(self.schema.chunks)
            if self._nbytes <= cache.most // 8:
                found.flags.writeable = False
                cache.put(name, found, self._nbytes)
        return found

    def read_part(self, table: ChunkTable, row: int, inside: tuple[slice, ...]) -> Array | None:
        """Like :meth:`read_one` for a box of a chunk, which must not be kept: call :meth:`give_back` when it was copied.

        If the chunk was read before and is not in the cache any more, only the parts of it that hold the box are read.
        """
        if table.words is not None:
            name = table.names[row]
            parts: Parts | None = self._tables.get(name + _PARTS_KEY)
            if parts is not None and parts.small and name not in self._blobs.files.chunk_cache():
                scratch = self._scratch()
                if self._read_box(parts, inside, scratch):
                    box: Array = scratch.view(self.schema.dtype).reshape(self.schema.chunks)[inside]
                    return box
                self._tables.drop(name + _PARTS_KEY)
        chunk = self.read_one(table, row)
        return None if chunk is None else chunk[inside]

    def _read_box(self, parts: Parts, inside: tuple[slice, ...], out: Rows) -> bool:
        start, stop = 0, 0
        for one, stride in zip(inside, self._strides, strict=True):
            start += one.start * stride
            stop += (one.stop - 1) * stride
        stop += self._strides[-1]
        first, stride = inside[0], self._strides[0]
        # The planes of the box are read one by one if there is a gap between them.
        planes = range(first.start, first.stop, first.step or 1)
        length = stop - start - (planes[-1] - planes[0]) * stride
        if len(planes) == 1 or length > stride // 2:
            return self._blobs.read_part(parts, start, stop, out)
        return all(
            self._blobs.read_part(parts, begin, begin + length, out)
            for begin in range(start, start + len(planes) * stride * planes.step, stride * planes.step)
        )

    def _read_blob(self, table: ChunkTable, row: int, name: bytes, out: Rows) -> bool:
        """Read a chunk that is a blob into ``out``, and verify it; False if that needs a general method."""
        parts: Parts | None = self._tables.get(name + _PARTS_KEY)
        if parts is not None:
            if self._blobs.read_part(parts, 0, self._nbytes, out):
                return True
            self._tables.drop(name + _PARTS_KEY)
        location: Any = table.words[row].tolist()  # type: ignore[index]
        parts = self._blobs.read_whole(location, self._header, out)
        if parts is not None:
            self._tables.put(name + _PARTS_KEY, parts, _PARTS_BYTES + self._nbytes // _BYTES_A_CHECK)
            return True
        blob = self._blobs.read_at(location, self._header) if location[HEADER] == self._header.id else None
        if blob is None or len(blob) != self._nbytes:
            return False
        out[:] = blob
        return True

    def _scratch(self) -> Rows:
        """Memory for a chunk, which this thread keeps and nobody else gets until :meth:`give_back`.

        A signal handler that reads an array in the meantime gets other memory.
        """
        found: Rows | None = _kept.__dict__.pop("scratch", None)
        if found is None or len(found) < self._nbytes:
            found = np.empty(self._nbytes, np.uint8)
        _kept.lent = found
        return found[: self._nbytes]

    def give_back(self) -> None:
        """The last box of :meth:`read_part` was copied, so its memory may be used again."""
        lent: Rows | None = _kept.__dict__.pop("lent", None)
        if lent is not None and len(lent) <= _SCRATCH_BYTES:
            _kept.scratch = lent

    def visit(self, table: ChunkTable, rows: Sequence[int], use: Callable[[int, Array], None]) -> list[int]:
        """Read many chunks that are blobs, on several threads, and call ``use`` with the position and the chunk, which must not be kept.

        Returns
        -------
        list
            Positions of the chunks that need :meth:`read`.
        """
        left: list[int] = []

        def work(positions: range) -> None:
            scratch = self._scratch()
            chunk = scratch.view(self.schema.dtype).reshape(self.schema.chunks)
            for i in positions:
                if self._read_blob(table, rows[i], table.names[rows[i]], scratch):
                    use(i, chunk)
                else:
                    left.append(i)
            self.give_back()

        self._on_threads(len(rows), work)
        return left

    def _on_threads(self, count: int, work: Callable[[range], None]) -> None:
        step = max(self.few, -(-count // (4 * cores())))
        run_parallel([partial(work, range(start, min(start + step, count))) for start in range(0, count, step)])

    def read(
        self, record: ArrayRecord, digest: bytes, indices: Sequence[ChunkIndex]
    ) -> Iterator[tuple[int, Array | None]]:
        """Read many chunks, some megabytes at a time; they do not enter the cache.

        Parameters
        ----------
        record, digest
            The array, and the digest of its record.
        indices
            The chunks.

        Yields
        ------
        tuple
            Position in ``indices``, and the chunk, which must not be changed; None for an absent one. In any order.
        """
        table = self.table(record, digest) or self._looked_up(record, indices)
        rows = list(map(table.find, indices))
        wanted: list[int] = []
        for i, row in enumerate(rows):
            if row < 0:
                yield i, None
            else:
                wanted.append(i)
        together = max(1, _BATCH_BYTES // self._nbytes)
        for start in range(0, len(wanted), together):
            part = wanted[start : start + together]
            yield from zip(part, self._chunks(table, digest, np.array([rows[i] for i in part])), strict=True)

    def read_into(self, table: ChunkTable, digest: bytes, rows: Sequence[int], out: Rows) -> None:
        """Read chunks at rows of a table, -1 for absent ones, into consecutive rows of ``out``: uint8, shape (n, bytes of a chunk)."""
        there = np.array(rows) >= 0
        if not there.all():
            out.view(self.schema.dtype)[~there] = self.schema.fill
        # A run of chunks that are present is one read.
        edges = np.flatnonzero(np.diff(np.concatenate(([0], there, [0]))))
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            self._read_run(table, digest, rows[start:stop], out[start:stop])

    def _read_run(self, table: ChunkTable, digest: bytes, rows: Sequence[int], out: Rows) -> None:
        if table.words is None:
            self._read_rows(table, digest, np.array(rows), out)
            return
        left: list[int] = []

        def work(positions: range) -> None:
            left.extend(i for i in positions if not self._read_blob(table, rows[i], table.names[rows[i]], out[i]))

        self._on_threads(len(rows), work)
        for i in left:
            self._read_rows(table, digest, np.array(rows[i : i + 1]), out[i : i + 1])

    def _chunks(self, table: ChunkTable, digest: bytes, rows: npt.NDArray[np.intp]) -> Array:
        """Chunks at rows of a table, stacked."""
        return self._shaped(self._read_rows(table, digest, rows, None))

    def _read_rows(self, table: ChunkTable, digest: bytes, rows: npt.NDArray[np.intp], out: Rows | None) -> Rows:
        digests = table.cells[rows]
        if table.words is None:
            if out is None:
                return digests
            out[:] = digests
            return out
        try:
            return self._blobs.read_rows_at(table.words[rows], self._header, self._nbytes, out, digests=digests)
        except STALE:
            # Raises if the data is damaged. Otherwise chunks were moved.
            try:
                found = self._blobs.read_rows(digests, self._header, self._nbytes, out, resolve=self._resolve)
            except NotLocalError as error:
                raise error if self._explain is None else self._explain(error) from None
            self._tables.drop(digest + _TABLE_KEY)
        return found

    # ------------------------------------------------------------------ fetching

    @property
    def fetches(self) -> bool:
        """Whether chunks may have to be fetched: a read then asks for all of them at once."""
        return (
            self._resolve is not None
            and self.schema.chunk.form.kind != FIXED_INLINE
            and self._blobs.promises.possible()
        )

    def absent_of(self, record: ArrayRecord, digest: bytes, indices: Sequence[ChunkIndex]) -> Rows:
        """Digests of the chunks that are not on this disk: uint8, shape (n, 32)."""
        if self._tables.get(digest + _TABLE_KEY) is not None:
            return np.empty((0, DIGEST_BYTES), np.uint8)  # it is kept only if all chunks have a location
        cells = self._looked_up(record, indices).cells
        return cells[self._blobs.locate(cells).missing] if len(cells) else cells

    def fetch(self, absent: Sequence[Rows]) -> int:
        """Have chunks fetched, with one request; returns their bytes."""
        digests = np.concatenate(absent) if absent else np.empty((0, DIGEST_BYTES), np.uint8)
        return self._blobs.fetch(digests, self._resolve) if self._resolve is not None else 0

    def _shaped(self, rows: Rows) -> Array:
        return rows.view(self.schema.dtype).reshape((len(rows), *self.schema.chunks))

    def blobs_of(self, record: ArrayRecord) -> Iterator[Rows]:
        """Digests of the blobs of all chunks, in the order of chunks, in batches (n, 32); none if chunks are inline."""
        if self.schema.chunk.form.kind != FIXED_INLINE and record.root is not None:
            for leaf, start, stop in leaves(self.nodes, record.root):
                yield leaf.blobs()[start:stop]

    def absent(self, digest: bytes) -> Rows:
        """Digests of the chunks of an array that are not on this disk: uint8, shape (n, 32)."""
        found = [part[self._blobs.locate(part).missing] for part in self.blobs_of(self.record(digest))]
        return np.concatenate(found) if found else np.empty((0, DIGEST_BYTES), np.uint8)
