"""Repositories that are remotes of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository

Make = Callable[[str, "str | None"], Repository]


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Make]:
    """Makes a repository NAME: a clone of another by name or address, or a new one with fifty rows of forty numbers."""
    with ExitStack() as stack:

        def make(name: str, source: str | None = None) -> Repository:
            (tmp_path / name).mkdir()
            repository = stack.enter_context(Repository(tmp_path / name, exists=False))
            if source is None:
                repository.init("Ada", "ada@example.org")
                with closing(repository.checkout(write=True)) as writer:
                    rows = writer.add_ndarray_column("rows", (40,), np.int64, backend="10")
                    rows.write(range(50), np.arange(2_000).reshape(50, 40))
                    writer.commit("fifty rows")
            else:
                address = source if ":" in source else str(tmp_path / source)
                repository.clone(name.title(), f"{name}@example.org", address)
            return repository

        yield make


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Iterator[Repository]:
    """A clone, without data, of the ``origin`` of a module."""
    with Repository(tmp_path, exists=False) as repository:
        repository.clone("Bob", "bob@example.org", str(origin))
        yield repository
