from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 2**29


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where scenarios run: in memory where that is possible, since hundreds of syncs are recorded and none need be real."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES:
        with tempfile.TemporaryDirectory(dir=MEMORY, prefix="hangar-crash-") as name:
            yield Path(name)
    else:
        yield tmp_path
