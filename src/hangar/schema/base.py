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
import numpy.typing as npt

from hangar import limits
from hangar.digest import Digest, Header, record_digest
from hangar.errors import CorruptionError, UnsupportedVersionError
from hangar.objects.node import TreeForm

__all__ = [
    "BY_DIGEST",
    "FIXED_INLINE",
    "MIXED",
    "ColumnSchema",
    "Encoded",
    "Rows",
    "SchemaRecord",
    "load_schema",
    "register_kind",
]

SCHEMA_VERSION = 0
BY_DIGEST, FIXED_INLINE, MIXED = 0, 1, 2
"""Kinds of tree leaves (see the format specification)."""
DIGEST_BYTES = 32

Rows = npt.NDArray[np.uint8]
"""Canonical bytes of n values of one shape: uint8, shape (n, bytes of one value), C order."""


class SchemaRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The stored form of a schema, and what its digest covers."""

    version: int
    kind: int
    dtype: int
    variable: bool
    shape: list[int]
    nested: bool
    inline: bool


class Encoded(msgspec.Struct, frozen=True):
    """A batch of values in canonical form: either ``rows`` under one header, or ``buffers`` with a header each."""

    headers: Sequence[Header]
    buffers: Sequence[bytes | memoryview]
    rows: Rows | None = None

    def __len__(self) -> int:
        return len(self.buffers) if self.rows is None else len(self.rows)


class ColumnSchema(ABC):
    """What one column holds.

    Attributes
    ----------
    kind_name
        ``'ndarray'``, ``'str'`` or ``'bytes'``.
    nested
        Whether samples hold subsamples.
    inline
        Whether small values lie in the tree.
    form
        Form of the column's tree.
    """

    kind: ClassVar[int]
    kind_name: ClassVar[Literal["ndarray", "str", "bytes"]]

    nested: bool
    inline: bool
    form: TreeForm
    digest: Digest
    data: bytes

    def _settle(self, record: SchemaRecord) -> None:
        self.nested, self.inline = record.nested, record.inline
        self.data = msgspec.msgpack.encode(record)
        self.digest = record_digest("schema", self.data)

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

    @abstractmethod
    def check_header(self, header: Header) -> bool:
        """Whether a blob of this header can be a value of the column."""

    def covers(self, other: ColumnSchema) -> bool:
        """Whether whatever a column of the schema ``other`` holds can stand in a column of this one, as it is."""
        return self.digest == other.digest

    def cell(self, buffer: bytes | memoryview) -> bytes | None:
        """What the tree holds of a value with these canonical bytes, or None where it holds the blob's digest."""
        kind = self.form.kind
        if kind == FIXED_INLINE:
            return bytes(buffer)
        if kind == MIXED and len(buffer) <= limits.INLINE_TEXT_BYTES:
            return bytes((len(buffer),)) + bytes(buffer)
        return None

    def digest_cell(self, digest: bytes) -> bytes:
        """What the tree holds of a value that is a blob."""
        return b"\xff" + digest if self.form.kind == MIXED else digest

    def split_cell(self, cell: bytes) -> tuple[bool, bytes]:
        """Whether a tree entry is a digest, and the digest or inline value."""
        kind = self.form.kind
        if kind == MIXED:
            return cell[0] == 0xFF, cell[1:]
        return kind == BY_DIGEST, cell


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
