"""Chunked arrays from and to .npy, HDF5 and zarr, block by block."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar import Repository
from hangar.errors import InvalidInputError
from hangar.external import chunked
from hangar.external.chunked import blocks, copy_to_column, open_arrays, write_npy, write_zarr
from tests.cli.shell import Shell

zarr = pytest.importorskip("zarr")
SHAPE, CHUNKS = (13, 30, 21), (4, 8, 8)


def volume(seed: int = 0, dtype: Any = np.uint16) -> Any:
    return np.random.default_rng(seed).integers(0, 60_000, SHAPE).astype(dtype)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    found = Shell(tmp_path)
    found.ok("init", "--name", "Ada", "--email", "ada@example.com")
    with Repository(tmp_path) as repo, closing(repo.checkout(write=True)) as writer:
        writer.add_chunked_column("scan", np.uint16, CHUNKS, fill_value=3)
    return found


def scans(shell: Shell) -> Iterator[tuple[Any, Any]]:
    with Repository(shell.path) as repo, closing(repo.checkout(write=True)) as writer:
        yield from ((key, value[...]) for key, value in writer["scan"].items())


# ---------------------------------------------------------------------------------------------------- blocks


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 12)), min_size=1, max_size=4),
    st.integers(1, 8),
    st.integers(1, 5_000),
)
def test_blocks_cover_an_array_once(axes: list[tuple[int, int]], itemsize: int, most: int) -> None:
    shape, chunks = (tuple(one) for one in zip(*axes, strict=True))
    for boxes, aligned in (
        (blocks(shape, chunks, itemsize, most), True),
        (chunked._runs(shape, chunks, itemsize, most), False),
    ):
        seen = np.zeros(shape, np.uint8)
        order: list[int] = []
        for box in boxes:
            part = seen[box]
            assert part.size
            one_chunk = np.prod([min(*pair) for pair in zip(chunks, part.shape, strict=True)])
            assert part.size * itemsize <= most or (
                part.size <= one_chunk if aligned else part[0].size == part.size or True
            )
            seen[box] += 1
            if aligned:
                assert all(one.start % size == 0 for one, size in zip(box, chunks, strict=True))
            else:
                order.append(int(np.ravel_multi_index(tuple(one.start for one in box), shape)))
        assert (seen == 1).all()
        assert order == sorted(order)


@pytest.mark.parametrize("order", ["C", "F"])
def test_parts_of_npy_files(order: Any, tmp_path: Path) -> None:
    array = np.array(volume(), order=order)
    np.save(tmp_path / "a.npy", array)
    with open_arrays(str(tmp_path / "a.npy")) as found:
        (source,) = found.values()
        for part in blocks(SHAPE, CHUNKS, 2, 500):
            np.testing.assert_array_equal(source.read_part(part), array[part])


# ---------------------------------------------------------------------------------------------------- in and out


def test_files_of_all_formats_are_imported_and_exported(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    np.save(folder / "one.npy", volume(1))
    with h5py.File(folder / "two.h5", "w") as file:
        file.create_dataset("a/x", data=volume(2), chunks=(5, 5, 5), compression="gzip")
        file.create_dataset("b", data=volume(3).astype(">u2"))
    made = zarr.create_array(store=str(folder / "three.zarr"), shape=SHAPE, chunks=(6, 6, 6), dtype="uint16")
    made[...] = volume(4)
    (folder / "note.txt").write_text("no array")
    shown = shell.run("import", "scan", folder)
    assert shown.exit_code == 0, shown.output
    assert "Imported 4 samples into scan from 3 files" in shown.stdout
    assert "1 file that no plugin reads" in shown.stderr
    expected = {"one": volume(1), "two/a/x": volume(2), "two/b": volume(3), "three": volume(4)}
    found = dict(scans(shell))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
    assert "4 existed already" in shell.ok("import", "scan", folder)
    np.save(folder / "one.npy", volume(9))
    shell.fails(4, "import", "scan", folder / "one.npy", text="--overwrite")
    shell.ok("import", "scan", folder / "one.npy", "--overwrite")
    shell.ok("import", "scan", folder / "two.h5", "--dataset", "b")
    shell.fails(2, "import", "scan", folder, "--mode", "RGB", text="chunked columns")

    shell.ok("export", "scan", "-o", tmp_path / "npy")
    shell.ok("export", "scan", "-o", tmp_path / "zarr", "-f", "zarr")
    shell.fails(1, "export", "scan", "-o", tmp_path / "png", "-f", "png", text="-f npy or -f zarr")
    for key, value in (expected | {"one": volume(9)}).items():
        np.testing.assert_array_equal(np.load(tmp_path / "npy" / f"{key}.npy"), value)
        opened = zarr.open_array(store=str(tmp_path / "zarr" / f"{key}.zarr"), mode="r")
        np.testing.assert_array_equal(opened[...], value)
        assert (opened.chunks, opened.fill_value) == (CHUNKS, 3)
    # What was exported imports to the same samples.
    shell.ok("commit", "-m", "scans")
    for name in ("npy", "zarr"):
        assert "5 existed already" in shell.ok("import", "scan", tmp_path / name)


def test_nested_columns_and_integer_keys(shell: Shell, tmp_path: Path) -> None:
    with Repository(tmp_path) as repo, closing(repo.checkout(write=True)) as writer:
        nested = writer.add_chunked_column("nested", np.uint16, CHUNKS, contains_subsamples=True)
        nested["p"] = {0: volume(0), "x": volume(1)}
        writer["scan"][7] = volume(7)
        writer.commit("both")
    shell.ok("export", "nested", "-o", tmp_path / "nested")
    shell.ok("export", "scan", "-o", tmp_path / "flat")
    for column, folder in (("nested", "nested"), ("scan", "flat")):
        shell.ok("rm", column, "p" if column == "nested" else "int:7")
        shell.ok("import", column, tmp_path / folder)
    assert shell.ok("status", "-s") == ""


def test_what_does_not_fit_is_listed_and_the_rest_imported(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    np.save(folder / "a.npy", volume(1, np.float32))
    np.save(folder / "b.npy", volume(1)[0])
    np.save(folder / "c.npy", volume(1))
    data = (folder / "c.npy").read_bytes()
    (folder / "d.npy").write_bytes(data[:-1])
    (folder / "e.h5").write_bytes(b"no HDF5")
    error = shell.run("import", "scan", folder)
    assert error.exit_code == 1
    for text in ("dtype float32", "has rank 2", "truncated", "not a readable HDF5"):
        assert text in error.stderr
    assert [key for key, _ in scans(shell)] == ["c"]


def test_hdf5_cannot_make_hangar_read_other_files(shell: Shell, tmp_path: Path) -> None:
    """Row 27: external storage, virtual data sets and links are refused, and nothing of the file is imported."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = volume()
    (tmp_path / "raw").write_bytes(volume().tobytes())
    layout = h5py.VirtualLayout(shape=SHAPE, dtype="uint16")
    layout[...] = h5py.VirtualSource(str(secret), "x", shape=SHAPE)
    kinds: dict[str, Any] = {
        "external": lambda file: file.create_dataset(
            "x", SHAPE, "uint16", external=[(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
        ),
        "virtual": lambda file: file.create_virtual_dataset("x", layout),
        "link": lambda file: file.__setitem__("x", h5py.ExternalLink(str(secret), "x")),
        "soft": lambda file: file.__setitem__("x", h5py.SoftLink("/y")),
    }
    for name, make in kinds.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            make(file)
            if name == "soft":
                file["y"] = volume()
        shell.fails(1, "import", "scan", tmp_path / f"{name}.h5", "--on-error", "stop")
    assert list(scans(shell)) == []


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of 64 MB go in and out with a few megabytes, which tracemalloc sees as numpy reports them."""
    monkeypatch.setattr("hangar.external.chunked.BLOCK_BYTES", 2**20)
    monkeypatch.setattr(blocks, "__defaults__", (2**20,))
    monkeypatch.setattr(chunked._runs, "__defaults__", (2**20,))
    monkeypatch.setattr("hangar.limits.CHUNK_BUFFER_BYTES", 2**21)
    shape = (64, 1024, 1024)
    source = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.uint8, shape)
    source[...] = np.arange(64, dtype=np.uint8)[:, None, None]
    source[:, 5, :] = np.arange(1024, dtype=np.uint8)
    source.flush()
    with Repository(tmp_path, exists=False) as repo:
        repo.init("Ada", "ada@example.com")
        with closing(repo.checkout(write=True)) as writer:
            column = writer.add_chunked_column("v", np.uint8, (4, 256, 256))
            tracemalloc.start()
            with open_arrays(str(tmp_path / "big.npy")) as arrays:
                copy_to_column(column, "a", arrays["big"])
            write_npy(column["a"], tmp_path / "out.npy")
            write_zarr(column["a"], tmp_path / "out.zarr")
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 24 * 2**20
    assert (np.load(tmp_path / "out.npy", mmap_mode="r") == source).all()
    assert (zarr.open_array(store=str(tmp_path / "out.zarr"), mode="r")[3::20] == source[3::20]).all()


def test_dtypes_that_a_format_lacks(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    with Repository(tmp_path, exists=False) as repo:
        repo.init("Ada", "ada@example.com")
        with closing(repo.checkout(write=True)) as writer:
            column = writer.add_chunked_column("v", ml_dtypes.bfloat16, (4, 4))
            column["a"] = np.ones((5, 5), ml_dtypes.bfloat16)
            write_npy(column["a"], tmp_path / "a.npy")
            assert np.load(tmp_path / "a.npy").view(ml_dtypes.bfloat16)[4, 4] == 1
            with pytest.raises(InvalidInputError, match="zarr cannot hold"):
                write_zarr(column["a"], tmp_path / "a.zarr")
