"""Audio files: recognition and check without a decoder, header, and decoding of a whole file or a part of it by soundfile.

soundfile (libsndfile) is optional and only imported to decode. Nothing is allocated by what a header claims: the number
of values is checked against ``limits``, and memory grows with what is really decoded.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hangar import limits
from hangar.errors import InvalidInputError, MissingPackageError, ResourceLimitError

__all__ = ["AudioInfo", "audio_format", "check_audio", "encode_wav", "read_audio", "read_audio_info"]

Array = np.ndarray[Any, Any]

_FORMATS: Final = "WAV, FLAC, OGG, MP3, AIFF, AU, CAF"
_BLOCK: Final = 2**20
"""Values that are decoded at once where the header claims many."""
_SEEKABLE: Final = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")
"""Formats in which seeking is exact, bit for bit. In others (MP3, OGG) a part is decoded from the beginning."""
_UNKNOWN: Final = 2**32 - 2**16
"""Sizes of 32 bits from here on mean that the size is not known."""
_SEQUENTIAL: Final = (
    "GSM610",
    "G721_32",
    "G723_24",
    "G723_40",
    "NMS_ADPCM_16",
    "NMS_ADPCM_24",
    "NMS_ADPCM_32",
    "DWVW_12",
    "DWVW_16",
    "DWVW_24",
    "DWVW_N",
)
"""Encodings in which libsndfile cannot seek, whatever the format."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Header of an audio file.

    Attributes
    ----------
    format, subtype
        As libsndfile names them, such as ``'FLAC'`` and ``'PCM_16'``.
    samplerate
        Frames per second.
    channels
        Number of channels.
    frames
        Number of frames: values of one channel.
    """

    format: str
    subtype: str
    samplerate: int
    channels: int
    frames: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.frames / self.samplerate if self.samplerate else 0.0


def audio_format(data: bytes) -> str | None:
    """The suffix of the format of a file, by its first bytes; None if it is not known."""
    start = data[:12]
    if start[:4] in (b"RIFF", b"RF64") and start[8:12] == b"WAVE":
        return "wav"
    if start[:4] == b"FORM" and start[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    for magic, suffix in ((b"fLaC", "flac"), (b"OggS", "ogg"), (b"ID3", "mp3"), (b".snd", "au"), (b"caff", "caf")):
        if start.startswith(magic):
            return suffix
    # The sync word of an MPEG frame: 11 bits, then a layer that is not reserved.
    return "mp3" if len(start) > 2 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0 and start[1] & 0x06 else None


def check_audio(data: bytes) -> None:
    """Check, without a decoder, that ``data`` is an audio file and not cut off.

    Raises
    ------
    InvalidInputError
        It is not.
    """
    found = audio_format(data)
    if found is None:
        raise InvalidInputError(f"the audio is not a file of a known format ({_FORMATS})")
    claimed = _claimed_bytes(data, found)
    if len(data) < claimed:
        raise InvalidInputError(f"the audio is truncated: its header says {claimed:,} bytes and it has {len(data):,}")
    if found == "flac" and len(data) < 42:
        raise InvalidInputError("the audio is truncated in its header")


def _claimed_bytes(data: bytes, suffix: str) -> int:
    """Length of the file by its header, 0 if the header does not say it.

    Recorders that were stopped leave a size at zero or at its maximum.
    """
    if suffix in ("wav", "aiff") and data[:4] != b"RF64":
        size = int.from_bytes(data[4:8], "little" if suffix == "wav" else "big")
        return size + 8 if size + 8 < _UNKNOWN else 0
    if suffix == "wav":  # RF64: the 64-bit size is in the first chunk
        size = int.from_bytes(data[20:28], "little") if data[12:16] == b"ds64" else 0
        return size + 8 if size < 2**63 else 0
    if suffix == "au":
        size = int.from_bytes(data[8:12], "big")
        return int.from_bytes(data[4:8], "big") + size if size < _UNKNOWN else 0
    if suffix == "caf":
        return _end_of_chunks(data)
    return _end_of_pages(data) if suffix == "ogg" else 0


def _end_of_chunks(data: bytes) -> int:
    """Where the last chunk of a CAF ends; 0 if it goes up to the end of the file, whatever that is."""
    at = 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 12], "big", signed=True)
        if size < 0:
            return 0
        at += 12 + size
    return at


def _end_of_pages(data: bytes) -> int:
    """Where the last page of an Ogg file ends; 0 if something else follows."""
    at = 0
    while data.startswith(b"OggS", at):
        table = data[at + 27 : at + 27 + data[at + 26]] if at + 27 <= len(data) else b""
        at += 27 + len(table) + sum(table)
    return at if at >= len(data) else 0


class _File(io.BytesIO):
    """A file in memory. Its decoder, which is called by C, may seek to any place that a header claims, without an error."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return super().seek(0, 2)


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: libsndfile is missing
        raise MissingPackageError(
            f"decoding audio needs soundfile ({error}): run `pip install hangar[audio]`"
        ) from None
    try:
        with soundfile.SoundFile(_File(data)) as file:
            yield file
    except (soundfile.SoundFileError, TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(f"the audio cannot be decoded: {_words(error)}") from error
    except MemoryError as error:
        raise ResourceLimitError("there is not enough memory to decode the audio") from error


def _words(error: Exception) -> str:
    text = str(error)
    return text.rpartition("object at")[2].partition(": ")[2] if "object at" in text else text


def read_audio_info(data: bytes) -> AudioInfo:
    """The header of an audio file. Raises as :func:`read_audio`."""
    with _opened(data) as file:
        return AudioInfo(file.format, file.subtype, file.samplerate, file.channels, max(0, file.frames))


def read_audio(data: bytes, start: int = 0, stop: int | None = None) -> Array:
    """Decode frames from ``start`` up to, not including, ``stop`` (None: the end).

    Returns
    -------
    numpy.ndarray
        float32 from -1 to 1, shape (frames, channels).

    Raises
    ------
    InvalidInputError
        The file is damaged or too long, or has fewer frames than it claims.
    MissingPackageError
        soundfile is not installed.
    """
    check_audio(data)
    with _opened(data) as file:
        end = file.frames if stop is None else min(stop, file.frames)
        count = max(0, end - start)
        if not 0 < file.channels <= 1024 or count * file.channels > limits.AUDIO_VALUES:
            raise InvalidInputError(
                f"the audio has {count:,} frames of {file.channels:,} channels: the limit is {limits.AUDIO_VALUES:,} values; "
                "read a part of it with `column.read_slice(key, slice(a, b))`"
            )
        if file.format in _SEEKABLE and file.subtype not in _SEQUENTIAL:
            if start:
                file.seek(min(start, file.frames))
        else:
            # soundfile seeks after each read of a file that is seekable, which is not exact either.
            file.seekable = lambda: False
            _skip(file, start)
        found = _read(file, count)
    if len(found) < count:
        raise InvalidInputError(f"the audio is truncated: its header says {count:,} frames and it has {len(found):,}")
    return found


def _skip(file: Any, frames: int) -> None:
    while frames > 0:
        got = len(file.read(min(frames, _BLOCK), dtype="float32", always_2d=True))
        if not got:
            return
        frames -= got


def _read(file: Any, count: int) -> Array:
    if count * file.channels <= _BLOCK:
        found: Array = file.read(count, dtype="float32", always_2d=True)
        return found
    parts = []
    while count > 0:
        part = file.read(min(count, max(1, _BLOCK // file.channels)), dtype="float32", always_2d=True)
        if not len(part):
            break
        parts.append(part)
        count -= len(part)
    return np.concatenate(parts) if parts else np.empty((0, file.channels), np.float32)


def encode_wav(array: Array, samplerate: int) -> bytes:
    """The bytes of a WAV file: float32 as IEEE floats, int16 as PCM; both without loss.

    Parameters
    ----------
    array
        float32 or int16, shape (frames, channels).
    samplerate
        Frames per second.
    """
    count, channels = array.shape
    width = array.dtype.itemsize
    tag = 3 if array.dtype == np.float32 else 1
    samples = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    head = struct.pack("<HHIIHH", tag, channels, samplerate, samplerate * channels * width, channels * width, 8 * width)
    chunks = [(b"fmt ", head + (b"\0\0" if tag == 3 else b"")), (b"data", samples)]
    if tag == 3:
        chunks.insert(1, (b"fact", struct.pack("<I", count)))
    body = b"WAVE" + b"".join(
        name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2) for name, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body
