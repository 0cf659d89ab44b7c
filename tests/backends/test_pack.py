from __future__ import annotations

from typing import ClassVar

from hangar.backends import get_backend
from hangar.digest import BYTES, NDARRAY, STR
from hangar.testing.backends import BackendContract


class TestTextPack(BackendContract):
    tag: ClassVar[str] = "30"


class TestBytesPack(BackendContract):
    tag: ClassVar[str] = "31"


def test_each_holds_its_kind_alone() -> None:
    for tag, kind in (("30", STR), ("31", BYTES)):
        held = [other for other in (NDARRAY, STR, BYTES) if get_backend(tag).holds(other, variable=True)]
        assert held == [kind]
