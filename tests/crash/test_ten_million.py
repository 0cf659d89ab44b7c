"""Row 32 of the list of what must hold: a column of ten million samples.

Two columns, one of values that lie in the tree and one of keys on few shared blobs. Opened in a process of its own; one changed
sample committed; a hundred changes found. What each costs follows the height of the tree. The quick variant has fewer samples, and
nothing of it is looser but the memory that a tree of one level less takes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.db.tables import NODES
from hangar.diff.compare import changes
from hangar.digest import Digest
from hangar.objects.records import load_commit
from hangar.objects.store import NodeStore
from tests.processes import child

BATCH = 500_000
POOL = 200
"""Blobs that all samples of the second column share."""
WIDTH = 40
CHANGES = 100
MOST_MEMORY = 50 * 2**20
MOST_NODES = 9
MOST_READ = 2.5
"""Nodes for each key and side."""
MEGABYTE = 2**20


def pool() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (POOL, WIDTH), np.uint8)


def fill(directory: Path, form: str, count: int) -> int:
    """Make the repository; the most memory that it took beside what is mapped of files, in bytes."""
    most = 0
    repo = Repository(directory, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    if form == "inline":
        column = writer.add_ndarray_column("x", (), np.int64)
    else:
        column = writer.add_ndarray_column("x", (WIDTH,), np.uint8)
    blobs = pool()
    for start in range(0, count, BATCH):
        keys = np.arange(start, min(start + BATCH, count))
        column.write(keys.tolist(), keys * 3 if form == "inline" else blobs[keys % POOL])
        most = max(most, own_memory())
    writer.commit("all")
    writer.close()
    repo.close()
    return most


def own_memory() -> int:
    with open("/proc/self/status") as status:
        return 1024 * int(next(line for line in status if line.startswith("RssAnon")).split()[1])


OPEN = """
import sys
import numpy as np
import hangar.checkout, hangar.columns, hangar.blobs, hangar.backends.memmap, hangar.objects.store

def memory(kind):
    with open("/proc/self/status") as status:
        return 1024 * int(next(line for line in status if line.startswith(kind)).split()[1])

path, count = sys.argv[1], int(sys.argv[2])
before, own = memory("VmRSS"), memory("RssAnon")
column = hangar.Repository(path).checkout()["x"]
assert len(column) == count
opened = memory("VmRSS") - before
column[count // 3]
keys = np.random.default_rng(1).integers(0, count, 100).tolist()
assert len(column.read(keys)) == 100
print(opened, memory("RssAnon") - own)
"""


def change(writer: WriterCheckout, form: str, keys: list[int]) -> None:
    for key in keys:
        writer["x"][key] = np.array(-1 - key) if form == "inline" else pool()[(key + 1) % POOL]


def nodes_of(repo: Repository) -> int:
    with repo._open().db.read() as transaction:
        return transaction.count(NODES)


def nodes_read(repo: Repository, old: str, new: str) -> tuple[int, float]:
    """Changes between two commits, and the nodes that finding them read for each, and each side."""
    db = repo._open().db
    columns = [load_commit(db, Digest(bytes.fromhex(digest))).columns for digest in (old, new)]
    store = NodeStore(db)
    found = list(changes(store, *columns))
    assert {change.kind for change in found} == {"mutated"}
    return len(found), store.loads / (2 * CHANGES)


@pytest.mark.parametrize("form", ["inline", "shared blobs"])
@pytest.mark.parametrize("count", [200_000, pytest.param(10_000_000, marks=pytest.mark.nightly)])
def test_row_32_ten_million_samples(tmp_path: Path, form: str, count: int) -> None:
    def make(_: Connection) -> int:
        return fill(tmp_path, form, count)

    begun = time.monotonic()
    with child(make) as process:
        print(f"{form}: {process.result(1_000) // MEGABYTE} MB and {time.monotonic() - begun:.0f} s to make it")
    done = subprocess.run(
        [sys.executable, "-c", OPEN, tmp_path, str(count)], capture_output=True, text=True, check=True
    )
    opened, after = map(int, done.stdout.split())
    print(
        f"opened: {opened / MEGABYTE:.1f} MB, after 101 reads: {after / MEGABYTE:.1f} MB beside what is mapped of files"
    )
    assert max(opened, after) < MOST_MEMORY

    repo = Repository(tmp_path)
    writer = repo.checkout(write=True)
    before = nodes_of(repo)
    change(writer, form, [count // 2])
    one = writer.commit("one")
    print(f"{nodes_of(repo) - before} nodes for one changed sample")
    assert nodes_of(repo) - before <= MOST_NODES

    keys = np.random.default_rng(2).choice(count, CHANGES, replace=False).tolist()
    with writer:
        change(writer, form, keys)
    hundred = writer.commit("hundred")
    found, read = nodes_read(repo, one, hundred)
    print(f"{found} changes, {read:.2f} nodes read for each and side")
    assert found == CHANGES
    assert read <= MOST_READ
    writer.close()
    repo.close()
