"""Tables: which columns are taken, class names and numbers, rows that are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from tests.external.test_many import bring_in

pa = pytest.importorskip("pyarrow")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Any]:
    repository = Repository(tmp_path, exists=False)
    repository.init("Ada", "ada@example.org")
    writer = repository.checkout(write=True)
    yield writer
    writer.close()
    repository.close()


LABELS = "file,label,size\nimages/a b.png,owl,3\n./b.jpg,cat,4\nc.tar.png,cat,5\n"


def test_names_of_files_become_the_keys_of_files(writer: Any, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(LABELS)
    column = writer.add_ndarray_column("label", (), "uint8")
    assert bring_in(column, tmp_path / "labels.csv", key="file", value="label").failures == ()
    assert {key: int(column[key]) for key in column} == {"b": 0, "c.tar": 0, "images/a_b": 1}
    assert column.attributes["classes"] == ["cat", "owl"]


def test_new_classes_get_new_numbers(writer: Any, tmp_path: Path) -> None:
    column = writer.add_ndarray_column("label", (), "int16")
    column.attributes["classes"] = ["owl"]
    (tmp_path / "labels.tsv").write_text(LABELS.replace(",", "\t"))
    bring_in(column, tmp_path / "labels.tsv", key="file", value="label")
    assert column.attributes["classes"] == ["owl", "cat"]
    assert [int(column[key]) for key in ("b", "c.tar", "images/a_b")] == [1, 1, 0]
    (tmp_path / "more.jsonl").write_text('{"file": "d.png", "label": "ant"}\n{"file": "e.png", "label": "cat"}\n')
    bring_in(column, tmp_path / "more.jsonl", key="file", value="label")
    assert column.attributes["classes"] == ["owl", "cat", "ant"]
    assert [int(column[key]) for key in ("d", "e")] == [2, 1]


def test_more_classes_than_the_dtype_holds(writer: Any, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("key,value\n" + "".join(f"k{i},name{i}\n" for i in range(200)))
    column = writer.add_ndarray_column("label", (), "int8")
    (failure,) = bring_in(column, tmp_path / "x.csv").failures
    assert "200 classes, and column 'label' holds int8" in str(failure.error)
    assert (len(column), "classes" in column.attributes) == (0, False)


@pytest.mark.parametrize(
    ("text", "dtype", "wrong"),
    [
        ("key,value\na,1\nb,\nc,3\n", "int64", {"row 2: b": "the value ''"}),
        ("key,value\na,1\nb,300\nc,3\n", "uint8", {"row 2: b": "the value '300'"}),
        ("key,value\na,1\nb,2.5\nc,3\n", "float32", {}),
        ("key,value\na,1\nb,x\nc,3\n", "float64", {"row 2: b": "the value 'x' is no float64"}),
        ("key,value\na,1\nb,1e400\nc,3\n", "float64", {"row 2: b": "the value '1e400' is no float64"}),
        ("key,value\na,1\nb,-1e39\nc,3\n", "float32", {"row 2: b": "the value '-1e39' is no float32"}),
        ("key,value\na,1\nb,1e5\nc,3\n", "float16", {"row 2: b": "the value '1e5' is no float16"}),
        ("key,value\na,1\nb,inf\nc,3\n", "float16", {}),
        ("key,value\na,1\nb,n/a\nc,3\n", "int64", {"row 2: b": "the value 'n/a' is no int64"}),
        ("key,value\na,1\nb,9223372036854775808\nc,3\n", "int64", {"row 2: b": "is no int64"}),
        ("key,value\na,1\nno key!,2\nc,3\n", "int64", {"no key!": "is not suitable"}),
        ("key,value\na,1\na,2\nc,3\n", "int64", {"a": "occurs twice"}),
    ],
)
def test_wrong_rows_are_listed_and_the_others_imported(
    writer: Any, tmp_path: Path, text: str, dtype: str, wrong: dict[str, str]
) -> None:
    (tmp_path / "x.csv").write_text(text)
    column = writer.add_ndarray_column("x", (), dtype)
    report = bring_in(column, tmp_path / "x.csv")
    assert [failure.sample for failure in report.failures] == list(wrong)
    for failure, reason in zip(report.failures, wrong.values(), strict=True):
        assert reason in str(failure.error)
    assert (report.samples, report.files) == (3 - len(wrong), 1)
    assert "classes" not in column.attributes
    assert (int(column["a"]), int(column["c"])) == (1, 3)


def test_classes_that_are_named_by_numbers_stay_names(writer: Any, tmp_path: Path) -> None:
    column = writer.add_ndarray_column("label", (), "int64")
    column.attributes["classes"] = ["0", "1", "10", "2"]
    (tmp_path / "x.csv").write_text("key,label\na,10\nb,2\nc,3\n")
    assert bring_in(column, tmp_path / "x.csv").failures == ()
    assert [int(column[key]) for key in "abc"] == [2, 3, 4]
    assert column.attributes["classes"] == ["0", "1", "10", "2", "3"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('key,value\na,"1\nb,2\n', "a quotation mark is not closed"),
        ("key,value,value\na,1,2\n", "several columns 'value'"),
    ],
)
def test_a_table_of_which_rows_or_cells_would_be_lost_is_refused(
    writer: Any, tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "x.csv").write_text(text)
    column = writer.add_str_column("x")
    (failure,) = bring_in(column, tmp_path / "x.csv").failures
    assert reason in str(failure.error)
    assert len(column) == 0
    (tmp_path / "pipe.csv").write_text('key,value\na,5" pipe\nb,"two\nlines"\n')
    assert bring_in(column, tmp_path / "pipe.csv", value="value").failures == ()
    assert (column["a"], column["b"]) == ('5" pipe', "two\nlines")


def test_what_a_table_does_not_tell_is_asked(writer: Any, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("p,q,r\n1,2,3\n")
    column = writer.add_ndarray_column("x", (2,), "float32")
    assert "choose a column of the table, with --key: it has p, q, r" in str(
        bring_in(column, tmp_path / "x.csv").failures[0].error
    )
    assert "choose the column of the values with --value" in str(
        bring_in(column, tmp_path / "x.csv", key="p").failures[0].error
    )
    assert "has no column 'z'" in str(bring_in(column, tmp_path / "x.csv", key="p", value="z").failures[0].error)
    assert bring_in(column, tmp_path / "x.csv", key="p", value="q,r").samples == 1
    assert column["1"].tolist() == [2.0, 3.0]


def test_parquet_of_others(writer: Any, tmp_path: Path) -> None:
    from pyarrow import parquet

    table = pa.table(
        {
            "id": pa.array([1, 2, 3]),
            "vector": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32())),
            "ragged": pa.array([[1], [2, 3], []], pa.list_(pa.int64())),
            "text": pa.array(["a", None, "c"]),
            "wide": pa.array([1, 2, 3], pa.int64()),
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, tmp_path / "x.parquet")
    path = tmp_path / "x.parquet"
    vector = writer.add_ndarray_column("vector", (2,), "float32")
    assert bring_in(vector, path, value="vector").samples == 3
    assert vector[2].tolist() == [3.0, 4.0]
    ragged = writer.add_ndarray_column("ragged", (2,), "int64", variable_shape=True)
    assert bring_in(ragged, path, value="ragged").samples == 3
    assert [ragged[key].tolist() for key in (1, 2, 3)] == [[1], [2, 3], []]
    text = writer.add_str_column("text")
    report = bring_in(text, path, value="text")
    assert [failure.sample for failure in report.failures] == ["row 2: 2"]
    assert (text[1], text[3]) == ("a", "c")
    narrow = writer.add_ndarray_column("narrow", (), "uint8")
    assert bring_in(narrow, path, value="wide").samples == 3
    kind = writer.add_str_column("kind")
    assert bring_in(kind, path, value="kind").samples == 3
    small = writer.add_ndarray_column("small", (2,), "float16")
    assert "holds float16" in str(bring_in(small, path, value="vector").failures[0].error)


def test_a_hundred_thousand_rows_cost_little_a_row(writer: Any, tmp_path: Path) -> None:
    """Calls of Python functions are counted, not seconds."""
    import sys

    n = 100_000
    lines = "".join(f"img_{i:06}.png,{i % 7}\n" for i in range(n))
    (tmp_path / "x.csv").write_text(f"file,label\n{lines}")
    column = writer.add_ndarray_column("label", (), "int64")
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        report = bring_in(column, tmp_path / "x.csv", key="file", value="label")
    finally:
        sys.setprofile(None)
    assert report.samples == n
    assert calls < n / 2
    np.testing.assert_array_equal(column["img_000008"], 1)
