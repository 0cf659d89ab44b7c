"""Many processes on one repository: rows 8, 9, 35 and 36 of the list of what must hold, and readers that are forks of the writer."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import LockedError, Repository
from hangar.db.compaction import compact_open
from hangar.db.tables import NODES
from hangar.stores import Stores
from tests.processes import child, in_child

COMMAND = "`hangar writer-lock --force-release`"
ROWS = 40


def image(number: int) -> Any:
    return np.random.default_rng(number).integers(0, 256, (28, 28), np.uint8)


def box(number: int) -> Any:
    return np.full((1 + number % 9, 4), number, np.float32)


@pytest.fixture
def path(place: Path) -> Path:
    """A repository with a column of each kind that matters here, and one commit."""

    def make() -> None:
        repo = Repository(place, exists=False)
        repo.init("Ada", "ada@example.org")
        writer = repo.checkout(write=True)
        writer.add_ndarray_column("label", shape=(), dtype=np.int64)
        writer.add_ndarray_column("image", shape=(28, 28), dtype=np.uint8)
        writer.add_str_column("text")
        writer.add_ndarray_column("boxes", (9, 4), np.float32, variable_shape=True, contains_subsamples=True)
        commit_number(writer, 0)
        writer.close()

    in_child(make)
    return place


def commit_number(writer: Any, number: int) -> str:
    """A commit that says its number in every sample."""
    with writer:
        writer["label"].write(range(ROWS), np.full(ROWS, number))
        writer["image"][number % 7] = image(number)
        writer["text"]["number"] = f"{number} " * 50
        writer["boxes"].write([(sample, sub) for sample in range(8) for sub in (0, "last")], [box(number)] * 16)
        writer["boxes"][number % 8, "only"] = box(number)
        if number:
            del writer["boxes"][(number - 1) % 8]["only"]
        writer.attributes["number"] = number
    return str(writer.commit(str(number)))


def require_whole(checkout: Any, log: Any) -> int:
    """The number of a commit, of which nothing else is seen."""
    labels = checkout["label"].read(range(ROWS))
    number = int(labels[0])
    assert (labels == number).all()
    assert checkout["text"]["number"] == f"{number} " * 50
    assert np.array_equal(checkout["image"][number % 7], image(number))
    assert checkout.attributes["number"] == number
    boxes = {sample: view.data for sample, view in checkout["boxes"].items()}
    assert list(boxes) == list(range(8))
    assert [sample for sample, box in boxes.items() if "only" in box] == [number % 8]
    assert all(
        (array == number).all() and len(array) == 1 + number % 9 for box in boxes.values() for array in box.values()
    )
    assert log["specs"][checkout.commit_hash]["commit_message"] == str(number)
    return number


# ------------------------------------------------------------------------------------------------------------- row 8


def readers_and_a_writer(path: Path, seconds: float) -> tuple[int, int]:
    """Snapshots that were read, and commits that were made."""
    end = time.monotonic() + seconds

    def read(talk: Connection) -> int:
        generator = random.Random(os.getpid())
        repo = Repository(path)
        latest = snapshots = 0
        while time.monotonic() < end:
            checkout = repo.checkout()
            log = repo.log(commit=checkout.commit_hash, return_contents=True)
            number = require_whole(checkout, log)
            assert number >= latest, "an older commit was seen after a newer one"
            # It stays what it is while others are made.
            time.sleep(generator.choice((0, 0, 0.01)))
            assert require_whole(checkout, log) == number
            latest = number
            snapshots += 1
            if generator.random() < 0.1:
                repo.close()
                repo = Repository(path)
        return snapshots

    def write(talk: Connection) -> int:
        repo = Repository(path)
        writer = repo.checkout(write=True)
        number = 0
        while time.monotonic() < end or number < 2:  # a busy machine may start this process late
            number += 1
            commit_number(writer, number)
        writer.close()
        return number

    readers = [child(read) for _ in range(8)]
    processes = [reader.__enter__() for reader in readers]
    try:
        with child(write) as writer:
            commits = writer.result(seconds + 60)
        return sum(process.result() for process in processes), commits
    finally:
        for reader in readers:
            reader.__exit__(None, None, None)


@pytest.mark.parametrize("seconds", [2.5, pytest.param(60, marks=pytest.mark.nightly)])
def test_row_8_eight_readers_beside_a_writer(path: Path, seconds: float) -> None:
    snapshots, commits = readers_and_a_writer(path, seconds)
    print(f"{snapshots} snapshots of {commits} commits")
    assert snapshots >= 8
    assert commits > 1
    assert Repository(path).verify_repo_integrity()


@pytest.mark.parametrize("rounds", [50, pytest.param(200, marks=pytest.mark.nightly)])
def test_row_8_two_writers_contend(path: Path, rounds: int) -> None:
    """In each round both begin at once; one writes, and the other is told by whom it was kept out."""

    def contend(talk: Connection) -> list[str]:
        repo = Repository(path)
        commits: list[str] = []
        for number in range(rounds):
            talk.recv()
            try:
                writer = repo.checkout(write=True)
            except LockedError as error:
                talk.send(str(error))
                continue
            talk.send(None)
            talk.recv()
            writer["label"][number] = np.array(os.getpid() * 1000 + number)
            commits.append(writer.commit(f"{os.getpid()} {number}"))
            writer.close()
            talk.send("closed")
        return commits

    named = 0
    with child(contend) as one, child(contend) as two:
        for number in range(rounds):
            pair = [one, two] if number % 2 else [two, one]
            for process in pair:
                process.send("go")
            answers = [process.receive() for process in pair]
            assert answers.count(None) == 1, answers
            winner, refusal = pair[answers.index(None)], answers[1 - answers.index(None)]
            assert COMMAND in refusal
            # Between the lock and the introduction of its holder it is "an unknown process".
            named += f"process {winner.pid} " in refusal and socket.gethostname() in refusal
            winner.send("write")
            assert winner.receive() == "closed"
        commits = {*one.result(), *two.result()}
    assert named > rounds * 0.8
    assert len(commits) == rounds
    log = Repository(path).log(return_contents=True)
    assert log is not None
    assert len(log["order"]) == rounds + 1
    assert commits < {*log["order"]}


# ------------------------------------------------------------------------------------------------------------- row 9


def hold(path: Path, talk: Connection) -> None:
    writer = Repository(path).checkout(write=True)
    writer["label"][1_000] = np.array(1)
    talk.send("holds")
    talk.recv()
    writer.close()


def test_row_9_the_writer_after_a_killed_one_has_what_it_staged(path: Path) -> None:
    repo = Repository(path)
    for _ in range(3):
        with child(lambda talk: hold(path, talk)) as holder:
            holder.receive()
            with pytest.raises(LockedError, match=rf"process {holder.pid} .*{socket.gethostname()}"):
                repo.checkout(write=True)
            assert repo.writer_lock_held
            holder.kill()
            start = time.monotonic()
            writer = repo.checkout(write=True)
            assert time.monotonic() - start < 1
            assert writer["label"][1_000] == 1
            writer.close()


def test_row_9_a_worker_that_outlives_the_killed_writer_keeps_nobody_out(path: Path) -> None:
    def parent(talk: Connection) -> None:
        writer = Repository(path).checkout(write=True)
        writer["image"][100] = image(100)
        worker = os.fork()
        if worker == 0:
            time.sleep(60)
            os._exit(0)
        talk.send(worker)
        time.sleep(60)

    with child(parent) as process:
        worker = process.receive()
        process.kill()
        repo = Repository(path)
        start = time.monotonic()
        writer = repo.checkout(write=True)
        assert time.monotonic() - start < 1
        os.kill(worker, 0)
        writer["image"][101] = image(101)
        writer.commit("beside a worker of the dead writer")
        os.kill(worker, signal.SIGKILL)
        assert np.array_equal(writer["image"][100], image(100))
        writer.close()
    assert repo.verify_repo_integrity()


def test_row_9_the_exit_of_a_worker_frees_nobodys_lock(path: Path) -> None:
    repo = Repository(path)
    writer = repo.checkout(write=True)
    column = writer["label"]

    def work() -> None:
        # A copy of the writer is none; nor does it give away, by whatever it closes, what its parent holds.
        for use in (lambda: writer.commit("no"), lambda: column[1], lambda: column.write([1], np.ones(1, np.int64))):
            with pytest.raises(LockedError, match="fork of the writer's process"):
                use()
        with pytest.raises(LockedError):
            writer.close()
        with pytest.raises(LockedError):
            Repository(path).checkout(write=True)
        repo.close()

    in_child(work)
    column[2_000] = np.array(5)

    def other(_: Connection) -> None:
        with pytest.raises(LockedError, match=rf"process {writer_pid} "):
            Repository(path).checkout(write=True)

    writer_pid = os.getpid()
    with child(other) as process:
        process.result()
    writer.commit("after the worker")
    writer.close()
    assert repo.verify_repo_integrity()


def test_row_9_deleting_the_lock_file_admits_nobody(path: Path) -> None:
    with child(lambda talk: hold(path, talk)) as holder:
        holder.receive()
        (path / ".hangar" / "lock.1").unlink()
        repo = Repository(path)
        for _ in range(2):
            with pytest.raises(LockedError, match=re.escape(COMMAND)):
                repo.checkout(write=True)
        with pytest.warns(ResourceWarning):
            assert repo.force_release_writer_lock()
        repo.checkout(write=True).close()
        # Whoever was forced out hears of it at the next access.
        holder.send("go on")
        with pytest.raises(AssertionError, match=r"LockedError.*released by force"):
            holder.result()


# ------------------------------------------------------------------------------------------------------- beside forks


def test_readers_that_are_forks_of_a_writer(path: Path) -> None:
    """Workers inherit an open repository and a checkout; the parent writes on, and neither disturbs the other."""
    repo = Repository(path)
    inherited = repo.checkout()
    first = inherited["image"].read(slice(0, None))
    writer = repo.checkout(write=True)

    def read(talk: Connection) -> int:
        seen = 0
        while not talk.poll():
            assert np.array_equal(inherited["image"].read(slice(0, None)), first)
            assert require_whole(inherited, repo.log(commit=inherited.commit_hash, return_contents=True)) == 0
            own = repo.checkout()
            assert require_whole(own, repo.log(commit=own.commit_hash, return_contents=True)) >= seen
            seen = int(own["label"][0])
        return seen

    for turn in range(2):
        with child(read) as one, child(read) as two, child(read) as three:
            for number in range(20 * turn + 1, 20 * turn + 21):
                commit_number(writer, number)
            for process in (one, two, three):
                process.send("stop")
            for process in (one, two, three):
                assert 0 <= process.result() <= 20 * turn + 20
        assert np.array_equal(inherited["image"].read(slice(0, None)), first)
    writer.close()
    assert repo.verify_repo_integrity()


# ------------------------------------------------------------------------------------------------------------ row 35


@pytest.mark.parametrize("rounds", [40, pytest.param(500, marks=pytest.mark.nightly)])
def test_row_35_two_processes_open_commit_and_close(path: Path, rounds: int) -> None:
    def work(talk: Connection) -> list[tuple[int, str]]:
        generator = random.Random(talk.recv())
        acknowledged: list[tuple[int, str]] = []
        repo: Repository | None = None
        writer: Any = None
        reader: Any = None
        for number in range(rounds):
            repo = repo or Repository(path)
            step = generator.random()
            if step < 0.6:
                deadline = time.monotonic() + 30
                while writer is None:
                    try:
                        writer = repo.checkout(write=True)
                    except LockedError:
                        assert time.monotonic() < deadline
                        time.sleep(0.001)
                key = os.getpid() * 10_000 + number
                writer["image"][key] = image(key)
                acknowledged.append((key, writer.commit(f"{key}")))
            elif step < 0.75:
                reader = repo.checkout()
                assert all(key in reader["image"] for key, _ in acknowledged)
            elif step < 0.83 and writer is None:
                # Beside the other process: it removes nothing that is named, and compacts if it is alone.
                with contextlib.suppress(LockedError):
                    repo.gc(progress=False)
                compact_open(path / ".hangar")
            if writer is not None and generator.random() < 0.8:
                writer.close()
                writer = None
            if generator.random() < 0.3:
                repo.close()
                repo = writer = reader = None
        if repo is not None:
            repo.close()
        return acknowledged

    with child(work) as one, child(work) as two:
        one.send(rounds)
        two.send(rounds + 1)
        acknowledged = one.result(300) + two.result(300)
    assert len(acknowledged) > rounds / 2
    repo = Repository(path)
    log = repo.log(return_contents=True)
    assert log is not None
    assert {digest for _, digest in acknowledged} < {*log["order"]}
    assert len(log["order"]) == len(acknowledged) + 1
    head = repo.checkout()
    for key, digest in acknowledged:
        assert np.array_equal(head["image"][key], image(key))
        assert key in repo.checkout(commit=digest)["image"]
    assert repo.verify_repo_integrity()


# ------------------------------------------------------------------------------------------------------------ row 36


def node_bytes(path: Path) -> int:
    stores = Stores(path / ".hangar")
    with stores.db.read() as transaction:
        total = sum(len(node) for _, node in transaction.scan(NODES))
    stores.close()
    return total


@pytest.mark.parametrize(("processes", "present"), [(60, 500), pytest.param(1_000, 0, marks=pytest.mark.nightly)])
def test_row_36_many_processes_each_add_one_sample(path: Path, processes: int, present: int) -> None:
    """Few processes only show it beside samples that are there already, as most of the thousand find them."""

    def fill() -> None:
        writer = Repository(path).checkout(write=True)
        writer["label"].write(range(10_000, 10_000 + present), np.arange(present))
        writer["image"].write(range(10_000, 10_000 + present), [image(number) for number in range(present)])
        writer.commit("present")
        writer.close()

    if present:
        in_child(fill)
    data = path / ".hangar" / "db" / "data.mdb"
    before, nodes = data.stat().st_size, in_child(lambda: node_bytes(path))

    def add(number: int) -> None:
        repo = Repository(path)
        writer = repo.checkout(write=True)
        writer["image"][1_000 + number] = image(number)
        writer.commit(f"{number}")
        writer.close()
        repo.close()

    for number in range(processes):
        in_child(lambda number=number: add(number))  # type: ignore[misc]
    grown, written = data.stat().st_size - before, in_child(lambda: node_bytes(path)) - nodes
    files = len(list((path / ".hangar" / "blobs").iterdir()))
    print(
        f"{processes} processes: {files} blob files, {grown:,} bytes for {written:,} of nodes, {grown / written:.2f}x"
    )
    assert files <= 10
    assert grown <= 2.5 * written
    repo = Repository(path)
    column = repo.checkout()["image"]
    assert len(column) == processes + present + 1
    assert all(np.array_equal(column[1_000 + number], image(number)) for number in range(processes))
    assert repo.verify_repo_integrity()
