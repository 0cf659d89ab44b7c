"""Image files made byte by byte, so that what reads them is not judged by itself.

Each function takes the samples as an array and writes them as the format's specification says.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def pack(samples: Array, bits: int, order: str = ">") -> Array:
    """Rows of bytes from samples of any depth, several channels side by side; the highest bits first, each row padded to a byte."""
    rows = samples.reshape(len(samples), -1)
    if bits >= 8 and bits % 8 == 0:
        kind = samples.dtype.kind if samples.dtype.kind in "if" else "u"
        return np.ascontiguousarray(rows.astype(f"{order}{kind}{bits // 8}")).view(np.uint8).reshape(len(rows), -1)
    shifts = np.arange(bits - 1, -1, -1)
    single = (rows[:, :, None].astype(np.int64) >> shifts) & 1
    return np.packbits(single.reshape(len(rows), -1).astype(np.uint8), axis=1)


# -------------------------------------------------------------------------------------------------------------------- PNG


def png(
    samples: Array, bits: int, colour: int, palette: bytes = b"", extra: Sequence[tuple[bytes, bytes]] = ()
) -> bytes:
    """A PNG, whose rows may be left out (0 channels); ``colour`` is 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA."""

    def chunk(tag: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    rows = b"".join(b"\0" + row.tobytes() for row in pack(samples, bits)) if samples.size else b""
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header)]
    parts += [chunk(b"PLTE", palette)] if palette else []
    parts += [chunk(tag, data) for tag, data in extra]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


# -------------------------------------------------------------------------------------------------------------------- PNM


def pnm(samples: Array, top: int, plain: bool = False, comment: bytes = b"") -> bytes:
    """A PGM or PPM whose largest value is ``top``."""
    colour = samples.ndim == 3
    magic = {(False, True): b"P2", (True, True): b"P3", (False, False): b"P5", (True, False): b"P6"}[colour, plain]
    head = b"%s\n%s%d %d\n%d\n" % (magic, comment, samples.shape[1], samples.shape[0], top)
    if plain:
        return head + b"\n".join(b" ".join(b"%d" % value for value in row) for row in samples.reshape(len(samples), -1))
    return head + samples.astype(">u2" if top > 255 else "u1").tobytes()


def pbm(white: Array, plain: bool = False) -> bytes:
    """A PBM, in which 1 is black."""
    black = (~white).astype(np.uint8)
    head = b"P%d\n%d %d\n" % (1 if plain else 4, white.shape[1], white.shape[0])
    return head + (
        b"\n".join(b"".join(b"%d" % bit for bit in row) for row in black) if plain else pack(black, 1).tobytes()
    )


def pfm(samples: Array, order: str) -> bytes:
    """A PFM, whose rows go from the bottom up."""
    magic = b"PF" if samples.ndim == 3 else b"Pf"
    scale = b"-1.0" if order == "<" else b"1.0"
    return (
        b"%s\n%d %d\n%s\n" % (magic, samples.shape[1], samples.shape[0], scale)
        + samples[::-1].astype(f"{order}f4").tobytes()
    )


# -------------------------------------------------------------------------------------------------------------------- TIFF


def tiff(
    samples: Array,
    bits: int,
    *,
    order: str = "<",
    photometric: int | None = 1,
    sample_format: int | None = 1,
    compressed: bool = False,
    extra: Sequence[int] = (),
    orientation: int = 1,
    reversed_bits: bool = False,
    planar: bool = False,
    colours: Sequence[int] = (),
    rows_per_strip: int | None = None,
    tile: int = 0,
) -> bytes:
    """A TIFF of one image; ``compressed`` by deflate; in strips, or in square tiles of ``tile`` pixels."""
    channels = samples.shape[2] if samples.ndim == 3 else 1
    height, width = samples.shape[:2]
    per_strip = rows_per_strip or height
    planes = [samples[:, :, at] for at in range(channels)] if planar else [samples]
    strips = []
    for plane in planes:
        if tile:
            padded = np.pad(plane, [(0, -height % tile), (0, -width % tile), (0, 0)][: plane.ndim], mode="edge")
            corners = [(down, across) for down in range(0, height, tile) for across in range(0, width, tile)]
            squares = [padded[down : down + tile, across : across + tile] for down, across in corners]
            strips += [pack(square, bits, order).tobytes() for square in squares]
            continue
        packed = pack(plane, bits, order)
        strips += [packed[at : at + per_strip].tobytes() for at in range(0, height, per_strip)]
    if compressed:
        strips = [zlib.compress(strip) for strip in strips]
    if reversed_bits:
        flip = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
        strips = [strip.translate(flip) for strip in strips]
    tags: list[tuple[int, str, Sequence[int]]] = [
        (256, "I", [width]),
        (257, "I", [height]),
        (258, "H", [bits] * channels),
        (259, "H", [8 if compressed else 1]),
        (324 if tile else 273, "I", [0] * len(strips)),
        (274, "H", [orientation]),
        (277, "H", [channels]),
        (325 if tile else 279, "I", [len(strip) for strip in strips]),
        (284, "H", [2 if planar else 1]),
    ]
    tags += [(322, "I", [tile]), (323, "I", [tile])] if tile else [(278, "I", [per_strip])]
    tags += [] if photometric is None else [(262, "H", [photometric])]
    tags += [] if sample_format is None else [(339, "H", [sample_format] * channels)]
    tags += [(266, "H", [2])] if reversed_bits else []
    tags += [(338, "H", list(extra))] if extra else []
    tags += [(320, "H", list(colours))] if colours else []
    return _tiff_file(sorted(tags), strips, order)


def _tiff_file(tags: list[tuple[int, str, Sequence[int]]], strips: list[bytes], order: str) -> bytes:
    begin = 8 + 2 + 12 * len(tags) + 4
    data = b""
    at = begin + sum((struct.calcsize(order + kind) * len(values) + 3) // 4 * 4 for _, kind, values in tags)
    starts = [at + sum(map(len, strips[:number])) for number in range(len(strips))]
    entries = b""
    for tag, kind, values in tags:
        given = starts if tag in (273, 324) else values
        packed = struct.pack(f"{order}{len(given)}{kind}", *given)
        if len(packed) > 4:
            where = struct.pack(order + "I", begin + len(data))
            data += packed.ljust((len(packed) + 3) // 4 * 4, b"\0")
        else:
            where = packed.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(given)) + where
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    body = head + struct.pack(order + "H", len(tags)) + entries + bytes(4) + data
    return body.ljust(at, b"\0") + b"".join(strips)


# ------------------------------------------------------------------------------------------------------------- BMP and GIF


def bmp(
    samples: Array, bits: int, palette: bytes = b"", *, downwards: bool = False, core: bool = False, used: int = 0
) -> bytes:
    """A BMP of indices (1, 4 or 8 bits), of 5-bit colours (16), RGB (24) or RGB and a reserved byte (32)."""
    height, width = samples.shape[:2]
    if bits == 16:
        packed = (samples[:, :, 0].astype("<u2") << 10 | samples[:, :, 1].astype("<u2") << 5 | samples[:, :, 2]).astype(
            "<u2"
        )
        rows = packed.view(np.uint8).reshape(height, -1)
    elif bits >= 24:
        rows = samples[:, :, ::-1].astype(np.uint8)
        if bits == 32:
            rows = np.concatenate((rows, np.full((height, width, 1), 7, np.uint8)), axis=2)
        rows = rows.reshape(height, -1)
    else:
        rows = pack(samples, bits)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    data = (rows if downwards else rows[::-1]).tobytes()
    table = b"".join(palette[at : at + 3][::-1] + (b"" if core else b"\0") for at in range(0, len(palette), 3))
    if core:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        header = struct.pack(
            "<IiiHHIIiiII", 40, width, -height if downwards else height, 1, bits, 0, len(data), 0, 0, used, 0
        )
    start = 14 + len(header) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + table + data


def bmp_runs(samples: Array, bits: int, palette: bytes, used: int = 0) -> bytes:
    """A BMP of 4- or 8-bit indices as run lengths (RLE4, RLE8)."""
    height, width = samples.shape
    data = b""
    for row in samples[::-1].tolist():
        pairs = zip(row[::2], [*row[1::2], 0], strict=False)
        runs = [[1, value] for value in row] if bits == 8 else [[2, high << 4 | low] for high, low in pairs]
        if bits == 4 and width % 2:
            runs[-1][0] = 1
        data += b"".join(map(bytes, runs)) + b"\0\0"
    data += b"\0\1"
    table = b"".join(palette[at : at + 3][::-1] + b"\0" for at in range(0, len(palette), 3))
    kind = 1 if bits == 8 else 2
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, kind, len(data), 0, 0, used, 0)
    start = 14 + len(header) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + table + data


def gif(frames: Sequence[Array], palette: bytes) -> bytes:
    """A GIF of 8-bit indices, its codes all of nine bits."""
    height, width = frames[0].shape
    body = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + palette.ljust(768, b"\0")
    for frame in frames:
        codes: list[int] = []
        for at, index in enumerate(frame.reshape(-1).tolist()):
            codes += [256] * (at % 250 == 0) + [index]
        value = sum(code << 9 * at for at, code in enumerate([*codes, 257]))
        packed = value.to_bytes(9 * (len(codes) + 1) // 8 + 1, "little")
        blocks = b"".join(
            bytes([len(packed[at : at + 255])]) + packed[at : at + 255] for at in range(0, len(packed), 255)
        )
        body += b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08" + blocks + b"\0"
    return body + b";"


# ------------------------------------------------------------------------------------------------------------ WebP and JPEG


def webp(samples: Array) -> bytes:
    """A lossless WebP (VP8L) whose channels have codes of eight bits each."""
    height, width, channels = samples.shape
    bits: list[int] = []

    def put(value: int, count: int) -> None:
        bits.extend(value >> at & 1 for at in range(count))

    put(0x2F, 8)
    put(width - 1, 14)
    put(height - 1, 14)
    put(channels == 4, 1)
    put(0, 3 + 3)  # the version; no transform, no colour cache, no groups of codes
    for symbols in (280, 256, 256, 256):
        put(0, 1)
        put(8, 4)  # twelve lengths follow: of the symbols 17 18 0 1 2 3 4 5 16 6 7 8
        for length in (0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1):
            put(length, 3)
        put(0, 1)
        bits.extend([1] * 256 + [0] * (symbols - 256))
    put(0b0001, 4)  # one distance
    alpha = samples[:, :, 3] if channels == 4 else np.full((height, width), 255, np.uint8)
    order = np.stack((samples[:, :, 1], samples[:, :, 0], samples[:, :, 2], alpha), axis=2).astype(np.uint8)
    bits.extend(np.unpackbits(order.reshape(-1)).tolist())
    data = np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def jpeg(blocks: Array, precision: int = 8) -> bytes:
    """A gray JPEG in which each 8 x 8 block has one value, which no step of the format changes."""

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    bits = ""
    before = 0
    for value in blocks.reshape(-1).tolist():
        coefficient = 8 * (value - 2 ** (precision - 1))
        step, before = coefficient - before, coefficient
        size = abs(step).bit_length()
        bits += f"{size:04b}" + (f"{step if step > 0 else step + 2**size - 1:0{size}b}" if size else "") + "0"
    bits += "1" * (-len(bits) % 8)
    scan = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    frame = struct.pack(">BHHB", precision, 8 * blocks.shape[0], 8 * blocks.shape[1], 1) + b"\x01\x11\x00"
    sizes = bytes([0, 0, 0, 12]) + bytes(12) + bytes(range(12))
    ends = bytes([1]) + bytes(15) + b"\0"
    return (
        b"\xff\xd8"
        + segment(0xDB, b"\0" + b"\1" * 64)
        + segment(0xC0 if precision == 8 else 0xC1, frame)
        + segment(0xC4, b"\x00" + sizes)
        + segment(0xC4, b"\x10" + ends)
        + segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
        + scan
        + b"\xff\xd9"
    )
