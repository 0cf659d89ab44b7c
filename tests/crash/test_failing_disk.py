"""A disk that fails once, at any sync or commit: nothing acknowledged is lost, and nothing is claimed that may not be so.

A failed ``fsync`` must not be tried again (the kernel may have dropped what it could not write), so the writer is of no further use. Whether a failed
commit of the database happened is not known; what the writer does afterwards must fit to either.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import lmdb
import pytest

from hangar import HangarError, StorageError
from hangar.db import WriteTransaction
from tests.crash.scenarios import repositories
from tests.crash.scenarios.repositories import BATCHES, BRANCHES, COMMITS, RUNS, SETTINGS, SINGLE_WRITES
from tests.crash.world import Live, Model, Step, observe, require
from tests.processes import child

STEPS: dict[str, Sequence[Step]] = {
    "single writes": SINGLE_WRITES,
    "batches": BATCHES,
    "runs": RUNS,
    "commits": COMMITS,
    "branches": BRANCHES,
    "settings": SETTINGS,
}

CONFIGURE = SETTINGS[2]
"""Writes a file that is no business of the writer."""


class Fault:
    """Fails the n-th call."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.happened = False

    def due(self) -> bool:
        self._left -= 1
        self.happened = self.happened or not self._left
        return not self._left


def fail_sync(fault: Fault) -> None:
    sync = os.fsync

    def failing(descriptor: Any) -> None:
        if fault.due():
            raise OSError(errno.EIO, "the disk failed")
        sync(descriptor)

    os.fsync = failing  # type: ignore[assignment]


def fail_commit(fault: Fault, committed: bool) -> None:
    commit = WriteTransaction.commit

    def failing(self: WriteTransaction) -> None:
        if not fault.due():
            commit(self)
            return
        if committed:
            commit(self)
        raise lmdb.Error("the disk failed: Input/output error")

    WriteTransaction.commit = failing  # type: ignore[method-assign]


def faults(template: Path, place: Path, run: Any) -> Iterator[tuple[int, Any]]:
    """What ``run`` returns in a child with a fault at each number in turn, until it comes to none."""
    number = 0
    while True:
        number += 1
        directory = place / "failed"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(template, directory)
        with child(lambda talk, n=number, d=directory: run(d, n)) as process:  # type: ignore[misc]
            found = process.result()
        yield number, found
        if not found[0]:
            return


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template")

    def make(_: Connection) -> None:
        repositories.prepare(path)

    with child(make) as process:
        process.result()
    return path


def filled() -> Model:
    model = Model()
    repositories.fill(model)
    return model


def require_any(directory: Path, *expected: dict[str, Any]) -> None:
    """What the next writer finds."""
    live = Live(directory)
    require(observe(live), *expected)
    repositories.require_sound(live, data=True)
    repositories.goes_on(live)
    live.close()


@pytest.mark.parametrize("name", STEPS)
def test_a_failed_sync_ends_the_writer_and_loses_nothing(name: str, template: Path, place: Path) -> None:
    def run(directory: Path, number: int) -> tuple[bool, int, bool]:
        repositories.lower_limits()
        live, fault = Live(directory), Fault(number)
        fail_sync(fault)
        for done, step in enumerate(STEPS[name]):
            try:
                step(live)
            except StorageError as error:
                told = fault.happened and error.errno == errno.EIO
                return told, done, step is CONFIGURE or writes_no_more(live)
            assert not fault.happened, "a failed sync was not told"
        return fault.happened, len(STEPS[name]), True

    for number, (happened, done, dead) in faults(template, place, run):
        assert dead, f"the writer wrote on after sync {number} failed"
        model = filled()
        for step in STEPS[name][:done]:
            step(model)
        before = model.state()
        if happened:
            STEPS[name][done](model)
        try:
            require_any(place / "failed", before, model.state())
        except BaseException as error:
            raise AssertionError(f"sync {number} failed in step {done}") from error


def writes_no_more(live: Live) -> bool:
    try:
        live.put("image", 7_777, 7_777)
    except StorageError:
        return True
    return False


def outcome(name: str, worked: Sequence[bool], failed_counts: bool) -> dict[str, Any] | None:
    """What is there if the first step that failed happened, or did not; None where the steps that worked rule that out."""
    model = filled()
    first = True
    for step, done in zip(STEPS[name], worked, strict=True):
        if done or (first and failed_counts):
            try:
                step(model)
            except KeyError:
                return None
        first = first and done
    return model.state()


@pytest.mark.parametrize("committed", [False, True], ids=["undone", "done"])
@pytest.mark.parametrize("name", STEPS)
def test_a_commit_that_failed_or_did_not(name: str, committed: bool, template: Path, place: Path) -> None:
    """Later steps of the same writer are acknowledged and there, or refused."""

    def run(directory: Path, number: int) -> tuple[bool, list[bool]]:
        repositories.lower_limits()
        live, fault = Live(directory), Fault(number)
        fail_commit(fault, committed)
        worked = []
        for step in STEPS[name]:
            try:
                step(live)
                worked.append(True)
            except (HangarError, KeyError):
                worked.append(False)
            assert fault.happened or worked[-1]
        return fault.happened, worked

    for number, (_, worked) in faults(template, place, run):
        expected = [state for state in (outcome(name, worked, False), outcome(name, worked, True)) if state]
        try:
            require_any(place / "failed", *expected)
        except BaseException as error:
            raise AssertionError(f"commit {number} failed; steps worked: {worked}") from error
