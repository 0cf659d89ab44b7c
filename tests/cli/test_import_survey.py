"""What an import says before it writes: all files are looked at, by their headers, and a column is proposed that takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hangar.external.loading import plan_import
from hangar.external.naming import find_files
from hangar.external.survey import proposal, survey_files
from tests.cli.shell import Shell


def image(path: Path, shape: tuple[int, ...], orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation > 1:
        exif[0x0112] = orientation
    Image.fromarray(np.zeros(shape, np.uint8)).save(path, exif=exif)


def test_every_file_is_counted(tmp_path: Path) -> None:
    for i in range(600):
        image(tmp_path / f"{i:03}.png", (4, 5 + (i == 599)))
    image(tmp_path / "a.jpg", (9, 8, 3), orientation=6)
    (tmp_path / "b.png").write_bytes(b"no image")
    np.save(tmp_path / "c.npy", np.zeros((2, 3), "float32"))
    found = survey_files(plan_import(find_files(tmp_path), "ndarray")[0])
    assert found.describe() == (
        "Found 603 files: PNG (600), JPEG (1), npy (1); L (600), RGB (1); 4 different sizes; "
        "1 with an EXIF orientation (--upright true applies it); 1 that cannot be read"
    )
    assert (found.oriented, found.unreadable, found.dtypes["float32"]) == (1, 1, 1)


CASES: dict[str, tuple[list[tuple[str, tuple[int, ...]]], str]] = {
    "pictures of one size": ([("a.png", (4, 5, 3)), ("b.png", (4, 5, 3))], "hangar column create x IMAGE"),
    "pictures of several sizes": (
        [("a.png", (4, 5, 3)), ("b.jpg", (9, 2, 3))],
        "hangar column create x UINT8 9 5 3 --variable-shape",
    ),
    "one of them gray": ([("a.png", (4, 5, 3)), ("b.png", (4, 5))], "hangar column create x UINT8 4 5 3"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_proposed_commands_take_the_files(empty: Shell, tmp_path: Path, case: str) -> None:
    files, command = CASES[case]
    for name, shape in files:
        image(tmp_path / "in" / name, shape)
    told = empty.fails(3, "import", "x", tmp_path / "in", text=f"`{command}`")
    empty.ok(*command.split()[1:])
    options = ["--mode", "RGB"] if "--mode RGB" in told and "IMAGE" not in command else []
    assert empty.json("import", "x", tmp_path / "in", *options)["samples"] == 2


def test_arrays_texts_and_labels(empty: Shell, tmp_path: Path) -> None:
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "a.npy", np.zeros((3, 2), "float32"))
    np.save(tmp_path / "arrays" / "b.npy", np.zeros((1, 7), "float32"))
    empty.fails(3, "import", "x", tmp_path / "arrays", text="`hangar column create x FLOAT32 3 7 --variable-shape`")
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(10)))
    words = ("import", "label", tmp_path / "labels.csv", "--key", "file", "--value", "label")
    pytest.importorskip("pyarrow")
    told = empty.fails(3, *words, text="`hangar column create label UINT8`, which numbers the class names")
    assert "2 classes" in told
    empty.ok("column", "create", "label", "UINT8")
    assert empty.json(*words)["samples"] == 10
    np.save(tmp_path / "huge.npy", np.zeros((1, 1), "float32"))
    with (tmp_path / "huge.npy").open("r+b") as file:
        data = file.read().replace(b"(1, 1), }" + b" " * 8, b"(9000, 9000), }" + b" " * 2)
        file.seek(0)
        file.write(data)
    empty.fails(3, "import", "x", tmp_path / "huge.npy", text="add_chunked_column('x', 'float32', chunks=...)")


def test_nothing_that_can_be_read_proposes_nothing(tmp_path: Path) -> None:
    assert proposal("x", survey_files([])) is None


def test_a_table_beside_pictures_is_left_out(empty: Shell, tmp_path: Path) -> None:
    image(tmp_path / "in" / "a.png", (4, 5))
    (tmp_path / "in" / "labels.csv").write_text("file,label\na.png,cat\n")
    empty.ok("column", "create", "x", "UINT8", 4, 5)
    done = empty.run("import", "x", tmp_path / "in")
    assert (done.exit_code, done.stdout) == (0, "Imported 1 sample into x from 1 file, 20 bytes\n")
    assert "Skipped 1 file that no plugin reads for this kind of column: .csv (1)" in done.stderr


def test_one_wrong_row_names_its_file_and_row(empty: Shell, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "labels.csv").write_text("file,label\na.png,cat\nb.png,\n")
    empty.ok("column", "create", "label", "UINT8")
    told = empty.fails(1, "import", "label", tmp_path / "labels.csv", text="1 sample could not be imported")
    assert f"Not imported: {tmp_path / 'labels.csv'} (row 2: b): the class name is missing" in told
    assert empty.json("ls", "label")["samples"] == ["a"]
