"""The operations that are interrupted, and what a repository holds before and after them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from hangar import PurgedError, Repository
from hangar.checkout import WriterCheckout
from hangar.columns.chunked.array import ChunkedArray
from hangar.external.importer import FolderImport, ImportOptions
from hangar.external.loading import plan_import
from hangar.external.naming import find_files
from tests.interrupts.sweep import Operation, State

SHAPE = (40,)


def value(number: int) -> np.ndarray[Any, Any]:
    return np.full(SHAPE, number, np.uint8)


class Opened:
    """A repository and its writer."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.repo = Repository(directory)
        self.writer: WriterCheckout | None = None

    def open(self) -> WriterCheckout:
        """The writer; another one where that was closed."""
        if self.writer is None or self.writer.session.closed:
            self.writer = None
            self.writer = self.repo.checkout(write=True)
        return self.writer


def prepare(directory: Path) -> None:
    """A repository with two commits, in two backends, and something staged."""
    repo = Repository(directory, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    raw = writer.add_ndarray_column("raw", SHAPE, np.uint8, backend="10")
    packed = writer.add_ndarray_column("packed", SHAPE, np.uint8, backend="00")
    writer.add_str_column("text")
    for turn in range(2):
        raw.write(range(3), [value(10 * turn + i) for i in range(3)])
        packed.write(range(3), [value(20 * turn + i) for i in range(3)])
        writer["text"][turn] = f"text {turn}"
        writer.commit(f"commit {turn}")
    raw[3] = value(30)
    writer.close()
    repo.close()
    files = directory / "files"
    files.mkdir()
    for number in range(4):
        np.save(files / f"{number}.npy", value(100 + number))


def shown(column: Any, key: Any) -> str | int:
    try:
        found = column[key]
    except PurgedError:
        return "purged"
    if isinstance(found, ChunkedArray):
        return f"{found.shape}: {found[...].tolist()}"
    return found if isinstance(found, str) else int(found[0])


def content(writer: WriterCheckout) -> State:
    """What a writer shows, as JSON has it."""
    columns = {name: {str(key): shown(column, key) for key in column} for name, column in writer.columns.items()}
    log = writer.log(return_contents=True)
    assert log is not None
    refs = writer.session.stores.refs
    return {
        "columns": columns,
        "log": [log["specs"][commit]["commit_message"] for commit in log["order"]],
        "tags": refs.names("tags/"),
        "stashes": refs.names("stash/"),
    }


def found(directory: Path) -> State:
    """What another process finds. Nothing in the repository is wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repo = Repository(directory)
        writer = repo.checkout(write=True)
        seen = content(writer)
        writer.close()
        assert repo.fsck(data=True).problems == ()
        repo.close()
    return seen


def begin(directory: Path) -> Opened:
    opened = Opened(directory)
    opened.open()
    return opened


def begin_without_writer(directory: Path) -> Opened:
    return Opened(directory)


def look(opened: Opened) -> State:
    return content(opened.open())


def go_on(opened: Opened, name: str) -> None:
    opened.open()["text"][name] = name


def write_one(opened: Opened) -> None:
    opened.open()["raw"][7] = value(70)


def write_batch(opened: Opened) -> None:
    opened.open()["packed"].write([7, 8, 9], np.stack([value(71), value(72), value(73)]))


def delete(opened: Opened) -> None:
    opened.open()["raw"].delete([0, 3])


def write_block(opened: Opened) -> None:
    writer = opened.open()
    with writer:
        writer["raw"][7] = value(70)
        writer["packed"].write([7, 8], np.stack([value(71), value(72)]))
        del writer["text"][0]


def write_nested_block(opened: Opened) -> None:
    writer = opened.open()
    with writer:
        writer["raw"][7] = value(70)
        with writer["packed"] as packed:
            packed[7] = value(71)
            with writer.columns:
                writer["text"]["t"] = "t"
        packed[8] = value(72)


def fail_in_block(opened: Opened) -> None:
    """A block that ends with an error of its own."""
    writer = opened.open()
    try:
        with writer:
            writer["raw"][7] = value(70)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass


def commit(opened: Opened) -> None:
    opened.open().commit("commit 2")


def add_column(opened: Opened) -> None:
    opened.open().add_ndarray_column("more", SHAPE, np.uint8, backend="10")


def reset(opened: Opened) -> None:
    opened.open().reset_staging_area()


def close(opened: Opened) -> None:
    opened.open().close()


def import_folder(opened: Opened) -> None:
    writer = opened.open()
    jobs, _ = plan_import(find_files(opened.directory / "files"), "ndarray")
    how = ImportOptions(integers=True, overwrite=True, batch_context=lambda: writer)
    FolderImport(writer["raw"], jobs, how).run(False)


def convert(opened: Opened) -> None:
    opened.repo.convert_backend("packed", "10")


def tag(opened: Opened) -> None:
    opened.repo.tag("v1", "master~1", message="The first one")


def reset_branch(opened: Opened) -> None:
    opened.repo.reset("master~1", hard=True)


def stash(opened: Opened) -> None:
    opened.repo.stash("later")


def open_and_close(opened: Opened) -> None:
    opened.repo = Repository(opened.directory)
    opened.writer = opened.repo.checkout(write=True)
    opened.writer.close()
    opened.repo.close()


def purge(opened: Opened) -> None:
    opened.repo.purge("packed", 1, reason="", this_version=True)


def prepare_merge(directory: Path) -> None:
    """Two branches that have gone apart: a sample of each backend was changed on one, and one sample on both."""
    with Repository(directory) as repo:
        writer = repo.checkout(write=True)
        writer.commit("fork")
        writer.close()
        repo.create_branch("dev")
        for branch, number in (("dev", 60), ("master", 61)):
            writer = repo.checkout(write=True, branch=branch)
            writer["raw" if branch == "dev" else "packed"][0] = value(number)
            writer["text"][branch] = branch
            writer["raw"][1] = value(number)
            writer.commit(f"on {branch}")
            writer.close()


def prepare_conflicts(directory: Path) -> None:
    """The same with a merge in progress."""
    prepare_merge(directory)
    with Repository(directory) as repo:
        repo.merge("Both", "master", "dev", keep_conflicts=True)


def merge(opened: Opened) -> None:
    opened.open().merge("Both", "dev", strategy="theirs")


def merge_and_keep(opened: Opened) -> None:
    opened.open().merge("Both", "dev", keep_conflicts=True)


def resolve(opened: Opened) -> None:
    opened.open().resolve(None, value(62))


def abort_merge(opened: Opened) -> None:
    opened.open().merge_abort()


def prepare_stash(directory: Path) -> None:
    """What was staged is put aside, and a commit was made since."""
    with Repository(directory) as repo:
        repo.stash("later")
        writer = repo.checkout(write=True)
        writer["raw"][0] = value(90)
        writer.commit("since")
        writer.close()


def pop(opened: Opened) -> None:
    opened.repo.stash_pop()


def revert(opened: Opened) -> None:
    opened.repo.revert("master")


def cherry_pick_and_keep(opened: Opened) -> None:
    opened.repo.cherry_pick("dev", keep_conflicts=True)


def prepare_picked(directory: Path) -> None:
    """A cherry-pick with its conflicts resolved."""
    prepare_merge(directory)
    with Repository(directory) as repo:
        repo.cherry_pick("dev", keep_conflicts=True)
        repo.resolve(None, value(62))


def continue_cherry_pick(opened: Opened) -> None:
    opened.repo.cherry_pick_continue()


def prepare_arrays(directory: Path) -> None:
    """A column of chunked arrays beside the others."""
    with Repository(directory) as repo:
        writer = repo.checkout(write=True)
        column = writer.add_chunked_column("arrays", np.uint8, (3, 3))
        column[0] = np.full((5, 5), 9, np.uint8)
        writer.commit("arrays")
        writer.close()


def write_slices(opened: Opened) -> None:
    writer = opened.open()
    with writer:
        array = writer["arrays"][0]
        array[1:, ::2] = 5
        array.resize(4, 6)
        array.append(np.full((2, 6), 7, np.uint8))
        writer["arrays"].create(1, (2, 2))[0] = 3


OPERATIONS = [
    Operation("write one", begin, write_one, look, go_on, 300),
    Operation("write a batch", begin, write_batch, look, go_on, 300),
    Operation("delete", begin, delete, look, go_on, 200),
    Operation("write a block", begin, write_block, look, go_on, 300),
    Operation("write a nested block", begin, write_nested_block, look, go_on, 300),
    Operation("fail in a block", begin, fail_in_block, look, go_on, 200),
    Operation("write slices", begin, write_slices, look, go_on, 100, prepare_arrays),
    Operation("commit", begin, commit, look, go_on, 300),
    Operation("add a column", begin, add_column, look, go_on, 200),
    Operation("reset", begin, reset, look, go_on, 200),
    Operation("close", begin, close, look, go_on, 20),
    Operation("import", begin, import_folder, look, go_on, 300),
    Operation("convert", begin_without_writer, convert, look, go_on, 300),
    Operation("purge", begin_without_writer, purge, look, go_on, 300),
    Operation("tag", begin_without_writer, tag, look, go_on, 100),
    Operation("reset a branch", begin_without_writer, reset_branch, look, go_on, 300),
    Operation("stash", begin_without_writer, stash, look, go_on, 300),
    Operation("stash pop", begin_without_writer, pop, look, go_on, 300, prepare_stash),
    Operation("revert", begin_without_writer, revert, look, go_on, 300, prepare_stash),
    Operation(
        "cherry-pick and keep conflicts", begin_without_writer, cherry_pick_and_keep, look, go_on, 300, prepare_merge
    ),
    Operation("continue a cherry-pick", begin_without_writer, continue_cherry_pick, look, go_on, 300, prepare_picked),
    Operation("open and close", begin_without_writer, open_and_close, look, go_on, 300),
    Operation("merge", begin, merge, look, go_on, 300, prepare_merge),
    Operation("merge and keep conflicts", begin, merge_and_keep, look, go_on, 300, prepare_merge),
    Operation("resolve", begin, resolve, look, go_on, 300, prepare_conflicts),
    Operation("give up a merge", begin, abort_merge, look, go_on, 200, prepare_conflicts),
]
