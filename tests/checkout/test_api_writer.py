"""What a writer offers besides: each member, argument, default and error of the public API page has a test named after it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.columns import FlatSampleWriter, NestedSampleWriter
from hangar.errors import (
    AccessError,
    ClosedError,
    ColumnExistsError,
    InvalidInputError,
    InvalidTypeError,
    LockedError,
    NothingToDoError,
)
from tests.checkout.content import NAMES, fill, image, refuses


def test_branch_name(repo: Repository, writer: WriterCheckout) -> None:
    assert writer.branch_name == "master"
    fill(writer)
    writer.commit("first")
    writer.close()
    repo.create_branch("other")
    assert repo.checkout(write=True, branch="other").branch_name == "other"


@pytest.mark.parametrize("kind", ["ndarray", "str", "bytes"])
def test_add_column(writer: WriterCheckout, kind: str) -> None:
    add: Any = getattr(writer, f"add_{kind}_column")
    shape = ((4, 5),) if kind == "ndarray" else ()
    flat, nested = add("flat", *shape), add("nested", *shape, contains_subsamples=True)
    assert (type(flat), type(nested)) == (FlatSampleWriter, NestedSampleWriter)
    assert flat is writer["flat"]
    assert (flat.column, flat.column_type, flat.column_layout, len(flat)) == ("flat", kind, "flat", 0)
    assert (nested.column_layout, nested.contains_subsamples, flat.contains_subsamples) == ("nested", True, False)
    assert flat.schema_type == ("fixed_shape" if kind == "ndarray" else "variable_shape")
    assert (flat.iswriteable, flat.backend_options) == (True, {})


@pytest.mark.parametrize("kind", ["ndarray", "str", "bytes"])
def test_add_column_name(writer: WriterCheckout, kind: str) -> None:
    add: Any = getattr(writer, f"add_{kind}_column")
    shape = (5,) if kind == "ndarray" else ()
    for bad in ("", "a b", "a/b", "é", "x" * 65, 5, None):
        with pytest.raises(InvalidInputError):
            add(bad, *shape)
        with pytest.raises(ValueError, match="not suitable"):
            add(bad, *shape)
    add("A-Za_z.0-9", *shape)
    with pytest.raises(ColumnExistsError):
        add("A-Za_z.0-9", *shape)
    with pytest.raises(LookupError):
        add("A-Za_z.0-9", *shape)
    with writer, pytest.raises(AccessError):
        add("other", *shape)
    assert list(writer) == ["A-Za_z.0-9"]


def test_add_ndarray_column_shape(writer: WriterCheckout) -> None:
    shapes = {"one": 5, "number": (), "list": [2, 3], "deep": (1,) * 31, "none": (0, 4), "numpy": np.int8(3)}
    for name, shape in shapes.items():
        writer.add_ndarray_column(name, shape)
    found = {name: column.shape for name, column in writer.items()}
    assert found == {"one": (5,), "number": (), "list": (2, 3), "deep": (1,) * 31, "none": (0, 4), "numpy": (3,)}
    for bad in (None, -1, (2, -1), (1,) * 32, (2**40,)):
        with pytest.raises(InvalidInputError):
            writer.add_ndarray_column("bad", bad)
    for wrong in ("5", 1.5, (1.5,), True):
        with pytest.raises(InvalidTypeError):
            writer.add_ndarray_column("bad", wrong)  # type: ignore[arg-type]


def test_add_ndarray_column_dtype(writer: WriterCheckout) -> None:
    assert writer.add_ndarray_column("default", 3).dtype == np.float64
    names = ["bool", "float16", "float32", "float64", "complex64", "complex128"]
    for name in [*names, *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))]:
        assert writer.add_ndarray_column(name, 3, name).dtype == np.dtype(name)
    assert writer.add_ndarray_column("big", 3, ">i4").dtype == np.dtype("<i4")
    for bad in ("nope", object, "U5", "datetime64[ns]", [("a", "i4")], np.longdouble):
        with pytest.raises(InvalidInputError):
            writer.add_ndarray_column("bad", 3, bad)


def test_add_ndarray_column_prototype(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("x", prototype=np.zeros((2, 3), np.int16))
    assert (column.shape, column.dtype) == ((2, 3), np.dtype("int16"))
    other = writer.add_ndarray_column("y", prototype=np.zeros((2, 3), np.int16), dtype=np.int8)
    assert (other.shape, other.dtype) == ((2, 3), np.dtype("int8"))
    with pytest.raises(InvalidInputError, match="prototype"):
        writer.add_ndarray_column("z", (2, 3), prototype=np.zeros((2, 3)))
    with pytest.raises(InvalidInputError):
        writer.add_ndarray_column("z", prototype="text")  # type: ignore[call-overload]


def test_add_ndarray_column_variable_shape(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("x", (2, 3), np.uint8, variable_shape=True)
    assert column.schema_type == "variable_shape"
    column[1] = np.zeros((1, 3), np.uint8)
    with pytest.raises(ValueError, match="exceeds schema max"):
        column[2] = np.zeros((3, 3), np.uint8)
    with pytest.raises(ValueError, match="rank"):
        column[2] = np.zeros(3, np.uint8)


@pytest.mark.parametrize("kind", ["ndarray", "str", "bytes"])
def test_add_column_backend(writer: WriterCheckout, kind: str) -> None:
    add: Any = getattr(writer, f"add_{kind}_column")
    shape = ((40, 40),) if kind == "ndarray" else ()
    good = {"ndarray": "10", "str": "30", "bytes": "31"}[kind]
    assert add("good", *shape, backend=good).backend == good
    with pytest.raises(InvalidInputError):
        add("bad", *shape, backend="99")
    with pytest.raises(InvalidInputError):
        add("bad", *shape, backend=10)
    with pytest.raises(InvalidInputError):
        add("bad", *shape, backend="30" if kind == "ndarray" else "10")
    with pytest.raises(InvalidInputError):
        add("bad", *shape, backend="50")
    assert list(writer) == ["good"]


def test_add_column_backend_options(writer: WriterCheckout) -> None:
    with pytest.raises(InvalidInputError, match="backend"):
        writer.add_ndarray_column("x", 3, backend_options={"complevel": 1})
    with pytest.raises(InvalidTypeError):
        writer.add_ndarray_column("x", 3, backend="10", backend_options={"nope": 1})
    with pytest.raises(InvalidTypeError):
        writer.add_ndarray_column("x", 3, backend="10", backend_options=[1])  # type: ignore[call-overload]
    assert writer.add_ndarray_column("x", 3, backend="10", backend_options={}).backend_options == {}


def test_add_column_inline(writer: WriterCheckout) -> None:
    inline = {
        "small": writer.add_ndarray_column("small", 4),
        "large": writer.add_ndarray_column("large", 5),
        "off": writer.add_ndarray_column("off", 4, inline=False),
        "variable": writer.add_ndarray_column("variable", 4, variable_shape=True),
        "text": writer.add_str_column("text"),
        "text_off": writer.add_str_column("text_off", inline=False),
        "backend": writer.add_ndarray_column("backend", 4, backend="10"),
    }
    found = {name for name, column in inline.items() if column.schema.inline}
    assert found == {"small", "text", "backend"}
    with pytest.raises(InvalidInputError, match="inline"):
        writer.add_ndarray_column("bad", 5, inline=True)


def test_commit(repo: Repository, writer: WriterCheckout) -> None:
    with pytest.raises(NothingToDoError, match=r"No changes made in staging area. Cannot commit."):
        writer.commit("nothing")
    with pytest.raises(RuntimeError):
        writer.commit("nothing")
    fill(writer)
    column = writer["text"]
    first = writer.commit("first\n\nmore")
    assert (type(first), writer.commit_hash, repo.rev_parse("master")) == (str, first, first)
    assert repo.commit_info().message == "first\n\nmore"
    column["k"] = "still valid"
    with writer:
        second = writer.commit("inside a block")
        column["k"] = "after"
    assert repo.checkout(commit=second)["text", "k"] == "still valid"
    assert writer["text", "k"] == "after"
    for wrong in (None, 5, b"x"):
        with pytest.raises(InvalidTypeError):
            writer.commit(wrong)  # type: ignore[arg-type]


def test_commit_amend(repo: Repository, writer: WriterCheckout) -> None:
    fill(writer)
    first = writer.commit("first")
    again = writer.commit("better", amend=True)
    assert again != first
    assert repo.log(return_contents=True)["order"] == [again]  # type: ignore[index]


def test_commit_meta(repo: Repository, writer: WriterCheckout) -> None:
    fill(writer)
    writer.commit("first", meta={"run": 7, "tags": ["a"]})
    assert repo.commit_info().meta == {"run": 7, "tags": ["a"]}
    writer.attributes["a"] = 1
    with pytest.raises(InvalidTypeError):
        writer.commit("second", meta="x")  # type: ignore[arg-type]
    writer.commit("second")
    assert repo.commit_info().meta == {}


def test_reset_staging_area(writer: WriterCheckout) -> None:
    fill(writer)
    first = writer.commit("first")
    with pytest.raises(NothingToDoError):
        writer.reset_staging_area()
    column, view = writer["text"], writer["boxes", "a"]
    column["k"] = "other"
    view.append(np.ones((1, 4), np.float32))
    writer.attributes["a"] = 1
    writer["image"].attributes["b"] = 1
    writer.rename_column("image", "picture")
    assert writer.reset_staging_area() == first
    refuses(lambda: column["k"], lambda: repr(column), lambda: view[0], lambda: len(view))
    assert (writer["text", "k"], len(writer["boxes", "a"]), list(writer)) == ("v", 2, NAMES)
    assert (dict(writer.attributes), dict(writer["image"].attributes)) == ({}, {})
    assert writer.reset_staging_area(force=True) == first
    with pytest.raises(TypeError):
        writer.reset_staging_area(True)  # type: ignore[call-arg]


def test_diff_status_and_staged(writer: WriterCheckout) -> None:
    assert writer.diff.status() == "CLEAN"
    fill(writer)
    assert writer.diff.status() == "DIRTY"
    diff, conflict = writer.diff.staged()
    assert len(diff.added.schema) == 5
    assert not conflict.conflict
    writer.commit("first")
    assert writer.diff.status() == "CLEAN"


def test_when_the_lock_is_taken_over(repo: Repository, writer: WriterCheckout) -> None:
    fill(writer)
    column, columns, attributes, view = writer["text"], writer.columns, writer.attributes, writer["boxes", "a"]
    with pytest.warns(ResourceWarning):
        repo.force_release_writer_lock()
    for action in (
        lambda: column["k"],
        lambda: columns["text"],
        lambda: list(writer),
        lambda: view[0],
        lambda: dict(attributes),
        lambda: attributes.update(a=1),
        lambda: writer.rename_column("text", "other"),
        lambda: writer["boxes"].widen((10, 4)),
        lambda: writer.commit("x"),
        writer.close,
    ):
        with pytest.raises(LockedError):
            action()
    other = repo.checkout(write=True)
    assert list(other) == NAMES
    other.close()


def test_pickle_of_a_writer(writer: WriterCheckout) -> None:
    fill(writer)
    for thing in (writer, writer["text"], writer["boxes"], writer["boxes", "a"]):
        with pytest.raises(AccessError):
            pickle.dumps(thing)
        with pytest.raises(PermissionError):
            pickle.dumps(thing)


def test_an_exception_keeps_exactly_what_the_page_says(repo: Repository, writer: WriterCheckout) -> None:
    fill(writer)
    column, boxes = writer["text"], writer["boxes"]
    with pytest.raises(ZeroDivisionError), writer:  # noqa: PT012
        column["a"] = "before"
        boxes["new"] = {1: np.ones((1, 4), np.float32)}
        writer.attributes["a"] = "before"
        assert writer.diff.status() == "DIRTY"
        writer.commit("inside")
        column["b"] = "after"
        del boxes["new"]
        writer.attributes["a"] = "after"
        with boxes["a"] as view:
            view[5] = np.ones((1, 4), np.float32)
        assert len(boxes["a"]) == 3
        raise ZeroDivisionError
    for _ in range(2):
        assert ("a" in column, "b" in column, "new" in boxes, len(boxes["a"])) == (True, False, True, 2)
        assert dict(writer.attributes) == {"a": "before"}
        assert writer.diff.status() == "CLEAN"
        writer.close()
        writer = repo.checkout(write=True)
        column, boxes = writer["text"], writer["boxes"]
    writer.close()


LEFT_OPEN = """
import sys
import numpy as np
from hangar import Repository
repo = Repository(sys.argv[1])
writer = repo.checkout(write=True)
reader = repo.checkout()
writer["text"]["left"] = "open"
kept = [writer, reader, writer["text"], reader["image"], writer.columns]
block = writer.__enter__()
writer["text"]["in/a/batch"] = "too"
print(reader["image", 3][0, 0], repo.writer_lock_held)
"""


def test_open_checkouts_close_at_interpreter_exit(repo: Repository, writer: WriterCheckout) -> None:
    fill(writer)
    writer.commit("first")
    writer.close()
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", LEFT_OPEN, repo.path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 True\n", "")
    assert not repo.writer_lock_held
    again = repo.checkout(write=True)
    assert again["text", "left"] == "open"
    assert "in/a/batch" not in again["text"], "half a batch was kept"
    again.close()
    assert repo.verify_repo_integrity()


def test_close(repo: Repository, writer: WriterCheckout) -> None:
    fill(writer)
    assert writer.close() is None  # type: ignore[func-returns-value]
    assert not repo.writer_lock_held
    refuses(writer.close, lambda: writer.commit("x"), lambda: writer.branch_name, lambda: writer.diff)
    refuses(lambda: writer.add_str_column("x"), lambda: writer.rename_column("text", "x"), writer.reset_staging_area)
    with pytest.raises(ClosedError):
        writer.attributes.update(a=1)
    again = repo.checkout(write=True)
    assert (again["image", 3] == image(3)).all()
    again.close()
