"""``run_bulk_import``: all or nothing, and the errors that the API promises."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.bulk_importer import UDF_Return, run_bulk_import
from tests.bulk_importer import functions
from tests.bulk_importer.test_items import children


@pytest.fixture
def ready(repo: Repository) -> Repository:
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("picture", functions.SHAPE, np.uint8)
    writer.add_ndarray_column("nested", functions.SHAPE, np.uint8, contains_subsamples=True)
    writer.commit("columns")
    writer.add_str_column("staged")
    writer.close()
    return repo


CALLS: list[dict[str, Any]] = [{"first": n, "stop": n + 10} for n in range(0, 60, 10)]


@pytest.mark.parametrize("ncpus", [0, 1])
def test_import_and_commit(ready: Repository, ncpus: int) -> None:
    assert run_bulk_import(ready, "master", ["picture"], functions.numbered, CALLS, ncpus=ncpus) is None  # type: ignore[func-returns-value]
    reader = ready.checkout()
    assert list(reader["picture"]) == list(range(60))
    assert all((reader["picture"][n] == functions.picture(n)).all() for n in range(60))
    reader.close()
    with pytest.raises(RuntimeError, match="No changes"):
        run_bulk_import(ready, "master", ["picture"], functions.numbered, CALLS, ncpus=ncpus)
    assert not ready.writer_lock_held
    assert children() == set()


def test_without_a_commit(ready: Repository) -> None:
    calls = [{"first": 0, "stop": 1, "bad": UDF_Return("nested", (1, "a"), functions.picture(1))}]
    run_bulk_import(ready, "master", ["picture", "nested"], functions.numbered, calls, ncpus=1, autocommit=False)
    writer = ready.checkout(write=True)
    assert writer.diff.status() == "DIRTY"
    assert (writer["nested", 1, "a"] == functions.picture(1)).all()
    writer.close()


def calls_with(bad: Any) -> list[dict[str, Any]]:
    return [*CALLS, {"first": 70, "stop": 75, "bad": bad}, {"first": 80, "stop": 99}]


good = functions.picture(0)


@pytest.mark.parametrize(
    ("udf", "calls", "how", "error"),
    [
        (functions.no_generator, [{"first": 1}], {}, TypeError),
        (None, CALLS, {}, TypeError),
        (functions.numbered, [{"first": 1}], {}, TypeError),
        (functions.numbered, [{"first": 1, "stop": 2, "other": 3}], {}, TypeError),
        (functions.numbered, [[1, 2]], {}, TypeError),
        (functions.numbered, {"first": 1, "stop": 2}, {}, TypeError),
        (functions.numbered, [{"first": 1, "stop": 2, "bad": threading.Lock()}], {}, RuntimeError),
        (functions.numbered, CALLS, {"branch": "other"}, ValueError),
        (functions.numbered, CALLS, {"columns": ["picture", "other"]}, KeyError),
        (functions.numbered, calls_with(7), {}, TypeError),
        (functions.numbered, calls_with(("picture", 70, good)), {}, TypeError),
        (functions.numbered, calls_with(UDF_Return("other", 7, good)), {}, ValueError),
        (functions.numbered, calls_with(UDF_Return("staged", 7, "text")), {}, ValueError),
        (functions.numbered, calls_with(UDF_Return(["picture"], 7, good)), {}, ValueError),  # type: ignore[arg-type]
        (functions.numbered, calls_with(UDF_Return("picture", "a b", good)), {}, ValueError),
        (functions.numbered, calls_with(UDF_Return("picture", (1, 2), good)), {}, ValueError),
        (functions.numbered, calls_with(UDF_Return("nested", 1, good)), {}, ValueError),
        (functions.numbered, calls_with(UDF_Return("nested", (1, 2.5), good)), {}, ValueError),  # type: ignore[arg-type]
        (functions.numbered, calls_with(UDF_Return("picture", 70, good[:5])), {}, ValueError),
        (functions.numbered, calls_with(UDF_Return("picture", 70, good.astype(float))), {}, ValueError),
        (functions.numbered, calls_with(UDF_Return("picture", 70, "text")), {}, ValueError),
        (functions.raising, [{"first": n} for n in range(60)], {}, LookupError),
        (functions.nothing, [{"first": 1}], {}, RuntimeError),
        (functions.numbered, [], {}, RuntimeError),
    ],
)
def test_errors_change_nothing(
    ready: Repository, udf: Any, calls: Any, how: dict[str, Any], error: type[Exception]
) -> None:
    def state() -> Any:
        writer = ready.checkout(write=True)
        try:
            return writer.commit_hash, writer.diff.status(), {name: list(column) for name, column in writer.items()}
        finally:
            writer.close()

    if (error is RuntimeError and udf is not functions.numbered) or calls == []:
        writer = ready.checkout(write=True)
        writer.reset_staging_area()
        writer.close()
    before = state()
    branch, columns = how.get("branch", "master"), how.get("columns", ["picture", "nested"])
    with pytest.raises(error):
        run_bulk_import(ready, branch, columns, udf, calls, ncpus=1)
    assert not ready.writer_lock_held
    assert children() == set()
    assert state() == before
    assert ready.verify_repo_integrity()


def test_a_held_lock_is_left_alone(ready: Repository) -> None:
    writer = ready.checkout(write=True)
    with pytest.raises(PermissionError):
        run_bulk_import(ready, "master", ["picture"], functions.numbered, CALLS)
    assert writer.diff.status() == "DIRTY"
    writer.close()


def test_results_compare_by_content() -> None:
    one = UDF_Return("picture", 1, good)
    assert one == UDF_Return("picture", 1, good.copy())
    assert one != UDF_Return("picture", 2, good)
    assert one != UDF_Return("picture", 1, good.astype(float))
    assert UDF_Return(column="a", key="k", data="x") == UDF_Return("a", "k", "x")
    assert one != ("picture", 1, good)
