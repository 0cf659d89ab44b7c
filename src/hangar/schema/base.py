"""The contract of a schema, its record, and the registry of kinds.

A kind knows how to check a value, how to turn it into canonical bytes, and back. Values come and go in batches; one value is
a batch of one only where nothing faster is possible. What lies in the tree and what becomes a blob is decided here, by kind,
dtype and shape alone, because it is part of history.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np

from hangar.digest import Digest, Header, record_digest
from hangar.errors import CorruptionError, UnsupportedVersionError
from hangar.objects.node import DIGEST_TAG, FIXED_INLINE, MIXED, TreeForm
from hangar.schema.cells import CellBatch, Encoded, Rows

__all__ = ["ColumnSchema", "SchemaRecord", "load_schema", "register_kind"]

SCHEMA_VERSION = 0
_DIGEST_TAG = bytes((DIGEST_TAG,))
_NO_BLOBS = Encoded((), ())


class SchemaRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The stored form of a schema, and what its digest covers."""

    version: int
    kind: int
    dtype: int
    variable: bool
    shape: list[int]
    nested: bool
    inline: bool


class ColumnSchema(ABC):
    """What one column holds, and how its values become cells of the tree and come back.

    Who reads and writes values asks the schema and knows no kind. A new kind is a new class here, registered by :func:`register_kind`.

    Attributes
    ----------
    kind_name
        ``'ndarray'``, ``'str'`` or ``'bytes'``.
    stacks
        Whether values are arrays, so that a batch of them can be one array.
    nested
        Whether samples hold subsamples.
    inline
        Whether small values lie in the tree.
    inline_bytes
        Most bytes of a value that lies in the tree, -1 where none does. The length alone decides, so one content has one root.
    form
        Form of the column's tree.
    uniform
        Whether all values have one header and one length, so that a batch is read as rows (:meth:`decode_rows`).
    header, nbytes
        These two, of a uniform column.
    needs
        What this installation lacks to read and write the values, for people; ``''`` where it lacks nothing.
    """

    kind: ClassVar[int]
    kind_name: ClassVar[Literal["ndarray", "str", "bytes"]]
    stacks: ClassVar[bool] = False

    nested: bool
    inline: bool
    inline_bytes: int
    form: TreeForm
    uniform: bool = False
    header: Header
    nbytes: int = 0
    digest: Digest
    data: bytes

    def _settle(self, record: SchemaRecord) -> None:
        self.nested, self.inline = record.nested, record.inline
        self.data = msgspec.msgpack.encode(record)
        self.digest = record_digest("schema", self.data)

    needs: str = ""

    def require(self) -> None:  # noqa: B027  (most kinds need nothing)
        """Raise where this installation cannot read and write the values."""

    @property
    def known_form(self) -> bool:
        """Whether the form of the tree is known, so that it can be checked."""
        return True

    @property
    def dtype_name(self) -> str | None:
        """Name of the element type of arrays, None for str and bytes; known even where the type itself is not installed."""
        return None if self.dtype is None else self.dtype.name

    @property
    @abstractmethod
    def variable(self) -> bool:
        """Whether values differ in shape."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any] | None:
        """Element type of arrays, None for str and bytes."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...] | None:
        """Shape, or its maximum, of arrays; None for str and bytes."""

    @abstractmethod
    def encode(self, value: object) -> tuple[Header, bytes | memoryview]:
        """Header and canonical bytes of one value; InvalidInputError where it does not fit."""

    @abstractmethod
    def encode_batch(self, values: Any, count: int) -> Encoded:
        """Canonical form of ``count`` values, given stacked or as a sequence; InvalidInputError where one does not fit."""

    @abstractmethod
    def decode(self, header: Header | None, buffer: bytes | Rows) -> Any:
        """The value of canonical bytes; ``header`` is None for what lay in the tree. A fresh ``buffer`` may be taken over."""

    def decode_rows(self, header: Header, rows: Rows) -> Any:
        """The values of fresh canonical ``rows`` of one header, as one array of shape (n, *shape)."""
        raise NotImplementedError

    def separate(self, stacked: Any) -> list[Any]:
        """The values of an array that :meth:`decode_rows` made."""
        raise NotImplementedError

    def stack(self, values: list[Any], out: np.ndarray[Any, Any] | None) -> Any:
        """Values of a column that ``stacks`` as one array, in ``out`` where that is given.

        Raises
        ------
        InvalidInputError
            The values differ in shape, or ``out`` does not fit them.
        """
        raise NotImplementedError

    @abstractmethod
    def check_header(self, header: Header) -> bool:
        """Whether a blob of this header can be a value of the column."""

    def covers(self, other: ColumnSchema) -> bool:
        """Whether whatever a column of the schema ``other`` holds can stand in a column of this one, as it is."""
        return self.digest == other.digest

    # ------------------------------------------------------------------ cells

    def cell(self, buffer: bytes | memoryview) -> bytes | None:
        """The cell of a value with these canonical bytes; None where the value is a blob."""
        if len(buffer) > self.inline_bytes:
            return None
        return bytes((len(buffer),)) + bytes(buffer) if self.form.kind == MIXED else bytes(buffer)

    def digest_cell(self, digest: bytes) -> bytes:
        """The cell of a value that is a blob."""
        return _DIGEST_TAG + digest if self.form.kind == MIXED else digest

    def cells(self, batch: Encoded) -> CellBatch:
        """The cells of a batch, and the values of it that become blobs."""
        if self.inline_bytes < 0:
            return CellBatch(batch, None, self.digest_cell)
        if batch.rows is not None and self.form.kind == FIXED_INLINE:
            return CellBatch(_NO_BLOBS, batch.rows, self.digest_cell)
        cells = [self.cell(buffer) for buffer in batch.buffers]
        places = [i for i, cell in enumerate(cells) if cell is None]
        blobs = Encoded([batch.headers[i] for i in places], [batch.buffers[i] for i in places])
        return CellBatch(blobs, cells, self.digest_cell)

    def digest_of(self, cell: bytes) -> bytes | None:
        """The digest that a cell holds, None where the value itself lies in it."""
        if self.inline_bytes < 0:
            return cell
        return cell[1:] if self.form.kind == MIXED and cell[0] == DIGEST_TAG else None

    def decode_cell(self, cell: bytes) -> Any:
        """The value that lies in a cell."""
        return self.decode(None, cell[1:] if self.form.kind == MIXED else cell)

    def decode_cells(self, cells: Sequence[bytes]) -> tuple[list[Any], Sequence[int], Sequence[bytes]]:
        """The values that lie in cells, None for each blob; and the places and digests of the blobs."""
        if self.inline_bytes < 0:
            return [None] * len(cells), range(len(cells)), cells
        decode = self.decode
        if self.form.kind == FIXED_INLINE:
            return [decode(None, cell) for cell in cells], (), ()
        places = [i for i, cell in enumerate(cells) if cell[0] == DIGEST_TAG]
        values = [None if cell[0] == DIGEST_TAG else decode(None, cell[1:]) for cell in cells]
        return values, places, [cells[i][1:] for i in places]

    def inline_rows(self, cells: Rows) -> Rows | None:
        """Canonical bytes of the values of a uniform column, given their cells of one width, as fresh rows; None where they are blobs."""
        if self.form.kind != FIXED_INLINE and self.nbytes:
            return None
        return np.array(cells[:, : self.nbytes], np.uint8, order="C")


_KINDS: dict[int, Callable[[SchemaRecord], ColumnSchema]] = {}


def register_kind(kind: int, make: Callable[[SchemaRecord], ColumnSchema]) -> None:
    """Let :func:`load_schema` open records of ``kind``."""
    _KINDS[kind] = make


_decoder = msgspec.msgpack.Decoder(SchemaRecord)


def _refuse_newer(data: bytes) -> None:
    """Raise UnsupportedVersionError where bytes that are no schema of this version look like one of a newer."""
    try:
        parts = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return
    if isinstance(parts, list) and parts and type(parts[0]) is int and parts[0] > SCHEMA_VERSION:
        raise UnsupportedVersionError(f"a column schema of version {parts[0]} needs a newer Hangar than this one")


def load_schema(data: bytes) -> ColumnSchema:
    """The schema of a stored record.

    Raises
    ------
    UnsupportedVersionError
        A newer Hangar wrote it.
    MissingPackageError
        Its dtype needs a package that is not installed.
    CorruptionError
        The bytes are no canonical schema.
    """
    try:
        record = _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        _refuse_newer(data)
        raise CorruptionError(f"a column schema cannot be read: {error}") from None
    if record.version != SCHEMA_VERSION or record.kind not in _KINDS:
        raise UnsupportedVersionError(
            f"a column schema of version {record.version}, kind {record.kind} needs a newer Hangar than this one"
        )
    try:
        schema = _KINDS[record.kind](record)
    except ValueError as error:
        raise CorruptionError(f"a column schema contradicts itself: {error}") from None
    if schema.data != data:
        raise CorruptionError("a column schema is not in canonical form")
    return schema
