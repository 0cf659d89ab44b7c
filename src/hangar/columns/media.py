"""Columns of encoded files: the files as they are, their headers, and other options of decoding.

Reading a value decodes it. Batches are decoded on threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from hangar.columns.accessor import FlatSubsampleReader, FlatSubsampleWriter
from hangar.columns.flat import FlatSampleReader
from hangar.columns.flat_write import FlatSampleWriter
from hangar.columns.nested import NestedSampleReader
from hangar.columns.nested_write import NestedSampleWriter
from hangar.errors import HangarError, NotLocalError, PositionNotFoundError

__all__ = [
    "FlatMediaReader",
    "FlatMediaWriter",
    "MediaSubsampleReader",
    "MediaSubsampleWriter",
    "NestedMediaReader",
    "NestedMediaWriter",
    "decoding_of",
    "reopened",
    "with_decoding",
]


T = TypeVar("T")


class MediaReading:
    """Mixin of columns, and of samples of nested columns: reads encoded files by the keys of ``_space``."""

    def encoded(self: Any, key: Any) -> Any:
        """The bytes of the file of a sample, exactly as it was given; of a list of keys a list.

        Parameters
        ----------
        key
            A key; in a nested column a pair ``(sample, subsample)``. Or a list of keys, which is read as one batch.

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) there is no such sample.
        CorruptionError
            The stored bytes are damaged.
        """
        if isinstance(key, list):
            self._session.check()
            batch = self._space.batch(key)
            return list(map(bytes, self._values.buffers(self._cells(key, batch))))
        cell = self._cell(key)
        if cell is None:
            raise self._missing(key)
        try:
            return bytes(self._values.buffers([cell])[0])
        except NotLocalError as error:
            raise self._named(error, key) from None

    def info(self: Any, key: Any) -> Any:
        """Description of the file of a sample from its header, without decoding it: an ``ImageInfo``, ``AudioInfo`` or ``VideoInfo``.

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) there is no such sample.
        InvalidInputError
            (a ``ValueError``) the file is damaged.
        """
        return self._schema.named(self.encoded(key), self._schema.info)

    def read_slice(self: Any, key: Any, slices: Any) -> Any:
        """Decode a part of one sample: of audio and video only that part, from a point before it.

        Parameters
        ----------
        key
            As in ``column[key]``.
        slices
            Index expression of ``array[...]``: of audio frames first, of video frames first, of images rows first.

        Raises
        ------
        PositionNotFoundError
            (an ``IndexError``) the sample has no such part.
        """
        schema = self._schema
        try:
            return schema.named(self.encoded(key), lambda data: schema.decode_part(data, slices))
        except (IndexError, TypeError) as error:
            if isinstance(error, HangarError):
                raise
            raise PositionNotFoundError(f"sample {key!r} has no part {slices!r}: {error}") from None


class MediaColumn(MediaReading):
    """Mixin of columns of encoded files, of any layout."""

    _decoding: Mapping[str, Any] = MappingProxyType({})
    """Options of :meth:`decoding`."""

    def decoding(self: Any, **options: Any) -> Any:
        """The same column, decoded with other options. They are no part of history.

        Parameters
        ----------
        mode
            Of images: convert to ``'L'``, ``'LA'``, ``'RGB'`` or ``'RGBA'``; None: the pixels as stored.
        orient
            Of images: whether the Exif orientation is applied (by default True).
        frame
            Of images: which image of a file that holds several (by default 0).
        max_pixels
            Of images: a larger image is refused (by default 2**28 pixels).

        Returns
        -------
        column
            A column of the same checkout. Data sets take it like any other.

        Raises
        ------
        InvalidTypeError, InvalidInputError
            There is no such option, or its value is not valid.
        """
        self._check()
        schema = self._schema.reading(**options)
        made = type(self)(self._session, self._source)
        made._use_schema(schema)
        made._decoding = {**self._decoding, **options}
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        opened: Any = super().__reduce__()
        return (reopened, (*opened, dict(self._decoding))) if self._decoding else opened


def reopened(reopen: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A pickled column with its options of decoding."""
    return reopen(*arguments).decoding(**options)


def decoding_of(column: Any) -> dict[str, Any]:
    """The options of decoding that a column of any kind was given."""
    return dict(column._decoding) if isinstance(column, MediaColumn) else {}


def with_decoding(column: T, options: dict[str, Any]) -> T:
    """``column`` with options of decoding; itself if there are none."""
    if not options:
        return column
    chosen: T = column.decoding(**options)  # type: ignore[attr-defined]
    return chosen


class MediaSubsampleReader(MediaReading, FlatSubsampleReader):
    """Encoded files of one sample, by subsample key."""


class MediaSubsampleWriter(FlatSubsampleWriter, MediaSubsampleReader):
    """Encoded files of one sample of the staging area."""


class FlatMediaReader(MediaColumn, FlatSampleReader):
    """Encoded files of one flat column."""


class FlatMediaWriter(MediaColumn, FlatSampleWriter):
    """Encoded files of one flat column of the staging area."""


class NestedMediaReader(MediaColumn, NestedSampleReader):
    """Encoded files of one nested column."""

    _accessor: ClassVar[type[FlatSubsampleReader]] = MediaSubsampleReader


class NestedMediaWriter(MediaColumn, NestedSampleWriter):
    """Encoded files of one nested column of the staging area."""

    _accessor: ClassVar[type[FlatSubsampleReader]] = MediaSubsampleWriter
