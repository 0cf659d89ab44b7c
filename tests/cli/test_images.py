"""Image columns from the command line: create, import without decoding, export of the same files, disk use."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository
from hangar.digest import BYTES, Header, blob_digest
from hangar.imaging import reading
from tests.cli.shell import Shell
from tests.columns.pictures import encoded, gray, jpeg, photo, png_header
from tests.columns.test_audio_and_video import film, sound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "cats").mkdir(parents=True)
    for at in range(40):
        (folder / "cats" / f"{at:03d}.JPG").write_bytes(jpeg(at, orientation=at % 8 + 1))
    (folder / "mask.png").write_bytes(encoded(gray(), "PNG"))
    (folder / "readme.txt").write_text("no picture")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.is_file()
    }


def test_a_folder_is_imported_and_exported_unchanged(
    empty: Shell, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "read_image", None)  # Nothing is decoded.
    monkeypatch.setattr("PIL.Image.Image.load", None)
    created = empty.ok("column", "create", "photos", "image", "--mode", "rgb")
    assert created == "Created column photos of image, read as RGB\n"
    assert empty.json("column", "list")["columns"][0]["type"] == "image"
    document = empty.json("import", "photos", folder, "--keep-names")
    assert (document["samples"], document["failed"]) == (41, [])
    assert document["skipped"] == [str(folder / "readme.txt")]
    assert empty.json("import", "photos", folder, "--keep-names")["unchanged"] == 41
    empty.ok("commit", "-m", "photos")
    empty.ok("export", "photos", "-o", tmp_path / "out")
    wanted = {name: data for name, data in files(folder).items() if name != "readme.txt"}
    assert files(tmp_path / "out") == wanted
    empty.fails(1, "export", "photos", "-o", tmp_path / "other", "-f", "png", text="exported as it is")


def test_without_stored_paths_the_suffix_tells_the_format(empty: Shell, folder: Path, tmp_path: Path) -> None:
    empty.ok("column", "create", "photos", "IMAGE", "--contains-subsamples")
    (folder / "mask.png").rename(folder / "cats" / "mask.png")
    empty.ok("import", "photos", folder)
    empty.ok("export", "photos", "-o", tmp_path / "out")
    names = files(tmp_path / "out")
    assert names["cats/000.jpg"] == jpeg(0)
    assert "cats/mask.png" in names


def test_a_file_that_is_no_image_is_named(empty: Shell, folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(jpeg()[:-40])
    (folder / "web.png").write_text("<html>")
    empty.ok("column", "create", "photos", "IMAGE")
    text = empty.fails(1, "import", "photos", folder)
    assert "broken.jpg: the image is truncated" in text
    assert "web.png: the image is not an image of a known format" in text
    (folder / "mask.png").write_bytes(encoded(gray() // 2, "PNG"))
    assert "mask.png: column 'photos' has a sample 'mask' already" in empty.fails(1, "import", "photos", folder)


def test_options_of_images_are_for_images(empty: Shell) -> None:
    empty.fails(2, "column", "create", "x", "UINT8", 3, "--mode", "RGB", text="IMAGE")
    empty.fails(2, "column", "create", "x", "IMAGE", 3, text="no shape")
    empty.fails(1, "column", "create", "x", "IMAGE", "--mode", "XYZ", text="RGBA")
    empty.fails(2, "column", "create", "x", "IMAGE", "--format", "JPEG", "--quality", 0)
    empty.ok("column", "create", "x", "IMAGE", "--format", "JPEG", "--quality", 50)


def test_disk_use_is_the_files_and_little_more(empty: Shell, tmp_path: Path) -> None:
    """At most 300 bytes a file, beside what an empty repository takes."""
    folder = tmp_path / "many"
    folder.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (3000, 16, 16, 3), dtype=np.uint8)
    size = 0
    for at, one in enumerate(pixels):
        data = encoded(one, "JPEG", quality=70)
        (folder / f"{at:05d}.jpg").write_bytes(data)
        size += len(data)
    empty.ok("column", "create", "photos", "IMAGE")
    before = Repository(empty.path).size_nbytes
    empty.ok("import", "photos", folder)
    empty.ok("commit", "-m", "photos")
    assert Repository(empty.path).size_nbytes - before <= size + 300 * len(pixels)


def test_show_diff_and_pages_know_encoded_files(empty: Shell, tmp_path: Path) -> None:
    for name in ("image", "audio", "video"):
        empty.ok("column", "create", name, name.upper())
    with Repository(empty.path) as repo:
        writer = repo.checkout(write=True)
        writer["image"].update({"a": jpeg(0), "same": encoded(photo(), "PNG"), "bad": png_header(9, 9, b"few")})
        writer["audio"]["a"] = sound()
        writer["video"]["a"] = film()
        writer.close()
    empty.ok("commit", "-m", "files")
    shown = empty.json("show", "master:image/a")
    assert shown["info"] == {"format": "JPEG", "width": 70, "height": 48, "mode": "RGB", "orientation": 1}
    assert shown["digest"] == blob_digest(Header(BYTES, 0, ()), jpeg(0)).hex()
    assert shown["nbytes"] == len(jpeg(0))
    assert "Samplerate:  8000" in empty.ok("show", "master:audio/a")
    assert "Codec:   h264" in empty.ok("show", "master:video/a")
    with Repository(empty.path) as repo:
        writer = repo.checkout(write=True)
        writer["image"].update({"a": jpeg(1), "same": encoded(photo(), "BMP"), "bad": jpeg(2), "new": jpeg(3)})
        writer["audio"]["a"] = sound("WAV")
        writer["video"]["a"] = film("mpeg4", "avi")
        writer.close()
    text = empty.ok("diff")
    assert "~ image/a  uint8 48 x 70 x 3: 3," in text
    assert "~ image/same  uint8 48 x 70 x 3: another file of equal pixels" in text
    assert re.search(r"~ image/bad .*\(the image .*truncated.*\) -> uint8 48 x 70 x 3", text)
    assert "~ audio/a  float32 30,000 x 2: " in text
    assert "h264 video of 60 frames, 64 x 96 -> mpeg4 video of 60 frames, 64 x 96" in text
    empty.ok("diff", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count("<figcaption>before") >= 2
    assert page.count("<figcaption>difference") >= 2
    assert "image/new" in page or ">new<" in page
    assert "All is well" in empty.ok("fsck", "--data")
    assert empty.json("blame", "image", "a")["samples"][0]["sample"] == "a"
