"""Plugin for audio (WAV, FLAC, OGG, AIFF), with soundfile. A file is one array of shape (frames, channels).

Samples are read as the file stores them: 16 bits as int16, 24 and 32 bits as int32 (24 bits in the upper three bytes),
float as float32 and double as float64. Compressed formats other than FLAC give float32.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, Any, Final

import numpy as np

from hangar.errors import InvalidInputError
from hangar.external.base import normal_extension
from hangar.external.expansion import check_declared
from hangar.external.plugins._blocks import need_package
from hangar.external.plugins._files import FilePlugin, SizeLimit
from hangar.external.records import Probe
from hangar.external.safe_io import open_input

__all__ = ["AudioPlugin"]

_DTYPES: Final = {
    **dict.fromkeys(("PCM_S8", "PCM_U8", "PCM_16"), "int16"),
    **dict.fromkeys(("PCM_24", "PCM_32"), "int32"),
    "FLOAT": "float32",
    "DOUBLE": "float64",
}
_SUBTYPES: Final = {
    "wav": {"int16": "PCM_16", "int32": "PCM_32", "float32": "FLOAT", "float64": "DOUBLE"},
    "flac": {"int16": "PCM_16"},
    "aiff": {"int16": "PCM_16", "int32": "PCM_32", "float32": "FLOAT", "float64": "DOUBLE"},
}
_MAX_CHANNELS: Final = 1024
DEFAULT_RATE: Final = 44_100


class AudioPlugin(FilePlugin):
    """Reads and writes ndarray values as audio files."""

    column_types = frozenset(("ndarray",))

    def load(self, fpath: str) -> tuple[np.ndarray[Any, Any], str]:
        """The samples of an audio file, shape (frames, channels), and its name.

        Raises
        ------
        InvalidInputError
            The file is damaged or too large.
        MissingPackageError
            soundfile is not installed.
        """
        return self.read(fpath)

    def read(
        self, fpath: str, *, size_limit: SizeLimit | None = None, **options: Any
    ) -> tuple[np.ndarray[Any, Any], str]:
        """As :meth:`load`."""
        with open_input(fpath) as file:
            return _read(file, fpath, size_limit), self.sample_name(fpath)

    def decode(
        self, data: bytes, where: str, *, size_limit: SizeLimit | None = None, **options: Any
    ) -> np.ndarray[Any, Any]:
        """As in the base class."""
        return _read(io.BytesIO(data), where, size_limit)

    def probe(self, fpath: str, **options: Any) -> Iterator[Probe]:
        """Describe a file by its header."""
        soundfile = need_package("soundfile", "audio")
        with open_input(fpath) as file:
            try:
                with soundfile.SoundFile(file) as sound:
                    dtype = _DTYPES.get(sound.subtype, "float32")
                    yield Probe(
                        sound.format, "ndarray", dtype, (sound.frames, sound.channels), f"{sound.samplerate} Hz"
                    )
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise InvalidInputError(f"{fpath} is not a readable audio file: {error}") from None

    def can_encode(self, arr: Any, extension: str) -> bool:
        """As in the base class."""
        known = _SUBTYPES.get(normal_extension(extension), {})
        return isinstance(arr, np.ndarray) and arr.dtype.name in known and arr.ndim in (1, 2)

    def encode(self, arr: Any, extension: str, rate: int = DEFAULT_RATE) -> memoryview:
        """The bytes of an audio file.

        Parameters
        ----------
        arr
            Shape (frames, channels) or (frames,); int16, int32, float32 or float64 (FLAC: int16).
        extension
            ``wav``, ``flac`` or ``aiff``.
        rate
            Samples per second.
        """
        extension = normal_extension(extension)
        if not isinstance(arr, np.ndarray):
            raise self._wrong_type(arr, extension)
        subtype = _SUBTYPES.get(extension, {}).get(arr.dtype.name)
        if subtype is None or arr.ndim not in (1, 2) or arr.size == 0 or arr.shape[1:] > (_MAX_CHANNELS,):
            raise InvalidInputError(
                f"a .{extension} file cannot hold an array of dtype {arr.dtype} and shape {arr.shape}: use .wav for arrays of "
                "(frames, channels) of int16, int32, float32 or float64, else .npy"
            )
        if type(rate) is not int or rate < 1:
            raise InvalidInputError(f"rate is a whole number of samples per second, not {rate!r}")
        soundfile = need_package("soundfile", "audio")
        buffer = io.BytesIO()
        try:
            soundfile.write(buffer, arr, rate, subtype=subtype, format=extension.upper())
        except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:
            raise InvalidInputError(f"a .{extension} file cannot hold this array: {error}") from None
        return buffer.getbuffer()


def _check_wav(file: IO[bytes], size: int, where: str) -> None:
    """Refuse a WAV file that ends before its samples do; libsndfile would read what is there."""
    start = file.read(12)
    at = 12
    while start[:4] == b"RIFF" and start[8:] == b"WAVE" and at + 8 <= size:
        file.seek(at)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if name == b"data":
            # A program that writes to a pipe does not know the length, and writes 0 or the largest number.
            if length < 0xFFFFFFFF - 1 and at + 8 + length > size:
                raise InvalidInputError(
                    f"{where} is truncated: {size - at - 8:,} of {length:,} bytes of samples are there"
                )
            break
        at += 8 + length + length % 2
    file.seek(0)


def _read(file: IO[bytes], where: str, size_limit: SizeLimit | None) -> np.ndarray[Any, Any]:
    soundfile = need_package("soundfile", "audio")
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    _check_wav(file, size, where)
    try:
        with soundfile.SoundFile(file) as sound:
            dtype = np.dtype(_DTYPES.get(sound.subtype, "float32"))
            shape = (sound.frames, sound.channels)
            check_declared(shape, dtype, size, where, size_limit)
            array: np.ndarray[Any, Any] = sound.read(dtype=dtype.name, always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise InvalidInputError(f"{where} is not a readable audio file: {error}") from None
    if array.shape != shape:
        raise InvalidInputError(f"{where} is truncated: {len(array):,} of {shape[0]:,} frames are there")
    return array
