"""Row 6 of the list of what must hold, for what moves a whole column: converting it to another backend, and exporting it.

The disk has some room left, and not enough. Nothing of the repository changes, what was converted before the end stays so, and the
same call goes through when there is room.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import resource
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from hangar import DiskFullError, Repository
from hangar.external.exporter import export_samples
from hangar.external.safe_io import OutputDirectory
from tests.crash import content
from tests.crash.test_full_disk import small_file_system
from tests.crash.world import comparable, install_toy
from tests.processes import child

SAMPLES = 1_500
DISK_BYTES = 3 * 2**20
TAGS = [tag for tag in content.tags() if f"image-{tag}" in content.columns_of(tag)]
ROUND = list(zip(TAGS, [*TAGS[1:], TAGS[0]], strict=True))
"""Each backend left, and come to, once."""
MOVES = [
    *((*move, 0) for move in ROUND),
    *(
        pytest.param(*move, seed, marks=pytest.mark.nightly)
        for move in itertools.permutations(TAGS, 2)
        for seed in range(1, 6)
    ),
]


class Room:
    """How much may still be written: on the small file system, or else into one file."""

    def __init__(self, place: Path, mounted: bool) -> None:
        self._place, self._mounted = place, mounted

    def leave(self, size: int) -> None:
        if not self._mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            return
        space = os.statvfs(self._place)
        (self._place / "ballast").write_bytes(bytes(max(0, space.f_bavail * space.f_frsize - size)))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (self._place / "ballast").unlink(missing_ok=True)


def fill(directory: Path, tag: str) -> tuple[Repository, str]:
    install_toy()
    repo = Repository(directory, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    content.add_columns(writer, tag)
    content.write(writer, f"image-{tag}", range(SAMPLES))
    writer.commit("all")
    content.write(writer, f"image-{tag}", range(SAMPLES, SAMPLES + 20))
    writer.close()
    return repo, f"image-{tag}"


def require_whole(repo: Repository, name: str) -> None:
    report = repo.fsck(data=True)
    assert report.sound, report.problems
    column: Any = repo.checkout()[name]
    expected = {number: comparable(content.value(name, number)) for number in range(SAMPLES)}
    assert {number: comparable(value) for number, value in column.items()} == expected


@pytest.mark.parametrize(("source", "target", "seed"), MOVES)
def test_row_6_converting_on_a_full_disk(tmp_path: Path, source: str, target: str, seed: int) -> None:
    generator = random.Random(f"{source} {target} {seed}")
    with small_file_system(tmp_path, DISK_BYTES) as mounted:

        def run(_: Connection) -> None:
            repo, name = fill(tmp_path, source)
            room = Room(tmp_path, mounted)
            room.leave(generator.randrange(150_000) if mounted else generator.randrange(20_000, 100_000))
            with pytest.raises(DiskFullError):
                repo.convert_backend(name, target)
            require_whole(repo, name)
            room.free()
            repo.convert_backend(name, target)
            require_whole(repo, name)
            assert not repo.convert_backend(name, target).converted
            repo.close()

        with child(run) as process:
            process.result()


def test_row_6_exporting_to_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "out").mkdir()
    with small_file_system(tmp_path / "out", 2**19) as mounted:

        def run(_: Connection) -> None:
            repo, name = fill(tmp_path / "repo", "10")
            room = Room(tmp_path / "out", mounted)
            room.leave(100_000 if mounted else 100)
            column: Any = repo.checkout()[name]
            with OutputDirectory(tmp_path / "out") as directory, pytest.raises(DiskFullError):
                export_samples(column, list(column), directory, progress=False)
            room.free()
            require_whole(repo, name)
            repo.close()

        with child(run) as process:
            process.result()


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(1, 50))])
def test_row_6_collecting_on_a_full_disk(tmp_path: Path, tag: str, seed: int) -> None:
    """Half of the values are on a deleted branch, so that their file is rewritten, for which there is no room."""
    generator = random.Random(f"gc {tag} {seed}")
    with small_file_system(tmp_path, DISK_BYTES) as mounted:

        def run(_: Connection) -> None:
            repo, name = fill(tmp_path, tag)
            repo.checkout(write=True).close()
            with repo.checkout(write=True) as writer:
                writer.commit("staged")
            writer.close()
            repo.create_branch("gone", "master")
            writer = repo.checkout(write=True, branch="gone")
            content.write(writer, name, range(SAMPLES + 20, 2 * SAMPLES))
            writer.commit("gone")
            writer.close()
            repo.checkout(write=True, branch="master").close()
            repo.remove_branch("gone", force_delete=True)
            room = Room(tmp_path, mounted)
            room.leave(generator.randrange(100_000) if mounted else generator.randrange(20_000, 100_000))
            with contextlib.suppress(DiskFullError):
                repo.gc(expire_reflog="all", progress=False)
            require_rest(repo, name)
            room.free()
            repo.gc(expire_reflog="all", progress=False)
            require_rest(repo, name)
            assert repo.gc(dry_run=True).blobs.removed == 0
            repo.close()

        with child(run) as process:
            process.result()


def require_rest(repo: Repository, name: str) -> None:
    report = repo.fsck(data=True)
    assert report.sound, report.problems
    column: Any = repo.checkout()[name]
    expected = {number: comparable(content.value(name, number)) for number in range(SAMPLES + 20)}
    assert {number: comparable(value) for number, value in column.items()} == expected
