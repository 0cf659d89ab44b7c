"""Options of what reads the files of an import, and pictures that do not fit a column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hangar import Repository
from tests.cli.shell import Shell, pictures


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--frame", "true", "--frame: frame is a whole number from 0 on, not True"),
        ("--frame", "x", "--frame: frame is a whole number"),
        ("--frame", "1.5", "--frame: frame is a whole number"),
        ("--frame", "-1", "--frame: frame is a whole number"),
        ("--mode", "NOPE", "--mode: mode is one of 1, L, LA"),
        ("--upright", "maybe", "--upright: upright is true or false, not 'maybe'"),
        ("--upright", "2", "--upright: upright is true or false, not 2"),
        ("--bits", "16", "--bits: bits is 8, not 16"),
        ("--bits", "true", "--bits: bits is 8"),
    ],
)
def test_options_of_a_plugin_are_checked_before_files_are_read(
    empty: Shell, tmp_path: Path, option: str, value: str, text: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"no image at all")
    empty.ok("column", "create", "images", "UINT8", 7, 5)
    told = empty.fails(2, "import", "images", tmp_path / "in", f"{option}={value}", text=text)
    assert "a.png" not in told


def test_values_of_options_are_taken_in_any_case(empty: Shell, tmp_path: Path) -> None:
    made = pictures(tmp_path / "in", ["a"])
    empty.ok("column", "create", "colours", "UINT8", 7, 5, 3)
    empty.ok("import", "colours", tmp_path / "in", "--mode", "rgb", "--upright", "YES", "--frame", 0, "--bits", 8)
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        np.testing.assert_array_equal(writer["colours", "a"], np.stack([made["a"]] * 3, axis=2))
        writer.close()
    empty.fails(
        2, "export", "colours", "-o", tmp_path / "out", "-f", "jpg", "--quality", "high", text="--quality: quality"
    )


@pytest.mark.parametrize(
    ("picture", "column", "advice"),
    [
        ((7, 5), (7, 5, 3), "(convert it with --mode RGB)"),
        ((7, 5, 4), (7, 5, 3), "(convert it with --mode RGB)"),
        ((7, 5, 3), (7, 5), "(convert it with --mode L)"),
        ((7, 5), (7, 5, 4), "(convert it with --mode RGBA)"),
    ],
)
@pytest.mark.parametrize("variable", [False, True])
def test_a_picture_of_other_channels_names_the_mode(
    empty: Shell, tmp_path: Path, picture: tuple[int, ...], column: tuple[int, ...], advice: str, variable: bool
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros(picture, np.uint8)).save(tmp_path / "in" / "a.png")
    empty.ok("column", "create", "images", "UINT8", *column, *["--variable-shape"] * variable)
    told = empty.fails(1, "import", "images", tmp_path / "in", text="a.png has shape 7 x 5")
    assert advice in told
    empty.ok("import", "images", tmp_path / "in", *advice.strip("()").split()[-2:])


def test_deep_and_bilevel_pictures_name_what_converts_them(empty: Shell, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((7, 5), 40_000, np.uint16)).save(tmp_path / "in" / "a.png")
    empty.ok("column", "create", "images", "UINT8", 7, 5)
    assert "--bits 8" in empty.fails(1, "import", "images", tmp_path / "in", text="has dtype uint16")
    assert "--bits 8" in empty.fails(1, "import", "images", tmp_path / "in", "--mode", "L", text="16-bit")
    empty.ok("import", "images", tmp_path / "in", "--bits", 8)
    (tmp_path / "in" / "a.png").unlink()
    Image.fromarray(np.ones((7, 5), bool)).save(tmp_path / "in" / "b.png")
    assert "--mode L" in empty.fails(1, "import", "images", tmp_path / "in", text="has dtype bool")
    empty.ok("import", "images", tmp_path / "in", "--mode", "L")


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_the_shape_of_the_column_bounds_a_picture(
    empty: Shell, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the bound of pillow nor ours, which are small here, is asked where a column says how large its samples are."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    made = np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(made).save(tmp_path / "in" / f"a.{suffix}")
    empty.ok("column", "create", "images", "UINT8", 20, 30)
    empty.ok("column", "create", "small", "UINT8", 19, 30)
    result = empty.run("import", "images", tmp_path / "in")
    assert (result.exit_code, result.stderr) == (0, "")
    told = "has 20 x 30 pixels, and column 'small' holds shape 19 x 30"
    empty.fails(1, "import", "small", tmp_path / "in", text=told)
