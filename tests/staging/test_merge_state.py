"""A merge in progress: further parents of the next commit, which stay until it is made or given up."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.checkout.commit import commit_staging
from hangar.db.tables import STAGING
from hangar.digest import Digest
from hangar.errors import CorruptionError, InvalidInputError, InvalidStateError, NothingToDoError
from hangar.history.roots import live_roots
from hangar.objects.graph import ancestors
from hangar.objects.records import load_commit
from hangar.refs import Refs
from hangar.staging import Operation
from hangar.staging.rows import HEAD, ColumnRow, HeadRow, decode_head
from tests.compat.independent_reader import Repository as IndependentRepository

MERGE = Operation("merge", "side", "Merge branch 'side'", {}, [])
ROW = list(msgspec.structs.astuple(MERGE))


@pytest.fixture
def side(repo: Repository, writer: WriterCheckout) -> Digest:
    """The head of a branch ``side``; ``writer`` stands on ``master``, which is another commit."""
    column = writer.add_ndarray_column("x", (), np.int64)
    column.write(range(5), np.arange(5))
    writer.commit("base")
    repo.create_branch("side")
    writer.close()
    other = repo.checkout(write=True, branch="side")
    other["x"][100] = np.int64(1)
    head = other.commit("side")
    other.close()
    writer = repo.checkout(write=True, branch="master")
    writer["x"][200] = np.int64(2)
    writer.commit("master")
    writer.close()
    return Digest(bytes.fromhex(head))


@pytest.fixture
def merging(repo: Repository, side: Digest) -> WriterCheckout:
    writer = repo.checkout(write=True, branch="master")
    with writer.session.writing():
        writer.session.staging.start_operation(MERGE, [side])
    return writer


def commit_of(repo: Repository, digest: str) -> Any:
    return load_commit(repo._open().db, Digest(bytes.fromhex(digest)))


def test_a_commit_has_all_parents_the_branch_first(repo: Repository, merging: WriterCheckout, side: Digest) -> None:
    head = bytes.fromhex(merging.commit_hash)
    merging["x"][100] = np.int64(1)
    assert merging.session.staging.parents == [head, side]
    merged = merging.commit(MERGE.message)
    assert commit_of(repo, merged).parents == [head, side]
    staging = merging.session.staging
    assert (staging.parents, staging.operation, merging.diff.status()) == ([bytes.fromhex(merged)], None, "CLEAN")
    merging["x"][7] = np.int64(7)
    assert commit_of(repo, merging.commit("next")).parents == [bytes.fromhex(merged)]
    assert len(list(ancestors(repo._open().db, [Digest(bytes.fromhex(merged))]))) == 4
    assert [move.operation for move in repo._open().refs.reflog("heads/master")][:2] == ["commit", "commit (merge)"]
    merging.close()
    assert repo.fsck().sound
    repo.close()
    found = IndependentRepository(repo._directory)
    assert found.commits[bytes.fromhex(merged)].parents == [head, side]


def test_a_merge_survives_the_process(repo: Repository, merging: WriterCheckout, side: Digest) -> None:
    head = bytes.fromhex(merging.commit_hash)
    merging.close()
    assert not repo.status().clean
    with pytest.raises(InvalidInputError, match="uncommitted changes on branch 'master'"):
        repo.checkout(write=True, branch="side")
    repo.close()
    with Repository(repo.path) as other:
        again = other.checkout(write=True)
        assert (again.session.staging.parents, again.session.staging.operation) == ([head, side], MERGE)
        assert again.diff.status() == "DIRTY"
        again["x"][9] = np.int64(9)
        again.close()
    found = IndependentRepository(repo._directory).staged
    assert found is not None
    assert (found.parents, found.operation, found.branch) == ([head, side], ROW, "master")
    again = Repository(repo.path).checkout(write=True)
    assert (again.session.staging.parents, again["x"][9]) == ([head, side], 9)


def test_what_is_merged_in_is_alive(
    repo: Repository, merging: WriterCheckout, side: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where no branch and no reflog names it."""
    monkeypatch.setattr(Refs, "items", lambda *_: [])
    monkeypatch.setattr(Refs, "reflog_commits", lambda *_, **__: [])
    assert live_roots(repo._open()).commits == (bytes.fromhex(merging.commit_hash), side)


def test_a_merge_that_changes_nothing_can_be_committed(repo: Repository, merging: WriterCheckout, side: Digest) -> None:
    head = merging.commit_hash
    merged = merging.commit("ours")
    assert commit_of(repo, merged).parents == [bytes.fromhex(head), side]
    with pytest.raises(NothingToDoError):
        merging.commit("nothing")


def test_giving_up(merging: WriterCheckout) -> None:
    head = merging.commit_hash
    merging["x"][9] = np.int64(9)
    merging.reset_staging_area()
    assert (merging.session.staging.parents, merging.session.staging.operation) == ([bytes.fromhex(head)], None)
    assert merging.diff.status() == "CLEAN"
    assert 9 not in merging["x"]


def test_a_block_that_fails_begins_no_merge_and_ends_none(
    repo: Repository, merging: WriterCheckout, side: Digest
) -> None:
    head = bytes.fromhex(merging.commit_hash)
    staging = merging.session.staging

    def fail() -> None:
        with merging:
            merging["x"][9] = np.int64(9)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (staging.parents, staging.operation) == ([head, side], MERGE)
    merging.reset_staging_area()

    def begin() -> None:
        with merging:
            with merging.session.writing():
                staging.start_operation(MERGE, [side])
            assert staging.operation == MERGE
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        begin()
    assert (staging.parents, staging.operation) == ([head], None)


def test_what_is_refused(repo: Repository, merging: WriterCheckout, side: Digest) -> None:
    with pytest.raises(InvalidStateError, match="merge of 'side' is in progress"):
        merging.session.staging.start_operation(MERGE, [side])
    with pytest.raises(InvalidStateError, match="merge of 'side' is in progress"):
        merging.commit("again", amend=True)
    merging.commit("merged")
    amended = merging.commit("in other words", amend=True)
    assert len(commit_of(repo, amended).parents) == 2


def test_there_must_be_a_commit_to_merge_into(writer: WriterCheckout) -> None:
    with pytest.raises(InvalidStateError, match="no commit"):
        writer.session.staging.start_operation(MERGE, [Digest(bytes(32))])


def test_parents_can_be_given(repo: Repository, side: Digest) -> None:
    writer = repo.checkout(write=True, branch="master")
    head = Digest(bytes.fromhex(writer.commit_hash))
    digest = commit_staging(writer.session, repo._config(), "merged at once", parents=[head, side])
    assert commit_of(repo, digest.hex()).parents == [head, side]
    assert writer.commit_hash == digest.hex()


@pytest.mark.parametrize(
    ("parents", "merge"),
    [
        (lambda head, side: [head, side], None),
        (lambda head, side: [head], ROW),
        (lambda head, side: [head, head], ROW),
        (lambda head, side: [head, bytes(32)], ROW),
        (lambda head, side: [side, head], ROW),
        (lambda head, side: [], None),
        (lambda head, side: [head, side], ["revert", "m", "m", {}, [bytes(32)]]),
        (lambda head, side: [head], ["revert", "m", "m", {}, []]),
        (lambda head, side: [head], ["revert", "m", "m", {}, [bytes(32)]]),
        (lambda head, side: [head], ["rebase", "m", "m", {}, [bytes(32)]]),
    ],
    ids=[
        "no merge",
        "one parent",
        "one twice",
        "one missing",
        "another base",
        "no base",
        "two parents",
        "nothing to apply",
        "theirs is missing",
        "unknown",
    ],
)
def test_a_head_that_contradicts_itself_is_damage(
    repo: Repository, merging: WriterCheckout, side: Digest, parents: Any, merge: Any
) -> None:
    head = bytes.fromhex(merging.commit_hash)
    merging.close()
    db = repo._open().db
    with db.read() as transaction:
        row: list[Any] = msgspec.msgpack.decode(transaction.get(STAGING, HEAD) or b"")
    row[2], row[5] = parents(head, side), merge
    db.update(lambda transaction: transaction.put(STAGING, HEAD, msgspec.msgpack.encode(row)))
    with pytest.raises(CorruptionError):
        repo.checkout(write=True, branch="master")
    assert not repo.fsck().sound


def test_rows_have_one_record_of_a_column(repo: Repository, merging: WriterCheckout) -> None:
    """A staged column is listed as a commit lists it, and a removed one as the base does."""
    merging["x"][9] = np.int64(9)
    merging.add_str_column("gone")
    merging.close()
    with repo._open().db.read() as transaction:
        head = decode_head(transaction.get(STAGING, HEAD) or b"")
    assert head.base == head.parents[0]
    assert HeadRow.__struct_fields__ == ("version", "branch", "parents", "next_number", "attributes", "operation")
    assert ColumnRow.__struct_fields__ == ("removed", "column")
