from __future__ import annotations

from typing import ClassVar

from hangar.backends import get_backend
from hangar.digest import BYTES, NDARRAY, STR
from hangar.testing.backends import BackendContract


class TestMemmap(BackendContract):
    tag: ClassVar[str] = "10"


def test_holds_arrays_alone() -> None:
    backend = get_backend("10")
    assert backend.holds(NDARRAY, variable=False)
    assert backend.holds(NDARRAY, variable=True)
    assert not backend.holds(STR, variable=True)
    assert not backend.holds(BYTES, variable=True)
