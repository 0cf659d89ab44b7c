"""Imports that are killed and begun again: nothing that was finished is done again, and the result is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository
from hangar.bulk_importer import import_items
from hangar.db.tables import STAGING
from hangar.staging.imports import IMPORT, ImportRow, decode_import
from tests.bulk_importer import functions

COUNT = 400
PROGRAM = """
import sys
from hangar import Repository
from hangar.bulk_importer import import_items, running
from tests.bulk_importer import functions

path, log, count, workers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
running.PUBLISHED_SECONDS = 0.05
from hangar.bulk_importer import storing
storing.GROUP_SECONDS = 0.02
with Repository(path) as repo:
    writer = repo.checkout(write=True)
    items = {n: (log, n, 0.003) for n in range(count)}
    report = import_items(writer, "picture", items, functions.logged, workers=workers)
    print(report.resumed, report.imported, flush=True)
    writer.commit("imported")
"""


def prepare(path: Path) -> None:
    path.mkdir()
    repo = Repository(path, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("picture", functions.SHAPE, np.uint8)
    writer.close()
    repo.close()


def start(path: Path, log: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", PROGRAM, str(path), str(log), str(COUNT), "2"]
    with (log.parent / "output").open("w") as output:
        return subprocess.Popen(arguments, stdout=output, text=True, cwd=Path(__file__).parents[2])


def begun(log: Path) -> Counter[int]:
    return Counter(int(line.split()[1]) for line in log.read_text().splitlines()) if log.exists() else Counter()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def staged(path: Path) -> ImportRow | None:
    """The progress that the database has."""
    with Repository(path) as repo, repo.stores.db.read() as transaction:
        rows = [decode_import(value) for key, value in transaction.scan(STAGING) if key[:1] == IMPORT]
    return rows[0] if rows else None


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.nightly)])
def test_killed_and_resumed(tmp_path: Path, kills: int) -> None:
    killed, log = tmp_path / "killed", tmp_path / "log"
    prepare(killed)
    finished, before = 0, begun(log)
    for number in range(kills):
        process = start(killed, log)
        goal = (number + 1) * COUNT // (kills + 2)
        while (row := staged(killed)) is None or row.done < goal:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.02)
        process.kill()
        process.wait()
        row = staged(killed)
        assert row is not None
        assert goal <= row.done < COUNT
        finished = row.done
        # The workers of the killed process end by themselves.
        pids = {int(line.split()[0]) for line in log.read_text().splitlines()}
        deadline = time.monotonic() + 20
        while any(map(is_running, pids)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        before = begun(log)
        with Repository(killed) as repo:
            writer = repo.checkout(write=True)
            assert list(writer["picture"]) == list(range(finished))
            writer.close()
    process = start(killed, log)
    assert process.wait(60) == 0
    assert (tmp_path / "output").read_text().split() == [str(finished), str(COUNT - finished)]
    assert all(count == before[item] for item, count in begun(log).items() if item < finished)
    prepare(tmp_path / "undisturbed")
    with Repository(killed) as one, Repository(tmp_path / "undisturbed") as other:
        writer = other.checkout(write=True)
        writer["picture"].write(range(COUNT), [functions.picture(number) for number in range(COUNT)])
        writer.commit("undisturbed")
        writer.close()
        assert one.commit_info("master").tree == other.commit_info("master").tree
        assert one.verify_repo_integrity()


def test_progress_is_forgotten_where_staged_rows_are_lost(repo: Repository) -> None:
    """A repair that loses staged samples must not leave progress that claims them."""
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("label", (), np.uint8)
    items = {number: number for number in range(8)}
    import_items(writer, "label", items, np.uint8, workers=0)
    writer.close()

    def lose(transaction: object) -> None:
        rows = [key for key, _ in transaction.raw_rows(STAGING) if key[:1] == b"\x02"]  # type: ignore[attr-defined]
        transaction._alive().delete(rows[3], b"", transaction._tables[STAGING.number])  # type: ignore[attr-defined]

    repo.stores.db.update(lose)
    assert repo.fsck().problems
    repo.fsck(repair=True)
    writer = repo.checkout(write=True)
    assert len(writer["label"]) == 7
    report = import_items(writer, "label", items, np.uint8, workers=0)
    assert (report.resumed, report.imported, len(writer["label"])) == (0, 8, 8)


@pytest.mark.parametrize(
    "row",
    [
        ImportRow(0, [b"x" * 16], 5, 6, []),
        ImportRow(0, [], 5, 3, [2, 1]),
        ImportRow(0, [], 5, 3, [3]),
        ImportRow(0, [], 5, 3, [-1]),
    ],
)
def test_progress_that_contradicts_itself_is_refused(row: ImportRow) -> None:
    import msgspec

    with pytest.raises(RuntimeError, match="contradicts itself"):
        decode_import(msgspec.msgpack.encode(row))


def test_ctrl_c_ends_an_import_and_its_workers(tmp_path: Path, default_interrupts: None) -> None:
    path, log = tmp_path / "repo", tmp_path / "log"
    prepare(path)
    process = start(path, log)
    while len(begun(log)) < 50:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) != 0
    pids = {int(line.split()[0]) for line in log.read_text().splitlines()}
    assert not any(map(is_running, pids))
    row = staged(path)
    assert row is not None
    assert row.done > 0
