"""What slices of chunked arrays read and write, and how much memory they take."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hangar.blobs import BlobWriter
from hangar.columns.chunked.table import ChunkReader, ChunkTable

if TYPE_CHECKING:
    from pathlib import Path

    from hangar import Repository
    from hangar.checkout import WriterCheckout

CHUNK_BYTES = 4 * 8 * 8 * 4


class Counted:
    """Chunks that were read and written."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.read = self.written = 0
        read_one, read_rows, begin_list = ChunkReader.read_one, ChunkReader._read_rows, BlobWriter.begin_rows

        def one(reader: ChunkReader, table: ChunkTable, row: int) -> Any:
            found = read_one(reader, table, row)
            self.read += found is not None  # else it is read in another way
            return found

        def rows(reader: ChunkReader, table: ChunkTable, digest: bytes, found: Any, out: Any) -> Any:
            self.read += len(found)
            return read_rows(reader, table, digest, found, out)

        def write(writer: BlobWriter, tag: str, header: Any, many: Any, *args: Any, **how: Any) -> None:
            self.written += len(many)
            begin_list(writer, tag, header, many, *args, **how)

        patch.setattr(ChunkReader, "read_one", one)
        patch.setattr(ChunkReader, "_read_rows", rows)
        patch.setattr(BlobWriter, "begin_rows", write)

    def since(self) -> tuple[int, int]:
        found = self.read, self.written
        self.read = self.written = 0
        return found


def test_only_the_chunks_of_a_slice(repo: Repository, writer: WriterCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    column = writer.add_chunked_column("x", np.float32, (4, 8, 8))
    column["a"] = np.random.default_rng(0).random((16, 32, 32), np.float32)
    writer.commit("array")
    array = column["a"]
    counted = Counted(monkeypatch)
    steps: list[tuple[Any, tuple[int, int]]] = [
        (lambda: array.__setitem__((slice(0, 4), slice(8, 16), slice(0, 8)), 3), (0, 1)),  # a whole chunk
        (lambda: array.__setitem__((slice(0, 8), slice(0, 32), slice(0, 8)), 4), (0, 8)),  # eight, of which one is new
        (lambda: array.__setitem__((0, 0, 0), 5), (1, 1)),
        (lambda: array.__setitem__((slice(3, 5), 31, 31), 6), (2, 2)),
        (lambda: array.resize(17, 32, 32), (0, 0)),
        (lambda: array.append(np.ones((3, 32, 32), np.float32)), (0, 16)),  # part of chunks that are not there
        (lambda: array.resize(16, 32, 30), (16, 16)),  # the last chunks along an axis are cut
        (lambda: array[2:6, 5, ::9], (8, 0)),
        (lambda: array[..., -1:0:-1, 0], (16, 0)),
    ]
    for write, expected in steps:
        write()
        assert counted.since() == expected


def test_a_slice_write_commits_few_bytes(repo: Repository, writer: WriterCheckout) -> None:
    """An array of 16,384 chunks: what one changed chunk adds to the tables, and to the files."""
    column = writer.add_chunked_column("x", np.uint8, (64,))
    column["a"] = np.random.default_rng(0).integers(0, 255, 2**20).astype(np.uint8)
    writer.commit("array")
    nodes = writer.session.nodes
    column["a"][2**19] = 1
    pending = nodes.pending_bytes
    writer.commit("one")
    assert 0 < pending <= 24 * 1024
    assert repo.gc(dry_run=True).nodes.kept < 16_384 / 30


_SCRIPT = """
import re, sys
from pathlib import Path
import numpy as np
from hangar import Repository
def most():
    # Not what getrusage tells: that counts the parent, from which this process was forked, too.
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
repo = Repository(sys.argv[1], exists=False)
repo.init("Ada", "ada@example.org")
writer = repo.checkout(write=True)
array = writer.add_chunked_column("x", np.float32, (16, 128, 128)).create("a", (int(sys.argv[2]), 512, 512))
plane = np.random.default_rng(0).integers(0, 50, (1, 512, 512)).astype(np.float32)
before = most()
with writer:
    for i in range(array.shape[0]):
        array[i] = plane + i
writer.commit("array")
assert array[-1, -1, -1] == plane[0, -1, -1] + array.shape[0] - 1
print(before, most())
"""


@pytest.mark.parametrize("planes", [256, pytest.param(2_048, marks=pytest.mark.nightly)])
def test_memory_of_an_array_written_plane_by_plane(planes: int, tmp_path: Path) -> None:
    """256 MB, nightly 2 GB, in one batch: the chunks in flight stay in memory, and no more."""
    script = [sys.executable, "-c", _SCRIPT, str(tmp_path), str(planes)]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    before, peak = map(int, done.stdout.split())
    assert peak <= 300
    assert peak - before < planes or planes > 256
