"""Row 34 of the list of what must hold: a batch of 1,000 samples and a commit cost at most four syncs, and those of LMDB.

They are counted where the process asks for them, and, where ``strace`` is there and may trace, by what the kernel is asked for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hangar import Repository, _fs
from hangar.checkout import WriterCheckout
from tests.crash import content
from tests.crash.world import install_toy

MOST = 4
LMDB_COMMITS = 2
"""Of the batch, and of the commit."""
SYNCS_OF_A_COMMIT = 2
"""The pages; and the meta page, where it is not written through."""
NAMES = [name for tag in content.tags() for name in content.columns_of(tag)]


def begin(directory: Path, name: str) -> WriterCheckout:
    """A writer whose column has no file yet, in a repository with two commits."""
    install_toy()
    repo = Repository(directory, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    content.add_columns(writer, name.partition("-")[2])
    for turn in range(2):
        writer.add_str_column(f"label-{turn}")[0] = "one"
        writer.commit(f"commit {turn}")
    return writer


def add_and_commit(writer: WriterCheckout, name: str, turn: int) -> None:
    content.write(writer, name, range(turn * 1_000, turn * 1_000 + 1_000))
    writer.commit(f"batch {turn}")


class Counter:
    """Syncs of this process: ours, and commits of the database."""

    def __init__(self) -> None:
        self.ours: list[str] = []
        self.commits = 0

    def point(self, name: str) -> None:
        pass

    def synced_file(self, path: str) -> None:
        self.commits += os.path.basename(path) == "data.mdb"

    def synced_directory(self, path: str) -> None:
        pass


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    found = Counter()
    for call in ("fsync", "fdatasync", "sync"):
        real = getattr(os, call)

        def counted(*arguments: int, call: str = call, real: object = real) -> None:
            found.ours.append(call)
            real(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(os, call, counted)
    monkeypatch.setattr(_fs, "observer", found)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_row_34_syncs_of_a_batch_and_a_commit(tmp_path: Path, counter: Counter, name: str) -> None:
    writer = begin(tmp_path, name)
    for turn in range(3):
        counter.ours.clear()
        counter.commits = 0
        add_and_commit(writer, name, turn)
        assert counter.commits == LMDB_COMMITS
        assert 1 <= len(counter.ours) <= MOST
    writer.close()


SCRIPT = """
import os, sys
from pathlib import Path
from tests.crash import test_syncs as t
for number, name in enumerate(t.NAMES):
    place = Path(sys.argv[1]) / str(number)
    place.mkdir()
    writer = t.begin(place, name)
    for turn in range(2):
        os.access(f"/begin {name}", os.F_OK)
        t.add_and_commit(writer, name, turn)
        os.access(f"/end {name}", os.F_OK)
    writer.close()
"""


def test_row_34_as_the_kernel_sees_it(tmp_path: Path) -> None:
    calls = traced(tmp_path)
    if calls is None:
        return  # not to be had here: the test above counts the same
    ours: list[str] | None = None
    database = batches = 0
    for call in calls:
        if "/begin " in call:
            ours, database = [], 0
        elif "/end " in call:
            assert ours is not None
            assert 1 <= len(ours) <= MOST, ours
            assert 1 <= database <= LMDB_COMMITS * SYNCS_OF_A_COMMIT
            ours, batches = None, batches + 1
        elif ours is not None:
            if "data.mdb" in call:
                database += 1
            else:
                ours.append(call)
    assert batches == 2 * len(NAMES)


def traced(directory: Path) -> list[str] | None:
    """Lines of ``strace`` for syncs and marks of the script; None where it cannot be used."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    kinds = "trace=fsync,fdatasync,msync,sync,syncfs,sync_file_range,access,faccessat,faccessat2"
    output = directory / "calls"
    if subprocess.run([strace, "-o", output, "-e", kinds, "true"], capture_output=True, check=False).returncode:
        return None
    command: list[str | Path] = [strace, "-f", "-y", "-o", output, "-e", kinds, sys.executable, "-c", SCRIPT, directory]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    # Calls of several threads are in two lines: the begun one counts.
    return [line for line in output.read_text().splitlines() if re.search(r"sync\w*\(|/begin |/end ", line)]
