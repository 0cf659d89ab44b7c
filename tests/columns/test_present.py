"""What repositories, checkouts, columns and differences show of themselves: small, escaped, and nothing after they were closed."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.diff import Changes, FlatColumnDataKey
from hangar.errors import ClosedError

EVIL = "<script>alert('&')</script>"


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def html(thing: Any) -> str:
    found = Tags(thing._repr_html_())
    assert found.tags <= {"table", "caption", "strong", "tr", "th", "td"}
    return found.text


@pytest.fixture
def full(repo: Repository, writer: WriterCheckout) -> WriterCheckout:
    images = writer.add_ndarray_column("images", (28, 28), np.uint8)
    images.write(range(200), np.zeros((200, 28, 28), np.uint8))
    images.attributes["note"] = EVIL
    writer.add_ndarray_column("ragged", (2, 9), np.float32, variable_shape=True)
    nested = writer.add_str_column("words", contains_subsamples=True)
    nested["s"] = dict.fromkeys(range(150), EVIL)
    nested[5] = {"a": "b"}
    return writer


def test_columns(full: WriterCheckout) -> None:
    images, words = full["images"], full["words"]
    assert repr(images) == "<FlatSampleWriter 'images': 200 samples of uint8 (28, 28)>"
    assert repr(words) == "<NestedSampleWriter 'words': 2 samples, 151 subsamples of str>"
    assert repr(full["ragged"]) == "<FlatSampleWriter 'ragged': 0 samples of float32 up to (2, 9)>"
    for shown in (str(images), html(images)):
        assert "0, 1, 2, 3, 4, 5, 6, 7, ..." in shown
        assert EVIL in shown
        assert "backend" in shown
    assert "keys:       none" in str(full["ragged"])
    assert "5, 's'" in str(words)
    assert repr(words["s"]) == "<FlatSubsampleWriter 's' of 'words': 150 subsamples>"
    assert "7, ..." in str(words["s"])
    assert "7, ..." in html(words["s"])


def test_names_of_attributes_steer_no_terminal(writer: WriterCheckout) -> None:
    column = writer.add_str_column("x")
    column.attributes.update({"unit": 1, "a\x1b[31m\nb": 2})
    assert r"'a\x1b[31m\nb'=2, unit=1" in str(column)
    assert len(str(column).splitlines()) == 7


def test_checkouts_and_their_columns(repo: Repository, full: WriterCheckout) -> None:
    commit = full.commit("m")[:12]
    reader = repo.checkout()
    assert repr(full) == f"<WriterCheckout of branch 'master' at {commit}: 3 columns>"
    assert repr(reader) == f"<ReaderCheckout at commit {commit}: 3 columns>"
    assert repr(reader.columns) == "<Columns of a reader: 'images', 'ragged', 'words'>"
    for shown in (str(reader), html(reader), str(reader.columns), html(reader.columns)):
        for part in ("images", "float32", "(2, 9)", "200 samples", "nested", "151 subsamples"):
            assert part in shown
    assert str(reader.columns).startswith("Columns of a reader\n")


def test_many_columns_are_not_all_shown(writer: WriterCheckout) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hangar.columns.present.SHOWN_COLUMNS", 3)
        for i in range(5):
            writer.add_str_column(f"c{i}")
        assert str(writer).endswith("... and 2 more")
        assert "... and 2 more" in html(writer)
        assert "c3" not in str(writer)


def test_repositories(repo: Repository, full: WriterCheckout, tmp_path: Any) -> None:
    assert "none yet" in html(repo)
    full.commit(f"{EVIL}\nmore")
    assert EVIL in html(repo)
    assert "images, ragged, words" in html(repo)
    (tmp_path / "empty").mkdir()
    with pytest.warns(UserWarning, match="no repository"):
        assert "not initialized" in html(Repository(tmp_path / "empty"))


def test_differences(full: WriterCheckout) -> None:
    full.commit("first")
    full.rename_column("images", "pictures")
    full["pictures"].delete(list(range(50)))
    full["ragged"].widen((9, 9))
    full.attributes["a"] = 1
    full.columns.delete("words")
    full.add_str_column("new")["k"] = "v"
    diff = full.diff.staged()
    assert len(repr(diff)) < 3_000
    assert "193 more" in repr(diff)
    assert "renamed=(('images', 'pictures'),)" in repr(diff)
    assert diff.diff.rows() == [
        ("new", "1", "0", "0", "new"),
        ("pictures", "0", "50", "0", "renamed from images"),
        ("ragged", "0", "0", "0", "widened"),
        ("words", "0", "151", "0", "removed"),
        ("", "", "", "", "attributes a"),
    ]
    assert "renamed from images" in html(diff)
    one = Changes({}, (FlatColumnDataKey("a", 1),))
    assert repr(one) == "Changes(schema={}, samples=(FlatColumnDataKey(column='a', sample=1),))"


def test_names_and_keys_are_completed(full: WriterCheckout) -> None:
    assert full._ipython_key_completions_() == full.columns._ipython_key_completions_() == ["images", "ragged", "words"]
    assert full["images"]._ipython_key_completions_() == list(range(100))
    assert full["words"]._ipython_key_completions_() == [5, "s"]
    assert full["words"]["s"]._ipython_key_completions_() == list(range(100))
    assert full["images"].attributes._ipython_key_completions_() == ["note"]


def test_nothing_is_shown_after_close(full: WriterCheckout) -> None:
    things = [full, full.columns, full["images"], full["words"], full["words"]["s"]]
    full.close()
    for thing in things:
        for show in (repr, str, lambda thing: thing._repr_html_(), lambda thing: thing._ipython_key_completions_()):
            with pytest.raises(ClosedError):
                show(thing)


def test_no_value_is_read(full: WriterCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a value was read")

    for name in ("one", "many", "stacked"):
        monkeypatch.setattr(f"hangar.columns.values.ValueReader.{name}", refuse)
    for thing in (full, full.columns, *full.values(), full["words"]["s"]):
        assert html(thing)
        assert str(thing)
        assert repr(thing)
