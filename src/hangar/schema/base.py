"""Base class of schemas, the stored record of a schema, and the registry of kinds.

A kind checks values, encodes them as canonical bytes, and decodes them. The interface works on batches, with separate
methods for one value where that is faster. The schema decides whether a value is stored inline in the tree or as a
blob, by kind, dtype and shape alone, because this is part of history.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Literal, TypeAlias

import msgspec
import numpy as np

from hangar.digest import Digest, Header, record_digest
from hangar.errors import CorruptionError, UnsupportedVersionError
from hangar.objects.node import DIGEST_TAG, FIXED_INLINE, MIXED, TreeForm
from hangar.schema.cells import CellBatch, Encoded, Rows

__all__ = [
    "SCHEMA_VERSION",
    "ColumnSchema",
    "KindName",
    "SchemaRecord",
    "common_fields",
    "load_schema",
    "register_kind",
]

KindName: TypeAlias = Literal["ndarray", "str", "bytes", "chunked", "sparse", "image", "audio", "video"]

SCHEMA_VERSION = 0
_DIGEST_TAG = bytes((DIGEST_TAG,))
_NO_BLOBS = Encoded((), ())


class SchemaRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The stored form of a schema; its digest covers this record."""

    version: int
    kind: int
    dtype: int
    variable: bool
    shape: list[int]
    nested: bool
    inline: bool


class ColumnSchema(ABC):
    """Schema of one column; converts between values and the cells of the tree.

    Code that reads and writes values uses this interface and does not depend on the kind. A new kind is a new subclass,
    registered with :func:`register_kind`.

    Attributes
    ----------
    kind_name
        ``'ndarray'``, ``'str'``, ``'bytes'``, ``'chunked'``, ``'sparse'``, ``'image'``, ``'audio'`` or ``'video'``.
    blob_kind
        Kind in the header of its blobs.
    python_type
        Type of values that are not arrays of one element type; None if there is no such type.
    most_ahead
        Maximum number of values that iteration reads ahead.
    stacks
        Whether values are arrays, so that a batch of them can be one array.
    joins
        Whether a batch of decoded values of equal shape is one array for data sets, though values may differ in shape.
    nested
        Whether samples have subsamples.
    inline
        Whether small values are stored in the tree.
    inline_bytes
        Maximum bytes of an inline value, -1 if no value is inline. The length alone decides, so equal content has an
        equal root.
    form
        Form of the column's tree.
    uniform
        Whether all values have the same header and length, so that a batch is read as rows (:meth:`decode_rows`).
    header, nbytes
        Header and length of the values of a uniform column.
    needs
        Description of the package that is missing to read and write the values; ``''`` if nothing is missing.
    """

    kind: ClassVar[int]
    kind_name: ClassVar[KindName]
    stacks: ClassVar[bool] = False
    joins: ClassVar[bool] = False
    python_type: ClassVar[type[Any] | None] = None
    most_ahead: ClassVar[int] = 1024

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

    @property
    def blob_kind(self) -> int:
        """Kind in the header of the blobs of the column."""
        return self.kind

    def require(self) -> None:  # noqa: B027  (most kinds need nothing)
        """Raise if this installation cannot read and write the values."""

    @property
    def known_form(self) -> bool:
        """Whether the form of the tree is known, so that it can be checked."""
        return True

    @property
    def dtype_name(self) -> str | None:
        """Name of the element type of arrays, None for str and bytes; known even if its package is missing."""
        return None if self.dtype is None else self.dtype.name

    @property
    def kind_text(self) -> str:
        """Kind of the values, and how they are read, for people."""
        return self.kind_name

    @property
    @abstractmethod
    def variable(self) -> bool:
        """Whether values may differ in shape."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any] | None:
        """Element type of arrays, None for str and bytes."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...] | None:
        """Shape, or its maximum, of arrays; None for str and bytes."""

    @property
    def max_shape(self) -> tuple[int | None, ...] | None:
        """The shape as users see it: None for a dimension that is not bounded."""
        return self.shape

    @property
    def blob_schema(self) -> ColumnSchema:
        """Schema of the blobs of the column, from which the backend is chosen: of chunked arrays that of a chunk."""
        return self

    @abstractmethod
    def encode(self, value: object) -> tuple[Header, bytes | memoryview]:
        """Header and canonical bytes of one value; InvalidInputError if it does not fit."""

    @abstractmethod
    def encode_batch(self, values: Any, count: int) -> Encoded:
        """Canonical form of ``count`` values, given stacked or as a sequence; InvalidInputError if one does not fit."""

    @abstractmethod
    def decode(self, header: Header | None, buffer: bytes | Rows) -> Any:
        """Decode canonical bytes; ``header`` is None for an inline value. The result may share memory with ``buffer``."""

    def decode_all(self, pairs: Sequence[tuple[Header, bytes | Rows]]) -> list[Any]:
        """Decode many blobs, given by header and canonical bytes."""
        return [self.decode(header, buffer) for header, buffer in pairs]

    def decode_together(self, pairs: Sequence[tuple[Header, bytes | Rows]]) -> Any:
        """Decode many blobs of a column that ``joins``: one array if the values are alike, else a list."""
        raise NotImplementedError

    @property
    def array_form(self) -> tuple[np.dtype[Any], int] | None:
        """Element type and rank of all values; None if they are no arrays, or differ in these."""
        return None if self.dtype is None or self.shape is None else (self.dtype, len(self.shape))

    def decode_rows(self, header: Header, rows: Rows) -> Any:
        """Decode canonical ``rows`` of one header as one array of shape (n, *shape), which may share their memory."""
        raise NotImplementedError

    def separate(self, stacked: Any) -> list[Any]:
        """The values of an array that :meth:`decode_rows` made."""
        raise NotImplementedError

    def stack(self, values: list[Any], out: np.ndarray[Any, Any] | None) -> Any:
        """Stack values of a column that ``stacks`` into one array, which is ``out`` if given.

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
        """Whether every value of a column with the schema ``other`` is also valid in this one, without conversion."""
        return self.digest == other.digest

    # ------------------------------------------------------------------ cells

    def cell(self, buffer: bytes | memoryview) -> bytes | None:
        """The cell of a value with these canonical bytes; None if the value is a blob."""
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
        """The blob digest in a cell, None if the cell has an inline value."""
        if self.inline_bytes < 0:
            return cell
        return cell[1:] if self.form.kind == MIXED and cell[0] == DIGEST_TAG else None

    def decode_cell(self, cell: bytes) -> Any:
        """The inline value of a cell."""
        return self.decode(None, cell[1:] if self.form.kind == MIXED else cell)

    def decode_cells(self, cells: Sequence[bytes]) -> tuple[list[Any], Sequence[int], Sequence[bytes]]:
        """The inline values of cells, None for each blob; and the indices and digests of the blobs."""
        if self.inline_bytes < 0:
            return [None] * len(cells), range(len(cells)), cells
        decode = self.decode
        if self.form.kind == FIXED_INLINE:
            return [decode(None, cell) for cell in cells], (), ()
        places = [i for i, cell in enumerate(cells) if cell[0] == DIGEST_TAG]
        values = [None if cell[0] == DIGEST_TAG else decode(None, cell[1:]) for cell in cells]
        return values, places, [cells[i][1:] for i in places]

    def inline_rows(self, cells: Rows) -> Rows | None:
        """Canonical bytes (new rows) of the inline values of a uniform column, from its cells; None if values are blobs."""
        if self.form.kind != FIXED_INLINE and self.nbytes:
            return None
        return np.array(cells[:, : self.nbytes], np.uint8, order="C")


_RECORD_FIELDS: Final = 7
"""Fields of the record that every kind has. A kind may add fields after them."""
_KINDS: dict[int, tuple[Callable[[Any], ColumnSchema], Callable[[bytes], SchemaRecord]]] = {}


def register_kind(kind: int, make: Callable[[Any], ColumnSchema], record: type[SchemaRecord] = SchemaRecord) -> None:
    """Register the constructor that :func:`load_schema` uses for records of ``kind``, and the class of these records."""
    _KINDS[kind] = make, msgspec.msgpack.Decoder(record).decode


def common_fields(data: bytes) -> SchemaRecord:
    """The fields of a stored record that every kind has.

    Raises
    ------
    UnsupportedVersionError
        A newer Hangar wrote it.
    CorruptionError
        The bytes are not a schema.
    """
    try:
        parts = msgspec.msgpack.decode(data)
        if not isinstance(parts, list):
            raise CorruptionError("a column schema is not a list")
        if parts and type(parts[0]) is int and parts[0] > SCHEMA_VERSION:
            raise UnsupportedVersionError(f"a column schema of version {parts[0]} needs a newer Hangar: install it")
        return msgspec.convert(parts[:_RECORD_FIELDS], SchemaRecord)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CorruptionError(f"a column schema cannot be read: {error}") from None


def load_schema(data: bytes) -> ColumnSchema:
    """The schema of a stored record.

    Raises
    ------
    UnsupportedVersionError
        A newer Hangar wrote it.
    MissingPackageError
        Its dtype needs a package that is not installed.
    CorruptionError
        The bytes are not a canonical schema.
    """
    record = common_fields(data)
    if record.version != SCHEMA_VERSION or record.kind not in _KINDS:
        raise UnsupportedVersionError(
            f"a column schema of version {record.version}, kind {record.kind} needs a newer Hangar: install it"
        )
    make, decode = _KINDS[record.kind]
    try:
        schema = make(decode(data))
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        raise CorruptionError(f"a column schema contradicts itself: {error}") from None
    if schema.data != data:
        raise CorruptionError("a column schema is not in canonical form")
    return schema
