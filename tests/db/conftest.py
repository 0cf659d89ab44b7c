from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hangar.db import Database
from hangar.db.format import write_format
from hangar.lock import create_lock


def make(directory: Path, map_size: int = 2**18) -> None:
    """A closed, initialized repository directory with an empty database."""
    directory.mkdir(exist_ok=True)
    db = Database.create(directory, map_size=map_size)
    create_lock(db)
    db.close()
    write_format(directory)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / ".hangar"
    make(path)
    return path


@pytest.fixture
def db(directory: Path) -> Iterator[Database]:
    database = Database.open(directory)
    yield database
    database.close()
