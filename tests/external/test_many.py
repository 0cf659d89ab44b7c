"""Columns to one file and back: keys, dtypes, shapes and attributes keep, in every format that can hold them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.errors import ConflictError, HangarError, InvalidInputError
from hangar.external import load
from hangar.external.importer import ImportReport
from hangar.external.loading import Job
from hangar.external.manager import manager
from hangar.external.many import ManyExport
from hangar.external.naming import Source
from hangar.external.run import FilesImport

ATTRIBUTES: dict[str, Any] = {"units": "mm", "raw": b"\0\1", "map": {"list": [1, 2.5, True]}}
KEYS = [3, "a", "b/c", "5", "c.d", "é"]
FORMATS = {"hdf5": ".h5", "npz": ".npz", "zarr": ".zarr", "parquet": ".parquet", "csv": ".csv", "tar": ".tar"}
REFUSED = {
    "parquet": {"shapes complex64", "shapes bfloat16", "empty"},
    "csv": {"bytes", "images uint8", "images bool", "images bfloat16", "images complex64", "empty", "nested complex64"}
    | {f"{what} {dtype}" for what in ("numbers", "vectors", "shapes") for dtype in ("complex64", "bfloat16")}
    | {f"shapes {dtype}" for dtype in ("uint8", "bool")}
    | {"nested bfloat16"},
}
"""What a format cannot hold, and says so."""


def values(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    made: np.ndarray[Any, Any] = (rng.random(shape) * 200).astype(np.dtype(dtype))
    return made


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("many")
    pytest.importorskip("ml_dtypes")
    repository = Repository(path, exists=False)
    repository.init("Ada", "ada@example.org")
    writer: Any = repository.checkout(write=True)
    for dtype in ("uint8", "bool", "complex64", "bfloat16"):
        for what, shape in {
            "numbers": (),
            "vectors": (3,),
            "images": (3, 4),
            "shapes": (4, 5),
            "nested": (2,),
        }.items():
            variable, nested = what == "shapes", what == "nested"
            column = writer.add_ndarray_column(
                f"{what}-{dtype}", shape, dtype, variable_shape=variable, contains_subsamples=nested
            )
            for i, key in enumerate(KEYS):
                array = values(tuple(extent - i % 3 for extent in shape) if variable else shape, dtype, i)
                column[key] = {0: array, "x.y": array} if nested else array
    writer.add_ndarray_column("empty", (0, 3), "float32")["a"] = np.zeros((0, 3), "float32")
    writer.add_ndarray_column("none", (2,), "float32")
    writer.add_str_column("str").update({"a": 'x\ny,"q"é', 5: "", "5": "int:7"})
    writer.add_bytes_column("bytes").update({"a": b"\0\1\2", 5: b""})
    nested_texts = writer.add_str_column("texts", contains_subsamples=True)
    nested_texts.update({"s": {"a": "1", 2: "2"}, "t/u": {"a.b": "3"}})
    for column in writer.columns.values():
        column.attributes.update(ATTRIBUTES)
    yield writer
    writer.close()
    repository.close()


def all_keys(column: Any) -> list[Any]:
    if column.contains_subsamples:
        return [(sample, subsample) for sample in column for subsample in column[sample]]
    return list(column)


def twin(writer: Any, column: Any) -> Any:
    """An empty column of the same schema."""
    name = f"twin-{column.column}"
    if name in writer.columns:
        writer.columns.delete(name)
    if column.column_type != "ndarray":
        return getattr(writer, f"add_{column.column_type}_column")(name, column.contains_subsamples)
    variable = column.schema_type == "variable_shape"
    return writer.add_ndarray_column(name, column.shape, column.dtype, None, variable, column.contains_subsamples)


def bring_in(column: Any, path: Path, plugin: str | None = None, **options: Any) -> ImportReport:
    found = manager.find("load", plugin, None if plugin else path.suffix)
    jobs = [Job(Source(str(path), path.name), found)]
    return FilesImport(column, jobs, options=options, keep_going=True).run(progress=False)


@pytest.mark.parametrize("kind", FORMATS)
def test_round_trip(writer: Any, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("zarr" if kind == "zarr" else "pyarrow")
    refused = set()
    for column in [one for one in writer.columns.values() if not one.column.startswith("twin-")]:
        path = tmp_path / f"{column.column}{FORMATS[kind]}"
        keys = all_keys(column)
        try:
            done = ManyExport(column, path, kind).run(keys, progress=False)
        except InvalidInputError:
            refused.add(column.column.replace("-", " "))
            assert not path.exists()
            continue
        assert (done.samples, done.files) == (len(keys), (path,))
        back = twin(writer, column)
        plugin = "tar" if kind == "tar" else None
        report = bring_in(back, path, plugin)
        assert report.failures == ()
        assert (report.samples, report.files) == (len(keys), 1)
        assert all_keys(back) == keys
        for key in keys:
            one, other = column[key], back[key]
            if isinstance(one, np.ndarray):
                assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
            else:
                assert one == other
        if kind != "csv":
            assert dict(back.attributes) == dict(sorted(ATTRIBUTES.items()))
        assert bring_in(back, path, plugin).unchanged == len(keys)
    assert refused == REFUSED.get(kind, set())
    assert list(tmp_path.glob(".hangar-*")) == []


def test_a_file_that_exists_stays_unless_told(writer: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.npz"
    path.write_bytes(b"precious")
    with pytest.raises(ConflictError, match="exists already"):
        ManyExport(writer["str"], path, "npz")
    ManyExport(writer["str"], path, "npz", overwrite=True).run(["a"], progress=False)
    with np.load(path) as archive:
        assert bytes(archive["data"]).decode() == writer["str"]["a"]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_that_fails_leaves_nothing(
    writer: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "zarr":
        pytest.importorskip("zarr")
    column = writer["numbers-uint8"]
    monkeypatch.setattr("hangar.external.many.BATCH_BYTES", 1)
    read, calls = type(column).read, []

    def breaks(self: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return read(self, *arguments, **options)

    monkeypatch.setattr(type(column), "read", breaks)
    with pytest.raises(HangarError, match="No space left"):
        ManyExport(column, tmp_path / f"x{FORMATS[kind]}", kind).run(list(column), progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_shards_are_tars_that_webdataset_reads(writer: Any, tmp_path: Path) -> None:
    column = writer["images-uint8"]
    done = ManyExport(column, tmp_path / "shards", "tar", {"shard_samples": 4}).run(list(column), progress=False)
    assert [path.name for path in done.files] == ["images-uint8-000000.tar", "images-uint8-000001.tar"]
    with tarfile.open(done.files[0]) as archive:
        names = archive.getnames()
    assert names == ["hangar.json", "3.png", "5.png", "a.png", "b/c.png"]
    back = twin(writer, column)
    jobs = [Job(Source(str(path), path.name), manager.find("load", "tar")) for path in done.files]
    assert FilesImport(back, jobs).run(progress=False).samples == len(KEYS)
    assert list(back) == list(column)
    webdataset = pytest.importorskip("webdataset")
    read = webdataset.WebDataset(str(done.files[0]), shardshuffle=False, empty_check=False).decode("l8")
    found = {one["__key__"]: one["png"] for one in read if "png" in one}
    assert sorted(found) == ["3", "5", "a", "b/c"]
    np.testing.assert_array_equal(found["a"], column["a"])


def test_image_files_go_through_archives_unchanged(writer: Any, tmp_path: Path) -> None:
    """scikit-learn's photographs, as JPEG files."""
    import sklearn

    folder = Path(sklearn.__file__).parent / "datasets" / "images"
    files = {path.stem: path for path in sorted(folder.glob("*.jpg"))}
    assert len(files) == 2
    column, back = writer.add_image_column("twin-photos"), writer.add_image_column("twin-photos-back")
    for key, path in files.items():
        column[key] = path
    ManyExport(column, tmp_path / "x.tar", "tar").run(list(column), progress=False)
    report = bring_in(back, tmp_path / "x.tar")
    assert (report.failures, report.samples) == ((), len(files))
    assert {key: back.encoded(key) for key in back} == {key: path.read_bytes() for key, path in files.items()}
    with pytest.raises(InvalidInputError, match="to a folder, or with -f tar"):
        ManyExport(column, tmp_path / "x.h5", "hdf5")
    for name in ("twin-photos", "twin-photos-back"):
        writer.columns.delete(name)


def test_rows_of_foreign_files(writer: Any, tmp_path: Path) -> None:
    import h5py

    rows = values((5, 3), "float64", 1)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["group/data"] = rows
        file["names"] = ["one", "two", "three", "four", "five"]
    np.savez(tmp_path / "x.npz", rows=rows, other=rows[:2])
    column = writer.add_ndarray_column("twin-rows", (3,), "float64")
    report = bring_in(column, tmp_path / "x.h5", dataset="group/data", rows=True)
    assert report.samples == 5
    np.testing.assert_array_equal(column.read(range(5)), rows)
    assert bring_in(column, tmp_path / "x.h5", dataset="group/data", keys="names").samples == 5
    np.testing.assert_array_equal(column["three"], rows[2])
    assert bring_in(column, tmp_path / "x.npz", dataset="rows", rows=True).unchanged == 5
    failed = bring_in(column, tmp_path / "x.h5").failures
    assert [failure.sample for failure in failed] == ["group/data", "names"]
    writer.columns.delete("twin-rows")


def test_one_value_of_python(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.arange(3), b=np.arange(2))
    assert {name: value.tolist() for value, name in load(tmp_path / "x.npz")} == {"x/a": [0, 1, 2], "x/b": [0, 1]}
