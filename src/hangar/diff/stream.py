"""Stream of changed samples with their values, in bounded memory.

The cells of both sides come from the walk of the two trees, so no key is looked up again, and values are read from them
in batches of at most :data:`BATCH_BYTES` a side (a larger value is a batch of its own). A value that is not on this
disk, or that this installation cannot read, is an :class:`Unavailable` in place of the value, not an error.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from hangar.diff.compare import ColumnPair, count_pair, data_keys, kind_of, walk_pair
from hangar.diff.results import ChangeCounts, ChangeKind, DataKey
from hangar.diff.sparse import as_coordinates, sparse_nbytes
from hangar.diff.values import ValueDifference, difference, differences
from hangar.digest import NDARRAY, SPARSE, digest_array
from hangar.errors import (
    CorruptionError,
    HangarError,
    InvalidInputError,
    MissingPackageError,
    NotLocalError,
    PathNotFoundError,
    PurgedError,
    UnsupportedVersionError,
)
from hangar.schema.chunked import ChunkedSchema
from hangar.schema.dtypes import itemsize_of
from hangar.schema.media import MediaSchema

if TYPE_CHECKING:
    from hangar.blobs import BlobStore
    from hangar.columns.values import ValueReader
    from hangar.diff.comparison import Comparison

__all__ = [
    "ColumnBytes",
    "Form",
    "Reading",
    "Unavailable",
    "ValueChange",
    "column_bytes",
    "value_batches",
    "value_changes",
]

BATCH_BYTES: Final = 8 * 2**20
_BATCH: Final = 256
"""Limits of a batch: logical bytes of the values of one side, and changes."""
_UNREADABLE: Final = (NotLocalError, PurgedError, MissingPackageError, UnsupportedVersionError)
_DAMAGE: Final = (CorruptionError, PathNotFoundError)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Stands for a value that cannot be read here; ``reason`` says why, ``error`` is the error of reading it."""

    reason: str
    error: HangarError

    @property
    def damaged(self) -> bool:
        """Whether the value should be here, and is lost or damaged."""
        return isinstance(self.error, _DAMAGE)


@dataclass(frozen=True, slots=True)
class Form:
    """Description of a value that was not read: kind, dtype and shape (None for str and bytes), logical bytes."""

    kind: str
    dtype: str | None
    shape: tuple[int, ...] | None
    nbytes: int


@dataclass(frozen=True, slots=True)
class ValueChange:
    """One sample or subsample that changed, with its values.

    Attributes
    ----------
    column
        Name of the column, of a renamed column the new one.
    kind
        ``'added'``, ``'deleted'`` or ``'mutated'``.
    key
        The sample, in a nested column with its subsample.
    """

    column: str
    kind: ChangeKind
    key: DataKey
    before: Any
    """The value before; None if the sample did not exist, :class:`Unavailable` if it cannot be read here."""
    after: Any
    """The value after; None if the sample does not exist any more, :class:`Unavailable` if it cannot be read here."""

    def difference(self, tolerance: float = 0.0) -> ValueDifference | None:
        """Compare both values; None if the sample is on one side only, or a value is not available.

        Parameters
        ----------
        tolerance
            Absolute change up to which numbers count as equal.
        """
        if any(value is None or isinstance(value, (Unavailable, Form)) for value in (self.before, self.after)):
            return None
        return difference(self.before, self.after, tolerance)


class ColumnBytes(NamedTuple):
    """Logical bytes of the changed samples of a column, on each side."""

    before: int
    after: int


Cells: TypeAlias = "tuple[bytes, bytes | None, bytes | None]"


@dataclass(frozen=True, slots=True)
class Reading:
    """Which changes to read, and which of their values.

    Attributes
    ----------
    chosen
        Selects changes by kind and key; None: all.
    wanted
        Whether to read a value of this form for a kind of change; of others there is the :class:`Form`.
    damage
        Whether a damaged value is an :class:`Unavailable`, and no error.
    most_bytes
        Maximum number of bytes of a chunked array that are read to compare it; None: any.
    """

    chosen: Callable[[str, DataKey], object] | None = None
    wanted: Callable[[Form, ChangeKind], bool] = lambda form, kind: True
    damage: bool = False
    most_bytes: int | None = None


EVERYTHING: Final = Reading()


def value_batches(
    comparison: Comparison, pair: ColumnPair, reading: Reading = EVERYTHING, limit: int | None = None
) -> Iterator[list[ValueChange]]:
    """Stream the changes of one column in key order, in batches; at most ``limit`` changes."""
    walk = walk_pair(comparison.nodes, pair)
    readers = [None if entry is None else _CellReader(comparison, entry.schema, reading.damage) for entry in pair]
    left = limit
    while left != 0 and (cells := list(islice(walk, _BATCH if left is None or reading.chosen else min(left, _BATCH)))):
        keys = data_keys(pair, [key for key, _, _ in cells])
        if reading.chosen is not None:
            picked = [i for i, key in enumerate(keys) if reading.chosen(pair.entry.name, key)][:left]
            keys, cells = [keys[i] for i in picked], [cells[i] for i in picked]
        left = None if left is None else left - len(cells)
        forms = [_forms(reader, [one[side + 1] for one in cells]) for side, reader in enumerate(readers)]
        for part in _parts(forms):
            values = [
                _read(reader, cells[part], side, forms[side][part], reading.wanted)
                for side, reader in enumerate(readers)
            ]
            yield [
                ValueChange(pair.entry.name, kind_of(a, b), key, old, new)
                for key, (_, a, b), old, new in zip(keys[part], cells[part], *values, strict=True)
            ]


def compared(
    comparison: Comparison, pair: ColumnPair, reading: Reading, tolerance: float | None = None
) -> Iterator[tuple[ValueChange, ValueDifference | None]]:
    """Stream the changes of one column, each with the difference of its two values.

    Parameters
    ----------
    tolerance
        Leaves out changed samples whose numbers differ by no more; None: nothing is left out.
    """
    for batch in value_batches(comparison, pair, reading):
        for change, one in _with_differences(batch, reading, tolerance):
            if tolerance is None or one is None or one.differs:
                yield change, one


def _with_differences(
    batch: list[ValueChange], reading: Reading, tolerance: float | None
) -> list[tuple[ValueChange, ValueDifference | None]]:
    """Changes with their differences. The chunks of arrays are read only here, so that some may not be available."""
    try:
        found = differences([(one.before, one.after) for one in batch], tolerance, reading.most_bytes)
        return list(zip(batch, found, strict=True))
    except (*_UNREADABLE, *_DAMAGE) as error:
        if not reading.damage and isinstance(error, _DAMAGE):
            raise
        if len(batch) > 1:
            return [made for one in batch for made in _with_differences([one], reading, tolerance)]
        return [(replace(batch[0], after=_unavailable(error)), None)]


def count_changes(
    comparison: Comparison, pair: ColumnPair, reading: Reading = EVERYTHING, tolerance: float | None = None
) -> ChangeCounts:
    """Count the changes of one column. Without a choice of samples and a tolerance, no value is read."""
    if reading.chosen is None and tolerance is None:
        return count_pair(comparison.nodes, pair)
    if tolerance is None:
        reading = replace(reading, wanted=lambda form, kind: False)
    found = Counter(change.kind for change, _ in compared(comparison, pair, reading, tolerance))
    return ChangeCounts(found["added"], found["deleted"], found["mutated"])


def value_changes(comparison: Comparison) -> Iterator[ValueChange]:
    """Stream the changes of all columns, by column and in key order."""
    for pair in comparison.changed_pairs:
        for batch in value_batches(comparison, pair):
            yield from batch


def column_bytes(
    comparison: Comparison, pair: ColumnPair, reading: Reading = EVERYTHING, tolerance: float | None = None
) -> ColumnBytes:
    """Logical bytes of the changed samples of a column on each side.

    Of all samples of a column of fixed shape it costs a count. Otherwise sizes come from the changed entries and the
    headers of blobs; values are read only to compare them with a tolerance.
    """
    schemas = [None if entry is None else comparison.schema(entry.schema) for entry in pair]
    everything = reading.chosen is None and tolerance is None
    if everything and all(schema is None or schema.uniform for schema in schemas):
        added, deleted, mutated = count_pair(comparison.nodes, pair)
        before, after = (0 if schema is None else schema.nbytes for schema in schemas)
        return ColumnBytes(before * (deleted + mutated), after * (added + mutated))
    if tolerance is None:
        reading = replace(reading, wanted=lambda form, kind: False)
    before = after = 0
    for change, _ in compared(comparison, pair, reading, tolerance):
        before += _nbytes(change.before)
        after += _nbytes(change.after)
    return ColumnBytes(before, after)


def _nbytes(value: Any) -> int:
    """Logical bytes of a value or form; 0 for one that is not available."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    sparse = as_coordinates(value)
    return getattr(value, "nbytes", 0) if sparse is None else sparse_nbytes(sparse)


def _forms(reader: _CellReader | None, cells: Sequence[bytes | None]) -> list[Form | None]:
    """Forms of cells, None where there is none."""
    present = [cell for cell in cells if cell is not None]
    found = iter([] if reader is None else reader.forms(present))
    return [None if cell is None else next(found) for cell in cells]


def _parts(forms: Sequence[Sequence[Form | None]]) -> Iterator[slice]:
    """Slices of a batch whose values take at most :data:`BATCH_BYTES` on each side."""
    start, totals = 0, [0] * len(forms)
    for i in range(len(forms[0])):
        sizes = [0 if (form := side[i]) is None else form.nbytes for side in forms]
        totals = [total + size for total, size in zip(totals, sizes, strict=True)]
        if i > start and max(totals) > BATCH_BYTES:
            yield slice(start, i)
            start, totals = i, sizes
    if forms[0]:
        yield slice(start, len(forms[0]))


def _read(
    reader: _CellReader | None,
    cells: Sequence[Cells],
    side: int,
    forms: Sequence[Form | None],
    wanted: Callable[[Form, ChangeKind], bool],
) -> list[Any]:
    """Values of one side of a batch: None where there is none, the form where the value is not wanted."""
    if reader is None:
        return [None] * len(cells)
    values: list[Any] = list(forms)
    places = [i for i, form in enumerate(forms) if form is not None and wanted(form, kind_of(*cells[i][1:]))]
    read = reader.values([cells[i][side + 1] for i in places])  # type: ignore[misc]
    for i, value in zip(places, read, strict=True):
        values[i] = value
    return values


def _unavailable(error: HangarError) -> Unavailable:
    reason = "not on this disk" if isinstance(error, NotLocalError) else str(error)
    return Unavailable(error.why if isinstance(error, PurgedError) else reason, error)


class _CellReader:
    """Reads the cells of one schema: their values, and forms."""

    __slots__ = ("_blobs", "_catch", "_nodes", "_values", "schema")

    def __init__(self, comparison: Comparison, schema: bytes, damage: bool) -> None:
        from hangar.columns.chunked.values import open_values  # not needed for history and status

        self.schema = comparison.schema(schema)
        self._blobs: BlobStore = comparison.stores.blobs
        self._nodes = comparison.nodes
        self._values: ValueReader | None = (
            None if self.schema.needs else open_values(comparison.stores, comparison.nodes, self.schema)
        )
        # A file that cannot be decoded is what was stored, and no damage.
        undecodable = (InvalidInputError,) if isinstance(self.schema, MediaSchema) else ()
        self._catch = (*_UNREADABLE, *_DAMAGE, *undecodable) if damage else (*_UNREADABLE, *undecodable)

    def values(self, cells: Sequence[bytes]) -> list[Any]:
        """The values of cells; :class:`Unavailable` for those that cannot be read."""
        if self._values is None:
            try:
                self.schema.require()
            except _UNREADABLE as error:
                return [Unavailable(str(error), error)] * len(cells)
        assert self._values is not None
        try:
            return self._values.many(cells)
        except self._catch:
            return [self._one(cell) for cell in cells]

    def _one(self, cell: bytes) -> Any:
        assert self._values is not None
        try:
            return self._values.many([cell])[0]
        except self._catch as error:
            return _unavailable(error)

    def forms(self, cells: Sequence[bytes]) -> list[Form]:
        """The forms of cells; no value is read. Lengths are 0 for lost blobs, and where a newer version wrote them."""
        schema = self.schema
        kind, dtype = schema.kind_name, schema.dtype_name
        if schema.needs:
            return [Form(kind, dtype, schema.shape, 0)] * len(cells)
        if schema.uniform:
            return [Form(kind, dtype, schema.shape, schema.nbytes)] * len(cells)
        if isinstance(schema, ChunkedSchema):
            shapes = [record.shape for record in self._nodes.load_arrays(list(cells))]
            return [Form(kind, dtype, shape, math.prod(shape) * schema.dtype.itemsize) for shape in shapes]
        digests = [schema.digest_of(cell) for cell in cells]
        blobs = iter(self._blob_forms([digest for digest in digests if digest is not None]))
        inline = partial(Form, kind, dtype, schema.shape)
        return [
            inline(len(cell) - 1) if digest is None else next(blobs)
            for cell, digest in zip(cells, digests, strict=True)
        ]

    def _blob_forms(self, digests: Sequence[bytes]) -> list[Form]:
        if not digests:
            return []
        from hangar.backends.location import HEADER, LENGTH_MASK, STORED

        kind, dtype = self.schema.kind_name, self.schema.dtype_name
        words = self._blobs.locate(digest_array(list(digests))).words
        forms = []
        for digest, header_id, stored in zip(
            digests, words[:, HEADER].tolist(), words[:, STORED].tolist(), strict=True
        ):
            buffered = None if header_id else self._blobs.locator.buffered(digest)
            header = self._blobs.header(header_id) if header_id else buffered.header if buffered is not None else None
            if header is not None and header.kind == NDARRAY:
                nbytes = math.prod(header.shape) * itemsize_of(header.dtype)
                forms.append(Form(kind, dtype, header.shape, nbytes))
            else:
                nbytes = len(buffered.data) if buffered is not None else stored & LENGTH_MASK
                shape = header.shape if header is not None and header.kind == SPARSE else None
                forms.append(Form(kind, dtype, shape, nbytes))
        return forms
