"""Every format at every depth, sign and range: the samples come as they are in the file, or the file is refused.

The files are made by :mod:`tests.imaging.encoders`, byte by byte, and compared exactly.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar.errors import InvalidInputError
from tests.imaging import encoders as made
from tests.imaging.arrays import BLACK_WHITE, COLOURS, GRAYS, HEIGHT, WIDTH, Array, few, load, same, samples

# -------------------------------------------------------------------------------------------------------------------- PNG


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_png_gray(tmp_path: Path, bits: int) -> None:
    array = samples(bits)
    wanted = array.astype(bool) if bits == 1 else array
    same(load(tmp_path, made.png(array, bits, 0), "png"), wanted)


@pytest.mark.parametrize("palette", [COLOURS, GRAYS, BLACK_WHITE], ids=["colours", "grays", "two"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_palette(tmp_path: Path, bits: int, palette: bytes) -> None:
    array = few(bits, len(palette) // 3)
    same(load(tmp_path, made.png(array, bits, 3, palette[: 3 * 2**bits]), "png"), array)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_png_channels(tmp_path: Path, colour: int, channels: int) -> None:
    array = samples(8, channels)
    same(load(tmp_path, made.png(array, 8, colour), "png"), array)
    deep = samples(16, channels)
    data = made.png(deep, 16, colour)
    same(load(tmp_path, data, "png"), deep)
    for options in ({"mode": "RGB"}, {"mode": "L"}, {"mode": "I"}, {"mode": "F"}):
        with pytest.raises(InvalidInputError, match=r"x\.png has 16.bit.*--bits 8"):
            load(tmp_path, data, "png", **options)
    same(load(tmp_path, data, "png", bits=8), (deep >> 8).astype("u1"))


def test_png_transparency_of_few_bits(tmp_path: Path) -> None:
    """Pillow scales the samples to 8 bits, and not the sample that is transparent."""
    array = samples(2)
    data = made.png(array, 2, 0, extra=[(b"tRNS", b"\0\2")])
    same(load(tmp_path, data, "png"), array)
    colours = load(tmp_path, data, "png", mode="RGBA")
    np.testing.assert_array_equal(colours[:, :, 3] == 0, array == 2)


# -------------------------------------------------------------------------------------------------------------------- PNM


TOPS = [1, 2, 3, 10, 15, 100, 127, 128, 254, 255, 256, 1000, 1023, 4095, 40000, 65534, 65535]


@pytest.mark.parametrize("plain", [False, True], ids=["binary", "plain"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("top", TOPS)
def test_pnm(tmp_path: Path, top: int, channels: int, plain: bool) -> None:
    array = samples(32, channels).astype(np.int64) % (top + 1)
    array.reshape(-1)[:2] = (top, 0)
    wanted = array.astype("u1" if top < 256 else "u2")
    data = made.pnm(array, top, plain, b"# a comment of 7 words 1 2 3\n")
    same(load(tmp_path, data, "ppm" if channels == 3 else "pgm"), wanted)
    reduced = wanted if top < 256 else (array * 256 // (top + 1)).astype("u1")
    same(load(tmp_path, data, "pnm", bits=8), reduced)
    if top < 256:
        looks = (array * 255 + top // 2) // top
        mode = "RGB" if channels == 3 else "L"
        same(load(tmp_path, data, "pnm", mode=mode), looks.astype("u1"))


@pytest.mark.parametrize("plain", [False, True], ids=["binary", "plain"])
def test_pbm_white_is_true(tmp_path: Path, plain: bool) -> None:
    white = samples(1).astype(bool)
    same(load(tmp_path, made.pbm(white, plain), "pbm"), white)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pfm(tmp_path: Path, channels: int, order: str) -> None:
    array = samples(32, channels, "f")
    same(load(tmp_path, made.pfm(array, order), "pnm"), array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"P5 2 2 255\n\1\2\3", "truncated"),
        (b"P2 2 2 255\n1 2 3", "truncated"),
        (b"P2 2 1 255\n1 2 3", "more than"),
        (b"P2 2 1 255\n1 x", "not a number"),
        (b"P5 2 1 10\n\1\x0b", "the value 11, above the maximum of 10"),
        (b"P2 2 1 10\n1 11", "the value 11, above the maximum of 10"),
        (b"P2 2 1 255\n1 256", "the value 256, above the maximum of 255"),
        (b"P3 1 1 65535\n1 65536 3", "the value 65536, above the maximum of 65535"),
        (b"P5 2 1 255#\n\1\2", "white space"),
        (b"P4 2 1#\n\1", "white space"),
        (b"P5 2 1 65536\n\1\1\1\1", "maximum value"),
        (b"P5 2 1 0\n\1\1", "maximum value"),
        (b"P5 2 x 255\n\1\1", "width and height"),
        (b"P5 2", "header"),
        (b"P5 2 1 255\n\1\2P5 2 1 255\n\1\2", "several images"),
    ],
)
def test_pnm_that_is_damaged(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"x\.pgm .*{message}"):
        load(tmp_path, data, "pgm")


# -------------------------------------------------------------------------------------------------------- BMP, GIF, WebP, JPEG


@pytest.mark.parametrize("downwards", [False, True])
@pytest.mark.parametrize("palette", [COLOURS, GRAYS, BLACK_WHITE], ids=["colours", "grays", "two"])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bmp_palette(tmp_path: Path, bits: int, palette: bytes, downwards: bool) -> None:
    """Also where the palette is one of grays, which pillow takes for another depth."""
    colours = palette[: 3 * 2**bits]
    count = len(colours) // 3
    array = few(bits, count)
    rgb = np.frombuffer(colours, np.uint8).reshape(-1, 3)[array]
    for used in {count if count < 2**bits else 0, count}:
        data = made.bmp(array, bits, colours, downwards=downwards, used=used)
        same(load(tmp_path, data, "bmp"), array.astype(bool) if bits == 1 and colours == BLACK_WHITE else array)
        same(load(tmp_path, data, "bmp", mode="RGB"), rgb)
    if not downwards and count == 2**bits:
        same(load(tmp_path, made.bmp(array, bits, colours, core=True), "bmp", mode="RGB"), rgb)


@pytest.mark.parametrize("palette", [COLOURS, GRAYS, BLACK_WHITE], ids=["colours", "grays", "two"])
@pytest.mark.parametrize("bits", [4, 8])
def test_bmp_of_runs(tmp_path: Path, bits: int, palette: bytes) -> None:
    colours = palette[: 3 * 2**bits]
    count = len(colours) // 3
    array = few(bits, count)
    data = made.bmp_runs(array, bits, colours, 0 if count == 2**bits else count)
    if count == 2:  # pillow takes it for single bits
        # Before version 11 pillow cannot decode it.
        with pytest.raises(InvalidInputError, match=r"--mode RGB|cannot be decoded"):
            load(tmp_path, data, "bmp")
    else:
        same(load(tmp_path, data, "bmp"), array)
    same(load(tmp_path, data, "bmp", mode="RGB"), np.frombuffer(colours, np.uint8).reshape(-1, 3)[array])


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_colours_that_cannot_be_seen_are_kept(tmp_path: Path, suffix: str) -> None:
    array = samples(8, 4)
    array[::2, :, 3] = 0
    data = {
        "png": made.png(array, 8, 6),
        "tif": made.tiff(array, 8, photometric=2, extra=(2,)),
        "webp": made.webp(array),
    }
    same(load(tmp_path, data[suffix], suffix), array)


def test_bmp_colours(tmp_path: Path) -> None:
    array = samples(8, 3)
    for bits in (24, 32):
        same(load(tmp_path, made.bmp(array, bits), "bmp"), array)
    five = samples(5, 3)
    with pytest.raises(InvalidInputError, match=r"5 or 6 bits a channel.*--mode RGB"):
        load(tmp_path, made.bmp(five, 16), "bmp")
    assert load(tmp_path, made.bmp(five, 16), "bmp", mode="RGB").shape == array.shape


@pytest.mark.parametrize("palette", [COLOURS, GRAYS], ids=["colours", "grays"])
def test_gif(tmp_path: Path, palette: bytes) -> None:
    frames = [samples(8), samples(8)[::-1]]
    same(load(tmp_path, made.gif(frames[:1], palette), "gif"), frames[0])
    several = made.gif(frames, palette)
    same(load(tmp_path, several, "gif", frame=0), frames[0])
    table = np.frombuffer(palette, np.uint8).reshape(-1, 3)
    same(load(tmp_path, several, "gif", frame=1, mode="RGB"), table[frames[1]])
    with pytest.raises(InvalidInputError, match="--mode RGB"):
        load(tmp_path, several, "gif", frame=1)


@pytest.mark.parametrize("channels", [3, 4])
def test_webp(tmp_path: Path, channels: int) -> None:
    array = samples(8, channels)
    same(load(tmp_path, made.webp(array), "webp"), array)


def test_jpeg(tmp_path: Path) -> None:
    blocks = samples(8)
    same(load(tmp_path, made.jpeg(blocks), "jpg"), blocks.repeat(8, axis=0).repeat(8, axis=1))
    with pytest.raises(InvalidInputError, match=r"x\.jpg .*12-bit"):
        load(tmp_path, made.jpeg(samples(12), 12), "jpg")


# ------------------------------------------------------------------------------------------------------------- conversions


@pytest.mark.parametrize(
    ("data", "array"),
    [
        (lambda array: made.png(array, 16, 0), samples(16)),
        (lambda array: made.tiff(array, 16), samples(16)),
        (lambda array: made.tiff(array, 16, order=">", compressed=True), samples(16)),
        (lambda array: made.pnm(array, 65535), samples(16)),
        (lambda array: made.tiff(array, 32), samples(32)),
        (lambda array: made.tiff(array, 16, sample_format=2), samples(16, 1, "i")),
        (lambda array: made.tiff(array, 8, sample_format=2), samples(8, 1, "i")),
        (lambda array: made.tiff(array, 32, sample_format=2), samples(32, 1, "i")),
        (lambda array: made.tiff(array, 32, sample_format=3), samples(32, 1, "f")),
    ],
    ids=["png", "tiff", "tiff big", "pgm", "uint32", "int16", "int8", "int32", "float32"],
)
def test_deep_samples_are_never_clipped(tmp_path: Path, data: Callable[[Array], bytes], array: Array) -> None:
    encoded = data(array)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"):
        with pytest.raises(InvalidInputError, match="--bits 8" if array.dtype.kind == "u" else "npy"):
            load(tmp_path, encoded, "tif", mode=mode)
    for mode, dtype in (("I", np.int32), ("I;16", np.uint16), ("F", np.float32)):
        with np.errstate(invalid="ignore"):
            converted = array.astype(dtype)
        if np.array_equal(converted, array):
            same(load(tmp_path, encoded, "tif", mode=mode), converted)
        else:
            with pytest.raises(InvalidInputError, match=f"mode {mode} does not hold"):
                load(tmp_path, encoded, "tif", mode=mode)
    if array.dtype.kind == "u":
        reduced = (array >> (8 * array.dtype.itemsize - 8)).astype("u1")
        same(load(tmp_path, encoded, "tif", bits=8), reduced)
        same(load(tmp_path, encoded, "tif", bits=8, mode="RGB"), np.stack([reduced] * 3, axis=2))
    else:
        with pytest.raises(InvalidInputError, match="--bits 8 is for unsigned"):
            load(tmp_path, encoded, "tif", bits=8)


@pytest.mark.parametrize("mode", ["rgb", "Rgb", "l", "rgba", "ycbcr", "cmyk", "i;16", 1])
def test_modes_in_any_case(tmp_path: Path, mode: Any) -> None:
    assert load(tmp_path, made.png(samples(8), 8, 0), "png", mode=mode).shape[:2] == (HEIGHT, WIDTH)


# ----------------------------------------------------------------------------------------------------- what is cut short


def png_of(rows: bytes, interlaced: bool) -> bytes:
    """A gray PNG of 8 bits of these rows, each with its filter before it."""
    head = b"IHDR" + struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, interlaced)
    chunks = [head, b"IDAT" + zlib.compress(rows), b"IEND"]
    data = b"".join(struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + data


def test_a_png_whose_header_is_not_first(tmp_path: Path) -> None:
    """Pillow reads it; its depth would be looked for in the wrong place, and samples of 16 bits be cut to 8."""
    data = made.png(samples(16, 3), 16, 2)
    before = b"tEXt" + b"abcdefgh\x08\x02"
    text = struct.pack(">I", len(before) - 4) + before + struct.pack(">I", zlib.crc32(before))
    with pytest.raises(InvalidInputError, match=r"x\.png is damaged: its first chunk"):
        load(tmp_path, data[:8] + text + data[8:], "png")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("where", [b"IDAT", b"IEND"])
def test_a_png_with_two_headers(tmp_path: Path, channels: int, where: bytes) -> None:
    """Pillow takes the last one. If the first says 8 bits, the depth of 16 would not be noticed."""
    colour = 2 if channels == 3 else 0
    data = made.png(samples(16, channels) if channels > 1 else samples(16), 16, colour)
    second = data[8:33]
    first = b"IHDR" + struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, colour, 0, 0, 0)
    shallow = struct.pack(">I", 13) + first + struct.pack(">I", zlib.crc32(first))
    at = data.index(where) - 4
    for options in ({}, {"mode": "RGB"}, {"bits": 8}):
        with pytest.raises(InvalidInputError, match=r"x\.png is damaged: it has more than one header"):
            load(tmp_path, data[:8] + shallow + data[33:at] + second + data[at:], "png", **options)


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_that_lacks_rows(tmp_path: Path, interlaced: bool) -> None:
    """Its compressed data ends as it should, and pillow gives zeros for what is not there."""
    array = samples(8)
    array[-1] = 0
    passes = [array[0::8, 0::8], array[0::8, 4::8], array[4::8, 0::4], array[0::4, 2::4], array[2::4, 0::2]]
    passes += [array[0::2, 1::2], array[1::2, :]]
    parts = passes if interlaced else [array]
    rows = [b"\0" + row.tobytes() for part in parts for row in part if part.size]
    same(load(tmp_path, png_of(b"".join(rows), interlaced), "png"), array)
    for options in ({}, {"mode": "RGB"}):
        with pytest.raises(InvalidInputError, match=r"x\.png is truncated"):
            load(tmp_path, png_of(b"".join(rows[:-1]), interlaced), "png", **options)


# ------------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "pgm", "gif", "webp"])
def test_what_is_too_large_is_refused_unread(tmp_path: Path, suffix: str) -> None:
    array = samples(8)
    wide = {
        "png": made.png(np.empty((65535, 65535, 0)), 8, 0),
        "tif": made.tiff(array, 8)
        .replace(b"\0\1\4\0\1\0\0\0\x0d\0", b"\0\1\4\0\1\0\0\0\xff\xff")
        .replace(b"\1\1\4\0\1\0\0\0\5\0", b"\1\1\4\0\1\0\0\0\xff\xff"),
        "bmp": made.bmp(array, 8, COLOURS).replace(b"\x0d\0\0\0\5\0\0\0", b"\xff\xff\0\0\xff\xff\0\0"),
        "pgm": b"P5 65535 65535 255\n",
        "gif": made.gif([array], COLOURS).replace(b"\x0d\0\5\0", b"\xff\xff\xff\xff"),
        "webp": b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\0\xff\xff\0" + bytes(40),
    }[suffix]
    with pytest.raises(InvalidInputError, match=r"has 65,53\d x 65,53\d pixels, and the limit is 268,435,456"):
        load(tmp_path, wide, suffix)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_large_image_is_no_attack(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's own bound, made small here, neither warns nor refuses, and is there again afterwards."""
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    array = samples(8)
    data = made.png(array, 8, 0) if suffix == "png" else made.tiff(array, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(load(tmp_path, data, suffix), array)
    assert Image.MAX_IMAGE_PIXELS == 20
