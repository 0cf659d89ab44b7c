"""HDF5 files are laid out as the format specification says, and read by it alone; and what backend holds a column is no part of history."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

from hangar import Repository
from hangar.backends.hdf5.codecs import COMPLIBS, Encoding
from hangar.backends.hdf5.frames import Content, Frame, encode_head
from hangar.backends.hdf5.writer import DATA_START
from hangar.digest import Header
from tests.compat import independent_reader as independent
from tests.compat.content import read_by_hangar, read_independently
from tests.compat.independent_hdf5 import unpack_lzf
from tests.compat.specification import PAGE_NAMES, TABLES_OF_PAGE
from tests.compat.test_format_files import parts


def filled(path: Path, backend: str, options: dict[str, Any] | None = None) -> Repository:
    """A repository of arrays of several types, in one backend."""
    path.mkdir()
    repo = Repository(path, exists=False)
    repo.init("Ann", "ann@example.com")
    source = np.random.default_rng(0)
    writer = repo.checkout(write=True)
    small = writer.add_ndarray_column("small", shape=(28, 28), dtype="u2", backend=backend, backend_options=options)
    large = writer.add_ndarray_column("large", shape=(3, 70_001), dtype="f8", backend=backend, backend_options=options)
    small.write(range(300), np.cumsum(source.integers(0, 3, (300, 28, 28)), axis=2).astype("u2"))
    small["more"] = np.ones((28, 28), "u2")
    for key in range(3):
        large[key] = np.cumsum(source.integers(-1, 2, (3, 70_001)), axis=1) / 8
    if backend != "01":
        shapes = writer.add_ndarray_column(
            "shapes", shape=(40, 50), dtype="i4", variable_shape=True, backend=backend, backend_options=options
        )
        shapes.write(range(60), [source.integers(0, 5, (n % 40 + 1, n % 7 + 1), np.int32) for n in range(60)])
    writer.commit("filled")
    writer.close()
    return repo


@pytest.mark.parametrize("complib", list(COMPLIBS))
@pytest.mark.parametrize("tag", ["00", "01"])
def test_it_is_read_by_the_page_alone(tmp_path: Path, tag: str, complib: str | None) -> None:
    with filled(tmp_path / "repo", tag, {"complib": complib}) as repo:
        expected = read_by_hangar(repo, repo.commit_info().digest)
    found = independent.Repository(tmp_path / "repo" / ".hangar")
    (commit,) = found.commits.values()
    assert read_independently(commit.columns) == expected
    assert [file.suffix for file in (tmp_path / "repo" / ".hangar" / "blobs").iterdir()] == [f".{tag}"]


def test_the_backend_is_no_part_of_history(tmp_path: Path) -> None:
    """The same data in 00, 01 and 10 has the same tree digest."""
    trees = set()
    for tag in ("00", "01", "10"):
        with filled(tmp_path / tag, tag) as repo:
            if tag != "01":
                writer = repo.checkout(write=True)
                del writer.columns["shapes"]
                writer.commit("as 01")
                writer.close()
            assert repo.fsck(data=True).sound
            trees.add(repo.commit_info().tree)
    assert len(trees) == 1


def test_the_parts_of_a_file(tmp_path: Path) -> None:
    filled(tmp_path / "repo", "00").close()
    (path,) = (tmp_path / "repo" / ".hangar" / "blobs").iterdir()
    data = path.read_bytes()
    stated = [int(row["offset"]) for row in TABLES_OF_PAGE["spec-hdf5-parts"]]
    assert stated == [0, 4096, 5120, DATA_START]
    assert data[64:4096] == bytes(4096 - 64)
    assert data[4096:4104] == b"\x89HDF\r\n\x1a\n"
    listed = data[5120:5144]
    assert int.from_bytes(listed[16:], "little") == xxh3_64_intdigest(listed[:16])
    start, length = (int.from_bytes(listed[at : at + 8], "little") for at in (0, 8))
    frame = Frame.find(data, start, len(data))
    assert (frame.content.role, frame.length) == (3, length)


@pytest.mark.parametrize(
    ("content", "encoding", "chunks"),
    [
        (Content(0, Header(1, 7, (2,)).encode(), 2, 3, 0, 1, 12, 12), Encoding(0, 5, 0), [b"abcdefghijkl"]),
        (Content(0, Header(1, 7, (2, 3)).encode(), 2, 1, 1, 4, 4, 6), Encoding(6, 5, 1), [zlib.compress(b"abcd")] * 4),
    ],
)
def test_frames(content: Content, encoding: Encoding, chunks: list[bytes]) -> None:
    head = encode_head(content, encoding, [len(chunk) for chunk in chunks], list(map(xxh3_64_intdigest, chunks)))
    frame = head + b"".join(chunks)
    made = PAGE_NAMES["frame"](
        content.role,
        content.header,
        content.item_bytes,
        content.rows,
        encoding.codec,
        encoding.level,
        encoding.shuffle,
        chunks,
        content.axis,
        content.piece_bytes,
        content.slab_bytes,
    )
    assert made == frame
    found = Frame.find(b"x" + frame + b"y", 1, len(frame) + 2)
    assert (found.content, found.encoding, found.length) == (content, encoding, len(frame))
    rows = TABLES_OF_PAGE["spec-hdf5-frame"]
    values = [int.from_bytes(part, "little") for part, _ in parts(rows, frame)[1:]]
    kinds = [0, content.role, encoding.codec, encoding.level, encoding.shuffle, content.item_bytes, content.axis]
    sizes = [len(content.header), content.rows, content.pieces, 0, content.piece_bytes, content.slab_bytes, len(frame)]
    assert values == kinds + sizes


def test_lzf_of_the_page_is_that_of_h5py() -> None:
    from hangar.backends.hdf5 import lzf

    data = np.cumsum(np.random.default_rng(0).integers(0, 2, 100_000)).astype(np.uint8)
    packed = lzf.compress(data)
    assert packed is not None
    assert unpack_lzf(packed) == data.tobytes()
