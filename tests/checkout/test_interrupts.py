"""Interrupts (Ctrl-C, no memory) between what the database does and what this process remembers of it."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.columns import FlatSampleWriter
from hangar.errors import ClosedError, LockedError
from tests.checkout.samples import numbers, value


def interrupt_once(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, *, after: bool = False) -> None:
    """Let the next call of a method be interrupted before it begins, or when it is done."""
    original: Callable[..., Any] = getattr(owner, name)

    def interrupted(*arguments: Any) -> None:
        monkeypatch.setattr(owner, name, original)
        if after:
            original(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, interrupted)


def sound(repo: Repository, writer: WriterCheckout) -> dict[Any, int]:
    """What a new writer finds, of a repository in which nothing is wrong."""
    writer.close()
    assert repo.fsck(data=True).problems == ()
    with repo.checkout(write=True) as again:
        found = numbers(again["x"])
    again.close()
    return found


@pytest.mark.parametrize("step", ["committed", "rebase"])
@pytest.mark.parametrize("in_block", [False, True])
def test_a_commit_that_was_made_is_stood_on(
    repo: Repository,
    writer: WriterCheckout,
    column: FlatSampleWriter,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    in_block: bool,
) -> None:
    column[1] = value(1)
    session = writer.session
    owner = session.blobs if step == "committed" else session.staging
    if in_block:
        with writer:
            column[2] = value(2)
            interrupt_once(monkeypatch, owner, step)
            with pytest.raises(KeyboardInterrupt):
                writer.commit("one")
            column[3] = value(3)
    else:
        column[2] = value(2)
        interrupt_once(monkeypatch, owner, step)
        with pytest.raises(KeyboardInterrupt):
            writer.commit("one")
        column[3] = value(3)
    assert writer.commit_hash == repo.rev_parse("master")
    assert numbers(column) == {1: 1, 2: 2, 3: 3}
    writer.commit("two")
    assert sound(repo, writer) == {1: 1, 2: 2, 3: 3}


@pytest.mark.parametrize(("owner", "name"), [("blobs", "committed"), ("staging", "written")])
def test_a_write_that_was_published_is_remembered(
    repo: Repository,
    writer: WriterCheckout,
    column: FlatSampleWriter,
    monkeypatch: pytest.MonkeyPatch,
    owner: str,
    name: str,
) -> None:
    interrupt_once(monkeypatch, getattr(writer.session, owner), name)
    with pytest.raises(KeyboardInterrupt):
        column[1] = value(1)
    assert numbers(column) == {1: 1}
    column[2] = value(2)
    assert sound(repo, writer) == {1: 1, 2: 2}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["blobs", "staging"])
def test_a_rollback_that_is_interrupted_is_done_again(
    repo: Repository,
    writer: WriterCheckout,
    column: FlatSampleWriter,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    after: bool,
) -> None:
    """Else rows whose blobs are forgotten would be published with the next write."""
    column[1] = value(1)
    if step == "blobs":
        interrupt_once(monkeypatch, writer.session.blobs, "rollback", after=after)
    else:
        interrupt_once(monkeypatch, writer.session.staging, "rebase", after=after)

    def fail_in_a_block() -> None:
        with writer:
            column[2] = value(2)
            raise ValueError

    with pytest.raises(KeyboardInterrupt) as kept:
        fail_in_a_block()
    assert numbers(column) == {1: 1}
    column[3] = value(3)
    assert sound(repo, writer) == {1: 1, 3: 3}
    assert kept.tb is not None


def test_a_reset_that_was_made_is_remembered(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next write would leave rows of a column that the staging area does not list."""
    column[1] = value(1)
    writer.commit("one")
    column[2] = value(2)
    interrupt_once(monkeypatch, writer.session.staging, "rebase")
    with pytest.raises(KeyboardInterrupt):
        writer.reset_staging_area()
    again = writer["x"]
    assert numbers(again) == {1: 1}
    again[3] = value(3)
    assert sound(repo, writer) == {1: 1, 3: 3}


def test_a_writer_whose_lock_was_taken_over_lets_go_of_its_files(
    repo: Repository, writer: WriterCheckout, column: FlatSampleWriter
) -> None:
    column[1] = value(1)
    with pytest.warns(ResourceWarning):
        repo.force_release_writer_lock()
    with pytest.raises(LockedError):
        writer.close()
    assert not writer.session.lock.held
    with pytest.raises(ClosedError):
        writer.close()


def test_a_writer_that_is_forgotten_leaves_no_descriptor(repo: Repository, writer: WriterCheckout) -> None:
    writer.add_ndarray_column("x", (40,), np.uint8)[0] = value(0)
    writer.close()
    counts = set()
    for number in range(1, 4):
        forgotten = repo.checkout(write=True)
        forgotten["x"][number] = value(number)
        del forgotten
        gc.collect()
        counts.add(len(os.listdir("/proc/self/fd")))
    assert len(counts) == 1
