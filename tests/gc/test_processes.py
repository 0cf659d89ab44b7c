"""Row 23 of the list of what must hold: garbage collection beside a writer and readers, and killed at any point."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import CorruptionError, LockedError, Repository, RevisionNotFoundError
from tests.gc.content import branch_with, everything, filled, picture, require_sound
from tests.processes import child, in_child


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A repository with two commits."""

    def make() -> None:
        repo = Repository(tmp_path, exists=False)
        repo.init("Ada", "ada@example.org")
        filled(repo)
        repo.close()

    in_child(make)
    return tmp_path


def write(path: Path, seconds: float, talk: Connection) -> int:
    """Branches come and go, with commits of their own; what is on master is acknowledged."""
    generator = random.Random(1)
    end, number = time.monotonic() + seconds, 0
    repo = Repository(path)
    while time.monotonic() < end:
        number += 1
        try:
            writer = repo.checkout(write=True, branch="master")
        except LockedError:
            time.sleep(0.002)
            continue
        writer["images"].write(range(1_000 + number, 1_020 + number), picture(1_000 + number, 20))
        writer["labels"][0] = np.int64(number)
        digest = writer.commit(f"{number}")
        writer.close()
        talk.send((number, digest))
        if generator.random() < 0.6:
            try:
                branch_with(repo, f"side{number}", number, 40)
                repo.remove_branch(f"side{number}", force_delete=True)
            except LockedError:
                continue
    repo.close()
    talk.send(None)
    return number


def collect(path: Path, seconds: float) -> int:
    """One collection after another, of all kinds."""
    generator = random.Random(2)
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        repo = Repository(path)
        try:
            repo.gc(expire_reflog=generator.choice([None, "all", "all"]))
            number += 1
        except LockedError:
            time.sleep(0.002)
        repo.close()
    return number


def read(path: Path, seconds: float, fresh: bool) -> int:
    """Read commits of master whole, with one repository for all of them, or a new one for each."""
    end, number = time.monotonic() + seconds, 0
    repo = Repository(path)
    while time.monotonic() < end:
        if fresh:
            repo.close()
            repo = Repository(path)
        reader = repo.checkout(branch="master")
        images = reader["images"]
        found = images.read([*range(5, 300)])
        assert np.array_equal(found, picture(0, 300)[5:])
        for key in (7, 100, 299):
            assert np.array_equal(images[key], picture(0, 300)[key])
        at = int(reader["labels"][0])
        if at:
            assert np.array_equal(images.read([*range(1_000 + at, 1_020 + at)]), picture(1_000 + at, 20))
        assert reader["boxes"][3][2].tolist() == np.full((3, 4), 5, np.float32).tolist()
        reader.close()
        number += 1
    repo.close()
    return number


@pytest.mark.parametrize("seconds", [6, pytest.param(120, marks=pytest.mark.nightly)])
def test_row_23_a_writer_readers_and_gc_interleaved(path: Path, seconds: float) -> None:
    with (
        child(lambda talk: write(path, seconds, talk)) as writer,
        child(lambda _: collect(path, seconds)) as collector,
        child(lambda _: read(path, seconds, fresh=True)) as one,
        child(lambda _: read(path, seconds, fresh=False)) as two,
    ):
        acknowledged = list(iter(writer.receive, None))
        assert writer.result(seconds + 120) > 3
        assert collector.result(120) > 1
        assert one.result(120) > 1
        assert two.result(120) > 1
    repo = Repository(path)
    head = repo.checkout()
    assert int(head["labels"][0]) == acknowledged[-1][0]
    log = repo.log(return_contents=True)
    assert log is not None
    assert {digest for _, digest in acknowledged} <= {*log["order"]}
    for number, digest in acknowledged[:: max(1, len(acknowledged) // 20)]:
        images = repo.checkout(commit=digest)["images"]
        assert np.array_equal(images[1_000 + number], picture(1_000 + number, 20)[0])
    repo.gc(expire_reflog="all")
    assert repo.gc(dry_run=True).commits.removed == 0
    require_sound(repo)
    repo.close()


@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=pytest.mark.nightly)])
def test_row_23_gc_killed_anywhere_leaves_every_ref_readable(path: Path, tmp_path: Path, kills: int) -> None:
    """At random moments; the crash tests have every point."""

    def leave_garbage() -> dict[str, Any]:
        repo = Repository(path)
        branch_with(repo, "kept", 1)
        repo.tag("v1", "kept")
        for seed in range(2, 5):
            branch_with(repo, f"gone{seed}", seed, 800)
            repo.remove_branch(f"gone{seed}", force_delete=True)
        found = everything(repo)
        repo.close()
        return found

    before = in_child(leave_garbage)

    def collect_once() -> float:
        start = time.monotonic()
        repo = Repository(path)
        repo.gc(expire_reflog="all")
        repo.close()
        return time.monotonic() - start

    saved = path.with_name("saved")
    shutil.copytree(path, saved)
    longest = in_child(collect_once)
    generator = random.Random(kills)
    for _ in range(kills):
        shutil.rmtree(path)
        shutil.copytree(saved, path)
        with child(lambda _: collect_once()) as process:
            time.sleep(generator.uniform(0, longest))
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

        def look() -> dict[str, Any]:
            repo = Repository(path)
            found = everything(repo)
            assert not repo.fsck(data=True).problems
            repo.gc(expire_reflog="all")
            assert everything(repo) == found
            require_sound(repo)
            assert repo.why_kept("v1").kept
            repo.close()
            return found

        assert in_child(look) == before


def test_a_removed_commit_is_never_wrong_data(path: Path) -> None:
    """A process that reads a commit while it is collected gets its samples or an error."""

    def read_on(talk: Connection) -> tuple[int, int]:
        repo = Repository(path)
        checkout = repo.checkout(branch="side")
        talk.send("open")
        right = wrong = 0
        for _ in range(40):
            for key in (10_001, 10_100, 10_299):
                try:
                    assert np.array_equal(checkout["images"][key], picture(1, 300)[key - 10_000])
                    right += 1
                except (RevisionNotFoundError, CorruptionError):
                    wrong += 1
            time.sleep(0.01)
        return right, wrong

    in_child(lambda: branch_with(Repository(path), "side", 1))
    with child(read_on) as process:
        assert process.receive() == "open"

        def forget() -> None:
            repo = Repository(path)
            repo.remove_branch("side", force_delete=True)
            repo.gc(expire_reflog="all")
            repo.close()

        in_child(forget)
        right, wrong = process.result()
    assert right + wrong == 120
