"""Worker processes fetch what they read: forked from a process with an open connection, and of a torch loader."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")
COUNT = 1_500
SERVER = """
import sys, time
import numpy as np
from hangar import Repository
from hangar.remote.server import serve
server, hangserver, address = serve(sys.argv[1], channel_address="localhost:0")
server.start()
co = Repository(sys.argv[1]).checkout(write=True)
co.add_ndarray_column("rows", (50,), np.int64).write(range(1500), np.arange(75_000).reshape(1500, 50))
co.commit("rows")
co.close()
print(address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A repository that another process serves: its address, and the process."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "served")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as served:
        assert served.stdout is not None
        assert served.stdin is not None
        yield served.stdout.readline().strip(), served
        served.stdin.close()


@pytest.fixture
def clone(served: tuple[str, subprocess.Popen[str]], tmp_path: Path) -> Iterator[Repository]:
    """A clone without data."""
    place = tmp_path / "clone"
    place.mkdir()
    with Repository(place, exists=False) as repo:
        repo.clone("Bob", "bob@example.org", served[0])
        yield repo


def test_forked_children_fetch(clone: Repository) -> None:
    co = clone.checkout(fetch_on_read=True)
    rows = co["rows"]
    np.testing.assert_array_equal(rows.read(range(100))[:, 0], np.arange(0, 5_000, 50))
    children = []
    for number in range(1, 4):
        child = os.fork()
        if not child:
            found = rows.read(range(100 * number, 100 * number + 100))
            co.close()
            os._exit(0 if (found[:, 0] == np.arange(5_000 * number, 5_000 * number + 5_000, 50)).all() else 1)
        children.append(child)
    end = time.monotonic() + 30
    left = set(children)
    while left and time.monotonic() < end:
        for child in list(left):
            done, status = os.waitpid(child, os.WNOHANG)
            assert status == 0
            left.discard(done)
        time.sleep(0.01)
    assert not left
    assert rows.read(range(1_000, 1_010))[9][0] == 1_009 * 50
    co.close()
    report = clone.fsck(data=True)
    assert (report.sound, report.promised) == (True, COUNT - 410)


def test_a_torch_loader_fetches_in_its_workers(clone: Repository) -> None:
    torch_data = pytest.importorskip("torch.utils.data")
    from hangar import make_torch_dataset

    co = clone.checkout(fetch_on_read=True)
    data = make_torch_dataset(co["rows"])
    co.close()
    loader = torch_data.DataLoader(data, batch_size=128, num_workers=2)
    assert sum(int(batch[:, 0].sum()) for batch in loader) == 50 * COUNT * (COUNT - 1) // 2
    report = clone.fsck(data=True)
    assert (report.sound, report.promised) == (True, 0)


EPOCH = """
import os, signal, sys, time
from hangar import Repository, make_torch_dataset
from hangar.dataset import Loader, ahead
ahead._ITEMS = 100
clone = Repository(sys.argv[1])
co = clone.checkout(fetch_on_read=True)
loader = Loader(make_torch_dataset(co["rows"]), batch_size=50, num_workers=int(sys.argv[2]))
batches = iter(loader)
for number in range(3):
    assert int(next(batches)[0, 0]) == 50 * 50 * number
os.kill(int(sys.argv[3]), signal.SIGKILL)
begun = time.monotonic()
try:
    print(sum(map(len, batches)))
except ConnectionError as error:
    assert "localhost:" in str(error), error
    assert time.monotonic() - begun < 60
    assert 150 <= loader.state_dict()["position"] < 1_500
    assert 150 <= 1_500 - clone.fsck(data=True).promised < 1_500
    print("unreachable")
"""


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.nightly), 2])
def test_a_server_that_dies_ends_an_epoch(
    clone: Repository, served: tuple[str, subprocess.Popen[str]], workers: int
) -> None:
    """What was fetched ahead is still delivered. Then the error comes, also from a worker, and nothing hangs.

    In a process of its own: this one may have threads of servers, with which gRPC may not work in forked workers.
    """
    pytest.importorskip("torch")
    arguments = [sys.executable, "-W", "ignore", "-c", EPOCH, str(clone.path), str(workers), str(served[1].pid)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout == "unreachable\n", done.stderr
