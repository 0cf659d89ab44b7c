"""Row 4 of the list of what must hold: a flipped bit is found, wherever it is.

A bit of a file of the repository is flipped. All of its content is then read, in every way there is, and gives what it gave before or an
error: never other data. Where it gives an error the bit was *live*, and ``fsck --data``, on a copy of its own, finds it. Bits that nothing
depends on (free pages, gaps between rows, what no commit names) are not live. Each look is in a child process: LMDB
trusts its pages, so that a flipped bit in them may end the process of a reader; what must not end is fsck.
"""

from __future__ import annotations

import faulthandler
import os
import random
import resource
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hangar import CorruptionError, Repository, UnsupportedVersionError
from tests.crash import content, past
from tests.crash.scenarios import repositories
from tests.crash.world import install_toy
from tests.processes import child

MOST_READERS_ENDED = 0.01
"""Of readers whom a flipped bit in LMDB's own pages ends: SIGBUS or an assertion in LMDB."""


class Flip(NamedTuple):
    file: str
    place: int
    bit: int


class Sound(NamedTuple):
    """A repository as it should be: its files, and what is read of it."""

    files: dict[str, bytes]
    truth: dict[str, Any]


class Made(NamedTuple):
    """What makes a repository, and what reads all of it."""

    fill: Callable[[Path], None]
    read_all: Callable[[Path], dict[str, Any]]


CONTENT = Made(content.fill, content.read_all)
PAST = Made(past.fill, past.read_all)


def prepare(directory: Path, made: Made = CONTENT) -> Sound:
    def run() -> dict[str, Any]:
        repositories.lower_limits()
        directory.mkdir()
        made.fill(directory)
        assert Repository(directory).fsck(data=True).sound
        return made.read_all(directory)

    with child(lambda _: run()) as process:
        truth = process.result()
    files = {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }
    return Sound(files, truth)


def put(directory: Path, files: dict[str, bytes], flip: Flip) -> None:
    """A copy of the repository with one bit flipped."""
    shutil.rmtree(directory, ignore_errors=True)
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with (directory / flip.file).open("r+b") as stream:
        stream.seek(flip.place)
        stream.write(bytes([files[flip.file][flip.place] ^ 1 << flip.bit]))


def look(directory: Path, what: str, sound: Sound, made: Made) -> str:
    """Read everything, or check it; what came of it, in a word."""
    install_toy()
    try:
        if what == "fsck":
            return "sound" if Repository(directory).fsck(data=True).sound else "found"
        return "right" if made.read_all(directory) == sound.truth else "wrong"
    except (CorruptionError, UnsupportedVersionError):
        return "error"


def look_at_all(place: Path, sound: Sound, jobs: Sequence[tuple[Flip, str]], made: Made = CONTENT) -> list[str]:
    """What came of each job; ``ended`` where it ended the process."""
    outcomes: list[str] = []

    def work(talk: Connection) -> None:
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        repositories.lower_limits()
        for flip, what in jobs[len(outcomes) :]:
            put(place, sound.files, flip)
            talk.send(look(place, what, sound, made))

    while len(outcomes) < len(jobs):
        with child(work) as process:
            outcomes += process.messages()
            if len(outcomes) < len(jobs):
                if not os.WIFSIGNALED(process.wait()):
                    process.result()
                outcomes.append("ended")
    return outcomes


def files_of(sound: Sound, where: str) -> list[str]:
    return sorted(name for name in sound.files if name.startswith(f".hangar/{where}") and sound.files[name])


def choose(sound: Sound, where: str, count: int, source: random.Random) -> list[Flip]:
    """Random bits: of a file, and of all its bytes alike."""
    names = files_of(sound, where)
    return [
        Flip(name, source.randrange(len(sound.files[name])), source.randrange(8))
        for name in source.choices(names, k=count)
    ]


CLASSES = {"db/data.mdb": 45, "blobs/": 30, "runs/": 15, "format": 8}
"""Where bits are flipped, and how many of them each time."""
PARTS, PART = 5, 200
"""Of the full 1,000 for each class."""


@pytest.mark.parametrize(
    ("where", "count", "part"),
    [
        *((where, count, 0) for where, count in CLASSES.items()),
        *(pytest.param(where, PART, part, marks=pytest.mark.nightly) for where in CLASSES for part in range(PARTS)),
    ],
)
def test_row_4_a_flipped_bit_is_found(place: Path, where: str, count: int, part: int) -> None:
    require_found(place, where, count, part, CONTENT)


@pytest.mark.parametrize(
    ("count", "part"), [(20, 0), *(pytest.param(PART, part, marks=pytest.mark.nightly) for part in range(PARTS))]
)
def test_row_4_a_flipped_bit_in_records_of_history_is_found(place: Path, count: int, part: int) -> None:
    """Tags, a stash, tombstones, and the conflicts of a merge in progress."""
    require_found(place, "db/data.mdb", count, part, PAST)


def require_found(place: Path, where: str, count: int, part: int, made: Made) -> None:
    sound = prepare(place / "sound", made)
    flips = choose(sound, where, count, random.Random(f"{where} {part}"))
    jobs = [(flip, what) for flip in flips for what in ("fsck", "read")]
    outcomes = look_at_all(place / "flipped", sound, jobs, made)
    print(where, Counter(zip(outcomes[::2], outcomes[1::2], strict=True)))
    assert [job for job, outcome in zip(jobs, outcomes, strict=True) if outcome == "wrong"] == []
    live = [
        (flip, checked)
        for flip, checked, read in zip(flips, outcomes[::2], outcomes[1::2], strict=True)
        if read != "right"
    ]
    assert [flip for flip, checked in live if checked not in ("found", "error")] == []
    assert "ended" not in outcomes[::2]
    assert outcomes.count("ended") <= (max(1, MOST_READERS_ENDED * count) if where.startswith("db/") else 0)
    assert live
