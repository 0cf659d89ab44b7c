from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    repository = Repository(tmp_path, exists=False)
    repository.init("Ada", "ada@example.org")
    yield repository
    repository.close()


@pytest.fixture
def writer(repo: Repository) -> WriterCheckout:
    return repo.checkout(write=True)
