"""Columns of encoded files: images, audio, video. The logical content of a value is the file exactly as given.

Values are blobs of the kind ``bytes``, so the same file in a column of bytes and in one of images is stored once. They
are decoded when they are read. Which decoder does that is decided on each machine and is no part of history.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from hangar import limits
from hangar.digest import BYTES, DIGEST_BYTES, Header, blob_digest
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.inputs import read
from hangar.objects.node import BY_DIGEST, TreeForm
from hangar.schema.base import SCHEMA_VERSION, ColumnSchema, SchemaRecord
from hangar.schema.cells import Encoded, Rows
from hangar.schema.dtypes import NO_DTYPE
from hangar.schema.ndarray import check_out
from hangar.threads import parallel_list

__all__ = ["MEDIA_KINDS", "MediaRecord", "MediaSchema", "load_media"]

MEDIA_KINDS: Final = ("image", "audio", "video")
_HEADER = Header(BYTES, NO_DTYPE, ())


class MediaRecord(SchemaRecord, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The stored form of the schema of encoded files: the common fields, and a map of options with sorted keys."""

    options: dict[str, str | int]


class MediaSchema(ColumnSchema):
    """A column of encoded files.

    Parameters
    ----------
    options
        Options of the kind that belong to history; those that are None are left out.
    nested
        Whether samples have subsamples.
    """

    stacks: ClassVar[bool] = True
    joins: ClassVar[bool] = True
    most_ahead: ClassVar[int] = 16

    def __init__(self, options: dict[str, str | int | None], *, nested: bool = False) -> None:
        kept = {name: value for name, value in sorted(options.items()) if value is not None}
        self.options: dict[str, str | int] = kept
        self._settle(MediaRecord(SCHEMA_VERSION, self.kind, NO_DTYPE, True, [], nested, False, kept))
        self.header = _HEADER
        self.inline_bytes = -1
        self.form = TreeForm(BY_DIGEST, DIGEST_BYTES, nested)

    @property
    def blob_kind(self) -> int:
        return BYTES

    @property
    def variable(self) -> bool:
        return True

    @property
    def dtype(self) -> None:
        return None

    @property
    def shape(self) -> None:
        return None

    def check_header(self, header: Header) -> bool:
        return header == _HEADER

    # ------------------------------------------------------------------ in

    @abstractmethod
    def check_file(self, data: bytes) -> None:
        """Check, without decoding, that ``data`` is a complete file of this kind; InvalidInputError if it is not."""

    @abstractmethod
    def encode_value(self, value: object) -> bytes:
        """Encode a decoded value, such as an array; InvalidInputError if that is not possible."""

    def file_of(self, value: object) -> bytes:
        """The bytes of the file that is stored for ``value``: a file as bytes or path as it is, anything else encoded."""
        if isinstance(value, Path):
            data = read(value)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            data = bytes(value)
        elif isinstance(value, str):
            raise InvalidInputError(
                f"`data` argument type: str: give a path as `pathlib.Path` or `hangar.read(path)`, not {value[:80]!r}"
            )
        else:
            return self.encode_value(value)
        if len(data) > limits.MAX_TEXT_BYTES:
            raise InvalidInputError(f"a file of {len(data):,} bytes exceeds {limits.MAX_TEXT_BYTES:,}")
        try:
            self.check_file(data)
        except InvalidInputError as error:
            raise InvalidInputError(f"{value}: {error}" if isinstance(value, Path) else str(error)) from None
        return data

    def encode(self, value: object) -> tuple[Header, bytes]:
        return _HEADER, self.file_of(value)

    def encode_batch(self, values: Any, count: int) -> Encoded:
        buffers = parallel_list(self.file_of, list(values), "hangar-encode")
        return Encoded([_HEADER] * len(buffers), buffers)

    # ------------------------------------------------------------------ out

    @abstractmethod
    def info(self, data: bytes) -> Any:
        """Description of a file from its header, without decoding it."""

    @abstractmethod
    def extension(self, data: bytes) -> str:
        """Usual suffix of such a file, without a dot."""

    @abstractmethod
    def decode_file(self, data: bytes) -> Any:
        """Decode a file; InvalidInputError if it is damaged or too large, MissingPackageError without a decoder."""

    def decode_part(self, data: bytes, slices: Any) -> Any:
        """Decode a part of a file: ``slices`` is the index expression of ``array[...]``."""
        return self.decode_file(data)[slices].copy()

    def decode(self, header: Header | None, buffer: bytes | Rows) -> Any:
        data = bytes(buffer)
        return self.named(data, self.decode_file)

    def decode_all(self, pairs: Sequence[tuple[Header, bytes | Rows]]) -> list[Any]:
        return parallel_list(lambda pair: self.decode(*pair), pairs, "hangar-decode")

    def decode_together(self, pairs: Sequence[tuple[Header, bytes | Rows]]) -> Any:
        values = self.decode_all(pairs)
        alike = {(value.shape, value.dtype) for value in values}
        return np.stack(values) if len(alike) == 1 else values

    def named(self, data: bytes, call: Callable[[bytes], Any]) -> Any:
        """``call(data)``; an error about the file names its digest, by which the sample can be found."""
        try:
            return call(data)
        except InvalidInputError as error:
            digest = blob_digest(_HEADER, data).hex()
            raise InvalidInputError(
                f"{error} (`hangar gc --why {digest}` names the samples that hold it)"
            ) from error.__cause__

    def reading(self, **options: Any) -> MediaSchema:
        """The same schema with other options of decoding, which are no part of history.

        Raises
        ------
        InvalidInputError, InvalidTypeError
            There is no such option, or its value is not valid.
        """
        if options:
            raise InvalidTypeError(f"columns of {self.kind_name} have no option {next(iter(options))!r} of decoding")
        return self

    def stack(self, values: list[Any], out: np.ndarray[Any, Any] | None) -> Any:
        if not values:
            return np.empty((0,), np.uint8) if out is None else out
        forms = {(value.shape, value.dtype) for value in values}
        if len(forms) > 1:
            shapes = sorted({shape for shape, _ in forms}) if len({shape for shape, _ in forms}) > 1 else forms
            raise InvalidInputError(
                f"samples of different shapes {list(shapes)[:3]} cannot be stacked: use column[[...]] for a list"
            )
        if out is not None:
            check_out(out, (len(values), *values[0].shape), values[0].dtype)
        return np.stack(values, out=out)


def load_media(made: MediaSchema, record: MediaRecord) -> MediaSchema:
    """``made`` from the options of ``record``; ValueError if the common fields are not those of encoded files."""
    if record.dtype != NO_DTYPE or record.shape or not record.variable or record.inline:
        raise ValueError("encoded files have no dtype, no shape and no inline values")
    return made
