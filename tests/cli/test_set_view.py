"""One value from the command line, and a look at one sample."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hangar import Repository
from tests.cli.shell import Shell


@pytest.fixture
def columns(empty: Shell) -> Shell:
    """A repository with a column of each kind."""
    for words in (
        ("label", "UINT8"),
        ("score", "FLOAT32"),
        ("flag", "BOOL"),
        ("box", "INT16", 4),
        ("caption", "STR"),
        ("raw", "BYTES"),
        ("parts", "INT64", "--contains-subsamples"),
        ("images", "UINT8", 12, 10, 3),
        ("scan", "FLOAT32", 9, 8),
        ("sound", "INT16", 2000, 2),
    ):
        empty.ok("column", "create", *words)
    return empty


def value(shell: Shell, column: str, key: Any) -> Any:
    with Repository(shell.path) as repository:
        writer: Any = repository.checkout(write=True)
        try:
            return writer[column][key]
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("column", "sample", "text", "key", "stored"),
    [
        ("label", "cat", "7", "cat", 7),
        ("label", "5", "7", "5", 7),
        ("label", "int:5", "7", 5, 7),
        ("score", "cat", "0.1", "cat", np.float32(0.1)),
        ("score", "cat", "-3", "cat", -3),
        ("flag", "cat", "true", "cat", True),
        ("box", "cat", "[1, 2, -3, 4]", "cat", [1, 2, -3, 4]),
        ("caption", "cat", "-5 é", "cat", "-5 é"),
        ("raw", "cat", "abc", "cat", b"abc"),
        ("parts", "cat/left", "3", ("cat", "left"), 3),
        ("parts", "int:1/str:2", "3", (1, "2"), 3),
    ],
)
def test_a_value_is_set(columns: Shell, column: str, sample: str, text: str, key: Any, stored: Any) -> None:
    columns.ok("set", column, sample, text)
    found = value(columns, column, key)
    assert (
        found.tolist() == np.asarray(stored, found.dtype).tolist() if isinstance(found, np.ndarray) else found == stored
    )


@pytest.mark.parametrize(
    ("column", "sample", "text", "reason"),
    [
        ("label", "cat", "256", "holds uint8, which cannot be 256"),
        ("label", "cat", "1.5", "holds uint8, which cannot be 1.5"),
        ("label", "cat", "true", "holds uint8, which cannot be true"),
        ("flag", "cat", "1", "holds bool, which cannot be 1"),
        ("score", "cat", "1e99", "holds float32, which cannot be 1e99"),
        ("label", "cat", "dog", "'dog' is no number"),
        ("label", "cat", "[", "is no number"),
        ("box", "cat", "[1, 2]", "shape"),
        ("label", "no key!", "1", "not suitable"),
    ],
)
def test_what_the_column_cannot_hold_is_refused(
    columns: Shell, column: str, sample: str, text: str, reason: str
) -> None:
    columns.fails(1, "set", column, sample, text, text=reason)
    assert columns.json("ls", column)["samples"] == []


def test_what_was_there_is_told(columns: Shell, tmp_path: Path) -> None:
    assert columns.ok("set", "label", "cat", 3) == "label/cat = 3\n"
    assert columns.ok("set", "label", "cat", 4) == "label/cat = 4 (was 3)\n"
    assert columns.json("set", "label", "cat", 5) == {"column": "label", "sample": "cat", "before": 4, "after": 5}
    columns.ok("column", "attributes", "label", 'classes=["ant", "bee"]')
    assert columns.ok("set", "label", "cat", "bee") == "label/cat = bee (was 5)\n"
    assert value(columns, "label", "cat") == 1
    columns.fails(1, "set", "label", "cat", "cow", text="nor one of the classes ant, bee")
    columns.fails(2, "set", "parts", "cat", 1, text="write SAMPLE/SUBSAMPLE")
    picture = np.random.default_rng(0).integers(0, 255, (12, 10, 3), "uint8")
    Image.fromarray(picture).save(tmp_path / "x.png")
    columns.ok("set", "images", "cat", f"@{tmp_path / 'x.png'}")
    np.testing.assert_array_equal(value(columns, "images", "cat"), picture)
    columns.fails(1, "set", "box", "cat", f"@{tmp_path / 'x.png'}", text="has dtype uint8")
    columns.ok("set", "caption", "cat", "-", input="two\nlines\n")
    assert value(columns, "caption", "cat") == "two\nlines\n"


def test_a_file_becomes_a_chunked_sample(columns: Shell, tmp_path: Path) -> None:
    columns.ok("column", "create", "volumes", "INT16", "--chunks", "4,4")
    columns.ok("column", "create", "nested", "INT16", "--chunks", "4,4", "--contains-subsamples")
    values = {name: np.arange(70, dtype=dtype).reshape(7, 10) for name, dtype in (("a", "int16"), ("b", "float64"))}
    for name, array in values.items():
        np.save(tmp_path / f"{name}.npy", array)
    assert columns.ok("set", "volumes", "int:5", f"@{tmp_path / 'a.npy'}") == "volumes/5 = <chunked>\n"
    assert columns.ok("set", "volumes", "int:5", f"@{tmp_path / 'a.npy'}") == "volumes/5 = <chunked> (was <chunked>)\n"
    columns.ok("set", "nested", "s/int:1", f"@{tmp_path / 'a.npy'}")
    (tmp_path / "x.txt").write_text("1")
    columns.fails(1, "set", "volumes", "int:5", f"@{tmp_path / 'b.npy'}", text="b.npy has dtype float64, and column")
    columns.fails(1, "set", "volumes", "int:5", f"@{tmp_path / 'x.txt'}", text="take .npy, .h5 and .zarr files")
    columns.fails(3, "set", "volumes", "int:5", f"@{tmp_path / 'none.npy'}", text="there is no file or folder")
    columns.fails(1, "set", "volumes", "int:5", "5", text="name a file as @FILE")
    for column, key in (("volumes", 5), ("nested", ("s", 1))):
        with Repository(columns.path) as repository, closing(repository.checkout(write=True)) as writer:
            np.testing.assert_array_equal(writer[column][key], values["a"])


# ---------------------------------------------------------------------------------------------------------------- view


@pytest.fixture
def looks(columns: Shell) -> Shell:
    with Repository(columns.path) as repository:
        writer: Any = repository.checkout(write=True)
        picture = np.zeros((12, 10, 3), "uint8")
        picture[:, 5:] = (255, 0, 0)
        writer["images"]["half"] = picture
        writer["scan"]["ramp"] = np.linspace(-1, 1, 72, dtype="float32").reshape(9, 8)
        writer["sound"]["tone"] = (np.sin(np.arange(4000)) * 30_000).astype("int16").reshape(2000, 2)
        writer["caption"]["cat"] = "a cat\x1b[31m\non a mat"
        writer["raw"]["x"] = bytes(range(40))
        writer["box"]["cat"] = np.array([1, 2, 3, 4], "int16")
        writer["parts"]["a"] = {"b": np.array(3)}
        writer.commit("looks")
        writer.close()
    return columns


def test_pictures_are_drawn_with_characters_where_there_are_no_colours(looks: Shell) -> None:
    lines = looks.ok("view", "images", "half").splitlines()
    assert lines[-1] == "uint8 12 x 10 x 3, from 0 to 255"
    assert len(lines) == 7
    assert {line[:5] for line in lines[:-1]} == {"     "}
    assert len({line[5:] for line in lines[:-1]}) == 1
    assert lines[0][5:] == ":::::"
    assert len(looks.ok("view", "scan", "ramp", "--width", 4).splitlines()) == 3


def test_pictures_are_drawn_in_colours_on_a_terminal(looks: Shell) -> None:
    master, slave = pty.openpty()
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "40", "LINES": "20"}
    env.pop("NO_COLOR", None)
    words = [sys.executable, "-m", "hangar", "view", "images", "half", "HEAD"]
    done = subprocess.run(
        words[:-1], stdout=slave, stderr=slave, stdin=slave, cwd=looks.path, env=env, check=True, timeout=60
    )
    os.close(slave)
    told = b""
    try:
        while part := os.read(master, 65536):
            told += part
    except OSError:
        pass  # the end of a pseudo terminal
    os.close(master)
    assert done.returncode == 0
    assert b"\x1b[38;2;255;0;0;48;2;255;0;0m" in told
    assert told.count("\N{UPPER HALF BLOCK}".encode()) == 60


def test_other_values_are_text(looks: Shell) -> None:
    assert looks.ok("view", "caption", "cat") == "a cat\\x1b[31m\non a mat\n"
    assert looks.ok("view", "box", "cat") == "int16 4\n[1 2 3 4]\n"
    assert looks.ok("view", "raw", "x").startswith("00000000  00 01 02 03")
    assert looks.ok("view", "parts", "a/b") == "int64 one number\n3\n"
    looks.fails(2, "view", "parts", "a", text="holds subsamples")
    looks.fails(3, "view", "parts", "z", text="has no sample")
    looks.fails(3, "view", "nothing", "z", text="there is no column")


def test_a_file_is_written_and_never_replaced(looks: Shell, tmp_path: Path) -> None:
    looks.ok("view", "images", "half", "master", "-o", tmp_path / "x.png")
    written = np.asarray(Image.open(tmp_path / "x.png"))
    np.testing.assert_array_equal(written, value(looks, "images", "half"))
    looks.fails(4, "view", "images", "half", "-o", tmp_path / "x.png", text="exists already")
    looks.ok("view", "scan", "ramp", "-o", tmp_path / "scan.png")
    scan = np.asarray(Image.open(tmp_path / "scan.png"))
    assert (scan.shape, scan[0, 0, 0], scan[-1, -1, 0]) == ((9, 8, 3), 0, 255)
    looks.ok("view", "sound", "tone", "-o", tmp_path / "sound.png")
    assert np.asarray(Image.open(tmp_path / "sound.png")).shape == (240, 640, 3)
    looks.fails(1, "view", "caption", "cat", "-o", tmp_path / "no.png", text="is no picture")
    assert not (tmp_path / "no.png").exists()


def test_a_window_never_blocks(looks: Shell, tmp_path: Path) -> None:
    env = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}
    done = looks.process("view", "images", "half", "--window", env=env)
    assert (done.returncode, "there is no desktop here" in done.stderr) == (1, True)
    opener = tmp_path / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text('#!/bin/sh\ncp "$1" "$HANGAR_SEEN"\nsleep 30\n')
    opener.chmod(0o755)
    seen = tmp_path / "seen.png"
    env = {"DISPLAY": ":9", "HANGAR_SEEN": str(seen), "PATH": f"{opener.parent}{os.pathsep}{os.environ['PATH']}"}
    begun = time.monotonic()
    done = looks.process("view", "images", "half", "--window", env=env | {"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 20
    for _ in range(100):
        if seen.exists() and seen.stat().st_size:
            break
        time.sleep(0.05)
    assert seen.read_bytes()[:4] == b"\x89PNG"
