"""The memory of a server: what it has read is let go, and 8 clients that clone 1 GB each find room in 300 MB."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.backends.location import OFFSET
from hangar.blobs.index import Sought
from hangar.db.tables import NODES
from hangar.remote.blobs_out import blob_frames
from hangar.remote.peer import BlobNames
from hangar.remote.resident import Resident
from hangar.remote.wire import GRPC_LIMITS
from hangar.stores import Stores
from tests.remote.running import served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MIB = 2**20
SHAPES = {"small": (28, 28), "medium": (150_000,), "large": (4, 1024, 1024, 4)}


def memory(pid: int | str = "self") -> dict[str, int]:
    """Memory of a process in MiB: ``VmHWM`` the most, ``VmRSS`` now, of which ``RssAnon`` its own and ``RssFile`` of files."""
    text = Path(f"/proc/{pid}/status").read_text()
    return {
        name: int(kib) // 1024
        for name, kib in re.findall(r"^(VmHWM|VmRSS|RssAnon|RssFile):\s+(\d+) kB", text, re.MULTILINE)
    }


def fill(path: Path, kind: str, backend: str, nbytes: int) -> None:
    """A repository with one commit of samples that all differ."""
    shape = SHAPES[kind]
    size = int(np.prod(shape))
    count, step = nbytes // size, max(1, 2**26 // size)
    options: Any = {"complib": "blosc:lz4", "complevel": 5, "shuffle": "byte"} if backend == "00" else None
    path.mkdir()
    random = np.random.default_rng(3)
    with Repository(path, exists=False) as repository:
        repository.init("Ada", "ada@example.org")
        with closing(repository.checkout(write=True)) as writer:
            column = writer.add_ndarray_column("data", shape, np.uint8, backend=backend, backend_options=options)
            for start in range(0, count, step):
                stop = min(start + step, count)
                column.write(range(start, stop), random.integers(0, 64, (stop - start, *shape), np.uint8))
            writer.commit("All")


def test_pages_that_were_read_are_let_go(tmp_path: Path) -> None:
    """Blob files, runs and the database stay open, and are read again."""
    fill(tmp_path / "r", "small", "10", 40 * MIB)
    stores = Stores(tmp_path / "r" / ".hangar")
    # Every second one: neighbours are read from the file, and not from its map.
    found = np.concatenate([run.index.digests() for run in stores.blobs.locator.runs()])
    located = stores.blobs.locator.locate_published(Sought.of(found))
    digests = np.ascontiguousarray(found[np.argsort(located.words[:, OFFSET])][::2]).tobytes()
    resident = Resident(stores, most=1)

    def read() -> list[bytes]:
        frames = blob_frames(stores.blobs, BlobNames(digests), GRPC_LIMITS)
        return [hashlib.sha256(frame.data).digest() for frame in frames]

    before = memory()["RssFile"]
    first = read()
    most = memory()["RssFile"]
    resident.relieve()
    after = memory()["RssFile"]
    assert most - before >= 40
    assert most - after >= 40
    assert read() == first
    with stores.db.read() as transaction:
        assert transaction.count(NODES) > 100
    resident.close()
    resident.relieve()  # does nothing any more
    assert memory()["RssFile"] > after
    stores.close()


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("backend", ["10", "00"])
@pytest.mark.parametrize("kind", list(SHAPES))
def test_eight_clients_clone_a_gigabyte_each(tmp_path: Path, kind: str, backend: str) -> None:
    fill(tmp_path / "r", kind, backend, 10**9)
    with served(tmp_path / "r") as (process, port):
        clients = []
        for number in range(8):
            words = [
                "clone",
                "--data",
                "--name",
                "Bob",
                "--email",
                "bob@example.org",
                f"127.0.0.1:{port}",
                f"c{number}",
            ]
            clients.append(subprocess.Popen([sys.executable, "-m", "hangar", *words], cwd=tmp_path))
        anonymous = 0
        while any(client.poll() is None for client in clients):
            anonymous = max(anonymous, memory(process.pid)["RssAnon"])
            time.sleep(0.1)
        assert [client.returncode for client in clients] == [0] * 8
        most = memory(process.pid)["VmHWM"]
    print(f"{kind} {backend}: {most} MiB, {anonymous} of them anonymous")
    assert most * MIB < 300 * 10**6
