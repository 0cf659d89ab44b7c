"""Adding columns of images, audio and video to a write checkout."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from hangar.columns.media import FlatMediaWriter, NestedMediaWriter
from hangar.columns.opening import ColumnToWrite
from hangar.flags import check_flag
from hangar.schema import AudioSchema, ColumnSchema, ImageSchema, MediaSchema, VideoSchema

__all__ = ["MediaAdding"]


class MediaAdding:
    """Mixin of the write checkout: adds columns of encoded files."""

    if TYPE_CHECKING:

        def _check_new(self, name: str) -> str: ...
        def _add(self, name: str, schema: ColumnSchema, backend: object, options: object) -> ColumnToWrite: ...

    def add_image_column(
        self,
        name: str,
        *,
        mode: str | None = None,
        format: str | None = None,  # noqa: A002  the usual word
        quality: int | None = None,
        contains_subsamples: bool = False,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
    ) -> FlatMediaWriter | NestedMediaWriter:
        """Add a column of images. Files are stored as they are and decoded when they are read.

        Values are written as the bytes of an image file (JPEG, PNG, GIF, BMP, WebP, TIFF, PNM), a ``pathlib.Path`` of
        one, an image of pillow, or an array of uint8 or uint16 of shape (height, width) or (height, width, 2 to 4).
        They are read as arrays: (height, width) for one channel, else (height, width, channels). ``column.encoded(key)``
        gives the bytes of the file, ``column.info(key)`` its header, ``column.decoding(...)`` other options of decoding.

        Parameters
        ----------
        name
            1 to 64 of ``A-Z a-z 0-9 _ . -``.
        mode
            Convert images to ``'L'``, ``'LA'``, ``'RGB'`` or ``'RGBA'`` when they are read. None: as they are stored.
        format
            Format that arrays are encoded in: ``'PNG'`` (None), ``'JPEG'``, ``'WEBP'`` or ``'TIFF'``.
        quality
            1 to 100, for JPEG (None: 95) and WebP (None: lossless).
        contains_subsamples
            Whether samples hold subsamples.
        backend, backend_options
            Backend for new blobs on this machine, and its options.

        Raises
        ------
        InvalidInputError
            (``ValueError``) a bad name, mode, format, quality or backend.
        InvalidTypeError
            (``TypeError``) ``quality`` is not an int.
        ColumnExistsError
            (``LookupError``) a column of that name exists.
        AccessError
            (``PermissionError``) inside a ``with`` block.
        """
        name = self._check_new(name)
        nested = check_flag(contains_subsamples, "contains_subsamples")
        return self._add_media(name, ImageSchema(mode, format, quality, nested=nested), backend, backend_options)

    def add_audio_column(
        self,
        name: str,
        *,
        samplerate: int | None = None,
        contains_subsamples: bool = False,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
    ) -> FlatMediaWriter | NestedMediaWriter:
        """Add a column of audio. Files are stored as they are and decoded when they are read.

        Values are written as the bytes of an audio file (WAV, FLAC, OGG, MP3, AIFF, AU, CAF), a ``pathlib.Path`` of one, an
        array of float32 or int16 of shape (frames,) or (frames, channels), or a pair of such an array and its samplerate.
        They are read as float32 of shape (frames, channels). ``column.read_slice(key, slice(a, b))`` decodes a part,
        ``column.info(key)`` gives an ``AudioInfo``, ``column.encoded(key)`` the bytes of the file.

        Parameters
        ----------
        name
            1 to 64 of ``A-Z a-z 0-9 _ . -``.
        samplerate
            Frames per second of arrays that are written. They are encoded as WAV, without loss.
        contains_subsamples
            Whether samples hold subsamples.
        backend, backend_options
            Backend for new blobs on this machine, and its options.

        Raises
        ------
        InvalidInputError, InvalidTypeError, ColumnExistsError, AccessError
            As :meth:`add_image_column`.
        """
        name = self._check_new(name)
        nested = check_flag(contains_subsamples, "contains_subsamples")
        return self._add_media(name, AudioSchema(samplerate, nested=nested), backend, backend_options)

    def add_video_column(
        self,
        name: str,
        *,
        fps: float | Fraction | str | None = None,
        contains_subsamples: bool = False,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
    ) -> FlatMediaWriter | NestedMediaWriter:
        """Add a column of video. Files are stored as they are, and frames are decoded when they are asked for.

        Values are written as the bytes of a video file (MP4, MOV, Matroska, WebM, AVI, MPEG-TS, Ogg), a ``pathlib.Path`` of
        one, or an array of uint8 of shape (n, height, width, 3). ``column[key]`` is a lazy ``Video`` with ``len``, ``shape``,
        ``fps`` and ``video[a:b]``, uint8 of shape (n, height, width, 3).

        Parameters
        ----------
        name
            1 to 64 of ``A-Z a-z 0-9 _ . -``.
        fps
            Frames per second of arrays that are written. They are encoded as FFV1 in Matroska, without loss.
        contains_subsamples
            Whether samples hold subsamples.
        backend, backend_options
            Backend for new blobs on this machine, and its options.

        Raises
        ------
        InvalidInputError, InvalidTypeError, ColumnExistsError, AccessError
            As :meth:`add_image_column`.
        """
        name = self._check_new(name)
        nested = check_flag(contains_subsamples, "contains_subsamples")
        return self._add_media(name, VideoSchema(fps, nested=nested), backend, backend_options)

    def _add_media(
        self, name: str, schema: MediaSchema, backend: object, options: object
    ) -> FlatMediaWriter | NestedMediaWriter:
        made = self._add(name, schema, backend, options)
        assert isinstance(made, (FlatMediaWriter, NestedMediaWriter))
        return made
