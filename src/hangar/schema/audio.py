"""Columns of audio: files as they are, decoded to float32 of shape (frames, channels) when they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError
from hangar.schema.base import KindName, register_kind
from hangar.schema.media import MediaRecord, MediaSchema, load_media
from hangar.schema.ndarray import as_array

if TYPE_CHECKING:
    from hangar.audio import AudioInfo

__all__ = ["AudioSchema"]

AUDIO: Final = 17
_MAX_RATE: Final = 2**32 - 1


class AudioSchema(MediaSchema):
    """A column of audio.

    Parameters
    ----------
    samplerate
        Frames per second of arrays that are written without a rate of their own.
    nested
        Whether samples have subsamples.
    """

    kind: ClassVar[int] = AUDIO
    kind_name: ClassVar[KindName] = "audio"

    def __init__(self, samplerate: int | None = None, *, nested: bool = False) -> None:
        super().__init__({"samplerate": None if samplerate is None else _rate(samplerate)}, nested=nested)
        self.samplerate: int | None = samplerate

    @property
    def array_form(self) -> tuple[np.dtype[Any], int]:
        return np.dtype(np.float32), 2

    # ------------------------------------------------------------------ in

    def check_file(self, data: bytes) -> None:
        from hangar.audio import check_audio

        check_audio(data)

    def extension(self, data: bytes) -> str:
        from hangar.audio import audio_format

        return audio_format(data) or "bin"

    def encode_value(self, value: object) -> bytes:
        from hangar.audio import encode_wav

        rate: object = self.samplerate
        if isinstance(value, tuple) and len(value) == 2:
            value, rate = value
        array = as_array(value)
        if rate is None:
            raise InvalidInputError(
                "an array of audio needs a samplerate: write (array, samplerate), or make the column with samplerate="
            )
        if array.dtype.newbyteorder("=") not in (np.float32, np.int16):
            raise InvalidInputError(f"audio is an array of float32 or int16, not {array.dtype}")
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2 or not 1 <= array.shape[1] <= 1024 or array.nbytes >= 2**31:
            raise InvalidInputError(f"audio has the shape (frames,) or (frames, channels), not {array.shape}")
        return encode_wav(array, _rate(rate))

    # ------------------------------------------------------------------ out

    def info(self, data: bytes) -> AudioInfo:
        from hangar.audio import read_audio_info

        return read_audio_info(data)

    def decode_file(self, data: bytes) -> np.ndarray[Any, Any]:
        from hangar.audio import read_audio

        return read_audio(data)

    def decode_part(self, data: bytes, slices: Any) -> np.ndarray[Any, Any]:
        from hangar.audio import read_audio

        first, *rest = slices if isinstance(slices, tuple) else (slices,)
        frames = self.info(data).frames
        if isinstance(first, slice):
            start, stop, step = first.indices(frames)
            low, high = (start, stop) if step > 0 else (stop + 1, start + 1)
            part: Any = read_audio(data, low, high)[::step] if high > low else read_audio(data, 0, 0)
            where: tuple[Any, ...] = (slice(None), *rest)
            return np.array(part[where])
        if isinstance(first, (int, np.integer)) and not isinstance(first, bool):
            if not -frames <= first < frames:
                raise PositionNotFoundError(f"the audio has {frames:,} frames, and none at {first}")
            at = int(first) % frames
            where = (0, *rest)
            return np.array(read_audio(data, at, at + 1)[where])
        return np.array(self.decode_file(data)[slices])


def _rate(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"samplerate is an int, the frames per second, not {value!r}")
    if not 1 <= value <= _MAX_RATE:
        raise InvalidInputError(f"samplerate is from 1 to {_MAX_RATE:,}, not {value}")
    return int(value)


def _load(record: MediaRecord) -> MediaSchema:
    unknown = record.options.keys() - {"samplerate"}
    if unknown:
        raise ValueError(f"audio has no option {min(unknown)!r}")
    options: Any = record.options
    return load_media(AudioSchema(options.get("samplerate"), nested=record.nested), record)


register_kind(AUDIO, _load, MediaRecord)
