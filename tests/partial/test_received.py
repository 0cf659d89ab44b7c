"""What reads have fetched: readable at once, published a moment later, and kept however the process ends."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository, make_numpy_dataset
from hangar.blobs import BlobStore
from hangar.errors import DiskFullError, PathNotFoundError
from hangar.remote import received
from hangar.remote.transfer_blobs import FetchFiles
from tests.partial.reading import fetch_of, first_commit

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")
COUNT = 600
ROWS = np.arange(COUNT * 50).reshape(COUNT, 50)
READ = """
import os, pickle, signal, sys
import multiprocessing as mp
from hangar import Repository
repo = Repository(sys.argv[1])
co = repo.checkout(fetch_on_read=True)
rows = co["rows"]
def read():
    assert rows.read(range(300))[299, 0] == 299 * 50
def child(data):
    assert pickle.loads(data).read(range(300))[299, 0] == 299 * 50
def start(method, target, *args):
    process = mp.get_context(method).Process(target=target, args=args)
    process.start()
    process.join()
    assert process.exitcode == 0
"""
ENDS = {
    "exit": ("read()", 0),
    "sys.exit": ("read(); sys.exit(3)", 3),
    "error": ("read(); raise KeyError(1)", 1),
    "interrupt": ("read(); signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
    "close": ("read(); co.close(); os._exit(0)", 0),
    "repository": ("read(); repo.close(); os._exit(0)", 0),
    "fork": ("start('fork', read)", 0),
    "spawn": ("if __name__ == '__main__': start('spawn', child, pickle.dumps(rows))", 0),
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("origin")
    with first_commit(place) as co:
        co.add_ndarray_column("rows", (50,), np.int64).write(range(COUNT), ROWS)
    return place


def run(clone: Repository, code: str) -> int:
    """Run code in another process that has read 300 samples."""
    path = Path(clone.path)
    script = path / "script.py"
    script.write_text(READ + code, "utf-8")
    return subprocess.run([sys.executable, str(script), str(path)], stderr=subprocess.DEVNULL, check=False).returncode


def here(clone: Repository) -> int:
    report = clone.fsck(data=True)
    assert report.sound
    return COUNT - report.promised


@pytest.mark.parametrize("name", ENDS)
def test_nothing_is_lost_at_the_end_of_a_process(clone: Repository, name: str) -> None:
    code, status = ENDS[name]
    begun = time.monotonic()
    assert run(clone, code) == status
    assert here(clone) == 300
    assert time.monotonic() - begun < 30


def test_after_a_kill_the_repository_is_as_before(clone: Repository) -> None:
    code = "from hangar.remote import received; received._SECONDS = 60.0\n"
    assert run(clone, code + "read(); os.kill(os.getpid(), signal.SIGKILL)") == -signal.SIGKILL
    assert here(clone) == 0
    # That a column is complete is recorded only with its data.
    every = "rows.read(range(600)); assert not rows.contains_remote_references\n"
    assert run(clone, code + every + "os.kill(os.getpid(), signal.SIGKILL)") == -signal.SIGKILL
    assert here(clone) == COUNT
    with clone.checkout() as co:
        np.testing.assert_array_equal(co["rows"].read(range(COUNT)), ROWS)


def test_what_was_read_is_not_fetched_again(clone: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received, "_SECONDS", 60.0)
    co = clone.checkout(fetch_on_read=True)
    rows, fetch = co["rows"], fetch_of(co)
    for _ in range(3):
        np.testing.assert_array_equal(rows.read(range(50, 200)), ROWS[50:200])
        np.testing.assert_array_equal(rows[70], ROWS[70])
    assert (fetch.calls, fetch.fetched, fetch.nbytes) == (1, 150, 150 * 400)
    # A read of some that are here asks for the others.
    rows.read(range(100, 300))
    assert (fetch.calls, fetch.fetched) == (2, 250)
    # Another checkout, and objects that were pickled, find it as well.
    with clone.checkout(fetch_on_read=True) as other:
        other["rows"].read(range(50, 300))
        assert fetch_of(other).fetched == 0
    rows.read(range(300, 310))
    copy = pickle.loads(pickle.dumps(rows))
    np.testing.assert_array_equal(copy.read(range(50, 310)), ROWS[50:310])
    assert copy._session.resolve.fetched == 0
    co.close()
    assert here(clone) == 260


def test_it_is_published_without_being_asked(clone: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received, "_SECONDS", 0.2)
    co = clone.checkout(fetch_on_read=True)
    co["rows"].read(range(100))
    other = Repository(clone.path)
    end = time.monotonic() + 20
    while other.fsck().promised > COUNT - 100 and time.monotonic() < end:
        time.sleep(0.05)
    assert other.fsck(data=True).promised == COUNT - 100
    other.close()
    # The thread ends, and another one is started for what comes later.
    while any(thread.name == "hangar-publish" for thread in threading.enumerate()) and time.monotonic() < end:
        time.sleep(0.02)
    assert not [thread for thread in threading.enumerate() if thread.name == "hangar-publish"]
    co["rows"].read(range(100, 200))
    # Other commands of the repository see all of it at once.
    assert here(clone) == 200
    assert clone.evict("rows").blobs == 200
    np.testing.assert_array_equal(co["rows"].read(range(150)), ROWS[:150])
    co.close()
    assert here(clone) == 150


@pytest.mark.parametrize("times", [1, 2])
def test_a_failure_is_told_and_nothing_is_wrong(clone: Repository, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    co = clone.checkout(fetch_on_read=True)
    publish = FetchFiles.publish

    def fail(files: FetchFiles) -> None:
        raise DiskFullError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(FetchFiles, "publish", fail)
    monkeypatch.setattr(received, "_SECONDS", 0.0)
    np.testing.assert_array_equal(co["rows"].read(range(100)), ROWS[:100])
    end = time.monotonic() + 20
    while any(thread.name == "hangar-publish" for thread in threading.enumerate()) and time.monotonic() < end:
        time.sleep(0.02)
    if times == 1:
        with pytest.raises(DiskFullError):
            co.close()
        assert here(clone) == 0
        return
    with pytest.raises(DiskFullError):
        co["rows"].read(range(200, 300))
    monkeypatch.setattr(FetchFiles, "publish", publish)
    np.testing.assert_array_equal(co["rows"].read(range(300)), ROWS[:300])
    co.close()
    assert here(clone) == 300


def test_what_is_evicted_during_a_read_is_fetched_again(clone: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received, "_SECONDS", 60.0)
    clone.checkout(fetch_on_read=True)["rows"].read(range(300))
    assert clone.fsck(data=True).promised == COUNT - 300
    with Repository(clone.path) as other:
        assert other.fsck(data=True).promised == COUNT - 300  # what fsck says is so for others, too
    clone.close()
    read, left = BlobStore.read_rows_at, [True]
    evicted: list[int] = []

    def reading(self: BlobStore, *args: Any, **options: Any) -> Any:
        if left:
            left.clear()
            with Repository(clone.path) as other:
                evicted.append(other.evict("rows").blobs)
            raise PathNotFoundError("the file was removed")  # as eviction does, when nobody uses it any more
        return read(self, *args, **options)

    monkeypatch.setattr(BlobStore, "read_rows_at", reading)
    with Repository(clone.path) as repo:
        np.testing.assert_array_equal(repo.checkout(fetch_on_read=True)["rows"].read([5, 7]), ROWS[[5, 7]])
    assert evicted == [300]
    assert here(clone) == 2


def test_threads_share_a_connection_and_files(clone: Repository) -> None:
    co = clone.checkout(fetch_on_read=True)
    data = make_numpy_dataset([co["rows"]], batch_size=10, shuffle=False)
    fetch = fetch_of(co)
    failures: list[BaseException] = []

    def read(part: int) -> None:
        try:
            for at in range(part, COUNT, 40):
                np.testing.assert_array_equal(data.dataset[at : at + 10], list(ROWS[at : at + 10]))
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=read, args=(10 * part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    co.close()  # The data set goes on.
    for thread in threads:
        thread.join(60)
    assert not failures
    fetch.close()
    assert here(clone) == COUNT
    files = len(list((Path(clone.path) / ".hangar" / "blobs").iterdir()))
    assert files <= 2 + 4  # of each of two sets one, and again after the checkout was closed


def test_a_child_does_not_use_what_its_parent_has_not_published(
    clone: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(received, "_SECONDS", 60.0)
    co = clone.checkout(fetch_on_read=True)
    rows = co["rows"]
    rows.read(range(100))
    child = os.fork()
    if not child:
        found = rows.read(range(200))
        asked = fetch_of(co).fetched
        co.close()
        os._exit(0 if asked == 300 and (found == ROWS[:200]).all() else 1)  # 100 of them by its parent
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(rows.read(range(200)), ROWS[:200])
    co.close()
    assert here(clone) == 200
