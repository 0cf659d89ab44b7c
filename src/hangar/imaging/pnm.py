"""Reader of PBM, PGM, PPM and PFM files (netpbm).

Pillow scales samples to 8 or 16 bits by the maximum value in the header; this reader does not. The bits of a PBM,
where 1 is black, are returned as in all other formats: True is white.
"""

from __future__ import annotations

import re
from typing import IO, Any, Final

import numpy as np

from hangar.imaging.stored import Refusal, Stored, size_of
from hangar.wording import plural

__all__ = ["is_pnm", "read_header", "read_samples"]

_CHANNELS: Final = {b"P1": 1, b"P2": 1, b"P3": 3, b"P4": 1, b"P5": 1, b"P6": 3, b"Pf": 1, b"PF": 3}
_TOKEN: Final = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*([^\s#]{1,16})")
_HEADER_BYTES: Final = 64 * 1024


def is_pnm(start: bytes) -> bool:
    """Whether a file that begins with ``start`` has one of these formats."""
    return start[:2] in _CHANNELS and start[2:3].isspace()


def read_header(file: IO[bytes]) -> tuple[Stored, int]:
    """Read the header: the sample format, and the offset of the samples."""
    file.seek(0)
    head = file.read(_HEADER_BYTES)
    magic, at = head[:2], 2
    words: list[bytes] = []
    for _ in range(2 if magic in (b"P1", b"P4") else 3):
        found = _TOKEN.match(head, at)
        if found is None:
            raise Refusal("is truncated in its header")
        words.append(found[1])
        at = found.end()
    if not all(word.isdigit() for word in words[:2]):
        raise Refusal("has no width and height")
    if magic not in (b"P1", b"P2", b"P3") and not head[at : at + 1].isspace():
        raise Refusal("has no white space between its header and its samples")
    width, height = int(words[0]), int(words[1])
    channels = _CHANNELS[magic]
    if magic in (b"Pf", b"PF"):
        order = ">" if float(words[2]) > 0 else "<"
        return Stored(f"PFM{order}", width, height, 32, "f", channels), at + 1
    top = int(words[2]) if len(words) == 3 and words[2].isdigit() else 1 if len(words) == 2 else 0
    if not 0 < top < 65536:
        raise Refusal("has a maximum value in its header that is not from 1 to 65535")
    bits = 1 if len(words) == 2 else top.bit_length()
    return Stored("PNM", width, height, bits, "u", channels, top), at + 1


def read_samples(file: IO[bytes], stored: Stored, start: int) -> np.ndarray[Any, Any]:
    """Read the samples: bool for PBM, float32 for PFM, else uint8 or uint16."""
    file.seek(0)
    magic = file.read(2)
    file.seek(start)
    count = stored.width * stored.height * stored.channels
    shape = (stored.height, stored.width, stored.channels)[: 3 if stored.channels > 1 else 2]
    if magic in (b"P1", b"P2", b"P3"):
        samples = _plain(file.read(), count, digits=magic == b"P1")
    elif magic == b"P4":
        row = -(-stored.width // 8)
        packed = _exactly(file, row * stored.height, np.uint8).reshape(stored.height, row)
        samples = np.unpackbits(packed, axis=1)[:, : stored.width].reshape(-1)
    elif stored.kind == "f":
        rows = _exactly(file, 4 * count, f"{stored.format[3]}f4").reshape(shape)
        return np.ascontiguousarray(rows[::-1].astype(np.float32, copy=False))  # rows are stored from the bottom up
    else:
        samples = _exactly(file, count * (1 if stored.top < 256 else 2), "u1" if stored.top < 256 else ">u2")
    if magic[1:] not in b"123" and is_pnm(file.read(3)):
        raise Refusal("holds several images one after the other: split it first")
    if (magic in (b"P2", b"P3") or stored.top not in (255, 65535)) and count and int(samples.max()) > stored.top:
        raise Refusal(f"has the value {samples.max()}, above the maximum of {stored.top} in its header")
    if magic in (b"P1", b"P4"):
        white: np.ndarray[Any, Any] = samples == 0
        return white.reshape(shape)
    return samples.astype(np.uint8 if stored.top < 256 else np.uint16).reshape(shape)


def _exactly(file: IO[bytes], size: int, dtype: Any) -> np.ndarray[Any, Any]:
    there = size_of(file) - file.tell()
    if there < size:
        raise Refusal(f"is truncated: its header needs {plural(size, 'byte')} of samples and it has {max(0, there):,}")
    return np.frombuffer(file.read(size), dtype)


def _plain(text: bytes, count: int, digits: bool) -> np.ndarray[Any, Any]:
    """Parse samples that are written as text; the bits of P1 need no separators."""
    text = re.sub(rb"#[^\n\r]*", b" ", text)
    words = re.findall(rb"\S", text) if digits else text.split()
    if len(words) < count:
        raise Refusal(f"is truncated: its header needs {plural(count, 'sample')} and it has {len(words):,}")
    if len(words) > count:
        raise Refusal(f"has more than the {plural(count, 'sample')} of its header")
    if not all(word.isdigit() and len(word) < 6 for word in words):
        raise Refusal("has a sample that is not a number")
    return np.array(words, dtype=np.int64) if words else np.empty(0, np.int64)
