from __future__ import annotations

import os
from pathlib import Path

from hangar import _fs, forking
from tests.processes import in_child


def test_a_child_closes_private_descriptors_and_unlocks_nothing(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    mine, other = _fs.open_file(tmp_path / "lock"), _fs.open_file(tmp_path / "lock")
    assert _fs.try_lock(forking.close_in_child(mine), shared=False)

    def is_closed() -> bool:
        try:
            os.fstat(mine)
        except OSError:
            return True
        return False

    assert in_child(is_closed)
    assert in_child(lambda: in_child(is_closed))
    assert not _fs.try_lock(other, shared=False)
    forking.close_private(mine)
    assert _fs.try_lock(other, shared=False)
    os.close(other)
