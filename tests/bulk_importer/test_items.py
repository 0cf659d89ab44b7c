"""Imports of items: what they write, whatever the workers do, and how they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.bulk_importer import UDF_Return, import_items
from hangar.bulk_importer.slots import SLOT_BYTES
from hangar.checkout import WriterCheckout
from hangar.errors import ConflictError, InvalidStateError
from tests.bulk_importer import functions
from tests.compat import independent_reader as independent

COUNT = 230
NAMES = ["picture", "label", "text", "ragged", "boxes"]


def add_columns(checkout: WriterCheckout) -> None:
    checkout.add_ndarray_column("picture", functions.SHAPE, np.uint8)
    checkout.add_ndarray_column("label", (), np.int64)
    checkout.add_str_column("text")
    checkout.add_ndarray_column("ragged", (5, 3), np.float32, variable_shape=True)
    checkout.add_ndarray_column("boxes", (4,), np.float32, contains_subsamples=True)


def tree_of(repo: Repository, rev: str = "master") -> str:
    return repo.commit_info(rev).tree


def children() -> set[int]:
    """Processes that this one has started."""
    tasks = Path("/proc/self/task")
    return {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}


def written_in_a_loop(repo: Repository) -> str:
    with repo.checkout(write=True) as checkout:
        for number in range(COUNT):
            if number % 50 != 13:
                for name, value in functions.several(number).items():
                    if name != "boxes" or value:
                        checkout[name, number] = value
    checkout.commit("in a loop")
    checkout.close()
    return tree_of(repo)


@pytest.mark.parametrize("workers", [0, 3])
def test_the_result_is_that_of_a_loop(repo: Repository, tmp_path: Path, workers: int) -> None:
    writer = repo.checkout(write=True)
    add_columns(writer)
    writer.commit("columns")
    writer.close()
    repo.create_branch("loop")
    told: list[tuple[int, int | None, str]] = []
    writer = repo.checkout(write=True)
    report = import_items(
        writer,
        NAMES,
        {number: number for number in range(COUNT)},
        functions.several,
        workers=workers,
        progress=lambda *at: told.append(at),
    )
    assert [one.item for one in report.failed] == [(number, number) for number in range(13, COUNT, 50)]
    assert all(one.kind == "ZeroDivisionError" and "bad luck" in one.message for one in report.failed)
    assert "several" in report.failed[0].traceback
    assert (report.items, report.imported, report.resumed) == (COUNT, COUNT - 5, 0)
    assert report.samples["picture"] == report.samples["text"] == COUNT - 5
    assert told[0] == (0, COUNT, "items")
    assert told[-1] == (COUNT, COUNT, "items")
    # The same call reads only what failed; what the database has staged is as the specification says.
    again = import_items(writer, NAMES, {number: number for number in range(COUNT)}, functions.several, workers=workers)
    assert (again.imported, again.resumed, len(again.failed)) == (0, COUNT - 5, 5)
    repo.close()
    staged = independent.Repository(tmp_path / ".hangar").staged
    assert staged is not None
    assert set(staged.columns) == set(NAMES)
    writer = repo.checkout(write=True)
    writer.commit("imported")
    writer.close()
    imported = tree_of(repo)
    repo.checkout(write=True, branch="loop").close()
    assert imported == written_in_a_loop(repo)
    assert children() == set()
    assert repo.verify_repo_integrity()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_item_is_stored_as_a_whole_or_not_at_all(writer: WriterCheckout, workers: int) -> None:
    add_columns(writer)
    report = import_items(writer, ["picture", "label"], {n: n for n in range(40)}, functions.too_wide, workers=workers)
    good = [number for number in range(40) if number % 3]
    assert list(writer["picture"]) == list(writer["label"]) == good
    assert [one.index for one in report.failed] == list(range(0, 40, 3))
    assert "does not fit" in report.failed[0].message


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_that_exist_are_kept_or_replaced(writer: WriterCheckout, workers: int) -> None:
    """Of two items with one key the first counts, or with ``overwrite`` the last; equal content is no conflict."""
    column = writer.add_ndarray_column("picture", functions.SHAPE, np.uint8)
    column[3], column[4] = functions.picture(3), functions.picture(99)
    items = [*((number, number) for number in range(30)), (7, 7), (8, 77), (3, 3)]
    report = import_items(writer, "picture", items, functions.picture, workers=workers)
    assert [one.index for one in report.failed] == [4, 31]
    assert "sample 4 already, with different content" in report.failed[0].message
    assert (column[4] == functions.picture(99)).all()
    assert (column[8] == functions.picture(8)).all()
    report = import_items(writer, "picture", items, functions.picture, workers=workers, overwrite=True)
    assert report.failed == ()
    assert (column[4] == functions.picture(4)).all()
    assert (column[8] == functions.picture(77)).all()
    with pytest.raises(ConflictError, match="different content"):
        import_items(writer, "picture", [(8, 8)], functions.picture, workers=workers, on_error="stop")


def test_values_larger_than_a_slot(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("large", (20 * 2**20,), np.uint8, variable_shape=True)
    assert SLOT_BYTES < 12 * 2**20
    import_items(writer, "large", {number: number for number in range(6)}, functions.large, workers=2)
    assert [len(column[number]) for number in range(6)] == [12 * 2**20 + number for number in range(6)]
    assert all((column[number] == number).all() for number in range(6))


def test_a_worker_that_dies_costs_its_item_alone(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("picture", functions.SHAPE, np.uint8)
    report = import_items(writer, "picture", {n: n for n in range(100)}, functions.deadly, workers=2)
    assert [one.index for one in report.failed] == [5, 6, 40]
    assert "worker process died" in report.failed[0].message
    assert list(column) == [number for number in range(100) if number not in (5, 6, 40)]
    assert children() == set()


def test_progress_is_forgotten_with_its_column(writer: WriterCheckout) -> None:
    """A column that was removed and added again is empty, so nothing of it counts as imported."""

    def run() -> Any:
        return import_items(writer, "picture", {n: n for n in range(20)}, functions.picture, workers=0)

    writer.add_ndarray_column("picture", functions.SHAPE, np.uint8)
    assert run().imported == 20
    assert run().resumed == 20
    assert import_items(writer, "picture", {1: 1}, functions.picture, workers=0, resume=False).imported == 1
    writer.columns.delete("picture")
    column = writer.add_ndarray_column("picture", functions.SHAPE, np.uint8)
    assert run().imported == len(column) == 20
    writer.commit("imported")
    assert run().imported == 20  # a commit ends the import; equal content changes nothing
    assert writer.diff.status() == "CLEAN"


def test_an_import_in_a_block_is_one_batch(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("picture", functions.SHAPE, np.uint8)

    def interrupted() -> None:
        with writer:
            import_items(writer, "picture", {n: n for n in range(20)}, functions.picture, workers=0)
            assert len(column) == 20
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(column) == 0
    assert import_items(writer, "picture", {n: n for n in range(20)}, functions.picture, workers=0).imported == 20


def test_an_interrupt_leaves_no_worker(writer: WriterCheckout) -> None:
    writer.add_ndarray_column("picture", functions.SHAPE, np.uint8)

    def stop(done: int, total: int | None, unit: str) -> None:
        if done:
            raise KeyboardInterrupt

    items = {number: number for number in range(3000)}
    with pytest.raises(KeyboardInterrupt):
        import_items(writer, "picture", items, functions.picture, workers=2, progress=stop)
    assert children() == set()
    assert import_items(writer, "picture", items, functions.picture, workers=2).failed == ()
    assert len(writer["picture"]) == 3000


PROGRAM = """
import sys
{block}
import numpy as np
from hangar import Repository
from hangar.bulk_importer import import_items

def load(number):
    return np.full(3, number)

{guard}
    with Repository({path!r}) as repo:
        writer = repo.checkout(write=True)
        if "x" not in writer:
            writer.add_ndarray_column("x", 3, int)
        print(import_items(writer, "x", {{n: n for n in range(50)}}, load, workers=2).imported)
        writer.close()
"""


@pytest.mark.parametrize(
    ("block", "guard", "code", "text"),
    [
        ("", "if True:", 0, "50"),
        ("sys.modules['cloudpickle'] = None", "if __name__ == '__main__':", 0, "50"),
        ("sys.modules['cloudpickle'] = None", "if True:", 1, "if __name__ == '__main__'"),
    ],
    ids=["by value", "by name", "without a guard"],
)
def test_functions_of_the_main_program(
    repo: Repository, tmp_path: Path, block: str, guard: str, code: int, text: str
) -> None:
    pytest.importorskip("cloudpickle")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(block=block, guard=guard, path=str(tmp_path)))
    repo.close()
    done = subprocess.run([sys.executable, str(program)], check=False, capture_output=True, text=True)
    assert (done.returncode, text in done.stdout + done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize(
    ("columns", "items", "load", "how", "error"),
    [
        ("other", {1: 1}, functions.picture, {}, KeyError),
        ([], {1: 1}, functions.picture, {}, ValueError),
        ("picture", 5, functions.picture, {}, TypeError),
        ("picture", "abc", functions.picture, {}, TypeError),
        ("picture", [1, 2], functions.picture, {}, TypeError),
        ("picture", {1: 1}, "function", {}, TypeError),
        ("picture", {1: 1}, functions.picture, {"workers": -1}, ValueError),
        ("picture", {1: 1}, functions.picture, {"workers": 1.5}, TypeError),
        ("picture", {1: 1}, functions.picture, {"on_error": "ignore"}, ValueError),
        ("picture", {1: 1}, functions.picture, {"overwrite": 1}, ValueError),
        ("picture", {1: (n for n in "a")}, functions.picture, {"workers": 1}, InvalidStateError),
    ],
)
def test_arguments_are_checked(
    writer: WriterCheckout, columns: Any, items: Any, load: Any, how: Any, error: type[Exception]
) -> None:
    writer.add_ndarray_column("picture", functions.SHAPE, np.uint8)
    with pytest.raises(error):
        import_items(writer, columns, items, load, **how)
    assert len(writer["picture"]) == 0
    assert children() == set()


def test_generator_functions_yield_any_number_of_values(writer: WriterCheckout) -> None:
    column = writer.add_ndarray_column("picture", functions.SHAPE, np.uint8, contains_subsamples=True)

    def views(number: int) -> Any:
        for view in range(number % 3):
            yield UDF_Return("picture", (number, view), functions.picture(view))

    import_items(writer, "picture", range(9), views, workers=0)
    assert {sample: len(column[sample]) for sample in column} == {1: 1, 2: 2, 4: 1, 5: 2, 7: 1, 8: 2}
