"""Thumbnails, read back with pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from hangar.diff.pictures import SIDE, difference_png, picture_kind, pictures_png
from hangar.imaging.write import encode_png

Array = np.ndarray[Any, Any]


def decoded(png: bytes | None) -> Array:
    assert png is not None
    with Image.open(io.BytesIO(png)) as picture:
        picture.verify()
    return np.asarray(Image.open(io.BytesIO(png)))


@given(
    arrays.arrays(
        np.uint8,
        st.one_of(
            arrays.array_shapes(min_dims=2, max_dims=2),
            st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from((3, 4))),
        ),
    )
)
def test_a_png_is_what_was_written(pixels: Array) -> None:
    assert np.array_equal(decoded(encode_png(pixels)), pixels)


@pytest.mark.parametrize(
    ("dtype", "shape", "kind"),
    [
        ("uint8", (28, 28), "gray"),
        ("bool", (8, 8), "gray"),
        ("float32", (5, 5, 1), "colour"),
        ("uint8", (64, 64, 3), "colour"),
        ("uint16", (64, 64, 4), "colour"),
        ("float32", (20, 64, 64), "volume"),
        ("float32", (64,), None),
        ("float32", (100, 4), None),
        ("float32", (4, 3, 3), None),
        ("complex64", (28, 28), None),
        ("uint8", (28, 0), None),
        ("uint8", (2, 8, 8, 8), None),
        (None, None, None),
    ],
)
def test_which_arrays_are_images(dtype: str | None, shape: tuple[int, ...] | None, kind: str | None) -> None:
    assert picture_kind(dtype, shape) == kind


def test_bytes_are_shown_as_they_are() -> None:
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    colour = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    first, second = pictures_png(gray, gray.T)
    assert np.array_equal(decoded(first), gray)
    assert np.array_equal(decoded(second), gray.T)
    assert np.array_equal(decoded(pictures_png(colour, None)[0]), colour)
    assert pictures_png(colour, None)[1] is None
    mask = gray % 2 == 0
    assert np.array_equal(decoded(pictures_png(None, mask)[1]), mask * np.uint8(255))
    assert np.array_equal(decoded(pictures_png(gray[:, :, None], None)[0]), gray)
    alpha = np.stack([gray, 255 - gray], axis=2)
    assert np.array_equal(decoded(pictures_png(alpha, None)[0]), np.stack([gray, gray, gray, 255 - gray], axis=2))


def test_both_sides_have_one_scale() -> None:
    before, after = np.full((6, 6), 10.0), np.full((6, 6), 20.0)
    before[0, 0] = 0
    first, second = map(decoded, pictures_png(before, after))
    assert (first[0, 0], first[1, 1], second[1, 1]) == (0, 128, 255)
    limits = np.full((6, 6), np.finfo(np.float64).max)
    low, high = map(decoded, pictures_png(-limits, limits))
    assert (low.max(), high.min()) == (0, 255)
    deep = np.full((6, 6), 2**64 - 1, np.uint64)
    assert decoded(pictures_png(deep * np.uint64(0), deep)[1]).min() == 255


def test_nans_have_a_colour_of_their_own() -> None:
    before = np.zeros((6, 6), np.float32)
    after = before.copy()
    after[2, 3], after[4, 4] = np.nan, np.inf
    _, shown = pictures_png(before, after)
    pixels = decoded(shown)
    assert pixels[2, 3].tolist() == [214, 0, 200]
    assert pixels[4, 4].tolist() == [255, 255, 255]
    assert pixels[0, 0].tolist() == [0, 0, 0]
    changed = decoded(difference_png(before, after)).astype(int)
    red = changed[:, :, 0] - changed[:, :, 1]
    assert np.argwhere(red > 100).tolist() == [[2, 3], [4, 4]]
    assert (red[red <= 100] == 0).all()


def test_all_nan_and_constant_arrays() -> None:
    nothing = np.full((6, 6, 3), np.nan, np.float16)
    for one in (*pictures_png(nothing, nothing), difference_png(nothing, nothing)):
        assert decoded(one).shape[:2] == (6, 6)


def test_one_changed_pixel_of_a_large_image_is_seen() -> None:
    before = np.zeros((3000, 2000, 3), np.uint8)
    after = before.copy()
    after[2500, 100, 1] = 40
    changed = decoded(difference_png(before, after)).astype(int)
    assert max(changed.shape[:2]) <= SIDE
    red = changed[:, :, 0] - changed[:, :, 1] > 50
    row, column = 2500 // 12, 100 // 12
    assert red[row, column]
    frame = red[row - 4 : row + 5, column - 4 : column + 5]
    assert red.sum() == frame.sum() == 4 * 8 + 1
    assert frame[0].all()
    assert frame[:, -1].all()
    assert decoded(pictures_png(before, None)[0]).shape == (250, 167, 3)


def test_a_volume_is_shown_by_its_middle_slice() -> None:
    volume = np.zeros((7, 9, 8), np.uint8)
    volume[3] = 100
    assert (decoded(pictures_png(volume, None)[0]) == 100).all()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float64", "bfloat16"])
@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 2), (6, 7, 3), (6, 7, 4), (5, 6, 7), (300, 5)])
def test_every_dtype_and_form(dtype: str, shape: tuple[int, ...]) -> None:
    kind = np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype)
    rng = np.random.default_rng(0)
    before, after = (rng.integers(0, 2, shape).astype(kind) for _ in range(2))
    for png in (*pictures_png(before, after), difference_png(before, after)):
        assert min(decoded(png).shape[:2]) >= 3
