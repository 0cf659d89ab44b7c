from __future__ import annotations

import pytest

from hangar import Repository
from hangar.checkout import ReaderCheckout
from tests.dataset.content import filled


@pytest.fixture
def reader(repo: Repository) -> ReaderCheckout:
    return filled(repo)
