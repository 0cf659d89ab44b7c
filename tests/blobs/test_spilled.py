"""Indexes of unpublished blobs in files without a name: as those in memory, and gone without a trace."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from hangar.backends.location import Locations
from hangar.blobs import spilled, unpublished
from hangar.blobs.index import Index, Sought, sort_digests
from hangar.blobs.unpublished import UnpublishedBlobs
from hangar.errors import PathNotFoundError

RANDOM = np.random.default_rng(5)
DIGESTS = RANDOM.integers(0, 256, (4_000, 32), np.uint8)


def index(part: slice) -> Index:
    order, sought, _ = sort_digests(np.ascontiguousarray(DIGESTS[part]))
    words = np.arange(5 * 4_000, dtype=np.uint64).reshape(4_000, 5)
    return Index.build(sought, Locations(words[part][order]))


def test_they_are_found_as_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through many merges, in pieces, with digests that came twice."""
    monkeypatch.setattr(unpublished, "_SPILLED_BLOBS", 500)
    monkeypatch.setattr(spilled, "_PIECE_BLOBS", 300)
    kept, files = UnpublishedBlobs(), UnpublishedBlobs()
    files.spill_to = tmp_path
    for start in range(0, 3_900, 130):
        part = slice(max(0, start - 30), start + 130)
        kept.add(index(part))
        files.add(index(part))
    assert any(isinstance(one, spilled.SpilledIndex) for one in files.indexes)
    files.release_pages()
    sought = Sought.of(DIGESTS)
    assert np.array_equal(files.holds(sought), kept.holds(sought))
    for one in (files, kept):
        assert DIGESTS[77].tobytes() in one
        assert DIGESTS[3_999].tobytes() not in one
    found, right = files.merged(), kept.merged()
    assert isinstance(found, spilled.SpilledIndex)
    assert files.indexes == (found,)
    assert np.array_equal(found.prefixes, right.prefixes)
    assert np.array_equal(found.entries, right.entries)
    assert not list(tmp_path.iterdir())
    if sys.platform == "linux":
        gc.collect()  # what other tests left
        opened = len(os.listdir("/proc/self/fd"))
        files.clear()
        del found, one, files
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == opened  # the map needs none
        assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_a_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PathNotFoundError, match="make a file in"):
        spilled.spilled([index(slice(0, 10))], tmp_path / "none")
