"""Columns of video: files as they are, whose frames are decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from hangar.digest import Header
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.schema.base import KindName, register_kind
from hangar.schema.cells import Rows
from hangar.schema.media import MediaRecord, MediaSchema, load_media
from hangar.schema.ndarray import as_array

if TYPE_CHECKING:
    from hangar.video import Video, VideoInfo

__all__ = ["VideoSchema"]

VIDEO: Final = 18
_MAX_RATE: Final = 100_000


class VideoSchema(MediaSchema):
    """A column of video.

    Parameters
    ----------
    fps
        Frames per second of arrays that are written: an int, a float, a Fraction, or a text such as ``'30000/1001'``.
    nested
        Whether samples have subsamples.
    """

    kind: ClassVar[int] = VIDEO
    kind_name: ClassVar[KindName] = "video"
    stacks: ClassVar[bool] = False
    joins: ClassVar[bool] = False

    def __init__(self, fps: Any = None, *, nested: bool = False) -> None:
        self.fps = None if fps is None else _rate(fps)
        super().__init__({"fps": None if self.fps is None else str(self.fps)}, nested=nested)

    # ------------------------------------------------------------------ in

    def check_file(self, data: bytes) -> None:
        from hangar.video import check_video

        check_video(data)

    def extension(self, data: bytes) -> str:
        from hangar.video import video_format

        return video_format(data) or "bin"

    def encode_value(self, value: object) -> bytes:
        from hangar.video import Video, encode_video

        if isinstance(value, Video):
            return value.data
        frames = as_array(value)
        if self.fps is None:
            raise InvalidInputError("an array of video needs a frame rate: make the column with fps=")
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
            raise InvalidInputError(
                f"video is an array of uint8 of shape (n, height, width, 3), not {frames.dtype} of {frames.shape}"
            )
        return encode_video(frames, self.fps)

    # ------------------------------------------------------------------ out

    def info(self, data: bytes) -> VideoInfo:
        from hangar.video import read_video_info

        return read_video_info(data)

    def decode_file(self, data: bytes) -> Video:
        from hangar.video import Video

        return Video(data)

    def decode_all(self, pairs: Sequence[tuple[Header, bytes | Rows]]) -> list[Any]:
        return [self.decode(*pair) for pair in pairs]

    def decode_part(self, data: bytes, slices: Any) -> Any:
        return self.decode_file(data)[slices]


def _rate(value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float, Fraction, str, np.integer, np.floating)):
        raise InvalidTypeError(f"fps is a number of frames per second, not {value!r}")
    try:
        rate = Fraction(str(value)).limit_denominator(1_001)
    except (ValueError, ZeroDivisionError):
        raise InvalidInputError(f"fps is a number of frames per second, not {value!r}") from None
    if not 0 < rate <= _MAX_RATE:
        raise InvalidInputError(f"fps is above 0 and at most {_MAX_RATE:,}, not {value}")
    return rate


def _load(record: MediaRecord) -> MediaSchema:
    unknown = record.options.keys() - {"fps"}
    if unknown:
        raise ValueError(f"video has no option {min(unknown)!r}")
    options: Any = record.options
    return load_media(VideoSchema(options.get("fps"), nested=record.nested), record)


register_kind(VIDEO, _load, MediaRecord)
