"""Row 28: exports cannot write outside, whatever a sample is called and whatever lies in the way."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar.errors import AccessError, InvalidInputError, PathNotFoundError, StorageError
from hangar.external.safe_io import FileNames, OutputDirectory, open_input, safe_component, safe_parts, safe_suffix

HOSTILE = [
    "../x",
    "../../x",
    "/etc/x",
    "a/../../../x",
    "a\0b",
    "..",
    ".",
    "",
    "/",
    "//",
    "CON",
    "con.png",
    "aux/nul",
    "COM1",
    "lpt9.txt",
    "a\\..\\b",
    "C:\\x",
    "a:b",
    ".hangar/format",
    ".git/hooks/post-checkout",
    "trailing.",
    "trailing ",
    "x" * 5000,
    "é" * 255,
    "e\u0301" * 100,
    "\u202egnp.exe",
    "\ud800",
    "new\nline",
    "\x1b[31m",
    "a//b",
]


def everything_below(path: Path) -> list[Path]:
    return [Path(folder) / name for folder, folders, files in os.walk(path) for name in (*folders, *files)]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_inside(tmp_path: Path, name: str) -> None:
    out = tmp_path / "a" / "out"
    out.mkdir(parents=True)
    names = FileNames()
    with OutputDirectory(out) as directory:
        path = directory.write(names.take(name, ".bin"), b"data")
    assert path.read_bytes() == b"data"
    assert out in path.resolve().parents
    assert {one for one in everything_below(tmp_path) if out not in one.parents} == {tmp_path / "a", out}
    assert all(not part.startswith(".") and len(os.fsencode(part)) <= 255 for part in path.relative_to(out).parts)


@given(st.lists(st.text(st.characters(), max_size=300), min_size=1, max_size=20))
def test_names_never_meet(names: list[str]) -> None:
    taken = FileNames()
    paths = [taken.take(name, ".png") for name in dict.fromkeys(names)]
    folded = {unicodedata.normalize("NFD", "/".join(path).casefold()) for path in paths}
    assert len(folded) == len(paths)
    files = {"/".join(path).casefold() for path in paths}
    folders = {"/".join(path[:depth]).casefold() for path in paths for depth in range(1, len(path))}
    assert files.isdisjoint(folders)
    for path in paths:
        for part in path:
            assert part not in ("", ".", "..")
            assert not set(part) & set("/\\\0:")
            assert len(part.encode("utf-8")) <= 255


@pytest.mark.parametrize("name", ["cat", "train/cat_01", "a.b.c", "-x", "+1", "Ünder weg", "猫/1", "x" * 180])
def test_a_good_name_is_kept(name: str) -> None:
    assert FileNames().take(name, ".png") == (*name.split("/")[:-1], name.rsplit("/", maxsplit=1)[-1] + ".png")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Cat", "cat"),
        ("5", "5"),
        ("é", "e\u0301"),
        ("a/b", "A/B"),
        ("straße", "STRASSE"),
        ("..", "__"),
        ("x" * 300, "x" * 301),
    ],
)
def test_twins_are_told_apart(first: str, second: str) -> None:
    names = FileNames()
    one, two = names.take(first, ".png"), names.take(second, ".png")
    assert [part.casefold() for part in one] != [part.casefold() for part in two]


def test_many_samples_of_one_name_get_a_file_each() -> None:
    names = FileNames()
    paths = {names.take("5/5", ".npy") for _ in range(20)}
    assert len(paths) == 20


def test_a_file_is_never_anothers_directory() -> None:
    names = FileNames()
    assert names.take("a", "") == ("a",)
    assert len(names.take("a/b", "")) == 1
    assert names.take("c/d", "") == ("c", "d")
    assert names.take("c", "") != ("c",)


def test_twins_are_told_apart_the_same_in_every_run() -> None:
    runs = []
    for _ in range(2):
        names = FileNames()
        runs.append([names.take(name, ".png") for name in ("Cat", "cat", "CAT")])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("extension", ["../x", "a/b", "p ng", "x" * 33, "a\0", "..", "p..ng"])
def test_a_bad_extension_is_refused(extension: str) -> None:
    with pytest.raises(InvalidInputError):
        safe_suffix(extension)


def test_extensions() -> None:
    assert [safe_suffix(one) for one in ("png", ".png", "nii.gz", "")] == [".png", ".png", ".nii.gz", ""]


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    victim = outside / "victim"
    victim.write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / "file.bin").symlink_to(victim)
    (out / "dangling.bin").symlink_to(outside / "new")
    (out / "folder").symlink_to(outside)
    with OutputDirectory(out) as directory:
        for parts in (("file.bin",), ("dangling.bin",), ("folder", "victim"), ("folder", "deeper", "x")):
            with pytest.raises(InvalidInputError, match="in the way"):
                directory.write(parts, b"data")
    assert victim.read_text() == "precious"
    assert list(outside.iterdir()) == [victim]
    assert sorted(one.name for one in out.iterdir()) == ["dangling.bin", "file.bin", "folder"]


def test_a_link_planted_while_writing_is_not_followed(tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    with OutputDirectory(out) as directory:
        directory.write(("folder", "a"), b"1")
        (out / "folder" / "a").unlink()
        (out / "folder").rmdir()
        (out / "folder").symlink_to(outside)
        with pytest.raises(InvalidInputError, match="in the way"):
            directory.write(("folder", "b"), b"2")
    assert list(outside.iterdir()) == []


def test_the_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with OutputDirectory(tmp_path / "link") as directory:
        directory.write(("x",), b"1")
    assert (tmp_path / "real" / "x").read_bytes() == b"1"


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder" / "below").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "plain").write_text("x")
    with OutputDirectory(tmp_path) as directory:
        for parts in (("folder",), ("pipe",), ("plain", "below")):
            with pytest.raises(InvalidInputError, match="in the way"):
                directory.write(parts, b"data")


def test_a_file_that_is_there_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old and longer")
    (tmp_path / "twin").hardlink_to(tmp_path / "x")
    with OutputDirectory(tmp_path) as directory:
        directory.write(("x",), b"new")
    assert (tmp_path / "x").read_text() == "new"
    assert (tmp_path / "twin").read_text() == "old and longer"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["twin", "x"]


@pytest.mark.parametrize("parts", [(), ("..", "x"), ("a", ""), ("a/b",), (".",), ("a\0",)])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, parts: tuple[str, ...]) -> None:
    with OutputDirectory(tmp_path / "out") as directory, pytest.raises(InvalidInputError):
        directory.write(parts, b"x")


def test_only_regular_files_are_placed(tmp_path: Path) -> None:
    with OutputDirectory(tmp_path / "out") as directory:
        link = directory.staging() / "link"
        link.symlink_to("/etc/hostname")
        with pytest.raises(InvalidInputError, match="not a regular file"):
            directory.place(link, ("x",))


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises((StorageError, AccessError)):
        OutputDirectory(tmp_path / "file")
    with pytest.raises((StorageError, AccessError)):
        OutputDirectory(tmp_path / "file" / "below")


def test_open_input_takes_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInputError, match="regular file"), open_input(tmp_path / "pipe"):
        pass
    with pytest.raises(InvalidInputError, match="regular file"), open_input("/dev/zero"):
        pass
    with pytest.raises(PathNotFoundError, match="missing"), open_input(tmp_path / "missing"):
        pass
    (tmp_path / "x").write_text("x")
    with open_input(tmp_path / "x") as file:
        assert file.read() == b"x"


def test_parts_of_a_name() -> None:
    assert safe_parts("a/../b") == ("a", "__", "b")
    assert safe_parts("/x") == ("_", "x")
    assert safe_component("con") == "_con"
    assert safe_component("console") == "console"
