"""Columns of text and of raw bytes.

The logical content of a ``str`` is its UTF-8, that of ``bytes`` is itself. Values of at most 64 bytes are inline in
the tree unless the column was made with ``inline=False``; the length alone decides, so equal content has an equal
root.
"""

from __future__ import annotations

from typing import Any, ClassVar

from hangar import limits
from hangar.digest import DIGEST_BYTES, Header
from hangar.errors import CorruptionError, InvalidInputError
from hangar.objects.node import BY_DIGEST, MIXED, TreeForm
from hangar.schema.base import SCHEMA_VERSION, ColumnSchema, KindName, SchemaRecord, register_kind
from hangar.schema.cells import Encoded, Rows
from hangar.schema.dtypes import NO_DTYPE

__all__ = ["BytesSchema", "StrSchema"]


class _TextSchema(ColumnSchema):
    def __init__(self, *, nested: bool = False, inline: bool | None = None) -> None:
        inline = inline is not False
        self._settle(SchemaRecord(SCHEMA_VERSION, self.kind, NO_DTYPE, True, [], nested, inline))
        self.header = Header(self.kind, NO_DTYPE, ())
        self.inline_bytes = limits.INLINE_TEXT_BYTES if inline else -1
        self.form = TreeForm(MIXED, 0, nested) if inline else TreeForm(BY_DIGEST, DIGEST_BYTES, nested)

    @property
    def variable(self) -> bool:
        return True

    @property
    def shape(self) -> None:
        return None

    @property
    def dtype(self) -> None:
        return None

    def _bytes(self, value: object) -> bytes:
        raise NotImplementedError

    def encode(self, value: object) -> tuple[Header, bytes]:
        data = self._bytes(value)
        if len(data) > limits.MAX_TEXT_BYTES:
            raise InvalidInputError(
                f"a {self.kind_name} value of {len(data):,} bytes exceeds {limits.MAX_TEXT_BYTES:,}"
            )
        return self.header, data

    def encode_batch(self, values: Any, count: int) -> Encoded:
        buffers = [self.encode(value)[1] for value in values]
        return Encoded([self.header] * len(buffers), buffers)

    def check_header(self, header: Header) -> bool:
        return header == self.header


class StrSchema(_TextSchema):
    """A column of ``str``."""

    kind: ClassVar[int] = 2
    kind_name: ClassVar[KindName] = "str"
    python_type = str

    def _bytes(self, value: object) -> bytes:
        if not isinstance(value, str):
            raise InvalidInputError(f"`data` argument type: {type(value)} != `str`")
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise InvalidInputError(f"a str value cannot be encoded as UTF-8: {error}") from None

    def decode(self, header: Header | None, buffer: bytes | Rows) -> str:
        try:
            return bytes(buffer).decode()
        except UnicodeDecodeError as error:
            raise CorruptionError(f"a stored str is not UTF-8: {error}") from None


class BytesSchema(_TextSchema):
    """A column of ``bytes``."""

    kind: ClassVar[int] = 3
    kind_name: ClassVar[KindName] = "bytes"
    python_type = bytes

    def _bytes(self, value: object) -> bytes:
        if not isinstance(value, bytes):
            raise InvalidInputError(f"`data` argument type: {type(value)} != `bytes`")
        return value

    def decode(self, header: Header | None, buffer: bytes | Rows) -> bytes:
        return bytes(buffer)


def _check_plain(record: SchemaRecord) -> None:
    if record.dtype != NO_DTYPE or record.shape or not record.variable:
        raise ValueError("str and bytes have no dtype and no shape")


def _load_str(record: SchemaRecord) -> StrSchema:
    _check_plain(record)
    return StrSchema(nested=record.nested, inline=record.inline)


def _load_bytes(record: SchemaRecord) -> BytesSchema:
    _check_plain(record)
    return BytesSchema(nested=record.nested, inline=record.inline)


register_kind(StrSchema.kind, _load_str)
register_kind(BytesSchema.kind, _load_bytes)
