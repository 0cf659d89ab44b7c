"""Files that cannot be imported: they are listed with the reason, the others are imported, and the exit code tells."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hangar import Repository
from hangar.external import importer
from tests.cli.shell import Shell, pictures


def broken_files(folder: Path) -> dict[str, str]:
    """One file of every fault among good ones, and the reasons that are expected."""
    pictures(folder, [f"good{i:02}" for i in range(20)])
    frames = [Image.fromarray(np.full((7, 5), i, np.uint8)) for i in (0, 200)]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    whole = io.BytesIO()
    Image.fromarray(np.arange(35, dtype=np.uint8).reshape(7, 5)).save(whole, "JPEG")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[:-60])
    np.save(folder / "float.npy", np.zeros((7, 5), "float32"))
    Image.fromarray(np.zeros((9, 5), np.uint8)).save(folder / "large.png")
    (folder / "good00.bmp").write_bytes(b"the same name as another")
    (folder / "out.png").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.png")
    return {
        "animated.gif": "holds 2 images",
        "cut.jpg": "cannot be decoded",
        "float.npy": "has dtype float32",
        "large.png": "has shape 9 x 5|pixels",
        "good00.png": "would both be the sample 'good00'",
        "out.png": "leads out of the folder",
        "pipe.png": "is not a regular file",
    }


@pytest.mark.parametrize("shape", ["fixed", "variable"])
def test_each_fault_is_listed_and_the_rest_is_imported(
    empty: Shell, tmp_path: Path, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "BATCH_BYTES", 35 * 4)  # faults at every place of a batch
    wanted = broken_files(tmp_path / "in")
    (tmp_path / "in" / "good00.bmp").write_bytes((tmp_path / "in" / "good01.png").read_bytes())
    empty.ok("column", "create", "images", "UINT8", 7, 5, *["--variable-shape"] * (shape == "variable"))
    result = empty.run("import", "images", tmp_path / "in", "--json")
    assert result.exit_code == 1
    failed = {Path(one["path"]).name: one["reason"] for one in json.loads(result.stdout)["failed"]}
    assert failed.keys() == wanted.keys()
    for name, reason in wanted.items():
        assert any(part in failed[name] for part in reason.split("|")), failed[name]
        assert name in failed[name]
    assert "7 files could not be imported; the rest, 20 samples, is in images" in result.stderr
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        assert len(writer["images"]) == 20
        for i in range(1, 20):
            stored = np.asarray(Image.open(tmp_path / "in" / f"good{i:02}.png"))
            np.testing.assert_array_equal(writer["images", f"good{i:02}"], stored)
        writer.close()
    told = empty.fails(1, "import", "images", tmp_path / "in", text="Not imported: ")
    assert told.count("Not imported: ") == 7


def test_samples_that_exist_with_other_content_are_listed(filled: Shell, tmp_path: Path) -> None:
    made = pictures(tmp_path / "new", ["a", "b", "y", "z"], seed=50)
    told = filled.fails(4, "import", "images", tmp_path / "new", text="2 files could not be imported")
    assert told.count("already, with different content: --overwrite replaces it") == 2
    assert filled.json("ls", "images")["samples"] == ["a", "b", "c/d", "y", "z"]
    with Repository(filled.path) as repository:
        writer = repository.checkout(write=True)
        np.testing.assert_array_equal(writer["images", "z"], made["z"])
        writer.close()
    report = filled.json("import", "images", tmp_path / "new", "--overwrite")
    assert (report["samples"], report["overwritten"], report["files"]) == (4, 4, 4)


def test_stopping_is_the_way_it_was(empty: Shell, tmp_path: Path) -> None:
    broken_files(tmp_path / "in")
    empty.ok("column", "create", "images", "UINT8", 7, 5)
    empty.fails(1, "import", "images", tmp_path / "in", "--on-error", "stop", text="out.png is a link")
    (tmp_path / "in" / "out.png").unlink()
    empty.fails(4, "import", "images", tmp_path / "in", "--on-error", "stop", text="would both be the sample")
    (tmp_path / "in" / "good00.bmp").unlink()
    empty.fails(1, "import", "images", tmp_path / "in", "--on-error", "stop", text="animated.gif holds 2 images")
    assert empty.json("ls", "images")["samples"] == []


def test_nothing_but_faults(empty: Shell, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.png").write_bytes(b"none")
    empty.ok("column", "create", "images", "UINT8", 7, 5)
    empty.fails(1, "import", "images", tmp_path / "in", text="2 files could not be imported; there was nothing else")
    assert empty.json("status")["changes"][0]["added"] == 0
