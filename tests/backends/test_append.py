"""Constructing a writer of a blob file, interrupted at each line."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hangar import _fs
from hangar.backends.append import AppendWriter
from hangar.backends.file import BlobFile
from tests.interrupts.sweep import Tracer


def is_free(path: Path) -> bool:
    """Whether nobody has a lease on the file."""
    if not path.exists():
        return True
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _fs.try_lock(descriptor, shared=False)
    finally:
        os.close(descriptor)


def interrupted_everywhere(path: Path, make: Callable[[], AppendWriter | BlobFile]) -> int:
    """Interrupt a call at each place in turn, and return their number. Nothing is printed and no lease stays."""
    said: list[Any] = []
    before = sys.unraisablehook
    sys.unraisablehook = said.append
    gc.freeze()  # else each collection looks at all modules that other tests have imported
    try:
        for at in range(1, 10_000):
            made: list[AppendWriter | BlobFile] = []
            with contextlib.suppress(KeyboardInterrupt):
                Tracer(at).run(lambda made=made: made.append(make()))  # type: ignore[misc]
            if made:
                return at
            gc.collect()
            assert not said
            assert is_free(path)
    finally:
        gc.unfreeze()
        sys.unraisablehook = before
    raise AssertionError


@pytest.mark.parametrize("end", [None, 64])
def test_an_interrupted_construction_of_a_writer(tmp_path: Path, end: int | None) -> None:
    path = tmp_path / "00000001.10"
    if end is not None:
        writer = AppendWriter(path, 1, "10", None)
        end = writer.end
        writer.close()

    def make() -> AppendWriter:
        if end is None:
            path.unlink(missing_ok=True)
        return AppendWriter(path, 1, "10", end)

    assert interrupted_everywhere(path, make) > 20


def test_an_interrupted_construction_of_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "00000001.10"
    AppendWriter(path, 1, "10", None).close()
    # Its lease may stay: a map that was just made is a bare address for one instruction.
    assert interrupted_everywhere(tmp_path / "none", lambda: BlobFile(path, 1, "10")) > 20
