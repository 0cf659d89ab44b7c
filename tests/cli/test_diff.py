"""``hangar diff``: what is compared, what is shown of it, and what is left out."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hangar import Repository
from tests.cli.shell import Shell


def write(shell: Shell, *edits: Any, commit: str = "", branch: str = "") -> None:
    """Stage edits, each a function of a writer, and commit them if there is a message."""
    with Repository(shell.path) as repository:
        writer = repository.checkout(write=True, branch=branch)
        for edit in edits:
            edit(writer)
        if commit:
            writer.commit(commit)
        writer.close()


def make(writer: Any) -> None:
    writer.add_ndarray_column("label", shape=(), dtype="int64").write(range(40), np.arange(40))
    images = writer.add_ndarray_column("image", shape=(8, 9), dtype="uint8")
    images.write(["cat", "dog", "sun"], np.full((3, 8, 9), 10, "uint8"))
    writer.add_str_column("text")["a"] = "x" * 200 + "one" + "y" * 200
    writer.add_ndarray_column("scan", shape=(9, 9), dtype="float32", variable_shape=True)["s"] = np.zeros(
        (3, 4), "float32"
    )
    writer.add_str_column("note", contains_subsamples=True)["s"] = {1: "one", "b": "two"}


def change(writer: Any) -> None:
    writer["label"][37] = 3
    writer["label"]["new"] = 4
    del writer["label"][5]
    retouched = np.full((8, 9), 10, "uint8")
    retouched[2:4, 3:6] = 200
    writer["image"]["dog"] = retouched
    writer["text"]["a"] = "x" * 200 + "two" + "y" * 200
    bad = np.zeros((3, 4), "float32")
    bad[1, 2] = np.nan
    writer["scan"]["s"] = bad
    writer["note"]["s"] = {"b": "zwei"}


@pytest.fixture
def staged(empty: Shell) -> Shell:
    """A commit, and changes of each kind that are staged."""
    write(empty, make, commit="One")
    write(empty, change)
    return empty


@pytest.fixture
def history(staged: Shell) -> Shell:
    """The same in two commits, and nothing staged."""
    staged.ok("commit", "-m", "Two")
    return staged


LABELS = """\
changed: label  1 added, 1 changed, 1 deleted
- label/5  5
~ label/37  37 -> 3
+ label/new  4
"""
WHOLE = f"""\
changed: image  1 changed
~ image/dog  uint8 8 x 9: 6 of 72 pixels changed (8.33%), in [2:4, 3:6], by up to 190, mean 190

{LABELS}
changed: note  1 changed
~ note/s/b  "two" -> "zwei"

changed: scan  1 changed
~ scan/s  float32 3 x 4: 1 of 12 elements changed (8.33%), in [1:2, 2:3], 1 NaN gained

changed: text  1 changed
~ text/a  ..."xxxxxxxxxxxxxxxxoneyyyyyyyyyyyyyyyy"... -> ..."xxxxxxxxxxxxxxxxtwoyyyyyyyyyyyyyyyy"...
"""


def test_what_is_compared(staged: Shell) -> None:
    """As in git: the staging area with its commit, a commit with the staging area, or two commits."""
    assert staged.ok("diff") == WHOLE
    assert staged.ok("diff", "master") == staged.ok("diff", "HEAD") == WHOLE
    assert staged.ok("diff", "--staged") == staged.ok("diff", "--cached", "HEAD") == WHOLE
    assert staged.ok("diff", "master", "HEAD") == staged.ok("diff", "master..") == ""
    staged.ok("commit", "-m", "Two")
    assert staged.ok("diff") == ""
    for words in (["master~1"], ["master~1", "master"], ["master~1..master"], ["HEAD~1.."], ["HEAD~1", "HEAD"]):
        assert staged.ok("diff", *words) == WHOLE
    assert "label/37  3 -> 37" in staged.ok("diff", "master", "master~1")
    assert staged.ok("diff", "..HEAD~1") == staged.ok("diff", "master", "master~1")
    write(staged, lambda writer: writer["label"].__setitem__(1, 100))
    assert staged.ok("diff") == "changed: label  1 changed\n~ label/1  1 -> 100\n"
    assert "label/1  1 -> 100" in staged.ok("diff", "HEAD~1")
    assert "label/1 " not in staged.ok("diff", "HEAD~1", "HEAD")


def test_changes_since_a_common_ancestor(history: Shell) -> None:
    history.ok("branch", "create", "side", "master~1")
    write(history, lambda writer: writer["label"].__setitem__(1, 100), commit="Aside", branch="side")
    history.ok("checkout", "master")
    assert history.ok("diff", "master...side") == "changed: label  1 changed\n~ label/1  1 -> 100\n"
    assert history.ok("diff", "side...master") == WHOLE
    assert "~ label/1  100 -> 1" in history.ok("diff", "side..master")
    assert history.ok("diff", "side...") == WHOLE


def test_before_the_first_commit(empty: Shell) -> None:
    assert empty.ok("diff") == empty.ok("diff", "HEAD") == ""
    write(empty, make)
    lines = empty.ok("diff").splitlines()
    assert lines[:3] == ["new column: image  3 samples", "  holds uint8 (8, 9)", "+ image/cat  uint8 8 x 9"]
    assert "+ scan/s  float32 3 x 4" in lines
    assert len(empty.json("diff")["samples"]) == 47
    empty.fails(1, "diff", "HEAD...master", text="no common ancestor")


def test_columns_and_samples(history: Shell) -> None:
    rev = "HEAD~1"
    assert history.ok("diff", rev, "label") == history.ok("diff", rev, "--column", "label") == LABELS
    assert history.ok("diff", rev, "--", "label") == history.ok("diff", rev, "lab*") == LABELS
    one = "changed: label  1 changed\n~ label/37  37 -> 3\n"
    for path in ("label/37", "label/int:37", "lab*/37", "label/3*"):
        assert history.ok("diff", rev, path) == one, path
    assert history.ok("diff", rev, "label/str:37") == ""
    assert history.ok("diff", rev, "label/new", "image/d*").count("\n~ image/dog") == 1
    assert "label/37" not in history.ok("diff", rev, "label/new", "image")
    assert history.ok("diff", rev, "HEAD", "note/s/b") == 'changed: note  1 changed\n~ note/s/b  "two" -> "zwei"\n'
    assert history.ok("diff", rev, "note/s") == history.ok("diff", rev, "note/s/b")
    assert history.ok("diff", rev, "note/s/1") == ""
    assert history.ok("diff", "label") == ""
    history.fails(3, "diff", rev, "lable", text="no branch, tag or commit 'lable'")
    assert "no column 'lable' either" in history.fails(3, "diff", "lable")
    history.fails(3, "diff", rev, "--", "lable", text="no column 'lable'")
    history.fails(3, "diff", rev, "HEAD", "HEAD", text="no column 'HEAD'")
    assert "column" not in history.fails(3, "diff", "HEAD~9", text="goes beyond the history")
    history.fails(3, "diff", "a..b..c")
    history.fails(3, "diff", "nope..master", text="nope")
    history.ok("branch", "create", "label")
    history.fails(2, "diff", "label", text="is a revision and a column")
    assert history.ok("diff", "heads/label", "HEAD~1", "--", "label").startswith("changed: label  1 added, 1 changed")


def test_renamed_columns_are_one(history: Shell) -> None:
    def rename(writer: Any) -> None:
        writer.rename_column("label", "digit")
        writer["digit"][1] = 9
        writer["digit"].attributes["unit"] = "none"
        writer["scan"].widen((20, 9))
        writer.attributes["split"] = [1]
        writer.columns.delete("text")
        writer.add_bytes_column("text")["a"] = b"\x00"

    write(history, rename)
    text = history.ok("diff")
    assert text.startswith(
        "changed: digit  1 changed, renamed from label, attributes unit\n  unit = (none) -> 'none'\n~ digit/1  1 -> 9\n\n"
        "changed: scan  widened\n  holds float32 up to (9, 9) -> float32 up to (20, 9)\n\n"
        "deleted column: text  1 sample\n  holds str\n- text/a  "
    )
    assert text.endswith("+ text/a  00\n\nattributes of the commit\n  split = (none) -> [1]\n")
    for path in ("label", "digit"):
        assert history.ok("diff", path).splitlines()[0] == text.splitlines()[0]
    assert history.ok("diff", "label/1").splitlines()[-1] == "~ digit/1  1 -> 9"
    assert history.ok("diff", "--name-status").splitlines() == [
        "R\tlabel\tdigit",
        "M\tscan",
        "D\ttext",
        "A\ttext",
        "M\tdigit/1",
        "D\ttext/a",
        "A\ttext/a",
    ]
    assert "attributes of the commit: split" in history.ok("diff", "--stat")


def test_stat_and_names(history: Shell) -> None:
    assert history.ok("diff", "HEAD~1", "--stat").splitlines() == [
        " changed:         image  1 changed                      72 bytes -> 72 bytes",
        " changed:         label  1 added, 1 changed, 1 deleted  16 bytes -> 16 bytes",
        " changed:         note   1 changed                      3 bytes -> 4 bytes",
        " changed:         scan   1 changed                      48 bytes -> 48 bytes",
        " changed:         text   1 changed                      403 bytes -> 403 bytes",
        " 5 columns: 1 added, 5 changed, 1 deleted",
    ]
    names = ["image/dog", "label/5", "label/37", "label/new", "note/s/b", "scan/s", "text/a"]
    assert history.ok("diff", "HEAD~1", "--name-only").splitlines() == names
    letters = [line.split("\t") for line in history.ok("diff", "HEAD~1", "--name-status").splitlines()]
    assert letters == [[letter, name] for letter, name in zip("MDMAMMM", names, strict=True)]
    assert history.ok("diff", "HEAD~1", "--stat", "label/37").splitlines() == [
        " changed:         label  1 changed  8 bytes -> 8 bytes",
        " 1 column: 0 added, 1 changed, 0 deleted",
    ]
    assert history.ok("diff", "--stat") == history.ok("diff", "--name-only") == ""
    history.fails(2, "diff", "--stat", "--json", text="only one of")


def test_a_limit(history: Shell) -> None:
    text = history.ok("diff", "HEAD~1", "-n", 1)
    assert "- label/5  5\n... and 2 more\n" in text
    assert "more" not in text.split("label/5")[0]
    assert history.ok("diff", "HEAD~1", "label", "-n", 0).splitlines()[1:] == ["... and 3 more"]
    assert len(history.json("diff", "HEAD~1", "-n", 1)["samples"]) == 5


def test_a_tolerance(history: Shell) -> None:
    assert "label/37" in history.ok("diff", "HEAD~1", "--tolerance", 33)
    text = history.ok("diff", "HEAD~1", "--tolerance", 34)
    assert "label/37" not in text
    assert "changed: label  1 added, 1 deleted\n- label/5" in text
    assert "image/dog" in history.ok("diff", "HEAD~1", "--tolerance", 189)
    text = history.ok("diff", "HEAD~1", "--tolerance", 190)
    assert "image" not in text
    assert "scan/s" in text
    names = history.ok("diff", "HEAD~1", "--tolerance", 190, "--name-only").splitlines()
    assert names == ["label/5", "label/new", "note/s/b", "scan/s", "text/a"]
    stat = history.ok("diff", "HEAD~1", "--tolerance", 190, "--stat", "label", "image").splitlines()
    assert stat == [
        " changed:         label  1 added, 1 deleted  8 bytes -> 8 bytes",
        " 1 column: 1 added, 0 changed, 1 deleted",
    ]
    run = history.run("diff", "HEAD~1", "image", "--tolerance", 190, "--exit-code")
    assert (run.exit_code, run.stdout) == (0, "")
    for wrong in ("-1", "nan", "x"):
        history.fails(2, "diff", "--tolerance", wrong)


def test_exit_code(history: Shell) -> None:
    assert history.run("diff", "HEAD~1").exit_code == 0
    run = history.run("diff", "HEAD~1", "--exit-code")
    assert (run.exit_code, run.stdout, run.stderr) == (1, WHOLE, "")
    assert history.run("diff", "--exit-code").exit_code == 0
    assert history.run("diff", "HEAD~1", "text/b", "--exit-code").exit_code == 0
    write(history, lambda writer: writer.attributes.__setitem__("a", 1))
    assert history.run("diff", "--exit-code", "--name-only").exit_code == 1


def test_json(history: Shell) -> None:
    found = history.json("diff", "HEAD~1")
    assert found["from"]["branch"] is None
    assert found["to"]["branch"] == "master"
    assert found["attributes"] == {}
    label = next(one for one in found["columns"] if one["column"] == "label")
    assert (label["added"], label["mutated"], label["deleted"], label["bytes_after"]) == (1, 1, 1, 16)
    samples = {(one["column"], one["sample"]): one for one in found["samples"]}
    assert len(samples) == 7
    assert samples["label", 5] == {"column": "label", "sample": 5, "change": "deleted", "before": 5, "after": None}
    changed = samples["label", 37]
    assert (changed["before"], changed["after"], changed["difference"]["largest"]) == (37, 3, 34)
    assert samples["note", "s"]["subsample"] == "b"
    assert samples["note", "s"]["after"] == "zwei"
    image = samples["image", "dog"]
    assert (image["before"], image["after"]) == (None, None)
    assert image["difference"] == {
        "elements": 72,
        "changed": 6,
        "largest": 190,
        "mean": 190.0,
        "nans_gained": 0,
        "nans_lost": 0,
        "dtype_before": "uint8",
        "dtype_after": "uint8",
        "shape_before": [8, 9],
        "shape_after": [8, 9],
        "region": [[2, 4], [3, 6]],
    }
    assert samples["scan", "s"]["difference"]["nans_gained"] == 1
    assert history.json("diff")["samples"] == []


def test_json_of_odd_values(empty: Shell) -> None:
    def odd(writer: Any) -> None:
        writer.add_ndarray_column("z", shape=(2,), dtype="complex64")["a"] = np.array([1 + 2j, np.nan], "complex64")
        writer.add_ndarray_column("f", shape=(), dtype="float64")["a"] = np.array(np.inf)
        writer.add_bytes_column("b")["a"] = b"\x00\xff"
        writer.add_str_column("t").update({"a": "\ud7ff\x1b", "b": "x" * 2000})
        writer.add_ndarray_column("u", shape=(), dtype="uint64")["a"] = np.array(2**64 - 1, "uint64")

    write(empty, odd)
    values = {(one["column"], one["sample"]): one["after"] for one in empty.json("diff")["samples"]}
    assert values == {
        ("z", "a"): ["(1+2j)", "(nan+0j)"],
        ("f", "a"): "inf",
        ("b", "a"): "00ff",
        ("t", "a"): "\ud7ff\x1b",
        ("t", "b"): None,
        ("u", "a"): 2**64 - 1,
    }
    assert "\x1b" not in empty.ok("diff")


def test_a_long_list_is_one_document(empty: Shell) -> None:
    write(empty, lambda w: w.add_ndarray_column("n", shape=(), dtype="int64").write(range(2500), np.arange(2500)))
    text = empty.ok("diff", "--json")
    found = json.loads(text)
    assert [one["after"] for one in found["samples"]] == list(range(2500))
    assert text == json.dumps(found, indent=2) + "\n"


def test_it_reads_beside_a_writer(staged: Shell) -> None:
    with Repository(staged.path) as repository:
        writer = repository.checkout(write=True)
        assert staged.process("diff").stdout == WHOLE
        writer.close()


def test_log_and_ls_agree(history: Shell) -> None:
    lines = [line for line in WHOLE.splitlines() if line[:1] in "+-~" and line]
    assert [line for line in history.ok("log", "-1", "-p").splitlines() if line[:2] in ("+ ", "- ", "~ ")] == lines
    listed = history.ok("ls", "*", "HEAD", "--changed").splitlines()
    assert listed == [line.split("  ")[0] for line in lines]


def test_damage_is_told_and_the_rest_shown(history: Shell) -> None:
    write(history, lambda writer: writer["text"].__setitem__("a", "z" * 300))
    for path in (history.path / ".hangar").rglob("*"):
        if path.is_file() and b"z" * 300 in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(b"z" * 300, b"z" * 299 + b"!"))
            break
    else:
        raise AssertionError("the value lies in no file")
    run = history.run("diff", "HEAD~1")
    assert run.exit_code == 6
    assert "label/37  37 -> 3" in run.stdout
    assert '..."xxxxxxxxxxxxxxxxone' not in run.stdout
    assert "cannot be read" in run.stdout
    assert "Traceback" not in run.output


# ---------------------------------------------------------------------- the page


class Page(HTMLParser):
    """The texts, pictures and tags of a page; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.texts: list[str] = []
        self.pictures: list[tuple[str, np.ndarray[Any, Any]]] = []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            kind, data = str(values["src"]).split(",")
            assert kind == "data:image/png;base64"
            self.pictures.append((str(values["alt"]), np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))))
        assert tag != "script"
        if tag not in ("img", "meta"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def page_of(shell: Shell, *words: object) -> Page:
    path = shell.path / "page.html"
    run = shell.run("diff", *words, "--html", path)
    assert (run.exit_code, run.stdout) == (0, "")
    assert f"Wrote {path}" in run.stderr
    text = path.read_text("utf-8")
    assert "http" not in text.replace("http-equiv", "")
    return Page(text)


def test_a_page(history: Shell) -> None:
    page = page_of(history, "HEAD~1", "HEAD")
    words, pictures = zip(*page.pictures, strict=True)
    assert words == ("before", "after", "difference")
    assert (pictures[0] == 10).all()
    assert pictures[1][2:4, 3:6].tolist() == [[200] * 3] * 2
    red = pictures[2][:, :, 0].astype(int) - pictures[2][:, :, 1]
    assert np.argwhere(red > 100).tolist() == [[row, column] for row in (2, 3) for column in (3, 4, 5)]
    for text in ("6 of 72 pixels changed", "37 37 3", "One (Ada Lovelace", "one", "zwei", "1 NaN gained"):
        assert text in page.text, text
    assert page_of(history).text.count("No differences") == 1


def test_everything_on_a_page_is_escaped(empty: Shell) -> None:
    evil = "<script>alert('\"&')</script>\x1b"

    def attack(writer: Any) -> None:
        writer.add_str_column("text")["a"] = evil
        writer.attributes[evil] = evil
        writer["text"].attributes[evil] = evil

    write(empty, attack, commit=f"{evil}\n\nbody")
    write(empty, lambda writer: writer["text"].__setitem__("a", evil + evil))
    page = page_of(empty, "HEAD")
    assert page.text.count("<script>") >= 3
    assert "\x1b" not in page.text
    assert page_of(empty, "HEAD~0", "HEAD").text.count(evil.replace("\x1b", "\\x1b")) == 2


def test_a_page_is_bounded(empty: Shell) -> None:
    def many(writer: Any) -> None:
        writer.add_ndarray_column("image", shape=(8, 8), dtype="uint8").write(range(60), np.zeros((60, 8, 8), "uint8"))
        writer.add_ndarray_column("label", shape=(), dtype="int64").write(range(300), np.zeros(300, "int64"))

    write(empty, many, commit="Many")
    write(empty, lambda writer: writer["image"].write(range(40, 80), np.ones((40, 8, 8), "uint8")))
    page = page_of(empty)
    # Changed samples come before added ones.
    assert [word for word, _ in page.pictures] == ["before", "after", "difference"] * 20 + ["after"] * 4
    assert "and 16 more" in page.text
    page = page_of(empty, "-n", 2)
    assert len(page.pictures) == 6
    assert "and 38 more" in page.text
    empty.ok("commit", "-m", "More")
    page = page_of(empty, "HEAD", "HEAD~1")
    assert "20 0 20" not in page.text
    assert "before" in {word for word, _ in page.pictures}
    page = page_of(empty, "HEAD~1", "--tolerance", 1)
    assert [word for word, _ in page.pictures] == ["after"] * 20
    assert "no more than 1 are left out" in page.text


def test_a_page_goes_where_it_can(history: Shell, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    history.fails(2, "diff", "--html", tmp_path / "folder")
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "link.html").symlink_to(target)
    history.fails(1, "diff", "HEAD~1", "--html", tmp_path / "link.html")
    assert target.read_text() == "mine"
    history.ok("diff", "HEAD~1", "--html", tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
