"""Video files: recognition, header, and lazy reading of frames by number with exact seeking, by PyAV (FFmpeg).

Frames are numbered in the order in which they are shown. Their times are taken from the packets of the file without
decoding. A slice is decoded from the key frame before it, and every frame is identified by its time; where that does not
give exactly the frames that were asked for, the video is decoded from its beginning.

FFmpeg is told the format, so that a file cannot be a playlist that names other files or addresses.
"""

from __future__ import annotations

import io
import operator
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from hangar import limits
from hangar.errors import InvalidInputError, MissingPackageError, PositionNotFoundError, ResourceLimitError

__all__ = ["Video", "VideoInfo", "check_video", "encode_video", "read_video_info", "video_format"]

Array = np.ndarray[Any, Any]

_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
"""Boxes with which an MP4 or QuickTime file begins."""
_DEMUXERS: Final = {"mp4": "mov", "mkv": "matroska", "avi": "avi", "ts": "mpegts", "ogv": "ogg"}
_KEYS_BACK: Final = (1, 2, 4)
"""Key frames before a slice from which decoding is tried. Seeking in some formats goes to a later place than it should."""
_FORMATS: Final = "MP4, MOV, Matroska, WebM, AVI, MPEG-TS, Ogg"


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Header of a video file.

    Attributes
    ----------
    format, codec
        As FFmpeg names them, such as ``'mov'`` (MP4 and QuickTime) and ``'h264'``.
    width, height
        Size of a frame in pixels, as stored.
    fps
        Average frames per second; 0.0 if the file does not tell.
    frames
        Number of frames.
    """

    format: str
    codec: str
    width: int
    height: int
    fps: float
    frames: int

    @property
    def duration(self) -> float:
        """Length in seconds; 0.0 if it is not known."""
        return self.frames / self.fps if self.fps else 0.0


def video_format(data: bytes) -> str | None:
    """The suffix of the format of a file, by its first bytes; None if it is not known."""
    if data[4:8] in _BOXES:
        return "mp4"
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return "mkv"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "avi"
    if data[:4] == b"OggS":
        return "ogv"
    return "ts" if len(data) > 188 and data[0] == data[188] == 0x47 else None


def check_video(data: bytes) -> None:
    """Check, without a decoder, that ``data`` is a video file and not cut off.

    Raises
    ------
    InvalidInputError
        It is not.
    """
    found = video_format(data)
    if found is None:
        raise InvalidInputError(f"the video is not a file of a known format ({_FORMATS})")
    if found == "avi" and len(data) < int.from_bytes(data[4:8], "little"):
        raise InvalidInputError("the video is truncated: it has fewer bytes than its header says")
    if found == "mp4":
        _check_boxes(data)
    if found == "mkv":
        _check_elements(data)


def _check_elements(data: bytes) -> None:
    """Check that the two elements of a Matroska file, its header and the segment, end in the file. A stream has no sizes."""
    at = 0
    for name in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        if data[at : at + 4] != name:
            break
        width = 9 - data[at + 4].bit_length() if at + 4 < len(data) else 9
        size = int.from_bytes(data[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
        if width <= 8 and size == (1 << 7 * width) - 1:
            return
        at += 4 + width + size
        if width > 8:
            raise InvalidInputError("the video is damaged: its header has no size")
        if at > len(data):
            raise InvalidInputError("the video is truncated: it has fewer bytes than its header says")


def _check_boxes(data: bytes) -> None:
    """Check that the boxes of an MP4 fill the file, and that the one with the index is among them."""
    at, names = 0, set()
    while at + 8 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        names.add(name)
        size = size or len(data) - at
        if size < 8 or at + size > len(data):
            raise InvalidInputError("the video is truncated: it has fewer bytes than its boxes say")
        at += size
    if b"moov" not in names:
        raise InvalidInputError("the video is truncated: it has no index (box moov)")


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingPackageError(f"decoding video needs PyAV ({error}): run `pip install hangar[video]`") from None
    return av


@contextmanager
def _opened(data: bytes) -> Iterator[tuple[Any, Any]]:
    """The container and the video stream of a file; errors of FFmpeg become InvalidInputError."""
    av = _av()
    check_video(data)
    try:
        with av.open(io.BytesIO(data), "r", format=_DEMUXERS[video_format(data) or ""]) as container:
            if not container.streams.video:
                raise InvalidInputError("the video has no stream of pictures")
            stream = container.streams.video[0]
            width, height = stream.codec_context.width, stream.codec_context.height
            if width < 1 or height < 1 or width * height > limits.IMAGE_PIXELS:
                raise InvalidInputError(
                    f"the video has frames of {height:,} x {width:,} pixels: the limit is {limits.IMAGE_PIXELS:,}"
                )
            stream.thread_type = "AUTO"
            yield container, stream
    except (av.FFmpegError, ValueError, OverflowError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"the video cannot be decoded: {error}") from error
    except MemoryError as error:
        raise ResourceLimitError("there is not enough memory to decode the video") from error


class Video:
    """A video of a column: frames are decoded when they are asked for.

    ``len(video)`` is the number of frames, ``video[a:b]`` frames as uint8 of shape (n, height, width, 3), ``video[i]`` one
    frame. It can be pickled, and holds the encoded file in memory.

    Parameters
    ----------
    data
        The bytes of the file.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._times: list[int] | None = None
        self._keys: list[int] = []
        self._frame_shape: tuple[int, ...] = ()
        self._info: VideoInfo | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Video, (self.data,)

    @property
    def info(self) -> VideoInfo:
        """Format, codec, size, frame rate and number of frames."""
        if self._info is None:
            self._scan()
        assert self._info is not None
        return self._info

    @property
    def shape(self) -> tuple[int, ...]:
        """(frames, height, width, 3). The first frame is decoded, to know whether frames are turned."""
        if not self._frame_shape:
            first = next(iter(self), None)
            self._frame_shape = (self.info.height, self.info.width, 3) if first is None else first.shape
        return self.info.frames, *self._frame_shape

    @property
    def fps(self) -> float:
        """Average frames per second."""
        return self.info.fps

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    @property
    def nbytes(self) -> int:
        """Size of the encoded file in bytes."""
        return len(self.data)

    def __len__(self) -> int:
        return self.info.frames

    def __repr__(self) -> str:
        info = self.info
        return f"<Video: {info.frames:,} frames of {info.height} x {info.width}, {info.fps:g} per second, {info.codec}>"

    def __getitem__(self, index: Any) -> Array:
        """Frames by number: an int, a slice, or either followed by an index of pixels.

        Raises
        ------
        PositionNotFoundError
            (an ``IndexError``) there is no such frame.
        InvalidInputError
            (a ``ValueError``) the file is damaged.
        """
        first, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(first, slice):
            numbers = range(len(self))[first]
            if not len(numbers):
                chosen: Array = np.empty((0, *self.shape[1:]), np.uint8)
            else:
                low, high = min(numbers[0], numbers[-1]), max(numbers[0], numbers[-1])
                chosen = self._read(low, high + 1)[:: numbers.step]
            where: tuple[Any, ...] = (slice(None), *rest)
            return np.ascontiguousarray(chosen[where])
        number = operator.index(first)
        if not -len(self) <= number < len(self):
            raise PositionNotFoundError(f"the video has {len(self):,} frames, and none at {number}")
        number %= len(self)
        where = (0, *rest)
        frame: Array = self._read(number, number + 1)[where]
        return frame

    def __iter__(self) -> Iterator[Array]:
        """All frames, decoded one after the other."""
        with _opened(self.data) as (container, stream):
            for frame in container.decode(stream):
                yield _pixels(frame)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """All frames."""
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    # ------------------------------------------------------------------ frames

    def _scan(self) -> None:
        """Collect the times of all frames from the packets."""
        with _opened(self.data) as (container, stream):
            found = [
                (packet.pts, packet.is_keyframe)
                for packet in container.demux(stream)
                if packet.size and not packet.is_discard
            ]
            times = [time for time, _ in found]
            known = [time for time in times if time is not None]
            # Without a time for each frame, or with a time twice, frames are counted by decoding.
            exact = len(known) == len(times) == len(set(known))
            rate = stream.average_rate or Fraction(0)
            names = container.format.name, stream.codec_context.name
            size = stream.codec_context.width, stream.codec_context.height
        self._times = sorted(known) if exact else None
        self._keys = sorted(time for time, is_key in found if is_key and time is not None)
        count = len(times) if exact else sum(1 for _ in self)
        self._info = VideoInfo(*names, *size, float(rate), count)

    def _read(self, start: int, stop: int) -> Array:
        """Frames from ``start`` up to, not including, ``stop``."""
        info = self.info
        if (stop - start) * info.width * info.height * 3 > limits.VIDEO_BYTES:
            raise InvalidInputError(
                f"{stop - start:,} frames of {info.height} x {info.width} pixels take more than the limit of "
                f"{limits.VIDEO_BYTES:,} bytes: read fewer"
            )
        if self._times is not None:
            wanted = self._times[start:stop]
            last = bisect_right(self._keys, wanted[0])
            for back in _KEYS_BACK if start else ():
                if last < back:
                    break
                found = self._by_seeking(wanted, self._keys[last - back])
                if found is not None:
                    return found
        return self._from_the_start(start, stop)

    def _by_seeking(self, wanted: list[int], key: int) -> Array | None:
        """The frames of some times, decoded from a key frame before them; None if they are not exactly those wanted."""
        found: Array | None = None
        at = 0
        with _opened(self.data) as (container, stream):
            container.seek(key, stream=stream)
            for frame in container.decode(stream):
                if frame.pts is None:
                    return None
                if not at and frame.pts < wanted[0]:
                    continue
                if frame.pts != wanted[at]:
                    return None
                pixels = _pixels(frame)
                if found is None:
                    found = np.empty((len(wanted), *pixels.shape), np.uint8)
                if pixels.shape != found.shape[1:]:
                    raise InvalidInputError("the video has frames of several sizes")
                found[at] = pixels
                at += 1
                if at == len(wanted):
                    return found
        return None

    def _from_the_start(self, start: int, stop: int) -> Array:
        found: list[Array] = []
        with _opened(self.data) as (container, stream):
            for number, frame in enumerate(container.decode(stream)):
                if number >= start:
                    found.append(_pixels(frame))
                if number + 1 >= stop:
                    break
        if len(found) < stop - start:
            raise InvalidInputError(f"the video is damaged: {stop - start - len(found):,} frames are missing")
        if len({one.shape for one in found}) > 1:
            raise InvalidInputError("the video has frames of several sizes")
        return np.stack(found)


def _pixels(frame: Any) -> Array:
    """RGB pixels of a frame, turned as the file says."""
    if frame.width * frame.height > limits.IMAGE_PIXELS:
        raise InvalidInputError(f"the video has a frame of {frame.height:,} x {frame.width:,} pixels")
    pixels: Array = frame.to_ndarray(format="rgb24")
    turn = getattr(frame, "rotation", 0) or 0
    return np.rot90(pixels, turn // 90) if turn % 90 == 0 else pixels


def read_video_info(data: bytes) -> VideoInfo:
    """The header of a video file, and the number of its frames, without decoding.

    Raises
    ------
    InvalidInputError
        It is damaged.
    MissingPackageError
        PyAV is not installed.
    """
    return Video(data).info


def encode_video(frames: Array, fps: Fraction) -> bytes:
    """Encode frames without loss: FFV1 in Matroska.

    Parameters
    ----------
    frames
        uint8, shape (n, height, width, 3).
    fps
        Frames per second.
    """
    av = _av()
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
