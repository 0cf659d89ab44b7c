"""Row 6 of the list of what must hold, for what there is so far: a disk that fills up under adds and commits.

Where the user may mount one, the disk is a small file system in memory, filled to its last byte; else, and in half of the runs, it is a limit on
the size of files. The step that meets the end raises ``DiskFullError`` and has not happened; all others have; and when there is room again
the same writer goes on.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import subprocess
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from hangar import DiskFullError, Repository
from tests.crash import content
from tests.crash.scenarios import repositories
from tests.crash.world import COLUMNS, Actions, Live, Model, Step, comparable, install_toy, observe, require
from tests.processes import child

BALLAST_BYTES = 3 * 2**18
STEPS_AFTER = 3


@contextlib.contextmanager
def small_file_system(place: Path, size: int) -> Iterator[bool]:
    """A file system of ``size`` bytes in ``place``; False where this user cannot have one."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", os.fspath(place)]
    try:
        mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", os.fspath(place)], check=True)


class SmallDisk:
    """The file system, whose room is taken and given by a file beside the repository."""

    def __init__(self, place: Path) -> None:
        self._ballast = place / "ballast"

    def fill(self) -> None:
        with open(self._ballast, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.tell() < BALLAST_BYTES:
                file.write(bytes(4096))

    def fill_up(self) -> None:
        """To the last byte."""
        with open(f"{self._ballast}.rest", "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(512))

    def free(self) -> None:
        self._ballast.unlink()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._ballast}.rest")


class SmallFiles:
    """A limit on the size of each file."""

    def __init__(self, size: int) -> None:
        self._size = size

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, resource.RLIM_INFINITY))

    def fill_up(self) -> None:
        pass

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def steps(generator: random.Random) -> Iterator[Step]:
    """Adds and commits without end."""
    number = 0
    while True:
        number += 1
        yield generator.choice((images, labels, mixed, single))(generator, number)
        if generator.random() < 0.2:
            yield lambda world, number=number: world.commit(f"commit {number}")  # type: ignore[misc]


def images(generator: random.Random, number: int) -> Step:
    count = generator.choice((10, 1_300))
    return lambda world: world.write("image", {number * 2_000 + i: number * 37 + i for i in range(count)})


def labels(generator: random.Random, number: int) -> Step:
    count = generator.choice((10, 5_000))
    return lambda world: world.write("label", {number * 3_000 + i: (number + i) % 30_000 for i in range(count)})


def mixed(generator: random.Random, number: int) -> Step:
    names = [name for name in COLUMNS for _ in range(20)]
    changes = [(name, f"{number}-{i}", number * 100 + i) for i, name in enumerate(names)]
    return lambda world: world.batch(changes)


def single(generator: random.Random, number: int) -> Step:
    column = generator.choice(list(COLUMNS))
    return lambda world: world.put(column, number, number * 2)


def fill_the_disk(directory: Path, disk: SmallDisk | SmallFiles, seed: int) -> bool:
    """Fill it, look, make room, go on; whether it ever was full."""
    live, model = Live(directory), Model()
    for name in COLUMNS:
        for world in (live, model):
            add(world, name)
    following = steps(random.Random(seed))
    disk.fill()
    step, full = take_until_full(live, model, following)
    require(observe(live), model.state())
    disk.fill_up()
    # Reading, also by one who opens the repository now, needs no room.
    repositories.require_sound(live, data=True)
    require(observe(live), model.state())
    disk.free()
    # Now the same goes through.
    for again in (step, *(next(following) for _ in range(STEPS_AFTER))):
        if again is not None:
            again(live)
            again(model)
    require(observe(live), model.state())
    live.reopen()
    require(observe(live), model.state())
    repositories.goes_on(live)
    live.close()
    return full


def add(world: Actions, name: str) -> None:
    world.add_column(name)


def take_until_full(live: Live, model: Model, following: Iterator[Step]) -> tuple[Step | None, bool]:
    for _ in range(200):
        step = next(following)
        try:
            step(live)
        except DiskFullError:
            return step, True
        step(model)
    return None, False


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(6, 50))])
def test_row_6_a_disk_that_fills_up(seed: int, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    generator = random.Random(f"full {seed}")
    with small_file_system(place, generator.randrange(3 * 2**19, 2**21)) as mounted:
        small = mounted and seed % 2 == 0

        def run(_: Connection) -> bool:
            directory = place if small else tmp_path
            repositories.initialize(directory)
            disk = SmallDisk(place) if small else SmallFiles(generator.randrange(2**17, 2**19))
            return fill_the_disk(directory, disk, seed)

        with child(run) as process:
            assert process.result()


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(3, 50))])
@pytest.mark.parametrize("tag", content.tags())
def test_row_6_a_disk_that_fills_up_under_a_backend(tag: str, seed: int, tmp_path: Path) -> None:
    """What was acknowledged is there, and what was not goes through when there is room again."""
    place = tmp_path / "disk"
    place.mkdir()
    source = random.Random(f"full {tag} {seed}")
    with small_file_system(place, source.randrange(3 * 2**19, 2**21)) as mounted:
        small = mounted and seed % 3 != 0

        def run(_: Connection) -> bool:
            directory = place if small else tmp_path
            disk = SmallDisk(place) if small else SmallFiles(source.randrange(2**17, 2**19))
            return fill_a_backend(directory, disk, tag, source)

        with child(run) as process:
            assert process.result()


def fill_a_backend(directory: Path, disk: SmallDisk | SmallFiles, tag: str, source: random.Random) -> bool:
    install_toy()
    repo = Repository(directory, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    expected: dict[str, dict[int, Any]] = {name: {} for name in content.add_columns(writer, tag)}
    writer.commit("begun")
    committed = "begun"
    disk.fill()
    full = False
    pending: list[tuple[str, range]] = []

    def take(name: str, numbers: range) -> None:
        content.write(writer, name, numbers)
        expected[name] |= {number: comparable(content.value(name, number)) for number in numbers}

    for turn in range(300):
        pending = [
            (source.choice(list(expected)), range(turn * 2_000, turn * 2_000 + source.choice((1, 20, 400, 1_100))))
        ]
        try:
            take(*pending[0])
            pending.clear()
            if source.random() < 0.3:
                writer.commit(f"commit {turn}")
                committed = f"commit {turn}"
        except DiskFullError:
            full = True
            break
    disk.fill_up()
    require_content(repo, writer, expected, committed)
    disk.free()
    for name, numbers in pending:
        take(name, numbers)
    take(next(iter(expected)), range(10**6, 10**6 + 30))
    writer.commit("last")
    require_content(repo, writer, expected, "last")
    writer.close()
    require_content(repo, repo.checkout(), expected, "last")
    return full


def require_content(repo: Repository, checkout: Any, expected: dict[str, dict[int, Any]], message: str) -> None:
    """What is expected is there, and sound; the last commit is the one of ``message``."""
    report = repo.fsck(data=True)
    assert report.sound, report.problems
    for name, samples in expected.items():
        found = {number: comparable(value) for number, value in checkout[name].items()}
        assert found == samples, name
    log = repo.log(branch="master", return_contents=True)
    assert log is not None
    assert log["specs"][log["order"][0]]["commit_message"] == message


def test_a_repository_is_opened_on_a_full_disk(tmp_path: Path) -> None:
    """LMDB maps its lock file: where that was a hole, the first reader ended with SIGBUS instead of an error."""
    with small_file_system(tmp_path, 2**21) as mounted, child(lambda _: repositories.prepare(tmp_path)) as process:
        process.result()
        lock = tmp_path / ".hangar" / "db" / "lock.mdb"
        assert lock.stat().st_blocks * 512 >= lock.stat().st_size
        for missing in (False, True):
            if missing:
                lock.unlink()
            disk = SmallDisk(tmp_path)
            disk.fill()
            if mounted:
                disk.fill_up()

            def look(_: Connection, refused: bool = missing and mounted) -> None:
                if refused:
                    with pytest.raises(DiskFullError):
                        Repository(tmp_path).checkout()
                else:
                    assert len(Repository(tmp_path).checkout()["image"]) == 9

            with child(look) as reader:
                reader.result()
            disk.free()
            with child(lambda _: repositories.goes_on(Live(tmp_path)) if missing else None) as writer:  # noqa: B023
                writer.result()
        assert lock.stat().st_blocks * 512 >= lock.stat().st_size
        assert [path.name for path in lock.parent.glob("*.tmp")] == []
