"""An older database under newer files: the next writer says so, and harms nothing that the newer database names."""

from __future__ import annotations

import os
import shutil
import signal
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from hangar import Repository, RolledBackWarning, StorageError
from hangar.lockfile import highest_count, lock_epochs, lock_path, read_count, write_count
from tests.processes import child, in_child

ROWS = 400
BACKENDS = ["00", "01", "10", "31"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A repository with one commit."""

    def make() -> None:
        (tmp_path / "r").mkdir()
        with Repository(tmp_path / "r", exists=False) as repo:
            repo.init("Ann", "ann@example.org")
            writer = repo.checkout(write=True)
            for tag in BACKENDS[:3]:
                writer.add_ndarray_column(f"a{tag}", (200,), np.uint8, backend=tag)
            writer.add_bytes_column("b31", backend="31")
            writer.close()

    in_child(make)
    in_child(lambda: write(tmp_path / "r", 1))
    return tmp_path / "r"


def values(seed: int, tag: str = "31") -> npt.NDArray[np.uint8]:
    """Samples of a backend; no two backends have the same, which would be stored once."""
    return np.random.default_rng([seed, int(tag)]).integers(0, 256, (ROWS, 200), np.uint8)


def write(path: Path, seed: int, message: str | None = None) -> None:
    """Write and commit samples that belong to ``seed``, in every backend; the keys of each seed are its own."""
    keys = range(seed * ROWS, (seed + 1) * ROWS)
    with Repository(path) as repo:
        writer = repo.checkout(write=True)
        for tag in BACKENDS[:3]:
            writer[f"a{tag}"].write(keys, values(seed, tag))
        writer["b31"].write(keys, [row.tobytes() for row in values(seed)])
        writer.commit(message or f"seed {seed}")
        writer.close()


def check(path: Path, seeds: list[int]) -> None:
    """Make sure that a repository is sound, and has the samples of these seeds and no others."""
    with Repository(path) as repo:
        report = repo.fsck(data=True)
        assert report.problems == ()
        reader = repo.checkout()
        for seed in seeds:
            keys = range(seed * ROWS, (seed + 1) * ROWS)
            for tag in BACKENDS[:3]:
                assert np.array_equal(reader[f"a{tag}"].read(keys), values(seed, tag))
            assert [reader["b31"][key] for key in keys] == [row.tobytes() for row in values(seed)]
        assert len(reader["b31"]) == len(seeds) * ROWS


def database(path: Path) -> Path:
    return path / ".hangar" / "db" / "data.mdb"


def keep_database(path: Path, name: str) -> Path:
    return Path(shutil.copy(database(path), path / name))


def put_back(copy: Path, path: Path) -> None:
    """Put a copy of the database in its place, by a rename as the page on restoring says."""
    beside = database(path).with_suffix(".new")
    shutil.copy(copy, beside)
    beside.replace(database(path))


def files(path: Path) -> dict[str, bytes]:
    found = path / ".hangar"
    return {
        f"{one.parent.name}/{one.name}": one.read_bytes()
        for name in ("blobs", "runs")
        for one in (found / name).iterdir()
    }


def write_warned(path: Path, seed: int) -> None:
    with pytest.warns(RolledBackWarning, match=r"older than the files.*put the newer data\.mdb back"):
        write(path, seed)


def test_the_newer_database_finds_all_its_bytes(path: Path) -> None:
    """In the same epoch of the lock, which nothing but the publish count tells apart."""
    old = keep_database(path, "old")
    in_child(lambda: write(path, 2))
    in_child(lambda: write(path, 3))
    new, before = keep_database(path, "new"), files(path)
    put_back(old, path)
    in_child(lambda: write_warned(path, 4))
    in_child(lambda: write(path, 5))
    in_child(lambda: check(path, [1, 4, 5]))
    after = files(path)
    assert {name: after[name] for name in before} == before
    forked = keep_database(path, "forked")

    put_back(new, path)
    in_child(lambda: check(path, [1, 2, 3]))
    in_child(lambda: write_warned(path, 6))
    in_child(lambda: write(path, 7))
    in_child(lambda: check(path, [1, 2, 3, 6, 7]))

    put_back(forked, path)
    in_child(lambda: check(path, [1, 4, 5]))


def test_after_a_rollback_files_of_the_new_epoch_are_gone_on_with(path: Path) -> None:
    old = keep_database(path, "old")
    in_child(lambda: write(path, 2))
    put_back(old, path)
    in_child(lambda: write_warned(path, 4))
    made = {name for name in files(path) if "blobs" in name}
    for seed in range(5, 7):
        in_child(lambda seed=seed: write(path, seed))  # type: ignore[misc]
    assert {name for name in files(path) if "blobs" in name} == made
    in_child(lambda: check(path, [1, 4, 5, 6]))


def test_a_conversion_after_a_rollback_gives_back_no_file_that_was_there(path: Path) -> None:
    """The older database knows the files, and moves everything that it knows out of them."""
    old = keep_database(path, "old")
    in_child(lambda: write(path, 2))
    new, before = keep_database(path, "new"), files(path)
    put_back(old, path)

    def convert() -> None:
        with Repository(path) as repo:
            with pytest.warns(RolledBackWarning):
                assert repo.convert_backend("a10", "00").converted == ROWS
            repo.convert_backend("a10", "10")

    in_child(convert)
    in_child(lambda: check(path, [1]))
    after = files(path)
    assert {name: after[name] for name in before} == before
    put_back(new, path)
    in_child(lambda: check(path, [1, 2]))


def test_an_epoch_that_only_the_newer_database_knows(path: Path) -> None:
    old = keep_database(path, "old")

    def force() -> None:
        with Repository(path) as repo, pytest.warns(ResourceWarning):
            repo.force_release_writer_lock()

    in_child(force)
    in_child(lambda: write(path, 2))
    new, before = keep_database(path, "new"), files(path)
    put_back(old, path)
    in_child(lambda: write_warned(path, 4))
    assert lock_epochs(path / ".hangar") == [1, 2, 3]
    after = files(path)
    assert {name: after[name] for name in before} == before
    put_back(new, path)
    in_child(lambda: check(path, [1, 2]))


def test_a_release_by_force_keeps_the_files_too(path: Path) -> None:
    """Of a repository whose lock file was lost as well."""
    old = keep_database(path, "old")
    in_child(lambda: write(path, 2))
    new, before = keep_database(path, "new"), files(path)
    put_back(old, path)

    def force() -> None:
        with Repository(path) as repo, pytest.warns(RolledBackWarning), pytest.warns(ResourceWarning):
            repo.force_release_writer_lock()

    in_child(force)
    in_child(lambda: write(path, 4))
    after = files(path)
    assert {name: after[name] for name in before} == before
    put_back(new, path)
    in_child(lambda: check(path, [1, 2]))


def test_what_a_killed_writer_left_is_no_rollback(path: Path) -> None:
    """It goes on with the files, and removes what the other had just begun."""

    def die(talk: Connection) -> None:
        writer = Repository(path).checkout(write=True)
        column = writer["a10"]
        with column:
            column.write(range(9_000, 9_000 + ROWS), values(9))
            column.write(
                range(100_000, 500_000), np.arange(20_000_000, dtype=np.uint32).view(np.uint8).reshape(-1, 200)
            )
            talk.send(None)
            signal.pause()

    before = sorted(path.glob(".hangar/blobs/*"))
    with child(die) as process:
        process.receive()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def go_on() -> None:
        with Repository(path) as repo:
            assert "rollback" not in {note.kind for note in repo.fsck().notes}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            write(path, 2)

    in_child(go_on)
    assert sorted(path.glob(".hangar/blobs/*")) == before
    in_child(lambda: check(path, [1, 2]))


def test_fsck_names_a_rollback_and_what_is_kept_after_it(path: Path) -> None:
    old = keep_database(path, "old")
    in_child(lambda: write(path, 2))
    put_back(old, path)

    def look(kind: str, words: str) -> None:
        with Repository(path) as repo:
            report = repo.fsck()
        assert report.sound
        assert report.notes[0].kind == kind
        assert words in report.notes[0].detail

    in_child(lambda: look("rollback", "put the newer data.mdb back"))
    in_child(lambda: write_warned(path, 4))
    in_child(lambda: look("kept", "no file up to"))


def test_a_database_that_is_replaced_in_place_under_a_writer_takes_no_more_changes(path: Path) -> None:
    """As ``cp`` does it, against all advice: the writer has the same file open."""
    old = keep_database(path, "old").read_bytes()
    in_child(lambda: write(path, 2))
    new = keep_database(path, "new")

    def work() -> None:
        with Repository(path) as repo:
            writer = repo.checkout(write=True)
            writer["b31"][1] = b"x" * 100
            newest = database(path).read_bytes()
            with database(path).open("r+b") as file:
                file.write(old.ljust(len(newest), b"\0"))
            with pytest.raises(StorageError, match="nothing was changed"):
                writer["b31"][2] = b"y" * 100
            with database(path).open("r+b") as file:
                file.write(newest)
            writer.close()

    in_child(work)
    put_back(new, path)
    in_child(lambda: check(path, [1, 2]))


def test_the_count_in_the_lock_file_follows_the_database(path: Path) -> None:
    directory = path / ".hangar"
    before = highest_count(directory)
    assert before > 0
    in_child(lambda: write(path, 2))
    assert highest_count(directory) > before
    lock = lock_path(directory, 1)
    size = lock.stat().st_size
    for seed, damage in ((3, b"\xff" * 16), (4, b"")):
        data = lock.read_bytes()[:-16] + damage
        lock.write_bytes(data)
        assert read_count(directory, 1) == 0
        in_child(lambda seed=seed: write(path, seed))  # type: ignore[misc]
        assert read_count(directory, 1) > before
        assert lock.stat().st_size == size


def test_what_is_no_lock_file_counts_for_nothing(path: Path) -> None:
    directory = path / ".hangar"
    (directory / "lock.7").write_bytes(b"mine")
    write_count(directory, 7, 10**6)
    (directory / "lock.x").write_bytes(b"hangar x ")
    (directory / "lock.99999999999999999999999").write_bytes(b"hangar")
    write_count(directory, 8, 10**6)
    assert lock_epochs(directory) == [1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(path, 2)
