"""Converting what a column has stored: nothing that is read changes, whatever happens meanwhile."""

from __future__ import annotations

import random
import shutil
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import (
    ColumnNotFoundError,
    InvalidInputError,
    InvalidTypeError,
    LockedError,
    Repository,
    RevisionNotFoundError,
    StorageError,
    convert,
)
from hangar.backends import registry
from hangar.backends.registry import get_backend
from hangar.blobs import moving
from tests.backends.test_registry import install
from tests.crash.world import comparable, install_toy
from tests.processes import child

Content = dict[str, Any]


@pytest.fixture(autouse=True)
def _toy() -> None:
    install_toy()


@pytest.fixture
def filled(repo: Repository) -> Repository:
    """Three commits on two branches, a renamed value here and there, and something staged."""
    writer = repo.checkout(write=True)
    images = writer.add_ndarray_column("images", (40, 30), np.uint8)
    writer.add_ndarray_column("others", (40, 30), np.uint8)
    ragged = writer.add_ndarray_column("ragged", (9, 9), np.float32, variable_shape=True)
    text = writer.add_str_column("text")
    writer.add_ndarray_column("label", (), np.int64).write(range(50), np.arange(50))
    images.write(range(1300), rows(1300, 0))
    ragged.write(range(30), [np.full((1 + i % 9, 1 + i % 4), i, np.float32) for i in range(30)])
    text.write(range(30), [f"{i} " * i for i in range(30)])
    writer.commit("one")
    repo.create_branch("side")
    images.write(range(100), rows(100, 1))
    writer["others"].write(range(20), rows(20, 0))
    writer.commit("two")
    images.delete(list(range(50, 100)))
    images[5000] = rows(1, 2)[0]
    writer.close()
    writer = repo.checkout(write=True, branch="master")
    writer.close()
    return repo


def rows(count: int, seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 8, (count, 40, 30), np.uint8)


def everything(repo: Repository) -> dict[str, Content]:
    """All that every commit and the staging area hold, with tree digests."""
    found: dict[str, Content] = {}
    for branch in repo.list_branches():
        log = repo.log(branch=branch, return_contents=True)
        assert log is not None
        for digest in log["order"]:
            found[digest] = contents(repo.checkout(commit=digest)) | {"tree": repo.commit_info(digest).tree}
    writer = repo.checkout(write=True)
    found["staged"] = contents(writer)
    writer.close()
    return found


def contents(checkout: Any) -> Content:
    return {name: {key: comparable(value) for key, value in checkout[name].items()} for name in checkout}


def blob_files(repo: Repository) -> list[str]:
    return sorted(path.name for path in (Path(repo.path) / ".hangar" / "blobs").iterdir())


def require_sound(repo: Repository) -> None:
    found = repo.fsck(data=True)
    assert found.sound, found.problems


def fresh(repo: Repository) -> Repository:
    """What another process would see."""
    repo.close()
    return Repository(repo.path)


def test_all_of_history_moves_and_reads_the_same(filled: Repository) -> None:
    before = everything(filled)
    filled = fresh(filled)
    report = filled.convert_backend("images", "toy")
    assert (report.column, report.backend, report.options) == ("images", "toy", {})
    assert (report.converted, report.nbytes, report.damaged) == (1401, 1401 * 1200, {})
    assert everything(filled) == before
    assert everything(fresh(filled)) == before
    require_sound(filled)
    # A blob belongs to no column: what others shares with it moved too, and nothing of theirs keeps the old file.
    assert filled.convert_backend("others", "toy").converted == 0


def test_where_things_lie_afterwards(filled: Repository) -> None:
    filled = fresh(filled)
    assert blob_files(filled) == ["00000001.10", "00000003.30"]
    reports = [filled.convert_backend(name, "toy") for name in ("images", "others", "ragged")]
    report = reports[-1]
    assert (report.removed_files, report.kept_files) == (1, 0)
    assert report.removed_nbytes > 1401 * 1200
    assert [name.partition(".")[2] for name in blob_files(filled)] == ["30", "toy", "toy"]
    require_sound(filled)
    filled.convert_backend("images", "10")
    filled.convert_backend("ragged", "10")
    assert not [name for name in blob_files(filled) if name.endswith("toy")]
    require_sound(filled)


def test_new_data_goes_there_too(filled: Repository) -> None:
    filled.convert_backend("text", "toy")
    writer = filled.checkout(write=True)
    assert (writer["text"].backend, writer["images"].backend) == ("toy", "10")
    writer["text"]["new"] = "new " * 50
    writer.close()
    assert filled.convert_backend("text").converted == 0
    require_sound(filled)


def test_a_second_time_does_nothing(filled: Repository) -> None:
    first = filled.convert_backend("images", "toy")
    files = blob_files(filled)
    again = filled.convert_backend("images", "toy")
    assert first.converted
    assert (again.converted, again.nbytes, again.removed_files) == (0, 0, 0)
    assert blob_files(filled) == files


def test_back_and_forth(filled: Repository) -> None:
    before = everything(filled)
    for tag in ("toy", "10", "toy", "10"):
        for name in ("images", "ragged", "text"):
            filled.convert_backend(name, "30" if (name, tag) == ("text", "10") else tag)
    filled = fresh(filled)
    assert everything(filled) == before
    require_sound(filled)
    assert sorted({name.partition(".")[2] for name in blob_files(filled)}) == ["10", "30"]


@pytest.mark.parametrize("tag", ["00", "01"])
def test_data_is_the_same_in_every_backend(filled: Repository, tag: str) -> None:
    before = everything(filled)
    assert filled.convert_backend("images", tag).converted == 1401
    assert {name.partition(".")[2] for name in blob_files(filled)} >= {tag}
    assert everything(fresh(filled)) == before
    require_sound(filled)
    assert filled.convert_backend("images", "10").converted == 1401
    assert everything(fresh(filled)) == before


def test_other_options_of_the_same_backend(filled: Repository) -> None:
    before = everything(filled)
    gzip = {"complib": "gzip", "complevel": 1}
    assert filled.convert_backend("images", "00").converted == 1401
    report = filled.convert_backend("images", "00", gzip)
    assert (report.converted, report.options) == (1401, {**gzip, "shuffle": True})
    assert filled.convert_backend("images", "00", gzip).converted == 0
    assert filled.convert_backend("images", "00", {**gzip, "complevel": 2}).converted == 1401
    assert filled.convert_backend("images", "00", {"complib": None}).converted == 1401
    assert filled.convert_backend("images", "00", {"complib": None, "complevel": 1}).converted == 0
    assert filled.convert_backend("images").converted == 0
    assert everything(fresh(filled)) == before
    require_sound(filled)
    filled.convert_backend("others", "10")
    filled.convert_backend("images", "10")
    assert not [name for name in blob_files(filled) if name.endswith("00")]


def test_to_and_from_a_backend_that_an_entry_point_alone_names(
    filled: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(filled)
    monkeypatch.setattr(registry, "_loaded", {})
    install(tmp_path / "site", "toy", "tests.backends.toy:Toy")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for name, tag in (("images", "10"), ("ragged", "00"), ("text", "30")):
        filled.convert_backend(name, "toy")
        assert everything(fresh(filled)) == before
        filled.convert_backend(name, tag)
    assert everything(fresh(filled)) == before
    require_sound(filled)


def test_few_blobs_of_many(repo: Repository) -> None:
    """Rows of the table are found under their newest place as well."""
    writer = repo.checkout(write=True)
    for name in ("a", "b"):
        writer.add_ndarray_column(name, (40, 30), np.uint8)
    writer["a"].write(range(1100), rows(1100, 0))
    writer["b"].write(range(5), rows(5, 1))
    writer.commit("one")
    writer.close()
    before = everything(repo)
    assert repo.convert_backend("b", "toy").converted == 5
    assert repo.convert_backend("b", "toy").converted == 0
    assert repo.convert_backend("a", "toy").converted == 1100
    assert repo.convert_backend("b", "10").converted == 5
    assert everything(fresh(repo)) == before
    require_sound(repo)


def test_an_empty_column_and_one_without_blobs(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("label", (), np.int64)[0] = np.array(5)
    writer.add_bytes_column("raw")
    writer.close()
    for name in ("label", "raw"):
        report = repo.convert_backend(name, "toy")
        assert (report.converted, report.removed_files) == (0, 0)
    assert repo.checkout(write=True)["raw"].backend == "toy"


def test_what_is_refused_changes_nothing(filled: Repository) -> None:
    before = blob_files(filled)
    with pytest.raises(ColumnNotFoundError, match="images, label"):
        filled.convert_backend("nope", "toy")
    with pytest.raises(InvalidInputError, match="'30' cannot hold ndarray"):
        filled.convert_backend("images", "30")
    with pytest.raises(InvalidInputError, match="no backend '99'"):
        filled.convert_backend("images", "99")
    with pytest.raises(InvalidInputError, match="need a backend"):
        filled.convert_backend("images", None, {"x": 1})
    with pytest.raises(InvalidTypeError, match="takes no options"):
        filled.convert_backend("images", "toy", {"x": 1})
    writer = filled.checkout(write=True)
    with pytest.raises(LockedError):
        filled.convert_backend("images", "toy")
    assert writer["images"].backend == "10"
    writer.close()
    assert blob_files(filled) == before


def test_another_branch(filled: Repository) -> None:
    with pytest.raises(ColumnNotFoundError, match="'side'"):
        filled.convert_backend("nope", "toy", branch="side")
    with pytest.raises(RevisionNotFoundError, match=r"no branch 'sid'.*side"):
        filled.convert_backend("images", "toy", branch="sid")
    assert filled.convert_backend("images", "toy", branch="side").converted == 1401


def test_progress_counts_every_blob(filled: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "_GATHERED_BLOBS", 100)
    told: list[tuple[int, int | None, str]] = []
    filled.convert_backend("images", "toy", progress=lambda *what: told.append(what))
    total = told[0][1]
    assert total is not None
    assert total >= 1401
    assert told[0] == (0, total, "blobs")
    assert told[-1] == (total, total, "blobs")


def test_memory_is_bounded_by_the_batch(filled: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = type(get_backend("toy").open_writer(Path(filled.path) / "x", 1, None)).write

    def watched(self: Any, payload: Any, options: Any) -> Any:
        sizes.append(payload.nbytes)
        return write(self, payload, options)

    monkeypatch.setattr("tests.backends.toy.ToyWriter.write", watched)
    monkeypatch.setattr(moving, "_BATCH_BYTES", 20_000)
    monkeypatch.setattr(moving, "_PUBLISH_BYTES", 50_000)
    filled.convert_backend("images", "toy")
    assert max(sizes) <= 20_000 + 1200
    assert len(sizes) > 80
    require_sound(filled)


class Interrupt:
    """Raises an interrupt at the n-th report of progress."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, *_: object) -> None:
        self.left -= 1
        if self.left <= 0:
            raise KeyboardInterrupt


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_BATCH_BYTES", 60_000)
    monkeypatch.setattr(moving, "_PUBLISH_BYTES", 60_000)
    monkeypatch.setattr(convert, "_GATHERED_BLOBS", 300)
    monkeypatch.setattr("hangar.progress.DRAW_SECONDS", 0.0)


@pytest.mark.usefixtures("_small_batches")
def test_an_interrupt_leaves_what_was_done(filled: Repository) -> None:
    before = everything(filled)
    with pytest.raises(KeyboardInterrupt, match="stays converted"):
        filled.convert_backend("images", "toy", progress=Interrupt(12))
    require_sound(filled)
    assert everything(filled) == before
    report = filled.convert_backend("images", "toy")
    assert 0 < report.converted < 1401
    assert everything(fresh(filled)) == before
    require_sound(filled)


@pytest.mark.usefixtures("_small_batches")
def test_old_files_go_on_the_way(filled: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of many files does not need its size twice."""
    monkeypatch.setattr(convert, "_RELEASE_BYTES", 200_000)
    monkeypatch.setattr("hangar.limits.BLOB_FILE_BYTES", 100_000)
    for name in ("ragged", "others", "images"):
        filled.convert_backend(name, "toy")
    filled = fresh(filled)
    start = len([name for name in blob_files(filled) if name.endswith(".toy")])
    assert start > 5
    sizes = []

    def look(done: int, *_: object) -> None:
        sizes.append((done, sum(name.endswith(".toy") for name in blob_files(filled))))

    filled.convert_backend("images", "10", progress=look)
    half = [files for done, files in sizes if 600 < done < 900]
    assert 0 < min(half) < start
    assert sizes[-1][1] < start
    require_sound(filled)


def test_damage_is_told_and_stays(filled: Repository) -> None:
    filled = fresh(filled)
    path = Path(filled.path) / ".hangar" / "blobs" / "00000001.10"
    data = bytearray(path.read_bytes())
    data[64 + 1200 * 7 + 5] ^= 1
    path.write_bytes(data)
    report = filled.convert_backend("images", "toy")
    assert report.converted == 1400
    assert len(report.damaged) == 1
    assert report.removed_files == 0
    assert len(filled.fsck(data=True).problems) == 1


def test_a_backend_that_does_not_give_back_what_it_got(filled: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(filled)
    monkeypatch.setattr("tests.backends.toy.zlib.decompress", lambda data: bytes(8) + bytes(100))
    with pytest.raises(StorageError, match="'toy' does not return"):
        filled.convert_backend("images", "toy")
    monkeypatch.undo()
    install_toy()
    assert everything(fresh(filled)) == before
    require_sound(filled)


# ------------------------------------------------------------------------------------------------- other processes


def read_on(path: str, talk: Connection) -> int:
    """Read all of the first commit, again and again, until told to stop; how often."""
    repo = Repository(path)
    reader = repo.checkout(branch="side")
    wanted = rows(1300, 0)
    number = 0
    generator = random.Random(0)
    while not talk.poll():
        keys = generator.sample(range(1300), 64)
        assert np.array_equal(reader["images"].read(keys), wanted[keys])
        key = generator.randrange(1300)
        assert np.array_equal(reader["images", key], wanted[key])
        assert reader["text", 7] == "7 " * 7
        number += 1
        if number == 1:
            talk.send("reads")
    return number


def test_readers_go_on(filled: Repository) -> None:
    before = everything(filled)
    filled.close()
    with (
        child(lambda talk: read_on(filled.path, talk)) as reader,
        child(lambda talk: read_on(filled.path, talk)) as other,
    ):
        assert (reader.receive(), other.receive()) == ("reads", "reads")
        for tag in ("toy", "10", "00", "10"):
            filled.convert_backend("images", tag)
            filled.convert_backend("ragged", tag)
        reader.send("stop")
        other.send("stop")
        assert reader.result() > 10
        assert other.result() > 10
    assert everything(fresh(filled)) == before
    filled.convert_backend("images", "toy")
    filled.convert_backend("ragged", "toy")
    filled.convert_backend("others", "toy")
    require_sound(filled)
    assert sum(name.endswith("10") for name in blob_files(filled)) == 0


def hold(path: str, talk: Connection) -> bool:
    reader = Repository(path).checkout(branch="side")
    assert np.array_equal(reader["images", 30], rows(1300, 0)[30])
    talk.send("open")
    talk.recv()
    return bool(np.array_equal(reader["images"].read(range(1300)), rows(1300, 0)))


def test_a_file_that_is_read_stays_until_nobody_does(filled: Repository) -> None:
    filled.convert_backend("others", "toy")
    filled.convert_backend("ragged", "toy")
    filled.close()
    with child(lambda talk: hold(filled.path, talk)) as reader:
        assert reader.receive() == "open"
        report = filled.convert_backend("images", "toy")
        assert (report.removed_files, report.kept_files) == (0, 1)
        assert "00000001.10" in blob_files(filled)
        require_sound(filled)
        filled.close()
        reader.send("read all")
        assert reader.result()
    report = filled.convert_backend("images", "toy")
    assert (report.converted, report.removed_files, report.kept_files) == (0, 1, 0)
    assert "00000001.10" not in blob_files(filled)


def convert_until_killed(path: str, tag: str, talk: Connection) -> None:
    moving._BATCH_BYTES = moving._PUBLISH_BYTES = 60_000  # type: ignore[misc]
    convert._GATHERED_BLOBS = 200  # type: ignore[misc]
    talk.send("begins")
    Repository(path).convert_backend("images", tag)


def test_killed_while_converting(filled: Repository, tmp_path: Path) -> None:
    before = everything(filled)
    filled.close()
    generator = random.Random(0)
    interrupted = 0
    for attempt, tag in enumerate(["00", "toy", "01", "00"]):
        copy = tmp_path / f"copy {attempt}"
        shutil.copytree(filled.path, copy)
        with child(lambda talk, place=copy, tag=tag: convert_until_killed(str(place), tag, talk)) as process:  # type: ignore[misc]
            assert process.receive() == "begins"
            time.sleep(generator.uniform(0.0, 0.15))
            process.kill()
            interrupted += process.wait() == signal.SIGKILL
        left = Repository(copy)
        require_sound(left)
        assert everything(left) == before
        left = fresh(left)
        left.convert_backend("images", tag)
        assert everything(left) == before
        require_sound(left)
        left.close()
        shutil.rmtree(copy)
    assert interrupted
