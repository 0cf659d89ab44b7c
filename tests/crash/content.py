"""A repository with something in every backend there is, and all that can be read of it.

Backends join by being registered: each gets a column of every kind of data that it holds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from hangar import Repository
from hangar.backends import get_backend, registry
from hangar.checkout import WriterCheckout
from hangar.digest import BYTES, NDARRAY, STR
from tests.crash.world import comparable, install_toy

IMAGE = (12, 15)
RAGGED = (4, 60)


def tags() -> list[str]:
    """Every backend that Hangar brings, and the one of the tests."""
    return sorted({*registry._BUILT_IN, "toy"})


def columns_of(tag: str) -> list[str]:
    """Names of the columns that a backend can have."""
    install_toy()
    backend = get_backend(tag)
    kinds = {"image": (NDARRAY, False), "ragged": (NDARRAY, True), "text": (STR, True), "raw": (BYTES, True)}
    return [f"{name}-{tag}" for name, (kind, variable) in kinds.items() if backend.holds(kind, variable=variable)]


def add_columns(writer: WriterCheckout, tag: str) -> list[str]:
    """Add the columns of a backend; their names."""
    for name in columns_of(tag):
        if name.startswith("image"):
            writer.add_ndarray_column(name, IMAGE, np.uint8, backend=tag)
        elif name.startswith("ragged"):
            writer.add_ndarray_column(name, RAGGED, np.float32, variable_shape=True, backend=tag)
        elif name.startswith("text"):
            writer.add_str_column(name, backend=tag)
        else:
            writer.add_bytes_column(name, backend=tag)
    return columns_of(tag)


def value(name: str, number: int) -> Any:
    """The value of a column with a number: unlike all others of it."""
    source = np.random.default_rng([number, len(name)])
    if name.startswith("image"):
        return source.integers(0, 256, IMAGE, np.uint8)
    if name.startswith("ragged"):
        return source.random((1 + number % RAGGED[0], 1 + number % RAGGED[1]), np.float32)
    text = random.Random(number).randbytes(40 + number % 200).hex()
    return text if name.startswith("text") else text.encode()


def write(writer: WriterCheckout, name: str, numbers: range) -> None:
    """One batch, keyed by its numbers."""
    writer[name].write(list(numbers), [value(name, number) for number in numbers])


def fill(directory: Path) -> None:
    """Two commits on two branches, and something staged: in every backend, in few rows and in runs."""
    install_toy()
    repo = Repository(directory, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    names = [name for tag in tags() for name in add_columns(writer, tag)]
    labels = writer.add_ndarray_column("label", (), np.int32)
    labels.write(range(2_000), np.arange(2_000, dtype=np.int32))
    _add_arrays(writer)
    for name in names:
        write(writer, name, range(25))
    writer.commit("one")
    repo.create_branch("side")
    for name in names:
        write(writer, name, range(20, 30))
    writer["label"].delete(list(range(50)))
    writer["photo"][3] = np.zeros((5, 5, 3), np.uint8)
    writer["volume"][0][3:9, 10:30] = 9
    writer["grid"][0].resize((200, 4))
    writer["graph"][1] = ([[3], [5]], np.array([1], np.float32), (40, 60))
    writer.commit("two")
    labels.write(range(5_000, 5_200), np.arange(200, dtype=np.int32))
    for name in names:
        write(writer, name, range(40, 50))
    writer["volume"][1][0, 0] = 7
    writer.close()
    repo.close()


def _add_arrays(writer: WriterCheckout) -> None:
    """Chunked arrays, whose chunks are blobs or inline in chunk maps, sparse ones, and encoded files."""
    source = np.random.default_rng(5)
    volume = writer.add_chunked_column("volume", np.uint8, (8, 16))
    volume.update({key: source.integers(0, 256, (40, 50), np.uint8) for key in range(3)})
    writer.add_chunked_column("grid", np.uint16, (2, 4))[0] = source.integers(0, 2**16, (600, 4), np.uint16)
    graph = writer.add_sparse_column("graph", np.float32, (40, 60))
    dense = source.random((5, 40, 60), np.float32)
    graph.write(range(5), [sparse.csr_array(np.where(one > 0.95, one, 0)) for one in dense])
    writer.add_image_column("photo", mode="RGB").write(range(8), source.integers(0, 256, (8, 9, 7), np.uint8))


def read_all(directory: Path) -> dict[str, Any]:
    """Everything: history, refs, each commit in batches and one by one, and what is staged. It takes the writer lock."""
    install_toy()
    repo = Repository(directory)
    found: dict[str, Any] = {"head": repo.head(), "branches": repo.list_branches()}
    for name in repo.list_branches():
        log = repo.log(branch=name, return_contents=True)
        found[f"log of {name}"] = log
        for digest in log["order"]:  # type: ignore[index]
            if digest not in found:
                found[digest] = dict(_read(repo.checkout(commit=digest)))
    with repo.checkout(write=True) as writer:
        found["staged"] = dict(_read(writer))
        found["status"] = writer.diff.status()
    writer.close()
    repo.close()
    return found


def _read(checkout: Any) -> Iterator[tuple[str, Any]]:
    for name in checkout:
        column = checkout[name]
        items = {key: comparable(item) for key, item in column.items()}
        yield name, items
        yield f"{name}, one by one", {key: comparable(column[key]) for key in list(items)[::7]}
        yield f"{name}, missing", (10**9 in column, len(column))
