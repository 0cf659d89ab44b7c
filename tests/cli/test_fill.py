"""column, import, rm and restore."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hangar import Repository
from hangar.external import importer
from hangar.external.plugins.images import ImagePlugin
from tests.cli.shell import SAME, Shell, pictures


def test_columns(empty: Shell) -> None:
    assert empty.ok("column", "create", "images", "uint8", 28, 28) == "Created column images of uint8 28 x 28\n"
    empty.ok("column", "create", "photos", "UInt8", 400, 400, 3, "--variable-shape")
    empty.ok("column", "create", "labels", "INT64")
    empty.ok("column", "create", "names", "str")
    empty.ok("column", "create", "raw", "BYTES", "--backend", "31")
    document = empty.json("column", "list")
    assert [column["name"] for column in document["columns"]] == ["images", "labels", "names", "photos", "raw"]
    assert document["columns"][3] | {"backend": ""} == {
        "name": "photos",
        "type": "ndarray",
        "layout": "flat",
        "dtype": "uint8",
        "shape": [400, 400, 3],
        "variable_shape": True,
        "backend": "",
        "samples": 0,
        "subsamples": None,
        "attributes": {},
    }
    assert document["columns"][1]["shape"] == []
    assert "photos  uint8 400 x 400 x 3 at most  0 samples" in empty.ok("column", "list")
    empty.fails(4, "column", "create", "labels", "INT64", text="labels")
    empty.fails(2, "column", "create", "x", "STR", 5, text="no shape")
    empty.fails(1, "column", "create", "x", "UINT8", *[1] * 32, text="31")
    empty.fails(1, "column", "create", "x", "UINT8", 3, "--backend", "77")
    assert empty.json("column", "remove", "labels") == {"name": "labels", "samples": 0, "committed": False}
    empty.fails(3, "column", "remove", "labels", text="there is no column 'labels'")


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        (["28", "28"], [28, 28]),
        (["3,4"], [3, 4]),
        (["3x4X5"], [3, 4, 5]),
        (["3", "x", "4"], [3, 4]),
        (["3, 4"], [3, 4]),
        (["(3,)"], [3]),
        (["[3, 4]"], [3, 4]),
        (["()"], []),
        ([], []),
    ],
)
def test_shapes_as_people_write_them(empty: Shell, words: list[str], shape: list[int]) -> None:
    assert empty.json("column", "create", "c", "UINT8", *words)["shape"] == shape


@pytest.mark.parametrize("words", [["3,,4"], ["3x"], ["3.5"], ["a"], ["3", "b"], ["1" * 30], ["-", "3"]])
def test_what_is_no_shape(empty: Shell, words: list[str]) -> None:
    empty.fails(2, "column", "create", "c", "UINT8", *words, text="is not a shape")
    assert empty.json("status")["clean"]


def test_columns_of_a_commit(filled: Shell) -> None:
    filled.ok("column", "create", "later", "STR")
    assert [column["name"] for column in filled.json("column", "list", "master")["columns"]] == ["images"]
    assert [column["name"] for column in filled.json("ls")["columns"]] == ["images", "later"]


def test_import_a_folder(empty: Shell, tmp_path: Path) -> None:
    made = pictures(tmp_path / "in", ["b", "a x", "deep/er"])
    (tmp_path / "in" / "README.md").write_text("about")
    empty.ok("column", "create", "images", "UINT8", 7, 5)
    result = empty.run("import", "images", tmp_path / "in")
    assert result.stdout == "Imported 3 samples into images from 3 files, 105 bytes\n"
    found, skipped = result.stderr.splitlines()
    assert found == "Found 3 files: PNG; L; all 7 x 5"
    assert skipped == "Skipped 1 file that no plugin reads for this kind of column: .md (1)"
    assert empty.ok("ls", "images") == "a_x\nb\ndeep/er\n"
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        np.testing.assert_array_equal(writer["images", "a_x"], made["a x"])
        writer.close()


def test_import_tells_json(empty: Shell, tmp_path: Path) -> None:
    pictures(tmp_path / "in", ["a"])
    (tmp_path / "in" / "x.txt").write_text("x")
    empty.ok("column", "create", "images", "UINT8", 7, 5)
    assert empty.json("import", "images", tmp_path / "in") == {
        "column": "images",
        "branch": "master",
        "samples": 1,
        "overwritten": 0,
        "unchanged": 0,
        "files": 1,
        "nbytes": 35,
        "skipped": [str(tmp_path / "in" / "x.txt")],
        "failed": [],
        "found": {
            "files": 1,
            "formats": {"PNG": 1},
            "modes": {"L": 1},
            "dtypes": {"uint8": 1},
            "sizes": 1,
            "smallest": [7, 5],
            "largest": [7, 5],
            "oriented": 0,
            "unreadable": 0,
        },
    }


def test_import_what_exists(filled: Shell, tmp_path: Path) -> None:
    pictures(tmp_path / "new", ["a", "z"], seed=50)
    words = ("import", "images", tmp_path / "new", "--on-error", "stop")
    filled.fails(4, *words, text="a.png: column 'images' has a sample 'a' already")
    assert filled.json("status")["clean"]
    assert "2 samples (1 replaced)" in filled.ok("import", "images", tmp_path / "new", "--overwrite")
    assert (
        filled.json("status")["changes"][0]
        == {
            "column": "images",
            "state": "changed",
            "added": 1,
            "deleted": 0,
            "mutated": 1,
        }
        | SAME
    )


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n and no more"])
def test_an_image_that_cannot_be_decoded_ends_the_import_there(filled: Shell, tmp_path: Path, content: bytes) -> None:
    pictures(tmp_path / "new", [f"n{i}" for i in range(50)])
    (tmp_path / "new" / "n33x.png").write_bytes(content)
    words = ("import", "images", tmp_path / "new", "--keep-names")
    told = filled.fails(1, *words, "--on-error", "stop", text="n33x.png")
    before = sorted(f"n{i}" for i in range(50) if f"n{i}.png" < "n33x.png")
    assert f"Stopped: {len(before)} of 51 files are staged, the last {tmp_path / 'new' / before[-1]}.png." in told
    assert filled.json("ls", "images_path")["samples"] == before
    assert len(filled.json("ls", "images")["samples"]) == 3 + len(before)
    (tmp_path / "new" / "n33x.png").unlink()
    report = filled.json("import", "images", tmp_path / "new", "--keep-names")
    assert (report["samples"], report["unchanged"]) == (50 - len(before), len(before))
    assert len(filled.json("ls", "images_path")["samples"]) == 50
    filled.ok("rm", "images_path", "n0", "n1")
    assert filled.json("import", "images", tmp_path / "new", "--keep-names")["unchanged"] == 50
    assert len(filled.json("ls", "images_path")["samples"]) == 50  # paths are stored for samples that were there too


def test_folders_of_a_nested_column_go_in_and_out(empty: Shell, tmp_path: Path) -> None:
    made = pictures(tmp_path / "in", ["7/front", "7/back", "b c/x", "b c/y"])
    empty.ok("column", "create", "views", "UINT8", 7, 5, "--contains-subsamples")
    empty.ok("import", "views", tmp_path / "in", "--int-keys", "--keep-names")
    with Repository(empty.path) as repository:
        writer: Any = repository.checkout(write=True)
        assert sorted(writer["views"][7]) == ["back", "front"]
        for name, array in made.items():
            sample, _, subsample = name.partition("/")
            key = (7 if sample == "7" else "b_c", subsample)
            np.testing.assert_array_equal(writer["views"][key], array)
            assert writer["views_path"][key] == f"{name}.png"
        writer.close()
    empty.ok("export", "views", "-o", tmp_path / "out")
    empty.ok("export", "views", "-s", "7", "-s", "b_c/x", "-o", tmp_path / "some")
    for folder, count in (("out", 4), ("some", 3)):
        files = sorted((tmp_path / folder).rglob("*.png"))
        assert len(files) == count
        for file in files:
            np.testing.assert_array_equal(Image.open(file), made[str(file.relative_to(tmp_path / folder))[:-4]])
    assert empty.json("import", "views", tmp_path / "out")["unchanged"] == 4
    empty.fails(1, "import", "views", tmp_path / "in" / "7", text="in a column with subsamples a folder is a sample")


def test_an_import_that_is_interrupted_tells_where(
    filled: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "new", [f"n{i:02}" for i in range(20)])
    read = ImagePlugin.read

    def interrupted(self: ImagePlugin, fpath: str, **options: Any) -> Any:
        if fpath.endswith("n15.png"):
            raise KeyboardInterrupt
        return read(self, fpath, **options)

    monkeypatch.setattr(ImagePlugin, "read", interrupted)
    monkeypatch.setattr(importer, "BATCH_BYTES", 35 * 4)
    monkeypatch.setattr(importer, "ACKNOWLEDGED_SECONDS", 0.0)
    result = filled.run("import", "images", tmp_path / "new")
    assert result.exit_code == 130
    assert "Stopped: 12 of 20 files are staged, the last " in result.stderr
    monkeypatch.undo()
    assert filled.json("import", "images", tmp_path / "new")["unchanged"] == 12
    monkeypatch.setattr(ImagePlugin, "read", interrupted)
    result = filled.run("import", "images", tmp_path / "new" / "n15.png")
    assert result.exit_code == 130
    assert "Stopped: none of 1 file is staged" in result.stderr


def test_what_does_not_fit_changes_nothing(filled: Shell, tmp_path: Path) -> None:
    pictures(tmp_path / "new", ["x"], shape=(5, 7))
    text = "x.png has shape 5 x 7, and column 'images' holds shape 7 x 5"
    filled.fails(1, "import", "images", tmp_path / "new", text=text)
    np.save(tmp_path / "new" / "x.npy", np.zeros((7, 5), "float32"))
    filled.fails(1, "import", "images", tmp_path / "new" / "x.npy", text="has dtype float32")
    assert filled.json("status")["clean"]


def test_clashing_names(filled: Shell, tmp_path: Path) -> None:
    pictures(tmp_path / "new", ["x y", "x_y"])
    text = filled.fails(4, "import", "images", tmp_path / "new")
    assert "x y.png" in text
    assert "x_y.png" in text


def test_import_into_a_column_that_is_not_there_says_how_to_make_it(empty: Shell, tmp_path: Path) -> None:
    pictures(tmp_path / "in", ["a"], shape=(6, 7, 3))
    empty.fails(3, "import", "photos", tmp_path / "in", text="hangar column create photos UINT8 6 7 3")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    empty.fails(3, "import", "photos", tmp_path / "text", text="hangar column create photos STR")
    (tmp_path / "other").mkdir()
    empty.fails(3, "import", "photos", tmp_path / "other", text="hangar column create photos DTYPE")


def test_nothing_to_import(filled: Shell, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    filled.fails(1, "import", "images", tmp_path / "none", text="there is no file in")
    (tmp_path / "none" / "x.md").write_text("x")
    filled.fails(1, "import", "images", tmp_path / "none", text="no plugin reads the files in")
    filled.fails(3, "import", "images", tmp_path / "nowhere", text="nowhere")


def test_options_of_a_plugin(filled: Shell, tmp_path: Path) -> None:
    pictures(tmp_path / "rgb", ["colour"], shape=(7, 5, 3))
    filled.fails(1, "import", "images", tmp_path / "rgb", text="has shape 7 x 5 x 3")
    filled.fails(2, "import", "images", tmp_path / "rgb", "--overwite", text="Did you mean --overwrite?")
    filled.fails(2, "import", "images", tmp_path / "rgb", "--nope", "3", text="--mode")
    filled.ok("import", "images", "--mode", "L", tmp_path / "rgb")
    filled.ok("import", "images", tmp_path / "rgb", "--mode=L", "--overwrite")
    filled.fails(1, "import", "images", tmp_path / "rgb", "--plugin", "nope", text="Plugin nope not found")


def test_other_kinds(empty: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("été", "utf-8")
    empty.ok("column", "create", "text", "STR")
    empty.ok("column", "create", "raw", "BYTES")
    empty.ok("column", "create", "points", "FLOAT32", 3)
    np.savez(tmp_path / "many.npz", p=np.ones(3, "float32"), q=np.zeros(3, "float32"))
    empty.ok("import", "text", tmp_path / "a.txt")
    empty.ok("import", "raw", tmp_path / "many.npz")
    empty.ok("import", "points", tmp_path / "many.npz")
    assert empty.json("show", ":text/a")["text"] == "été"
    assert empty.json("ls", "points")["samples"] == ["many/p", "many/q"]
    assert bytes.fromhex(empty.json("show", ":raw/many")["hex"]) == (tmp_path / "many.npz").read_bytes()


def test_import_into_another_branch(filled: Shell, tmp_path: Path) -> None:
    filled.ok("branch", "create", "other")
    pictures(tmp_path / "new", ["x"])
    filled.ok("import", "images", tmp_path / "new", "--branch", "other")
    report = filled.json("status")
    assert (report["branch"], report["staged_branch"], report["clean"]) == ("master", "other", False)
    assert "belong to branch other" in filled.ok("status")
    assert filled.json("ls", "images")["samples"] == ["a", "b", "c/d"]
    filled.fails(1, "rm", "images", "a", text="other")
    filled.ok("checkout", "other")
    assert filled.json("ls", "images")["samples"] == ["a", "b", "c/d", "x"]
    filled.ok("commit", "-m", "On another branch")


def test_keep_names(empty: Shell, tmp_path: Path) -> None:
    made = pictures(tmp_path / "in", ["some dir/Ünder weg", "b"])
    empty.ok("column", "create", "images", "UINT8", 7, 5)
    empty.ok("import", "images", tmp_path / "in", "--keep-names")
    assert empty.json("show", ":images_path/some_dir/Ünder_weg")["text"] == "some dir/Ünder weg.png"
    empty.ok("export", "images", "-o", tmp_path / "out")
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert files == ["b.png", "some dir/Ünder weg.png"]
    with Image.open(tmp_path / "out" / "some dir" / "Ünder weg.png") as image:
        np.testing.assert_array_equal(np.asarray(image), made["some dir/Ünder weg"])
    empty.ok("column", "create", "other", "UINT8", 7, 5)
    empty.ok("column", "create", "other_path", "INT64")
    empty.fails(1, "import", "other", tmp_path / "in", "--keep-names", text="'other_path' holds ndarray")


def test_rm(filled: Shell) -> None:
    filled.fails(3, "rm", "images", "a", "nope", text="column 'images' has no sample 'nope'")
    assert filled.json("status")["clean"]
    assert filled.json("rm", "images", "a", "str:c/d", "a") == {"column": "images", "removed": ["a", "c/d"]}
    assert filled.ok("ls", "images") == "b\n"
    filled.fails(3, "rm", "nope", "a", text="nope")


def test_restore_samples(filled: Shell, tmp_path: Path) -> None:
    pictures(tmp_path / "new", ["b", "new"], seed=70)
    filled.ok("import", "images", tmp_path / "new", "--overwrite")
    filled.ok("rm", "images", "a")
    assert filled.json("restore", "images", "a", "new") == {
        "column": "images",
        "commit": filled.json("log")["head"],
        "restored": ["a"],
        "removed": ["new"],
    }
    assert filled.json("ls", "--changed")["changes"] == [{"column": "images", "sample": "b", "change": "mutated"}]
    filled.fails(3, "restore", "images", "nope", text="neither in commit")
    filled.ok("restore", "images")
    assert filled.json("status")["clean"]


def test_restore_from_another_commit(filled: Shell) -> None:
    filled.ok("rm", "images", "a", "b")
    filled.ok("commit", "-m", "Fewer")
    filled.ok("restore", "images", "a", "--from", "master~1")
    assert filled.json("ls", "images")["samples"] == ["a", "c/d"]
    assert "Restored 1 sample of images" in filled.ok("restore", "images", "--from", "master~1")
    filled.ok("commit", "-m", "All back")
    first, _, last = filled.json("log")["commits"]
    assert filled.json("show", first["digest"])["tree"] == filled.json("show", last["digest"])["tree"]


def test_restore_a_column_that_was_removed(filled: Shell) -> None:
    filled.ok("column", "remove", "images")
    filled.ok("restore", "images", "b")
    assert filled.json("ls", "images")["samples"] == ["b"]
    filled.ok("restore", "images")
    assert filled.json("status")["clean"]
    filled.ok("column", "remove", "images")
    filled.ok("column", "create", "images", "FLOAT64", 2)
    filled.fails(1, "restore", "images", "b", text="is a different column")
    filled.ok("restore", "images")
    assert filled.json("status")["clean"]


def test_what_cannot_be_restored(filled: Shell) -> None:
    filled.ok("column", "create", "new", "STR")
    filled.fails(3, "restore", "new", text="hangar column remove new")
    filled.fails(3, "restore", "nope", text="there is no column 'nope'")
    filled.fails(3, "restore", "images", "--from", "nope", text="nope")


def test_columns_of_every_kind_are_restored_as_they_were(empty: Shell, tmp_path: Path) -> None:
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        writer.add_str_column("text")["a"] = "x" * 100
        writer.add_bytes_column("raw")[1] = b"1"
        writer.add_ndarray_column("v", shape=(5, 5), dtype="float32", variable_shape=True)["v"] = np.ones(
            (2, 3), "float32"
        )
        writer.add_ndarray_column("s", shape=(), dtype=bool, inline=False)["s"] = np.array(True)
        writer.commit("All kinds")
        for name in ("text", "raw", "v", "s"):
            writer.columns.delete(name)
        writer.close()
    for name in ("text", "raw", "v", "s"):
        empty.ok("restore", name)
    assert empty.json("status")["clean"]


def test_a_second_writer(filled: Shell, tmp_path: Path) -> None:
    pictures(tmp_path / "new", ["x"])
    with Repository(filled.path) as repository:
        writer = repository.checkout(write=True)
        for words in (["rm", "images", "a"], ["import", "images", tmp_path / "new"], ["column", "create", "x", "STR"]):
            text = filled.fails(5, *words)
            assert str(os.getpid()) in text
            assert "hangar writer-lock --force-release" in text
        writer["images"]["staged"] = np.zeros((7, 5), "uint8")
        # Looking goes on beside it, and sees what the writer made durable.
        assert "staged" in filled.ok("ls", "images").split()
        assert str(os.getpid()) in filled.ok("status")
        assert filled.json("status")["writer"]["pid"] == os.getpid()
        writer.close()


def test_progress_is_for_terminals(filled: Shell, tmp_path: Path) -> None:
    pictures(tmp_path / "new", [f"p{i}" for i in range(5)])
    assert filled.process("import", "images", tmp_path / "new").stderr == "Found 5 files: PNG; L; all 7 x 5\n"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        *[("float", "float64"), ("f4", "float32"), ("np.float32", "float32"), ("torch.uint8", "uint8"), ("Float16", "float16")],
        *[("BFLOAT16", "bfloat16"), ("float8_e4m3fn", "float8_e4m3fn"), ("int", "int64"), ("bool", "bool")],
    ],
)  # fmt: skip
def test_dtypes_as_people_write_them(word: str, name: str, empty: Shell) -> None:
    assert empty.json("column", "create", "c", word, 3)["dtype"] == name


def test_what_is_no_dtype(empty: Shell) -> None:
    empty.fails(2, "column", "create", "c", "float33", text="'float33' is not a dtype: use one such as 'uint8'")
    empty.fails(2, "column", "create", "c", "M8[s]", text="cannot be stored")
    assert empty.json("column", "create", "t", "Str")["type"] == "str"
    empty.fails(2, "column", "create", "u", "bytes", 3, text="BYTES columns have no shape")
