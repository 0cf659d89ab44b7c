"""A shortage of descriptors or memory is told as one, never as damage, and what can be done without is let go of.

Each test limits a forked child, never the process that runs the tests.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository, _fs, limits
from hangar.blobs import files
from hangar.errors import CorruptionError, HangarError, ResourceLimitError
from tests.processes import Child

FILES = 80


def values(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (FILES, 700), np.uint8)


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Two repositories, whose samples lie in a blob file each, closed; the tests only read them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BLOB_FILE_BYTES", 100)
        yield make_many_files(tmp_path_factory.mktemp("many"))


def make_many_files(tmp_path: Path) -> list[Path]:
    paths = []
    for seed in range(2):
        paths.append(tmp_path / f"repository-{seed}")
        paths[-1].mkdir()
        repo = Repository(paths[-1], exists=False)
        repo.init("Ada", "ada@example.org")
        writer = repo.checkout(write=True)
        column = writer.add_ndarray_column("x", (700,), np.uint8)
        with column:
            for key, value in enumerate(values(seed)):
                column.write([key], value[None])
        writer.commit("all")
        writer.close()
        repo.close()
        assert len(list((paths[-1] / ".hangar" / "blobs").iterdir())) == FILES
    return paths


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) - 1


@contextlib.contextmanager
def free_descriptors(count: int) -> Iterator[None]:
    """No more than ``count`` descriptors can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + count + 64, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for descriptor in taken[len(taken) - count :]:
            os.close(descriptor)
        del taken[len(taken) - count :]
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_open_blob_file_costs_one_descriptor(many_files: list[Path]) -> None:
    repo = Repository(many_files[0])
    column = repo.checkout().columns["x"]
    before = descriptors()
    assert np.array_equal(column.read(range(20)), values(0)[:20])
    opened = len(repo.stores.blobs.files._open)
    assert opened >= 20
    assert descriptors() - before <= opened + 3


@pytest.mark.parametrize(("limit", "repositories"), [(128, 1), (256, 2)])
def test_more_files_than_descriptors(many_files: list[Path], limit: int, repositories: int) -> None:
    def read(_: Connection) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        columns = [Repository(path).checkout().columns["x"] for path in many_files[:repositories]]
        for _turn in range(2):
            for seed, column in enumerate(columns):
                assert np.array_equal(column.read(range(FILES)), values(seed))
                assert all(np.array_equal(column[key], values(seed)[key]) for key in (0, 40, 79))
        for path in many_files[:repositories]:
            assert Repository(path).fsck(data=True).sound

    Child(read).result()


def test_files_are_let_go_of_when_descriptors_run_out(many_files: list[Path]) -> None:
    """Those of another repository too: they are the same process's."""

    def read(_: Connection) -> None:
        columns = [Repository(path).checkout().columns["x"] for path in many_files]
        columns[1].read(range(40))
        with free_descriptors(3):
            assert np.array_equal(columns[0].read(range(FILES)), values(0))
            assert np.array_equal(columns[1].read(range(FILES)), values(1))

    Child(read).result()


def test_no_descriptor_at_all_is_no_damage(many_files: list[Path]) -> None:
    def read(_: Connection) -> None:
        repo = Repository(many_files[0])
        column = repo.checkout().columns["x"]
        column[0]
        repo.fsck(data=True)
        _fs.release_caches()
        with free_descriptors(0):
            for call in (lambda: column[1], lambda: column.read([2, 3, 4]), repo.fsck, lambda: repo.fsck(data=True)):
                with pytest.raises(ResourceLimitError, match="Too many open files"):
                    call()
            with pytest.raises(ResourceLimitError, match="Too many open files"):
                Repository(many_files[1]).checkout()
        assert np.array_equal(column[1], values(0)[1])
        assert repo.fsck(data=True).sound

    Child(read).result()


def test_few_descriptors_are_enough_or_too_few_and_never_damage(many_files: list[Path]) -> None:
    def read(_: Connection) -> list[str]:
        repo = Repository(many_files[0])
        repo.fsck(data=True)  # everything is imported
        outcomes = []
        for count in range(10):
            _fs.release_caches()
            with free_descriptors(count):
                try:
                    outcomes.append("sound" if repo.fsck(data=True).sound else "damaged")
                except ResourceLimitError:
                    outcomes.append("too few")
        return outcomes

    outcomes = Child(read).result()
    assert outcomes[0] == "too few"
    assert outcomes[-1] == "sound"
    assert set(outcomes) == {"too few", "sound"}


def test_no_memory_is_no_damage(repo: Repository) -> None:
    """Whatever the limit at which memory runs out, reads and fsck never speak of damage."""
    writer = repo.checkout(write=True)
    large = np.random.default_rng(0).normal(size=(6, 512, 1024)).astype(np.float32)
    writer.add_ndarray_column("large", (512, 1024), np.float32).update(dict(enumerate(large)))
    writer.add_ndarray_column("packed", (512, 1024), np.float32, backend="01").update(dict(enumerate(large.round())))
    writer.commit("all")
    writer.close()

    def attempt(headroom: int, _: Connection) -> str:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + headroom, size + headroom))
        fresh = Repository(repo.path)
        try:
            report = fresh.fsck(data=True)
            assert report.sound, report.problems[:3]
            columns = fresh.checkout().columns
            for name in ("large", "packed"):
                columns[name].read(range(6))
        except CorruptionError as error:
            return f"damage: {error}"
        except (HangarError, MemoryError) as error:
            return type(error).__name__
        return "read"

    outcomes = [Child(partial(attempt, mib * 2**20)).result() for mib in (0, 1, 4, 16, 24, 40, 60, 90, 400)]
    assert not [outcome for outcome in outcomes if outcome.startswith("damage")], outcomes
    assert "ResourceLimitError" in outcomes
    assert outcomes[-1] == "read"


def test_the_bound_follows_from_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def bound(soft: int) -> int:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
        return files.most_open()

    assert list(map(bound, (64, 128, 256, 1024, 10**6, resource.RLIM_INFINITY))) == [16, 32, 64, 256, 256, 256]
