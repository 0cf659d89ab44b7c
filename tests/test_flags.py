"""Yes/no arguments: ``bool`` and ``numpy.bool_``, wherever there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hangar import InvalidInputError, Repository
from hangar.flags import check_flag, check_optional_flag

WRONG = ["no", "False", 0, 1, 0.0, [], None, np.int64(1), np.array([True]), object]


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_bools_of_python_and_numpy(value: Any) -> None:
    assert check_flag(value, "x") is bool(value)
    assert check_optional_flag(value, "x") is bool(value)
    assert check_optional_flag(None, "x") is None


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_everything_else_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="x must be True or False, not "):
        check_flag(value, "x")


def columns_added(repo: Repository, **flags: Any) -> list[Any]:
    writer = repo.checkout(write=True)
    try:
        add: list[Callable[..., Any]] = [writer.add_str_column, writer.add_bytes_column]
        if "variable_shape" in flags:
            add = []
        columns = [method("abc"[i], **flags) for i, method in enumerate(add)]
        columns.append(writer.add_ndarray_column("n", (3,), np.uint8, **flags))
        return [(c.contains_subsamples, c.schema_type, c.schema.inline) for c in columns]
    finally:
        writer.close()


@pytest.mark.parametrize("name", ["contains_subsamples", "variable_shape", "inline"])
def test_flags_of_columns(name: str, repo: Repository) -> None:
    for value in WRONG[:-3]:
        if name == "inline" and value is None:
            continue
        with pytest.raises(ValueError, match=f"{name} must be True or False"):
            columns_added(repo, **{name: value})
    assert not repo.checkout(write=True).columns.keys()
    repo.close()
    found = columns_added(repo, **{name: np.False_})
    assert found == [(False, *found[i][1:]) for i in range(len(found))]
    assert all(one[2] is (name != "inline") for one in found)


def test_numpys_true_makes_nested_columns_of_variable_shape(repo: Repository) -> None:
    assert columns_added(repo, contains_subsamples=np.True_, variable_shape=np.True_) == [
        (True, "variable_shape", False)
    ]


@pytest.mark.parametrize("value", ["no", 0, 1, None], ids=repr)
def test_flags_of_everything_else(value: Any, repo: Repository) -> None:
    writer = repo.checkout(write=True)
    writer.add_str_column("t")["k"] = "v"
    digest = writer.commit("one")
    writer["t"]["k"] = "w"
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("write", lambda: repo.checkout(value)),
        ("exists", lambda: Repository(repo.path, value)),
        ("remove_old", lambda: repo.init("Ada", "a@b", remove_old=value)),
        ("force_delete", lambda: repo.remove_branch("master", force_delete=value)),
        ("return_contents", lambda: repo.log(return_contents=value)),
        ("show_time", lambda: repo.log(show_time=value)),
        ("show_user", lambda: writer.log(show_user=value)),
        ("data", lambda: repo.fsck(data=value)),
        ("except_missing", lambda: writer.get(("t", "k"), except_missing=value)),
        ("amend", lambda: writer.commit("two", amend=value)),
        ("force", lambda: writer.reset_staging_area(force=value)),
    ]
    for name, call in calls:
        with pytest.raises(InvalidInputError, match=f"{name} must be True or False"):
            call()
    assert writer.commit_hash == digest
    assert writer["t"]["k"] == "w"
    writer.close()


def test_numpys_bools_do_for_all(repo: Repository) -> None:
    writer: Any = repo.checkout(np.True_)  # type: ignore[call-overload]
    writer.add_str_column("t")
    writer.commit("one", amend=np.False_)
    assert writer.reset_staging_area(force=np.True_)
    writer.close()
    assert repo.log(return_contents=np.True_) is not None  # type: ignore[arg-type]


def test_a_branch_given_as_the_first_argument_is_told_where_it_goes(repo: Repository) -> None:
    with pytest.raises(InvalidInputError, match=r"not 'master': name a branch as checkout\(branch='master'\)"):
        repo.checkout("master")  # type: ignore[call-overload]
