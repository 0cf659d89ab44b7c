"""What is exported goes in again as it was: every dtype, rank and kind, flat and nested, of fixed and variable shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangar import Repository
from hangar.external.exporter import FolderExport
from hangar.external.importer import import_files
from hangar.external.loading import plan_import
from hangar.external.naming import find_files
from hangar.external.safe_io import OutputDirectory
from hangar.schema.dtypes import DTYPE_NAMES, as_dtype

KEYS: list[Any] = [0, 7, "7", "a", "a/b", "a.b", "x y".replace(" ", "_"), "é", "COM1", 2**64 - 1, "a" * 255]
SHAPES: list[tuple[int, ...]] = [
    (),
    (3,),
    (0,),
    (1,),
    (2, 3),
    (2, 0),
    (1, 1),
    (2, 3, 1),
    (2, 3, 2),
    (2, 3, 3),
    (2, 3, 4),
]
SHAPES += [(2, 1, 5), (0, 2, 3), (2, 2, 1, 3), (1, 0, 2, 2)]


def value_of(seed: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Any bits at all: signed zeros, infinities and every NaN among them."""
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    data = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    if dtype.kind == "b":
        data &= 1
    return data.view(dtype).reshape(shape)


def dtypes() -> list[Any]:
    found = []
    for name in DTYPE_NAMES.values():
        try:
            found.append(pytest.param(as_dtype(name), id=name))
        except Exception:  # noqa: BLE001  ml_dtypes is not installed, or an older one
            continue
    return found


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    return type(one) is type(other) and bool(one == other)


def addresses(nested: bool) -> list[Any]:
    if not nested:
        return KEYS
    return [(sample, part) for sample in (3, "s", "s/t") for part in (0, "0", "front")]


def shapes_of(dtype: Any) -> list[tuple[int, ...]]:
    """Every shape for what images hold; for other dtypes one of each rank, and one without elements."""
    return SHAPES if str(dtype) in ("bool", "uint8", "uint16") else [(), (3,), (2, 3), (2, 3, 4), (1, 0, 2, 2)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Any:
    repository = Repository(tmp_path_factory.mktemp("repository"), exists=False)
    repository.init("Ada", "ada@example.org")
    yield repository
    repository.close()


def go_round(writer: Any, name: str, again: str, folder: Path, **how: Any) -> None:
    """Out of one column into files, and into the other."""
    column, other = writer[name], writer[again]
    nested = column.contains_subsamples
    keys = [(sample, part) for sample in column for part in column[sample]] if nested else list(column)
    with OutputDirectory(folder) as directory:
        FolderExport(column, directory, **how).run(keys, progress=False)
    jobs, skipped = plan_import(find_files(folder), other.column_type)
    assert skipped == []
    report = import_files(other, jobs, progress=False)
    assert (report.samples, report.files) == (len(keys), len(keys))
    found = [(sample, part) for sample in other for part in other[sample]] if nested else list(other)
    assert set(found) == set(keys)
    for key in keys:
        assert same(
            np.asarray(other[key]) if column.column_type == "ndarray" else other[key],
            np.asarray(column[key]) if column.column_type == "ndarray" else column[key],
        ), key


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("dtype", dtypes())
def test_arrays_of_every_dtype_and_rank(repository: Any, tmp_path: Path, dtype: Any, nested: bool) -> None:
    writer = repository.checkout(write=True)
    keys = addresses(nested)
    shapes = shapes_of(dtype)
    names = [f"{name}{number}" for number in range(len(shapes)) for name in ("out", "back")]
    try:
        for number, shape in enumerate(shapes):
            for name in ("out", "back"):
                writer.add_ndarray_column(f"{name}{number}", shape=shape, dtype=dtype, contains_subsamples=nested)
        with writer:  # one write to disk for all
            for number, shape in enumerate(shapes):
                for at, key in enumerate(keys):
                    writer[f"out{number}"][key] = value_of(at, dtype, shape)
                go_round(writer, f"out{number}", f"back{number}", tmp_path / str(number))
    finally:
        for name in names:
            writer.columns.delete(name)
        writer.close()


@pytest.mark.parametrize("rank", range(5))
def test_arrays_of_variable_shape(repository: Any, tmp_path: Path, rank: int) -> None:
    writer = repository.checkout(write=True)
    try:
        for name in ("out", "back"):
            writer.add_ndarray_column(name, shape=(5,) * rank, dtype="uint8", variable_shape=rank > 0)
        for at, key in enumerate(KEYS):
            shape = tuple((at + axis) % 6 for axis in range(rank))
            writer["out"][key] = value_of(at, np.dtype(np.uint8), shape)
        go_round(writer, "out", "back", tmp_path / "files")
    finally:
        for name in ("out", "back"):
            writer.columns.delete(name)
        writer.close()


@pytest.mark.parametrize("extension", ["npy", "npz"])
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)])
def test_formats_that_hold_any_array(repository: Any, tmp_path: Path, shape: tuple[int, ...], extension: str) -> None:
    writer = repository.checkout(write=True)
    try:
        for name in ("out", "back"):
            writer.add_ndarray_column(name, shape=shape, dtype="int64")
        writer["out"]["one"] = np.full(shape, -5)
        writer["out"][2] = np.full(shape, 9)
        go_round(writer, "out", "back", tmp_path / "files", extension=extension)
    finally:
        for name in ("out", "back"):
            writer.columns.delete(name)
        writer.close()


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=20)), min_size=1, max_size=11),
    st.booleans(),
)
def test_texts_and_bytes(
    repository: Any, tmp_path_factory: pytest.TempPathFactory, texts: list[str], nested: bool
) -> None:
    folder = tmp_path_factory.mktemp("files")
    writer = repository.checkout(write=True)
    try:
        for name in ("text", "text_back"):
            writer.add_str_column(name, contains_subsamples=nested)
        for name in ("data", "data_back"):
            writer.add_bytes_column(name, contains_subsamples=nested)
        for key, text in zip(addresses(nested), texts, strict=False):
            writer["text"][key] = text
            writer["data"][key] = text.encode("utf-16")
        go_round(writer, "text", "text_back", folder / "text")
        go_round(writer, "data", "data_back", folder / "data")
    finally:
        for name in ("text", "text_back", "data", "data_back"):
            writer.columns.delete(name)
        writer.close()
