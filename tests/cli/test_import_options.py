"""Options of what reads the files of an import, pictures that do not fit a column, names that are no UTF-8, and the way out and in again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hangar import Repository
from hangar.imaging import decode
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


# --------------------------------------------------------------------------------------------------------------- out and in


@pytest.mark.parametrize("dtype", ["INT64", "UINT8", "BOOL", "FLOAT32", "COMPLEX128"])
def test_exported_numbers_are_imported_again(empty: Shell, tmp_path: Path, dtype: str) -> None:
    empty.ok("column", "create", "label", dtype)
    empty.ok("column", "create", "again", dtype)
    with Repository(empty.path) as repository:
        writer: Any = repository.checkout(write=True)
        for key in (0, 1, "0", "cat"):
            writer["label"][key] = np.array(1, dtype.lower())
        writer.close()
    empty.ok("export", "label", "-o", tmp_path / "out")
    assert empty.json("import", "again", tmp_path / "out")["samples"] == 4
    assert empty.json("import", "label", tmp_path / "out")["unchanged"] == 4
    assert empty.ok("ls", "again") == empty.ok("ls", "label")


@pytest.mark.parametrize(
    ("patterns", "count"),
    [(["cat_*"], 2), (["*"], 4), (["int:*"], 1), (["cat_?", "dog"], 3), (["[cd]*"], 3), (["5"], 1)],
)
def test_samples_to_export_are_chosen_by_patterns(
    empty: Shell, tmp_path: Path, patterns: list[str], count: int
) -> None:
    empty.ok("column", "create", "label", "INT64")
    with Repository(empty.path) as repository:
        writer: Any = repository.checkout(write=True)
        for number, key in enumerate(["cat_1", "cat_2", "dog", 5]):
            writer["label"][key] = number
        writer.close()
    words = [word for pattern in patterns for word in ("-s", pattern)]
    empty.ok("export", "label", "-o", tmp_path / "out", *words)
    assert len(list((tmp_path / "out").glob("*.npy"))) == count
    empty.fails(3, "export", "label", "-o", tmp_path / "none", "-s", "bird*", text="bird*")


def test_subsamples_to_export_are_chosen_by_patterns(empty: Shell, tmp_path: Path) -> None:
    empty.ok("column", "create", "views", "INT64", "--contains-subsamples")
    with Repository(empty.path) as repository:
        writer: Any = repository.checkout(write=True)
        for sample in ("ann", "bob"):
            for view in ("front", "back"):
                writer["views"][sample, view] = 1
        writer.close()
    for pattern, count in (("ann*", 2), ("*/front", 2), ("*", 4)):
        out = tmp_path / f"out{pattern.strip('*/')}"
        empty.ok("export", "views", "-o", out, "-s", pattern, "--overwrite")
        assert len(list(out.rglob("*.npy"))) == count


# ------------------------------------------------------------------------------------------------- names that are no UTF-8


NO_UTF8 = os.fsdecode(b"caf\xe9")


def test_a_name_that_is_no_utf8_is_found_before_anything_is_imported(empty: Shell, tmp_path: Path) -> None:
    """The advice of an import that stopped, to run the same command again, would be wrong."""
    folder = tmp_path / NO_UTF8
    folder.mkdir()
    for name in ("a", "b", f"z{NO_UTF8}"):
        (folder / f"{name}.txt").write_text(name[0])
    empty.ok("column", "create", "notes", "STR")
    told = empty.fails(
        1,
        *("import", "notes", folder, "--keep-names", "--on-error", "stop"),
        text="its name is not UTF-8; rename it, or import without",
    )
    assert "none of 3 files is staged" in told
    assert "goes on" not in told
    assert empty.json("ls", "notes")["samples"] == []
    told = empty.fails(1, "import", "notes", folder, "--keep-names", text="its name is not UTF-8; rename it")
    assert empty.json("ls", "notes_path")["samples"] == ["a", "b"]
    assert empty.json("import", "notes", folder)["unchanged"] == 2
    assert empty.ok("ls", "notes") == "a\nb\nzcaf_\n"


@pytest.mark.parametrize(
    "words",
    [
        ("import", "notes", NO_UTF8),
        ("import", "notes", "in", "--plugin", NO_UTF8),
        ("import", "notes", "in", "--branch", NO_UTF8),
        ("import", "notes", "in", f"--{NO_UTF8}", "1"),
        ("export", "notes", "-o", NO_UTF8, "-f", NO_UTF8),
        ("export", "notes", "-s", NO_UTF8),
        ("export", "notes", NO_UTF8),
        ("export", NO_UTF8),
    ],
)
def test_words_that_are_no_utf8_are_clear_errors(empty: Shell, words: tuple[str, ...]) -> None:
    empty.ok("column", "create", "notes", "STR")
    (empty.path / "in").mkdir()
    (empty.path / "in" / "a.txt").write_text("a")
    empty.ok("import", "notes", empty.path / "in")
    done = empty.process(*words)
    assert done.returncode in (1, 2, 3)
    assert "caf\\udce9" in done.stderr
    assert "internal error" not in done.stderr


def test_a_folder_that_is_no_utf8_goes_out_and_in(empty: Shell, tmp_path: Path) -> None:
    empty.ok("column", "create", "notes", "STR")
    with Repository(empty.path) as repository:
        writer: Any = repository.checkout(write=True)
        writer["notes"][7] = "seven"
        writer.close()
    empty.ok("export", "notes", "-o", tmp_path / NO_UTF8)
    assert empty.json("import", "notes", tmp_path / NO_UTF8)["unchanged"] == 1


# ---------------------------------------------------------------------------------------------------------- what is short


def test_an_import_without_memory_is_told_as_that(
    empty: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "in", ["a", "b", "c"])
    empty.ok("column", "create", "images", "UINT8", 7, 5)

    def short(file: Any, name: str, wanted: Any) -> Any:
        if name.endswith("c.png"):
            raise MemoryError
        return decode(file, name, wanted)

    with monkeypatch.context() as patch:
        patch.setattr("hangar.external.plugins.images.decode", short)
        told = empty.fails(1, "import", "images", tmp_path / "in", text="not enough memory to read")
    assert "c.png" in told
    assert "the rest, 2 samples, is in images" in told
    with monkeypatch.context() as patch:
        patch.setattr(np, "empty", short_of_memory)
        empty.fails(
            1, "import", "images", tmp_path / "in", text="not enough memory to read the files for column 'images'"
        )
    assert empty.json("import", "images", tmp_path / "in")["unchanged"] == 2


def short_of_memory(*arguments: Any, **options: Any) -> Any:
    raise MemoryError
