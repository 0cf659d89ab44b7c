"""Compression of frames: Zstandard, where it saves something, and decoding that never allocates more than was announced.

A sample decides whether a frame is compressed at all, because arrays often do not compress. Level 1 gives nearly the
ratio of higher levels at several hundred MB/s. A frame that is decoded states its size three times, in the message, in
its own head and by its content, and all three must agree with each other and with the limit before memory is allocated.
"""

from __future__ import annotations

from typing import Final, TypeVar

from hangar.errors import InvalidInputError

__all__ = ["NONE", "STORED", "ZSTD", "compressed", "decoded"]

T = TypeVar("T", bound="bytes | memoryview")
NONE: Final = 0
ZSTD: Final = 1
STORED: Final = 2
"""Chunks of one blob as the sender stores them, which this module does not decode."""
LEVEL: Final = 1
MIN_BYTES: Final = 256
SAMPLE_BYTES: Final = 2**16
USEFUL: Final = 0.95
"""A frame is compressed only if it becomes at most so much of its size."""
_MAGIC: Final = b"\x28\xb5\x2f\xfd"


def compressed(data: T) -> tuple[T | bytes, int]:
    """The data to send, and its codec: compressed if that saves something."""
    from numcodecs import zstd  # slow to import, and not needed on this machine's own loopback

    size = len(data)
    if size < MIN_BYTES:
        return data, NONE
    if size > 2 * SAMPLE_BYTES:
        middle = size // 2
        sample = memoryview(data)[middle : middle + SAMPLE_BYTES]
        if len(zstd.compress(sample, LEVEL)) > USEFUL * SAMPLE_BYTES:
            return data, NONE
    small = zstd.compress(data, LEVEL)
    return (bytes(small), ZSTD) if len(small) <= USEFUL * size else (data, NONE)


def decoded(data: T, codec: int, size: int, limit: int) -> T | bytes:
    """Decode the data of a frame.

    Parameters
    ----------
    size
        The announced size of the result.
    limit
        Maximum size.

    Raises
    ------
    InvalidInputError
        It is larger than the limit, of another size than announced, or damaged.
    """
    if size > limit:
        raise InvalidInputError(f"a frame of {size} bytes is larger than the limit, {limit} bytes")
    if codec == NONE:
        if len(data) != size:
            raise InvalidInputError(f"a frame has {len(data)} bytes instead of the {size} that it announces")
        return data
    if codec != ZSTD:
        raise InvalidInputError(f"unknown codec {codec} of a frame")
    if _content_size(data) != size or size == 0:
        raise InvalidInputError("a compressed frame is of another size than it announces")
    from numcodecs import zstd

    result = bytearray(size)
    try:
        zstd.decompress(data, result)
    except (RuntimeError, ValueError):
        raise InvalidInputError("a compressed frame is damaged") from None
    return bytes(result)


def _content_size(data: bytes | memoryview) -> int:
    """Content size in the header of a Zstandard frame (RFC 8878, 3.1.1.1); -1 if it does not state one."""
    if data[:4] != _MAGIC or len(data) < 6:
        return -1
    descriptor = data[4]
    single = descriptor >> 5 & 1
    width = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    if descriptor & 0b1011 or not width:  # reserved bit, or a dictionary
        return -1
    start = 5 + (0 if single else 1)
    size = int.from_bytes(data[start : start + width], "little")
    return size + 256 if width == 2 else size
