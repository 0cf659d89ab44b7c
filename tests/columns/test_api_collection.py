"""``checkout.columns``: each member and error of the public API page has a test named after it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.columns import Columns, is_column, is_writer_column
from hangar.errors import AccessError, ClosedError, ColumnNotFoundError
from tests.checkout.content import NAMES, fill


@pytest.fixture(params=["reader", "writer"])
def columns(request: pytest.FixtureRequest, repo: Repository, writer: WriterCheckout) -> Columns[Any]:
    fill(writer)
    writer.commit("first")
    return repo.checkout().columns if request.param == "reader" else writer.columns


def test_getitem(columns: Columns[Any]) -> None:
    assert columns["text"]["k"] == "v"
    assert columns["text"] is columns["text"]
    for missing in ("nope", "", 5, None):
        with pytest.raises(ColumnNotFoundError):
            columns[missing]  # type: ignore[index]
        with pytest.raises(KeyError):
            columns[missing]  # type: ignore[index]


def test_names_that_are_no_text(writer: WriterCheckout, columns: Columns[Any]) -> None:
    wrong: Any
    for wrong in ([], ["a"], {}, None, 1):
        assert wrong not in columns
        for use in (
            columns.__getitem__,
            columns.get,
            writer.columns.delete,
            lambda name: writer.rename_column(name, "new"),
        ):
            with pytest.raises(ColumnNotFoundError):
                use(wrong)


def test_names_that_are_kinds_of_str(repo: Repository, writer: WriterCheckout) -> None:
    writer.add_str_column(np.str_("one"))[np.str_("k")] = "v"
    writer.rename_column("one", np.str_("two"))
    writer.commit("named")
    assert repo.checkout()[np.str_("two"), "k"] == "v"


def test_get(columns: Columns[Any]) -> None:
    assert columns.get("text") is columns["text"]
    with pytest.raises(KeyError):
        columns.get("nope")


def test_in_len_iteration(columns: Columns[Any]) -> None:
    assert ("text" in columns, "nope" in columns, 5 in columns) == (True, False, False)
    assert len(columns) == 5
    assert list(columns) == NAMES


def test_keys_values_items(columns: Columns[Any]) -> None:
    assert columns.keys() == NAMES
    assert type(columns.keys()) is list
    assert [column.column for column in columns.values()] == NAMES
    assert [name for name, column in columns.items() if column.column == name] == NAMES


def test_iswriteable(repo: Repository, writer: WriterCheckout) -> None:
    assert writer.columns.iswriteable is True
    assert repo.checkout().columns.iswriteable is False


def test_contains_remote_references_and_remote_sample_keys(columns: Columns[Any]) -> None:
    assert columns.contains_remote_references == dict.fromkeys(NAMES, False)
    assert columns.remote_sample_keys == dict.fromkeys(NAMES, ())


def test_delete(repo: Repository, writer: WriterCheckout) -> None:
    fill(writer)
    columns = writer.columns
    text, view = columns["text"], columns["boxes"]["a"]
    assert columns.delete("text") == "text"
    del columns["boxes"]
    assert list(columns) == list(writer) == ["image", "label", "raw"]
    for gone in (lambda: text["k"], lambda: view[0], lambda: repr(text)):
        with pytest.raises(ClosedError):
            gone()
    with pytest.raises(ColumnNotFoundError):
        columns.delete("text")
    with pytest.raises(KeyError):
        del columns["text"]
    with columns, pytest.raises(AccessError):
        columns.delete("image")
    with columns, pytest.raises(PermissionError):
        del columns["image"]
    writer.commit("first")
    reader = repo.checkout()
    with pytest.raises(AccessError):
        reader.columns.delete("image")
    with pytest.raises(PermissionError):
        del reader.columns["image"]


def test_pickle(repo: Repository, writer: WriterCheckout) -> None:
    fill(writer)
    writer.commit("first")
    read = repo.checkout().columns
    again = pickle.loads(pickle.dumps(read))
    assert again["text"]["k"] == "v"
    assert again.keys() == read.keys()
    columns = writer.columns
    with pytest.raises(AccessError, match="cannot be pickled"):
        pickle.dumps(columns)
    writer.close()
    with pytest.raises(ClosedError):
        pickle.dumps(columns)


def test_with(writer: WriterCheckout) -> None:
    fill(writer)
    with writer.columns as columns:
        assert columns is writer.columns
        columns["text"]["new"] = "v"
    with pytest.raises(ZeroDivisionError), columns:  # noqa: PT012
        columns["text"]["other"] = "v"
        columns["text"].attributes["a"] = 1
        raise ZeroDivisionError
    assert ("new" in writer["text"], "other" in writer["text"], len(writer["text"].attributes)) == (True, False, 0)


def test_is_column_and_is_writer_column(repo: Repository, writer: WriterCheckout) -> None:
    fill(writer)
    writer.commit("first")
    reader = repo.checkout()
    for name in ("text", "boxes"):
        assert (is_column(writer[name]), is_writer_column(writer[name])) == (True, True)
        assert (is_column(reader[name]), is_writer_column(reader[name])) == (True, False)
    for thing in (writer, writer.columns, "text", None):
        assert (is_column(thing), is_writer_column(thing)) == (False, False)
