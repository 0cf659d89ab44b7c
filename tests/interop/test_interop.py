"""Columns in other libraries and their data in columns, with the real packages."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from hangar import Repository
from hangar.checkout import ReaderCheckout, WriterCheckout
from hangar.interop import from_arrow, from_huggingface, from_pandas, from_torch, to_arrow, to_pandas, to_xarray
from tests.bulk_importer import folders

COUNT = 100
CLASSES = [f"digit {n}" for n in range(10)]


@pytest.fixture
def reader(repo: Repository) -> Iterator[ReaderCheckout]:
    """The digits of scikit-learn, in columns of several kinds."""
    digits = load_digits()
    writer = repo.checkout(write=True)
    with writer.add_ndarray_column("image", (8, 8), np.uint8) as column:
        column.write(range(COUNT), digits.images[:COUNT].astype(np.uint8))
    column = writer.add_ndarray_column("label", (), np.int64)
    column.write(range(COUNT), digits.target[:COUNT])
    column.attributes["classes"] = CLASSES
    writer.add_str_column("text").write(range(COUNT), [f"a {n}" for n in digits.target[:COUNT]])
    writer.add_bytes_column("raw").write(range(COUNT), [bytes([n]) * n for n in digits.target[:COUNT]])
    column = writer.add_ndarray_column("ragged", (9,), np.float32, variable_shape=True)
    column.write(range(COUNT), [np.arange(n, dtype=np.float32) for n in digits.target[:COUNT]])
    column = writer.add_ndarray_column("other", (2,), np.int8)
    column.write(["a", "b"], np.ones((2, 2), np.int8))
    writer.add_ndarray_column("empty", (3,), np.float64)
    writer.commit("digits")
    writer.close()
    checkout = repo.checkout()
    yield checkout
    checkout.close()


# ---------------------------------------------------------------------------------------------------- dask, xarray


def test_dask(reader: ReaderCheckout) -> None:
    pytest.importorskip("dask")
    images = load_digits().images[:COUNT].astype(np.uint8)
    lazy = reader["image"].to_dask(batch=30)
    assert lazy.chunks == ((30, 30, 30, 10), (8,), (8,))
    assert (lazy.shape, lazy.dtype) == (images.shape, np.uint8)
    assert lazy.name == reader["image"].to_dask().name
    for index in (np.s_[:], np.s_[5], np.s_[-1], np.s_[10:80:7, 2:4], np.s_[::-1], np.s_[[3, 99, 3]], np.s_[..., 0]):
        assert (lazy[index].compute(scheduler="threads") == images[index]).all()
    assert int(lazy.sum()) == int(images.sum())
    assert float(lazy.mean(axis=0)[3, 3]) == pytest.approx(images.mean(axis=0)[3, 3])
    assert (pickle.loads(pickle.dumps(lazy)).compute() == images).all()
    assert reader["empty"].to_dask().compute().shape == (0, 3)
    assert reader["label"].to_dask().compute().tolist() == load_digits().target[:COUNT].tolist()


def test_dask_reads_only_what_is_computed(reader: ReaderCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask")
    read: list[int] = []
    plain = type(reader["image"]).read

    def counted(self: Any, *args: Any, **how: Any) -> Any:
        found = plain(self, *args, **how)
        read.append(len(found))
        return found

    monkeypatch.setattr(type(reader["image"]), "read", counted)
    lazy = reader["image"].to_dask(batch=10)
    assert read == []
    lazy[25].compute()
    assert sum(read) <= 10


@pytest.mark.parametrize(("name", "batch"), [("text", None), ("ragged", None), ("image", 0), ("image", "all")])
def test_what_is_no_array_is_refused(reader: ReaderCheckout, name: str, batch: Any) -> None:
    pytest.importorskip("dask")
    with pytest.raises(ValueError, match=r"one shape|batch is"):
        reader[name].to_dask(batch)


def test_a_column_that_changes_is_refused(repo: Repository, reader: ReaderCheckout) -> None:
    pytest.importorskip("dask")
    writer = repo.checkout(write=True)
    with pytest.raises(PermissionError, match="staging area"):
        writer["image"].to_dask()
    writer.close()


def test_xarray(reader: ReaderCheckout) -> None:
    pytest.importorskip("xarray")
    dataset = to_xarray([reader["image"], reader["label"]], batch=40)
    assert dict(dataset.sizes) == {"sample": COUNT, "image_0": 8, "image_1": 8}
    assert dataset["label"].attrs["classes"] == CLASSES
    chosen = dataset.sel(sample=[5, 7])
    assert (chosen["image"].values == reader["image"].read([5, 7])).all()
    means = dataset["image"].groupby(dataset["label"].compute()).mean()
    assert means.sizes["label"] == 10
    assert to_xarray(reader["other"])["sample"].values.tolist() == ["a", "b"]
    with pytest.raises(KeyError, match="different keys"):
        to_xarray([reader["image"], reader["other"]])


# ---------------------------------------------------------------------------------------------------- Arrow, pandas

NAMES = ["image", "label", "text", "raw", "ragged"]


def test_arrow_and_back(repo: Repository, reader: ReaderCheckout) -> None:
    pa = pytest.importorskip("pyarrow")
    table = to_arrow([reader[name] for name in NAMES])
    assert table.column_names == ["key", *NAMES]
    assert table.column("label").to_pylist() == load_digits().target[:COUNT].tolist()
    assert json.loads(table.schema.field("label").metadata[b"hangar"])["classes"] == CLASSES
    assert isinstance(table.schema.field("image").type, pa.FixedShapeTensorType)
    writer = repo.checkout(write=True)
    assert from_arrow(writer, table, prefix="b.") == {f"b.{name}": COUNT for name in NAMES}
    for name in NAMES:
        one, other = reader[name], writer[f"b.{name}"]
        assert list(other) == list(one)
        assert all(np.array_equal(one[key], other[key]) for key in one)
    assert writer["b.image"].shape == (8, 8)
    assert writer["b.image"].dtype == np.uint8
    assert writer["b.label"].attributes["classes"] == CLASSES
    with pytest.raises(LookupError):
        from_arrow(writer, table.rename_columns(["key", "text", *NAMES[1:2], "image", *NAMES[3:]]))
    writer.close()
    some = to_arrow(reader["label"], keys=[7, 3])
    assert some.column("key").to_pylist() == [7, 3]
    numbers = to_arrow(reader["label"]).column("label").chunk(0)
    assert numbers.buffers()[0] is None


def test_existing_samples_are_kept_unless_told_otherwise(writer: WriterCheckout) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"id": ["a", "b"], "x": [1, 2], "y": [None, 2.5]})
    assert from_arrow(writer, table, key="id") == {"x": 2, "y": 1}
    changed = pa.table({"id": ["c", "a"], "x": [9, 9], "y": [1.0, 1.0]})
    with pytest.raises(Exception, match="has a sample 'a' already"):
        from_arrow(writer, changed, key="id")
    assert list(writer["x"]) == ["a", "b"]
    from_arrow(writer, changed, key="id", overwrite=True)
    assert [int(value) for value in writer["x"].values()] == [9, 2, 9]
    for wrong, key, error in [
        (pa.table({"x": [pa.scalar(1)] * 2, "k": ["a", "a"]}), "k", "not unique"),
        (changed, "missing", "no field 'missing'"),
        (pa.table({"z": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}), None, "none of the fields"),
        (pa.table({"k": ["a b"], "new": [1]}), "k", "not suitable"),
    ]:
        with pytest.raises(ValueError, match=error):
            from_arrow(writer, wrong, key=key)
    assert list(writer) == ["x", "y"]


def test_pandas_and_back(repo: Repository, reader: ReaderCheckout) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = to_pandas([reader[name] for name in NAMES])
    assert frame["label"].astype(str).tolist() == [CLASSES[n] for n in load_digits().target[:COUNT]]
    assert frame.loc[5, "text"] == reader["text"][5]
    assert (frame.loc[5, "image"] == reader["image"][5]).all()
    writer = repo.checkout(write=True)
    written = from_pandas(writer, frame[["label", "text", "raw"]], prefix="c.")
    assert written == {"c.label": COUNT, "c.text": COUNT, "c.raw": COUNT}
    assert writer["c.label"].attributes["classes"] == CLASSES
    assert [int(value) for value in writer["c.label"].values()] == load_digits().target[:COUNT].tolist()
    other = pd.DataFrame({"id": ["x", "y"], "when": pd.to_datetime(["2026-01-01", "2026-01-02"]), "w": [0.5, None]})
    assert from_pandas(writer, other, key="id") == {"when": 2, "w": 1}
    writer.close()


# ---------------------------------------------------------------------------------------------------- datasets


class Squares:
    """A map-style dataset, as torch has them."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        if index == 11:
            raise OSError("unreadable")
        return np.full((4, 4), index, np.float32), index * index


class Named(Squares):
    def __getitem__(self, index: int) -> Any:
        return {"x": np.int16(index), "name": f"item {index}"}


@pytest.mark.parametrize("workers", [0, 1])
def test_torch_datasets(writer: WriterCheckout, workers: int) -> None:
    report = from_torch(writer, Squares(), ["square", "area"], workers=workers)
    assert (report.imported, [one.item for one in report.failed]) == (39, [11])
    assert writer["square"].shape == (4, 4)
    assert int(writer["area"][6]) == 36
    assert from_torch(writer, Squares(), ["square", "area"], workers=workers).resumed == 39
    assert from_torch(writer, Named(), workers=workers).samples == {"x": 40, "name": 40}
    assert (writer["name"][3], writer["x"].dtype) == ("item 3", np.int16)
    with pytest.raises(TypeError, match="not a dict"):
        from_torch(writer, Squares())
    with pytest.raises(ValueError, match="3 parts"):
        from_torch(writer, Squares(), ["a", "b", "c"])
    with pytest.raises(TypeError, match="map-style"):
        from_torch(writer, iter(()))


def test_tensors_of_torch(writer: WriterCheckout) -> None:
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.arange(12.0).reshape(3, 4), torch.tensor([1, 0, 1]))
    assert from_torch(writer, data, ["x", "y"], workers=0).imported == 3
    assert writer["x"][1].tolist() == [4, 5, 6, 7]
    assert (writer["x"].dtype, writer["y"].dtype) == (np.float32, np.int64)


class _Features:
    def __init__(self, schema: Any) -> None:
        self.arrow_schema = schema


class _Dataset:
    """What is used of a Dataset of Hugging Face, for machines without the package."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.features = _Features(table.schema)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def with_format(self, name: str) -> Any:
        assert name == "arrow"
        return self

    def __getitem__(self, rows: slice) -> Any:
        return self._table.slice(rows.start, rows.stop - rows.start)


def test_hugging_face_datasets(writer: WriterCheckout) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("PIL")
    tables = {"train": folders.arrow_table(0, 12), "test": folders.arrow_table(12, 20)}
    tables = {name: table.drop_columns(["map"]) for name, table in tables.items()}
    written = from_huggingface(writer, {name: _Dataset(table) for name, table in tables.items()})
    assert (written["image"], written["text"]) == (20, 18)
    assert writer["image"].encoded("test/3") == folders.png(15)
    assert writer["label"].attributes["classes"] == CLASSES
    assert int(writer["label", "train/4"]) == folders.digit(4)
    with pytest.raises(TypeError, match="Dataset or DatasetDict"):
        from_huggingface(writer, [1, 2])


def test_hugging_face_with_the_package(writer: WriterCheckout) -> None:
    datasets = pytest.importorskip("datasets")
    table = folders.arrow_table(0, 12).drop_columns(["map"])
    dataset = datasets.Dataset(table).select([3, 1, 2])
    from_huggingface(writer, dataset)
    assert [int(value) for value in writer["label"].values()] == [folders.digit(n) for n in (3, 1, 2)]
    assert writer["image"].encoded(0) == folders.png(3)


def test_missing_packages_are_named(reader: ReaderCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("dask", "xarray", "pyarrow", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (to_xarray, to_arrow, to_pandas):
        with pytest.raises(ImportError, match="pip install"):
            call(reader["image"])
    with pytest.raises(ImportError, match="pip install"):
        reader["image"].to_dask()
