"""``hangar column backend``: where new data goes, and moving what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar import Repository
from tests.cli.shell import Shell
from tests.crash.world import install_toy


@pytest.fixture(autouse=True)
def _toy() -> None:
    install_toy()


def files(shell: Shell) -> list[str]:
    return sorted(path.suffix for path in (shell.path / ".hangar" / "blobs").iterdir())


def test_it_shows_and_sets_where_new_data_goes(filled: Shell) -> None:
    assert filled.ok("column", "backend", "images") == "New data of images goes to backend 10\n"
    assert filled.json("column", "backend", "images") == {"name": "images", "backend": "10", "options": {}}
    assert filled.ok("column", "backend", "images", "toy") == "New data of images goes to backend toy\n"
    assert filled.json("column", "backend", "images")["backend"] == "toy"
    assert files(filled) == [".10"]
    assert filled.json("status")["clean"]


def test_looking_needs_no_lock(filled: Shell) -> None:
    with Repository(filled.path) as repository:
        writer = repository.checkout(write=True)
        assert filled.json("column", "backend", "images")["backend"] == "10"
        filled.fails(5, "column", "backend", "images", "toy", text="this process holds the writer lock already")
        filled.fails(
            5, "column", "backend", "images", "toy", "--convert", text="this process holds the writer lock already"
        )
        writer.close()


@pytest.mark.parametrize(
    ("code", "words", "text"),
    [
        (3, ["nope"], "no column 'nope'"),
        (3, ["nope", "10"], "no column 'nope'"),
        (3, ["nope", "--convert"], "no column 'nope'"),
        (1, ["images", "99"], "there is no backend '99'"),
        (1, ["images", "30", "--convert"], "'30' cannot hold ndarray data"),
        (1, ["images", "10", "--option", "level=3"], "'10' takes no options"),
        (1, ["images", "00", "--option", f"complevel={'9' * 5_000}"], "complevel is a whole number from 0 to 9"),
        (2, ["images", "--option", "level=3"], "--option needs the backend"),
        (2, ["images", "10", "--option", "level"], "KEY=VALUE"),
    ],
)
def test_what_is_refused(filled: Shell, code: int, words: list[str], text: str) -> None:
    filled.fails(code, "column", "backend", *words, text=text)
    assert filled.json("column", "backend", "images")["backend"] == "10"


def test_options_are_typed(filled: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, object]] = []

    def check(_: object, options: dict[str, object]) -> dict[str, object]:
        given.append(dict(options))
        return {"level": 3, "fast": True}

    monkeypatch.setattr("tests.backends.toy.Toy.check_options", check)
    words = ["--option", "level=3", "--option", "fast=True", "--option", "codec=blosc:lz4", "--option", "shuffle=none"]
    told = filled.ok("column", "backend", "images", "toy", *words)
    assert told == "New data of images goes to backend toy (level=3, fast=true)\n"
    assert given[0] == {"level": 3, "fast": True, "codec": "blosc:lz4", "shuffle": None}


@pytest.mark.parametrize(
    ("text", "flag"),
    [("no", False), ("Off", False), ("false", False), ("none", False), ("yes", True), ("on", True), ("True", True)],
)
def test_a_yes_or_no_option(filled: Shell, text: str, flag: bool) -> None:
    words = ["--option", "complib=gzip", "--option", f"shuffle={text}"]
    assert filled.json("column", "backend", "images", "00", *words)["options"]["shuffle"] is flag


def test_convert(filled: Shell) -> None:
    before = filled.json("log")["head"]
    told = filled.ok("column", "backend", "images", "toy", "--convert")
    assert told.splitlines()[0] == "Converted 3 blobs (105 bytes) of images to backend toy"
    assert told.splitlines()[1].startswith("Removed 1 old file, ")
    assert files(filled) == [".toy"]
    assert filled.ok("column", "backend", "images", "--convert").startswith("All readable data of images")
    assert filled.json("log")["head"] == before
    assert filled.json("status")["clean"]
    filled.ok("fsck", "--data")
    record = filled.json("column", "backend", "images", "10", "--convert")
    assert record.pop("removed_nbytes") > 0
    assert record == {
        "name": "images",
        "backend": "10",
        "options": {},
        "converted": 3,
        "nbytes": 105,
        "removed_files": 1,
        "kept_files": 0,
        "damaged": [],
    }


def test_a_file_in_use_is_said(filled: Shell) -> None:
    with Repository(filled.path) as repository:
        reader = repository.checkout()
        assert reader["images", "a"] is not None
        result = filled.run("column", "backend", "images", "toy", "--convert")
        assert result.exit_code == 0
        assert "1 old file could not be removed" in result.stderr
        assert filled.json("column", "backend", "images")["backend"] == "toy"
    assert filled.json("column", "backend", "images", "--convert")["removed_files"] == 1


def test_damage_is_said(filled: Shell) -> None:
    (path,) = (filled.path / ".hangar" / "blobs").iterdir()
    data = bytearray(path.read_bytes())
    data[70] ^= 1
    path.write_bytes(data)
    result = filled.run("column", "backend", "images", "toy", "--convert")
    assert result.exit_code == 6
    assert "Not converted: blob" in result.stderr
    assert "Converted 2 blobs" in result.stdout


def test_an_interrupt_is_said(filled: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hangar.blobs.moving.Mover.publish", interrupted)
        result = filled.run("column", "backend", "images", "toy", "--convert")
    assert result.exit_code == 130
    assert "Interrupted: what was converted (0 blobs) stays converted; run the same command again" in result.stderr
    filled.ok("fsck", "--data")
    assert filled.json("column", "backend", "images", "--convert")["converted"] == 3


def test_it_looks_at_the_branch_to_write(filled: Shell, tmp_path: Path) -> None:
    filled.ok("branch", "create", "other")
    filled.ok("checkout", "other")
    filled.ok("column", "create", "more", "STR")
    filled.ok("commit", "-m", "More")
    filled.ok("column", "backend", "more", "toy", "--convert")
    filled.ok("checkout", "master")
    filled.fails(3, "column", "backend", "more", "toy", "--convert", text="on branch 'master'; there are: images")
