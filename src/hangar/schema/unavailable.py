"""Placeholder schema for a column that this installation cannot read (missing package, or a newer kind).

Such a column is listed, renamed, removed and kept in new commits like any other, because none of this uses values.
Reading or writing a value raises the error that names what is missing.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import msgspec

from hangar import limits
from hangar.digest import DIGEST_BYTES, NDARRAY, Header, record_digest
from hangar.errors import CorruptionError, HangarError, MissingPackageError, UnsupportedVersionError
from hangar.objects.node import ARRAYS, BY_DIGEST, FIXED_INLINE, TreeForm
from hangar.schema.base import SCHEMA_VERSION, ColumnSchema, SchemaRecord, common_fields, load_schema
from hangar.schema.chunked import ChunkedSchema
from hangar.schema.dtypes import DTYPE_NAMES, itemsize_of

__all__ = ["UnavailableSchema", "open_schema"]


def open_schema(data: bytes) -> ColumnSchema:
    """The schema of a stored record, an :class:`UnavailableSchema` if this installation cannot read its values.

    Raises
    ------
    CorruptionError
        The bytes are not a canonical schema.
    """
    try:
        return load_schema(data)
    except (UnsupportedVersionError, MissingPackageError) as error:
        return UnavailableSchema(data, error)


class UnavailableSchema(ColumnSchema):
    """The schema of a column whose values cannot be read here.

    Parameters
    ----------
    data
        The stored record, which :func:`load_schema` refused.
    error
        The error that it raised.
    """

    def __init__(self, data: bytes, error: HangarError) -> None:
        self.data, self.digest = data, record_digest("schema", data)
        self.needs, self._error = str(error), type(error)
        record = _known(data)
        self.kind, self.nested, self.inline = record.kind, record.nested, record.inline  # type: ignore[misc]
        self.stacks = record.kind == NDARRAY  # type: ignore[misc]
        chunked = record.kind == ChunkedSchema.kind
        self.kind_name = "ndarray" if self.stacks else "chunked" if chunked else "unknown"  # type: ignore[misc, assignment]
        self._shape, self._variable, self._dtype = tuple(record.shape), record.variable, record.dtype
        # Neither value is used: the methods that would use them raise.
        self.inline_bytes = 0
        if chunked:
            self.form = TreeForm(ARRAYS, DIGEST_BYTES, record.nested)
        if self.stacks and record.dtype in DTYPE_NAMES:
            nbytes = math.prod(record.shape) * itemsize_of(record.dtype)
            fits = record.inline and not record.variable and nbytes <= limits.INLINE_FIXED_BYTES
            kind, width = (FIXED_INLINE, nbytes) if fits else (BY_DIGEST, DIGEST_BYTES)
            self.form = TreeForm(kind, width, record.nested)

    def __getattr__(self, name: str) -> Any:
        # The form of the tree is not known for a newer kind. Only code that uses values asks for it.
        if name == "form":
            self.require()
        raise AttributeError(name)

    @property
    def known_form(self) -> bool:
        return "form" in self.__dict__

    def require(self) -> NoReturn:
        raise self._error(self.needs)

    @property
    def variable(self) -> bool:
        return self._variable

    @property
    def dtype(self) -> NoReturn:
        self.require()

    @property
    def dtype_name(self) -> str | None:
        return DTYPE_NAMES.get(self._dtype, f"dtype {self._dtype}") if self.stacks else None

    @property
    def shape(self) -> tuple[int, ...] | None:
        return self._shape if self.stacks else None

    def encode(self, value: object) -> NoReturn:
        self.require()

    def encode_batch(self, values: Any, count: int) -> NoReturn:
        self.require()

    def decode(self, header: Header | None, buffer: Any) -> NoReturn:
        self.require()

    def digest_of(self, cell: bytes) -> NoReturn:
        self.require()

    def decode_cells(self, cells: Any) -> NoReturn:
        self.require()

    def check_header(self, header: Header) -> NoReturn:
        self.require()


def _known(data: bytes) -> SchemaRecord:
    """Decode the known fields of a stored record, which may be of a newer version."""
    parts = msgspec.msgpack.decode(data)
    if parts[0] != SCHEMA_VERSION:
        # A newer version may add fields; the known ones must be at their positions, otherwise the record is refused.
        nested = len(parts) > 5 and parts[5] is True
        return SchemaRecord(parts[0], -1, 0, True, [], nested, False)
    record = common_fields(data)
    if msgspec.msgpack.encode(parts) != data:
        raise CorruptionError("a column schema is not in canonical form")
    return record
