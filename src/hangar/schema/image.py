"""Columns of images: files as they are, decoded when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from hangar.digest import Header
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.flags import check_flag
from hangar.schema.base import KindName, register_kind
from hangar.schema.cells import Rows
from hangar.schema.media import MediaRecord, MediaSchema, load_media
from hangar.schema.ndarray import as_array

if TYPE_CHECKING:
    from hangar.imaging import ImageInfo, Reading
    from hangar.imaging.memory import BatchMemory

__all__ = ["ImageSchema"]

IMAGE: Final = 16
_EXTENSIONS: Final = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp", "TIFF": "tif"}
_FRAMES: Final = 100_000
_FIRST: Final = 4


class ImageSchema(MediaSchema):
    """A column of images.

    Parameters
    ----------
    mode
        Mode that images are converted to when they are read: ``'L'``, ``'LA'``, ``'RGB'``, ``'RGBA'``; None: as stored.
    file_format
        Format of arrays that are written: ``'PNG'`` (None), ``'JPEG'``, ``'WEBP'`` or ``'TIFF'``.
    quality
        1 to 100, for JPEG (None: 95) and WebP (None: lossless).
    nested
        Whether samples have subsamples.
    """

    kind: ClassVar[int] = IMAGE
    kind_name: ClassVar[KindName] = "image"

    def __init__(
        self,
        mode: str | None = None,
        file_format: str | None = None,
        quality: int | None = None,
        *,
        nested: bool = False,
    ) -> None:
        from hangar.imaging import ENCODED_FORMATS, QUALITY_FORMATS

        _check_mode(mode)
        chosen = "PNG" if file_format is None else str(file_format).upper().replace("JPG", "JPEG")
        if chosen not in ENCODED_FORMATS:
            raise InvalidInputError(f"format is one of {', '.join(ENCODED_FORMATS)}, or None, not {file_format!r}")
        if quality is not None:
            quality = _whole(quality, "quality", 1, 100)
            if chosen not in QUALITY_FORMATS:
                raise InvalidInputError(f"quality is for {' and '.join(QUALITY_FORMATS)}, not for {chosen}")
        super().__init__(
            {"mode": mode, "format": None if chosen == "PNG" else chosen, "quality": quality}, nested=nested
        )
        self.mode, self.file_format, self.quality = mode, chosen, quality
        self._reading: Reading | None = None
        self._memory: BatchMemory | None = None

    @property
    def kind_text(self) -> str:
        return f"image, read as {self.mode}" if self.mode else "image"

    @property
    def read_options(self) -> Reading:
        """How values are decoded."""
        if self._reading is None:
            from hangar.imaging import Reading

            self._reading = Reading(self.mode)
        return self._reading

    def reading(self, **options: Any) -> ImageSchema:
        """The same schema with other options of decoding: ``mode``, ``orient``, ``frame``, ``max_pixels``."""
        from hangar.imaging import Reading

        unknown = [name for name in options if name not in ("mode", "orient", "frame", "max_pixels")]
        if unknown:
            raise InvalidTypeError(
                f"images have no option {unknown[0]!r} of decoding, but mode, orient, frame and max_pixels"
            )
        chosen = self.read_options
        mode = options.get("mode", chosen.mode)
        _check_mode(mode)
        frame = _whole(options.get("frame", chosen.frame), "frame", 0, _FRAMES)
        max_pixels = _whole(options.get("max_pixels", chosen.max_pixels), "max_pixels", 1, 2**40)
        made = ImageSchema.__new__(ImageSchema)
        made.__dict__.update(self.__dict__)
        made._reading = Reading(mode, check_flag(options.get("orient", chosen.orient), "orient"), frame, max_pixels)
        return made

    # ------------------------------------------------------------------ in

    def check_file(self, data: bytes) -> None:
        self.info(data)

    def info(self, data: bytes) -> ImageInfo:
        from hangar.imaging import Refusal, read_info

        try:
            return read_info(data)
        except Refusal as refusal:
            raise InvalidInputError(f"the image {refusal}") from None

    def extension(self, data: bytes) -> str:
        found = self.info(data).format
        return _EXTENSIONS.get(found) or {b"1": "pbm", b"4": "pbm", b"2": "pgm", b"5": "pgm"}.get(data[1:2], "ppm")

    def encode_value(self, value: object) -> bytes:
        from hangar.imaging import encode_image

        picture = value if type(value).__module__.startswith("PIL.") else as_array(value)
        return encode_image(picture, self.file_format, self.quality)

    # ------------------------------------------------------------------ out

    @property
    def array_form(self) -> tuple[np.dtype[Any], int] | None:
        mode = self.read_options.mode
        return None if mode is None else (np.dtype(np.uint8), 2 if mode == "L" else 3)

    def decode_together(self, pairs: Sequence[tuple[Header, bytes | Rows]]) -> Any:
        from hangar.imaging.memory import BatchMemory
        from hangar.imaging.reading import common_shape, read_images_into

        files, reading = [bytes(buffer) for _, buffer in pairs], self.read_options
        # Images of other sizes are mostly noticed by the first few headers. The others are parsed on the threads that decode.
        shape = common_shape(files[:_FIRST], reading)
        if shape is None:
            return super().decode_together(pairs)
        if self._memory is None:
            self._memory = BatchMemory()
        together = self._memory.empty((len(files), *shape))
        refused = read_images_into(files, reading, together)
        if refused is None:
            return super().decode_together(pairs)
        for index in refused:
            together[index] = self.named(files[index], self.decode_file)
        return together

    def decode_file(self, data: bytes) -> np.ndarray[Any, Any]:
        from hangar.imaging import read_image

        return read_image(data, self.read_options)


def _check_mode(mode: object) -> None:
    from hangar.imaging import READ_MODES

    if mode is not None and mode not in READ_MODES:
        raise InvalidInputError(f"mode is one of {', '.join(READ_MODES)}, or None, not {mode!r}")


def _whole(value: object, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"{name} is an int, not {value!r}")
    if not least <= value <= most:
        raise InvalidInputError(f"{name} is from {least} to {most:,}, not {value}")
    return int(value)


def _load(record: MediaRecord) -> MediaSchema:
    unknown = record.options.keys() - {"mode", "format", "quality"}
    if unknown:
        raise ValueError(f"images have no option {min(unknown)!r}")
    options: Any = record.options
    made = ImageSchema(options.get("mode"), options.get("format"), options.get("quality"), nested=record.nested)
    return load_media(made, record)


register_kind(IMAGE, _load, MediaRecord)
