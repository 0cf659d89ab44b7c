from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blobs.maker import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench.create(tmp_path / ".hangar")
    yield made
    made.close()
