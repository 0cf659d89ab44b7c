"""A client written from the pages alone clones what a server serves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.remote.server import serve
from tests.compat import independent_reader, independent_remote
from tests.compat.independent_remote import Clone


@contextmanager
def served(path: Path) -> Iterator[str]:
    server, hangar, found = serve(path, channel_address="127.0.0.1:0")
    server.start()
    yield found
    server.stop(0).wait()
    hangar.close()


@pytest.mark.parametrize("compress", [False, True])
def test_it_clones_what_is_served(copied: Path, compress: bool) -> None:
    """One of everything: kinds of columns, nested ones, several branches, purged samples."""
    with served(copied) as address:
        clone = Clone(address, compress=compress)
    local = independent_reader.Repository(copied / ".hangar")
    assert clone.refs == {name: one for name, one in local.refs.items() if name.startswith(("heads/", "tags/"))}
    assert clone.head == local.write_branch
    assert len(clone.commits) > 3
    assert clone.commits.items() <= local.commits.items()


def test_large_blobs_come_in_parts(tmp_path: Path) -> None:
    array = np.arange(2_100_003, dtype="uint8").reshape(3, 700_001)
    with Repository(tmp_path, exists=False) as repository:
        repository.init("Ada", "ada@example.org")
        with closing(repository.checkout(write=True)) as writer:
            writer.add_ndarray_column("large", shape=array.shape, dtype="uint8")["a"] = array
            writer.commit("A blob of several frames")
    with served(tmp_path) as address:
        clone = Clone(address)
    (commit,) = clone.commits.values()
    assert commit.columns["large"].values["a"].data == array.tobytes()
    assert clone.frames > 4


@pytest.mark.parametrize("stored", [False, True])
def test_large_blobs_come_as_they_are_stored(tmp_path: Path, stored: bool) -> None:
    arrays = np.random.default_rng(0).integers(0, 9, (3, 1301, 1001)).cumsum(axis=-1).astype("float32")
    options = {"complib": "blosc:zstd", "shuffle": "bit"}
    with Repository(tmp_path, exists=False) as repository:
        repository.init("Ada", "ada@example.org")
        with closing(repository.checkout(write=True)) as writer:
            column = writer.add_ndarray_column(
                "large", arrays.shape[1:], arrays.dtype, backend="01", backend_options=options
            )
            column.write(range(3), arrays)
            writer.commit("Blobs of several chunks")
    with served(tmp_path) as address:
        clone = Clone(address, stored=stored)
    (commit,) = clone.commits.values()
    assert [commit.columns["large"].values[key].data for key in range(3)] == [array.tobytes() for array in arrays]
    assert bool(clone.stored_frames) == stored


def test_it_was_written_without_hangar() -> None:
    for module in (independent_remote, independent_reader):
        tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
        names: list[Any] = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert not [name for name in names if str(name).split(".")[0] == "hangar"]
