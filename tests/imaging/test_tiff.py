"""TIFFs of every depth, sign, byte order and layout: as stored, or refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar.errors import InvalidInputError
from tests.imaging import encoders as made
from tests.imaging.arrays import COLOURS, HEIGHT, Array, load, same, samples

STORAGE = [
    pytest.param({"order": order, "compressed": compressed, "rows_per_strip": rows}, id=f"{order}{compressed}{rows}")
    for order in "<>"
    for compressed in (False, True)
    for rows in (None, 2)
]


def as_stored_or_refused(folder: Path, data: bytes, wanted: Array) -> bool:
    """Whether it was read; what is read is as it was stored."""
    try:
        got = load(folder, data, "tif")
    except InvalidInputError:
        return False
    same(got, wanted)
    return True


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize(
    ("bits", "kind"),
    [
        *[(bits, "u") for bits in (1, 2, 4, 8, 12, 16, 32, 64)],
        *[(bits, "i") for bits in (8, 16, 32, 64)],
        *[(bits, "f") for bits in (16, 32, 64)],
    ],
)
def test_tiff_gray(tmp_path: Path, bits: int, kind: str, photometric: int, storage: dict[str, Any]) -> None:
    """Whether 0 is black or white, the numbers are those in the file."""
    array = samples(bits, 1, kind)
    data = made.tiff(array, bits, photometric=photometric, sample_format="uif".index(kind) + 1, **storage)
    read = as_stored_or_refused(tmp_path, data, array.astype(bool) if bits == 1 else array)
    if photometric == 1 and not storage["compressed"]:
        assert read == ((bits, kind) in plain_of(storage["order"]))
    if kind == "u" and bits <= 8:
        assert read


def plain_of(order: str) -> set[tuple[int, str]]:
    """What is read of uncompressed files of this byte order."""
    both = {(1, "u"), (2, "u"), (4, "u"), (8, "u"), (16, "u"), (8, "i"), (16, "i"), (32, "i"), (32, "f")}
    return both | {(12, "u"), (32, "u")} if order == "<" else both


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    ("photometric", "channels", "extra", "read"),
    [
        (2, 3, (), True),
        (2, 4, (2,), True),
        (2, 4, (0,), False),
        (2, 4, (1,), False),
        (2, 5, (0, 0), False),
        (2, 5, (2, 0), False),
        (1, 2, (2,), True),
        (1, 2, (0,), False),
        (5, 4, (), True),
        (5, 5, (0,), False),
        (6, 3, (), False),
        (8, 3, (), False),
        (1, 3, (), False),
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_channels(
    tmp_path: Path,
    photometric: int,
    channels: int,
    extra: tuple[int, ...],
    read: bool,
    bits: int,
    planar: bool,
    storage: dict[str, Any],
) -> None:
    array = samples(bits, channels)
    data = made.tiff(array, bits, photometric=photometric, extra=extra, planar=planar, **storage)
    got = as_stored_or_refused(tmp_path, data, array)
    assert not got or bits == 8
    if read and bits == 8 and not planar:
        assert got


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("bits", "kind", "channels"),
    [
        *[(bits, "u", 1) for bits in (1, 4, 8, 12, 16, 32)],
        *[(16, "i", 1), (32, "f", 1), (8, "u", 3), (8, "u", 4), (16, "u", 3)],
    ],
)
def test_tiff_in_tiles(
    tmp_path: Path, bits: int, kind: str, channels: int, order: str, compressed: bool, planar: bool
) -> None:
    """Four tiles, which reach over the edge of the image."""
    array = np.tile(samples(bits, channels, kind), (5, 2, 1)[: 3 if channels > 1 else 2])
    data = made.tiff(
        array,
        bits,
        order=order,
        compressed=compressed,
        planar=planar and channels > 1,
        photometric=1 if channels == 1 else 2,
        extra=(2,) if channels == 4 else (),
        sample_format="uif".index(kind) + 1,
        tile=16,
    )
    read = as_stored_or_refused(tmp_path, data, array.astype(bool) if bits == 1 else array)
    if bits == 8 and not planar:
        assert read


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("storage", STORAGE)
def test_tiff_palette(tmp_path: Path, bits: int, storage: dict[str, Any]) -> None:
    array = samples(bits)
    colours = [(value * 257) % 65536 for value in COLOURS[: 3 * 2**bits]]
    assert as_stored_or_refused(tmp_path, made.tiff(array, bits, photometric=3, colours=colours, **storage), array)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("compressed", [False, True])
def test_tiff_bits_in_reverse(tmp_path: Path, bits: int, photometric: int, compressed: bool) -> None:
    array = samples(bits)
    data = made.tiff(array, bits, photometric=photometric, reversed_bits=True, compressed=compressed)
    as_stored_or_refused(tmp_path, data, array.astype(bool) if bits == 1 else array)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compressed", [False, True])
def test_tiff_is_turned_only_when_asked(tmp_path: Path, orientation: int, compressed: bool) -> None:
    """Pillow turns it unasked."""
    array = samples(8)
    upright = {
        1: array,
        2: np.fliplr(array),
        3: np.rot90(array, 2),
        4: np.flipud(array),
        5: array.T,
        6: np.rot90(array, -1),
        7: np.rot90(array, 2).T,
        8: np.rot90(array),
    }[orientation]
    data = made.tiff(array, 8, orientation=orientation, compressed=compressed)
    same(load(tmp_path, data, "tif"), array)
    same(load(tmp_path, data, "tif", mode="L"), array)
    same(load(tmp_path, data, "tif", upright=True), upright)
    exif = made.tiff(array[:1, :1], 8, orientation=orientation)
    same(load(tmp_path, made.png(array, 8, 0, extra=[(b"eXIf", exif)]), "png"), array)
    same(load(tmp_path, made.png(array, 8, 0, extra=[(b"eXIf", exif)]), "png", upright=True), upright)


@pytest.mark.parametrize("rows_per_strip", [None, 2])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_tiff_that_lacks_rows(tmp_path: Path, compressed: bool, rows_per_strip: int | None) -> None:
    few_rows = made.tiff(samples(8)[:2], 8, compressed=compressed, rows_per_strip=rows_per_strip)
    height = struct.pack("<HHI", 257, 4, 1)
    data = few_rows.replace(height + struct.pack("<I", 2), height + struct.pack("<I", HEIGHT))
    assert data != few_rows
    with pytest.raises(InvalidInputError, match=r"x\.tif has fewer samples than its width and height need"):
        load(tmp_path, data, "tif")


@pytest.mark.parametrize("bits", [8, 16])
def test_where_zero_is_white_a_conversion_looks_so(tmp_path: Path, bits: int) -> None:
    """As stored and reduced to 8 bits the numbers stay; a mode gives an image as it looks."""
    array = samples(bits)
    highest = (array >> (bits - 8)).astype(np.uint8)
    data = made.tiff(array, bits, photometric=0)
    same(load(tmp_path, data, "tif", bits=8), highest)
    same(load(tmp_path, data, "tif", bits=8, mode="L"), 255 - highest)
