"""Exports write inside their folder, whatever the keys, and never through a link (row 28 of the reliability table)."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hangar import Repository
from hangar.errors import ConflictError, HangarError, InvalidInputError
from hangar.external.exporter import FolderExport
from hangar.external.many import ManyExport
from hangar.external.safe_io import OutputDirectory

KEYS = [
    "../x",
    "/etc/x",
    "a/../../b",
    "CON",
    "con",
    "..",
    "x/" * 100 + "y",
    "\u00e9",
    "e\u0301",
    "k" * 255,
    "hangar.json",
    "a",
    "a/b",
]
SUFFIXES = {"hdf5": ".h5", "npz": ".npz", "zarr": ".zarr", "parquet": ".parquet", "csv": ".csv", "tar": ".tar"}


@pytest.fixture
def column(tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "repo"
    path.mkdir()
    repository = Repository(path, exists=False)
    repository.init("Ada", "ada@example.org")
    writer = repository.checkout(write=True)
    column = writer.add_str_column("names")
    column.update({key: key for key in KEYS})
    yield column
    writer.close()
    repository.close()


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("kind", ["folder", *SUFFIXES])
def test_hostile_keys_stay_inside(column: Any, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("zarr" if kind == "zarr" else "pyarrow")
    inside = tmp_path / "a" / "b" / "out"
    inside.mkdir(parents=True)
    before = everything(tmp_path)
    if kind == "folder":
        with OutputDirectory(inside) as directory:
            report = FolderExport(column, directory).run(list(column), progress=False)
        assert {path.read_text() for path in inside.rglob("*.txt")} == set(KEYS)
        assert len(report.files) == len(KEYS)
    else:
        ManyExport(column, inside / f"x{SUFFIXES[kind]}", kind).run(list(column), progress=False)
    assert all(inside in path.parents for path in everything(tmp_path) - before)
    if kind == "tar":
        with tarfile.open(inside / "x.tar") as archive:
            names = archive.getnames()
        assert len({name.casefold() for name in names}) == len(KEYS) + 1
        assert all(not name.startswith("/") and ".." not in name.split("/") for name in names)


@pytest.mark.parametrize("kind", SUFFIXES)
def test_links_are_not_written_through(column: Any, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("zarr" if kind == "zarr" else "pyarrow")
    target = tmp_path / "precious"
    target.write_text("kept")
    for broken in (False, True):
        path = tmp_path / f"x{broken}{SUFFIXES[kind]}"
        path.symlink_to(tmp_path / "missing" if broken else target)
        with pytest.raises((InvalidInputError, ConflictError)):
            ManyExport(column, path, kind, overwrite=True).run(list(column), progress=False)
    assert target.read_text() == "kept"
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_full_disk_leaves_no_file(column: Any, tmp_path: Path, kind: str) -> None:
    """The limit on the size of files stands for a full disk; the process is a child, so that the limit ends with it."""
    pytest.importorskip("zarr" if kind == "zarr" else "pyarrow")
    import multiprocessing

    large = column
    large.update({f"big{i}": chr(97 + i % 26) * 60_000 for i in range(20)})
    out = tmp_path / "out"
    child = multiprocessing.get_context("fork").Process(target=_export_with_limit, args=(large, out, kind))
    child.start()
    child.join(60)
    assert child.exitcode == 7
    assert [path for path in out.rglob("*") if path.is_file()] == []


def _export_with_limit(column: Any, out: Path, kind: str) -> None:
    import os
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        ManyExport(column, out / f"x{SUFFIXES[kind]}", kind).run(list(column), progress=False)
    except HangarError:
        os._exit(7)
    finally:
        os._exit(8)
