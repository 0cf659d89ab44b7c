"""Single file operations: each is on disk when it returns, and before that it has not happened or has."""

from __future__ import annotations

import os
import random
from pathlib import Path

from hangar import _fs
from tests.crash.harness import Acknowledge, Scenario, State

ROUNDS = 3


def content(name: str) -> bytes:
    return random.Random(name).randbytes(1_500)


# ---------------------------------------------------------------------------------------------------- new files


def write_new_files(directory: Path, acknowledge: Acknowledge) -> None:
    for number in range(ROUNDS):
        name = f"new {number}"
        half = content(name)[:700]
        _fs.write_new_file(directory / name, [half, memoryview(content(name))[700:]])
        acknowledge(name)


def check_new_files(state: State) -> None:
    found = {path.name for path in state.directory.iterdir()}
    for name in state.acknowledged:
        assert (state.directory / name).read_bytes() == content(name)
    # The one that was under way may be there in any state: its name is given away by nobody yet.
    assert len(found - set(state.acknowledged)) <= 1


# --------------------------------------------------------------------------------------------------- replacing


def prepare_replaced(directory: Path) -> None:
    (directory / "file").write_bytes(content("0"))


def replace(directory: Path, acknowledge: Acknowledge) -> None:
    for number in range(1, ROUNDS + 1):
        _fs.replace_file(directory / "file", content(str(number)) * number)
        acknowledge(number)


def check_replaced(state: State) -> None:
    latest = max(state.acknowledged, default=0)
    expected = {content(str(number)) * max(number, 1) for number in (latest, latest + 1)}
    assert (state.directory / "file").read_bytes() in expected


# ----------------------------------------------------------------------------------------------------- appending


def append(directory: Path, acknowledge: Acknowledge) -> None:
    descriptor = _fs.create_file(directory / "log")
    _fs.sync_directory(directory)
    end = 0
    for number in range(ROUNDS):
        end += _fs.write_at(descriptor, [content(str(number))], end, directory / "log")
        _fs.sync_file(descriptor, directory / "log")
        acknowledge(end)
    os.close(descriptor)


def check_appended(state: State) -> None:
    end = max(state.acknowledged, default=0)
    if end:
        whole = b"".join(content(str(number)) for number in range(ROUNDS))
        assert (state.directory / "log").read_bytes()[:end] == whole[:end]


# ------------------------------------------------------------------------------------- directories and removing


def prepare_removed(directory: Path) -> None:
    for number in range(ROUNDS):
        (directory / f"old {number}").write_bytes(content("old"))


def remove_and_make(directory: Path, acknowledge: Acknowledge) -> None:
    for number in range(ROUNDS):
        _fs.remove_file(directory / f"old {number}")
        acknowledge(f"removed {number}")
        _fs.make_directory(directory / f"made {number}")
        acknowledge(f"made {number}")


def check_removed(state: State) -> None:
    for number in range(ROUNDS):
        if f"removed {number}" in state.acknowledged:
            assert not (state.directory / f"old {number}").exists()
        if f"made {number}" in state.acknowledged:
            assert (state.directory / f"made {number}").is_dir()
    left = sum((state.directory / f"old {number}").exists() for number in range(ROUNDS))
    assert left in (ROUNDS - len(state.acknowledged) // 2 - 1, ROUNDS - (len(state.acknowledged) + 1) // 2)


# ------------------------------------------------------------------------------------------- moving a directory


def prepare_moved(directory: Path) -> None:
    (directory / "place").mkdir()
    (directory / "place" / "file").write_bytes(content("inside"))


def move(directory: Path, acknowledge: Acknowledge) -> None:
    names = ["place", *(f"place {number}" for number in range(ROUNDS))]
    for number in range(ROUNDS):
        _fs.move_directory(directory / names[number], directory / names[number + 1])
        acknowledge(names[number + 1])


def check_moved(state: State) -> None:
    (place,) = state.directory.iterdir()
    assert (place / "file").read_bytes() == content("inside")
    latest = len(state.acknowledged)
    assert place.name in ["place", *(f"place {number}" for number in range(ROUNDS))][latest : latest + 2]


SCENARIOS = (
    Scenario("moved directory (file)", move, check_moved, prepare_moved),
    Scenario("new files", write_new_files, check_new_files),
    Scenario("replaced file", replace, check_replaced, prepare_replaced),
    Scenario("appended file", append, check_appended),
    Scenario("removed files and made directories", remove_and_make, check_removed, prepare_removed),
)
