"""Garbage collection removes what nothing names, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hangar import (
    CorruptionError,
    HangarError,
    InvalidTypeError,
    LockedError,
    Repository,
    RevisionNotFoundError,
)
from hangar.db.compaction import compact_open
from hangar.db.epoch import gc_epoch
from hangar.db.tables import ATTRIBUTES, COMMITS, GRAPH, META, NODES, REFLOG, SCHEMAS
from hangar.digest import Digest
from hangar.gc import Amount, collect
from hangar.gc.expire import Expiry, choose_expired
from hangar.gc.policy import files_to_rewrite
from hangar.history.leases import Lease
from hangar.lock import holder
from hangar.refs import BRANCHES
from hangar.stores import Stores
from tests.gc.content import branch_with, contents, data_of, everything, filled, picture, require_sound, staged
from tests.processes import child


@pytest.fixture
def stores(repo: Repository) -> Stores:
    filled(repo)
    return repo._open()


def hangar(repo: Repository) -> Path:
    return Path(repo.path) / ".hangar"


def forget(repo: Repository, name: str) -> None:
    """Delete a branch and its reflog."""
    repo.remove_branch(name, force_delete=True)


def has(stores: Stores, commit: str) -> bool:
    with stores.db.read() as transaction:
        return transaction.get(COMMITS, bytes.fromhex(commit)) is not None


def test_a_deleted_branch_goes_when_its_reflog_expires(repo: Repository, stores: Stores) -> None:
    size = repo.size_nbytes
    commit = branch_with(repo, "side", 1, 2_000)
    grown = repo.size_nbytes
    forget(repo, "side")
    before = everything(repo)
    kept = repo.gc()
    assert has(stores, commit)
    assert kept.commits == Amount(3, 0, 0)
    assert contents(repo.checkout(commit=commit))
    report = repo.gc(expire_reflog="all")
    assert (report.commits.kept, report.commits.removed) == (2, 1)
    assert report.schemas.removed == report.attributes.removed == 1
    assert report.nodes.removed > 20
    assert report.blobs.removed > 2_000
    assert report.blobs.removed_nbytes > 2_000 * 400
    assert report.reflog_entries > 3
    assert report.compacted
    assert (report.kept, report.damaged) == ({}, {})
    assert not has(stores, commit)
    assert report.size_after == repo.size_nbytes
    assert grown - repo.size_nbytes >= 0.95 * (grown - size)
    assert everything(repo) == before
    require_sound(repo)
    assert picture(1, 2_000)[5].tobytes() not in data_of(hangar(repo))


def test_of_a_little_among_much_the_space_comes_back_too(repo: Repository) -> None:
    """The file is mostly needed; as the user asked for space, it is rewritten all the same."""
    filled(repo, 4_000)
    size = repo.size_nbytes
    branch_with(repo, "side", 1, 300)
    grown = repo.size_nbytes
    forget(repo, "side")
    before = everything(repo)
    repo.gc(expire_reflog="all")
    assert grown - repo.size_nbytes >= 0.95 * (grown - size)
    assert everything(repo) == before
    require_sound(repo)


def test_a_dry_run_says_what_would_be(repo: Repository, stores: Stores) -> None:
    branch_with(repo, "side", 1)
    forget(repo, "side")
    repo.gc()
    before = data_of(hangar(repo))
    expected = repo.gc(dry_run=True, expire_reflog="all")
    assert data_of(hangar(repo)) == before
    done = repo.gc(expire_reflog="all")
    assert expected.dry_run
    assert not done.dry_run
    for name in (
        "commits",
        "nodes",
        "schemas",
        "attributes",
        "blobs",
        "files",
        "files_nbytes",
        "rewritten",
        "reflog_entries",
    ):
        assert getattr(expected, name) == getattr(done, name), name
    assert expected.size_before == done.size_before
    assert abs(expected.size_after - done.size_after) < 0.3 * done.size_before


def test_a_second_time_there_is_nothing_to_do(repo: Repository, stores: Stores) -> None:
    branch_with(repo, "side", 1)
    forget(repo, "side")
    repo.gc(expire_reflog="all")
    before = data_of(hangar(repo) / "blobs"), data_of(hangar(repo) / "runs")
    report = repo.gc()
    assert [report.commits.removed, report.nodes.removed, report.blobs.removed, report.files] == [0] * 4
    assert (data_of(hangar(repo) / "blobs"), data_of(hangar(repo) / "runs")) == before


def test_an_empty_repository(repo: Repository) -> None:
    report = repo.gc(expire_reflog="all")
    assert report.commits == report.nodes == report.blobs == Amount()
    require_sound(repo)
    writer = repo.checkout(write=True)
    writer.add_str_column("text")["a"] = "b" * 100
    writer.commit("first")
    writer.close()
    repo.gc(expire_reflog="all")
    assert repo.checkout()["text"]["a"] == "b" * 100
    require_sound(repo)


def test_writing_goes_on_afterwards(repo: Repository, stores: Stores) -> None:
    branch_with(repo, "side", 1)
    forget(repo, "side")
    repo.gc(expire_reflog="all")
    writer = repo.checkout(write=True)
    writer["images"].write(range(10_000, 10_300), picture(1, 300))  # what was removed is stored again
    writer.commit("again")
    writer.close()
    assert np.array_equal(repo.checkout()["images"][10_005], picture(1, 300)[5])
    require_sound(repo)


# ------------------------------------------------------------------ roots


def commit_on(repo: Repository, seed: int = 3) -> str:
    return branch_with(repo, "kept", seed)


def held_by_a_branch(repo: Repository, commit: str) -> Any:
    return None


def held_by_a_tag(repo: Repository, commit: str) -> Any:
    repo.tag("v1", commit, message="kept")
    forget(repo, "kept")


def held_by_a_remote_branch(repo: Repository, commit: str) -> Any:
    stores = repo._open()
    stores.db.update(
        lambda transaction: stores.refs.create(
            transaction, "remotes/origin/far", Digest(bytes.fromhex(commit)), who=("a", "b"), operation="fetch"
        )
    )
    forget(repo, "kept")


def held_by_a_reflog(repo: Repository, commit: str) -> Any:
    forget(repo, "kept")


def held_by_a_descendant(repo: Repository, commit: str) -> Any:
    repo.create_branch("later", commit)
    forget(repo, "kept")
    writer = repo.checkout(write=True, branch="later")
    for name in [name for name in writer if name != "labels"]:
        writer.columns.delete(name)
    writer.commit("without")
    writer.close()
    repo.checkout(write=True, branch="master").close()


def held_by_a_bisection(repo: Repository, commit: str) -> Any:
    from hangar.history import bisect

    stores = repo._open()
    bisect.write_search(stores.db, bisect.Search([("bad", Digest(bytes.fromhex(commit)))]))
    forget(repo, "kept")


def held_by_a_row_of_another_room(repo: Repository, commit: str) -> Any:
    """Whatever row names a commit, also in a way that garbage collection does not know."""
    row = msgspec.msgpack.encode({"at": [1, [bytes.fromhex(commit)]]})
    repo._open().db.update(lambda transaction: transaction.put(META, b"another row", row))
    forget(repo, "kept")


def held_by_a_lease(repo: Repository, commit: str) -> Any:
    lease = Lease(repo._open().db, [Digest(bytes.fromhex(commit))])
    lease.__enter__()
    forget(repo, "kept")
    return lease


HOLDERS = [
    held_by_a_branch,
    held_by_a_tag,
    held_by_a_remote_branch,
    held_by_a_descendant,
    held_by_a_bisection,
    held_by_a_row_of_another_room,
    held_by_a_lease,
]


@pytest.mark.parametrize("hold", HOLDERS)
def test_what_is_named_is_kept(repo: Repository, stores: Stores, hold: Any) -> None:
    commit = commit_on(repo)
    before = contents(repo.checkout(commit=commit)), everything(repo, ["master"])
    held = hold(repo, commit)
    report = repo.gc(expire_reflog="all")
    assert report.commits.removed == report.blobs.removed == 0
    assert (contents(repo.checkout(commit=commit)), everything(repo, ["master"])) == before
    if held is not None:
        held.__exit__(None, None, None)
        assert repo.gc().commits.removed == 1
    assert not repo.fsck(data=True).problems


def test_a_reflog_keeps_until_it_expires(repo: Repository, stores: Stores) -> None:
    commit = commit_on(repo)
    before = contents(repo.checkout(commit=commit))
    forget(repo, "kept")
    for expiry in (None, "30 days", "2000-01-01", "master"):
        repo.gc(expire_reflog=expiry)
        assert contents(repo.checkout(commit=commit)) == before, expiry
    assert repo.gc(expire_reflog="kept").commits.removed == 1


def test_old_entries_expire_by_age(repo: Repository, stores: Stores) -> None:
    commit_on(repo)
    forget(repo, "kept")
    report = repo.gc(expire_reflog="0 seconds")
    assert report.commits.removed == 1
    with stores.db.read() as transaction:
        assert transaction.count(REFLOG) == 0


@pytest.mark.parametrize("merging", [False, True])
def test_what_is_staged_is_kept(repo: Repository, stores: Stores, merging: bool) -> None:
    """New and replaced samples, a whole new tree, a new column, attributes, and the commit that is being merged."""
    if merging:
        branch_with(repo, "other", 5)
        writer = repo.checkout(write=True)
        writer["labels"][1] = np.int64(99)
        writer.commit("ours")
        writer.close()
        repo.checkout(write=True, branch="other").close()
        writer = repo.checkout(write=True, branch="other")
        writer["labels"][1] = np.int64(100)
        writer.commit("theirs")
        writer.close()
        repo.checkout(write=True, branch="master").close()
        repo.merge("merge", "master", "other", keep_conflicts=True)
        forget(repo, "other")
    writer = repo.checkout(write=True)
    writer["images"].write(range(9_000, 9_050), picture(9, 50))
    writer["images"][3] = picture(10, 1)[0]
    writer["labels"].write(range(50_000, 60_000), np.arange(10_000))  # more than are kept as rows
    writer["labels"][50_007] = np.int64(5)  # and a row on top of that tree, which no commit has
    writer["text"]["long"] = "long " * 100
    writer.add_ndarray_column("fresh", (9, 9), np.float32)[0] = np.ones((9, 9), np.float32)
    writer["images"].attributes["unit"] = "none"
    writer.attributes["state"] = "staged"
    found = contents(writer)
    writer.close()
    repo.gc(expire_reflog="all")
    assert staged(repo) == found
    repo.close()
    again = Repository(repo.path)
    assert staged(again) == found
    require_sound(again)
    if not merging:
        with again.checkout(write=True) as writer:
            writer.commit("now")
        writer.close()
        assert contents(again.checkout()) == found
    else:
        assert again.conflicts().conflict
        again.resolve([("labels", 1)], "theirs")
        again.merge_continue()
        assert again.checkout()["labels"][1] == 100
        require_sound(again)
    again.close()


# ------------------------------------------------------------------ what stops it


def damage_node(stores: Stores, commit: str, which: int) -> None:
    """Change a byte of a node that a commit reaches."""
    from hangar.objects.records import load_commit
    from hangar.objects.walk import walk

    record = load_commit(stores.db, Digest(bytes.fromhex(commit)))
    digests = [
        digest for entry in record.columns if entry.root is not None for digest, _ in walk(stores.nodes, entry.root)
    ]
    digest = sorted(digests)[which % len(digests)]

    def spoil(transaction: Any) -> None:
        row = bytearray(transaction.get(NODES, digest))
        row[len(row) // 2] ^= 1
        transaction.put(NODES, digest, bytes(row))

    stores.db.update(spoil)
    stores.nodes.forget()


@pytest.mark.parametrize("which", range(4))
def test_a_damaged_node_stops_it_and_nothing_is_deleted(repo: Repository, stores: Stores, which: int) -> None:
    branch_with(repo, "side", 1)
    commit = branch_with(repo, "kept", 2)
    forget(repo, "side")
    damage_node(stores, commit, which)
    before = data_of(hangar(repo) / "blobs"), data_of(hangar(repo) / "runs"), rows(stores)
    for dry in (True, False):
        with pytest.raises(CorruptionError, match="damaged"):
            repo.gc(expire_reflog="all", dry_run=dry)
    assert (data_of(hangar(repo) / "blobs"), data_of(hangar(repo) / "runs"), rows(stores)) == before


def rows(stores: Stores) -> dict[str, list[bytes]]:
    with stores.db.read() as transaction:
        return {
            table.name: list(transaction.keys(table)) for table in (COMMITS, NODES, SCHEMAS, ATTRIBUTES, GRAPH, REFLOG)
        }


@pytest.mark.parametrize("table", [COMMITS, SCHEMAS, ATTRIBUTES, NODES])
def test_a_lost_record_stops_it(repo: Repository, stores: Stores, table: Any) -> None:
    branch_with(repo, "side", 1)
    commit = branch_with(repo, "kept", 2)
    forget(repo, "side")
    from hangar.objects.records import load_commit

    record = load_commit(stores.db, Digest(bytes.fromhex(commit)))
    lost = {
        COMMITS: record.parents[0],
        SCHEMAS: record.columns[-1].schema,
        ATTRIBUTES: record.attributes,
        NODES: record.columns[0].root,
    }[table]
    assert lost is not None
    stores.db.update(lambda transaction: transaction.delete(table, lost))
    stores.nodes.forget()
    before = data_of(hangar(repo) / "blobs"), rows(stores)
    with pytest.raises(CorruptionError):
        repo.gc(expire_reflog="all")
    assert (data_of(hangar(repo) / "blobs"), rows(stores)) == before


def test_a_lost_ref_stops_it(repo: Repository, stores: Stores) -> None:
    """A row that is gone must not look like a branch that was deleted."""
    commit = branch_with(repo, "kept", 2)
    from hangar.db.tables import REFS

    handle = stores.db._handle
    assert handle is not None
    with handle.current().begin(write=True) as raw:
        raw.delete(b"heads/kept", db=handle.tables[REFS.number])
    with pytest.raises(CorruptionError, match="refs"):
        repo.gc(expire_reflog="all")
    assert has(stores, commit)


def test_it_needs_the_writer_lock(repo: Repository, stores: Stores) -> None:
    with repo.checkout(write=True) as writer:
        with pytest.raises(LockedError):
            repo.gc()
        assert repo.gc(dry_run=True).dry_run
    writer.close()


def test_bad_arguments(repo: Repository, stores: Stores) -> None:
    with pytest.raises(RevisionNotFoundError, match="did you mean 'master'"):
        repo.gc(expire_reflog="mister")
    with pytest.raises(InvalidTypeError):
        repo.gc(expire_reflog=30)  # type: ignore[arg-type]
    with pytest.raises(HangarError, match="dry_run"):
        repo.gc(dry_run="yes")  # type: ignore[arg-type]


# ------------------------------------------------------------------ beside others


def test_a_branch_made_meanwhile_is_kept(repo: Repository, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the mark and the sweep another process brings a deleted branch back."""
    from hangar.gc import sweep

    commit = branch_with(repo, "side", 1)
    before = contents(repo.checkout(commit=commit))
    forget(repo, "side")
    prepared = sweep.Sweep.prepare
    times: list[int] = []

    def prepare(change: Any) -> None:
        prepared(change)
        times.append(1)
        if len(times) == 1:
            repo.create_branch("back", commit)

    monkeypatch.setattr(sweep.Sweep, "prepare", prepare)
    report = repo.gc(expire_reflog="all")
    assert len(times) == 2
    assert report.blobs.removed == 0
    assert contents(repo.checkout(branch="back")) == before
    require_sound(repo)


def test_a_branch_made_before_the_blobs_go_is_kept(
    repo: Repository, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a branch at a commit that is still there can be made then; it may share blobs with what went."""
    from hangar.blobs import drop

    commit = branch_with(repo, "side", 1)
    forget(repo, "side")
    prepared = drop.Drop.prepare
    refused: list[HangarError] = []

    def prepare(change: Any) -> None:
        prepared(change)
        if not refused:
            with pytest.raises(HangarError) as caught:
                repo.create_branch("back", commit)
            refused.append(caught.value)

    monkeypatch.setattr(drop.Drop, "prepare", prepare)
    repo.gc(expire_reflog="all")
    assert isinstance(refused[0], (RevisionNotFoundError, CorruptionError))
    assert "back" not in repo.list_branches()
    require_sound(repo)


def test_a_ref_to_a_removed_commit_is_refused(repo: Repository, stores: Stores) -> None:
    commit = Digest(bytes.fromhex(branch_with(repo, "side", 1)))
    forget(repo, "side")
    repo.gc(expire_reflog="all")
    with pytest.raises(RevisionNotFoundError, match="removed that commit"):
        stores.db.update(
            lambda transaction: stores.refs.create(
                transaction, BRANCHES + "late", commit, who=("a", "b"), operation="branch"
            )
        )


def test_readers_go_on_and_those_of_removed_commits_are_told(repo: Repository, stores: Stores) -> None:
    commit = branch_with(repo, "side", 1, 2_000)
    repo.close()

    def read(talk: Any) -> Any:
        reading = Repository(repo.path)
        live, removed = reading.checkout(branch="master"), reading.checkout(commit=commit)
        found = [np.array(live["images"][3]), np.array(removed["images"][3])]
        talk.send("open")
        talk.recv()
        found.append(np.array(live["images"][3]))
        assert contents(live)
        errors = []
        for key in range(10_000, 12_000, 100):
            try:
                assert np.array_equal(removed["images"][key], picture(1, 2_000)[key - 10_000])
            except RevisionNotFoundError as error:
                errors.append(str(error))
        try:
            contents(removed)
        except RevisionNotFoundError as error:
            errors.append(str(error))
        return [one.tobytes() for one in found], errors

    with child(read) as process:
        assert process.receive() == "open"
        mine = Repository(repo.path)
        mine.remove_branch("side", force_delete=True)
        report = mine.gc(expire_reflog="all")
        assert any(reason == "a process has it open" for reason in report.kept.values())
        assert not report.compacted
        assert report.kept["free pages of the database"] == "another process has the database open"
        process.send("go on")
        images, errors = process.result()
    assert images == [picture(77, 5)[3].tobytes()] * 3
    assert errors
    assert all("garbage collection removed it" in error for error in errors)
    assert mine.gc().compacted or mine.gc().kept == {}
    require_sound(mine)
    mine.close()


def test_the_database_shrinks_while_it_is_open_here(repo: Repository, stores: Stores) -> None:
    branch_with(repo, "side", 1, 2_000)
    forget(repo, "side")
    reader = repo.checkout()
    before = contents(reader)
    size = stores.db.size_bytes()
    assert repo.gc(expire_reflog="all").compacted
    assert stores.db.size_bytes() < size
    assert contents(reader) == before
    with stores.db.read():
        assert not compact_open(stores.directory)


def test_removed_data_raises_the_gc_epoch(repo: Repository, stores: Stores) -> None:
    branch_with(repo, "side", 1)
    forget(repo, "side")
    repo.gc()
    with stores.db.read() as transaction:
        assert gc_epoch(transaction) == 0
    repo.gc(expire_reflog="all")
    with stores.db.read() as transaction:
        assert gc_epoch(transaction) == 2


# ------------------------------------------------------------------ small files


def test_caches_of_removed_trees_go(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    from hangar import limits

    monkeypatch.setattr(limits, "SAVED_TABLE_ENTRIES", 100)
    filled(repo)
    branch_with(repo, "side", 1, 2_000)
    for branch in ("master", "side"):
        reader = repo.checkout(branch=branch)
        for name in ("images", "labels"):
            reader[name].read(list(reader[name].keys()))
            reader[name].read(list(reader[name].keys()))
        reader.close()
    cache = hangar(repo) / "cache"
    before = {path.name for path in cache.iterdir()}
    assert len(before) >= 3
    forget(repo, "side")
    repo.gc(expire_reflog="all")
    left = {path.name for path in cache.iterdir()}
    assert left < before
    roots = {column.root.hex() for column in _columns(repo)}
    assert {name[:64] for name in left} <= roots
    require_sound(repo)
    assert everything(repo)


def _columns(repo: Repository) -> list[Any]:
    from hangar.objects.records import load_commit

    stores = repo._open()
    head = stores.refs.get(BRANCHES + "master")
    assert head is not None
    return [entry for entry in load_commit(stores.db, head).columns if entry.root is not None]


def test_old_locks_go_when_all_is_given_up(repo: Repository, stores: Stores) -> None:
    from hangar.lock import force_release

    for _ in range(3):
        force_release(stores.db)
    names = sorted(path.name for path in hangar(repo).glob("lock.*"))
    assert len(names) == 4
    repo.gc()
    assert sorted(path.name for path in hangar(repo).glob("lock.*")) == names
    branch_with(repo, "side", 1)
    forget(repo, "side")
    repo.gc(expire_reflog="all")
    assert sorted(path.name for path in hangar(repo).glob("lock.*")) == names[-1:]
    writer = repo.checkout(write=True)
    writer["labels"][0] = np.int64(5)
    writer.commit("on")
    writer.close()
    require_sound(repo)


def test_files_kept_after_a_rollback_go_when_all_is_given_up(repo: Repository, stores: Stores) -> None:
    repo.close()
    data = hangar(repo) / "db" / "data.mdb"
    old = data.read_bytes()
    again = Repository(repo.path)
    branch_with(again, "side", 1, 1_000)
    again.close()
    data.write_bytes(old)
    again = Repository(repo.path)
    with pytest.warns(UserWarning, match="restored from a copy"):
        again.checkout(write=True).close()
    before = everything(again)
    report = again.gc()
    assert "replaced by an older copy" in " ".join(report.kept.values())
    assert picture(1, 1_000)[5].tobytes() in data_of(hangar(repo))
    report = again.gc(expire_reflog="all")
    assert "replaced by an older copy" not in " ".join(report.kept.values())
    assert picture(1, 1_000)[5].tobytes() not in data_of(hangar(repo))
    assert everything(again) == before
    assert not again.fsck(data=True).problems
    again.close()


def test_many_small_files_become_one(repo: Repository) -> None:
    filled(repo)
    for seed in range(6):
        repo.close()
        with pytest.MonkeyPatch.context() as patch:
            from hangar.blobs import appender

            patch.setattr(appender.Appender, "_continue", lambda self, tag: None)
            writer = Repository(repo.path).checkout(write=True)
            writer["images"].write(range(1_000 * seed, 1_000 * seed + 5), picture(seed + 50, 5))
            writer.commit(f"{seed}")
            writer.close()
    again = Repository(repo.path)
    before = everything(again)
    assert len(list((hangar(repo) / "blobs").glob("*.10"))) == 7
    again.gc()
    assert len(list((hangar(repo) / "blobs").glob("*.10"))) == 1
    assert everything(again) == before
    require_sound(again)
    again.close()


def test_the_policy() -> None:
    from hangar.blobs.catalog import BlobFileRow
    from hangar.blobs.space import FileSpace, SpaceUsage

    def use(number: int, size: int, needed: float, tag: str = "10", fixed: str = "") -> FileSpace:
        return FileSpace(number, BlobFileRow(tag, size, 1, True), size, 10, needed, fixed)

    giant = 2**30
    found = SpaceUsage({
        1: use(1, giant, 0.9 * giant),
        2: use(2, giant, 0.7 * giant),
        3: use(3, giant, 0.999 * giant),
        4: use(4, giant, 0.1 * giant, fixed="open"),
    })  # fmt: skip
    assert files_to_rewrite(found) == {2}
    assert files_to_rewrite(found, thorough=True) == {1, 2}
    small = SpaceUsage({number: use(number, 10_000, 10_000, "31") for number in range(5)})
    assert files_to_rewrite(small) == set(range(5))
    assert files_to_rewrite(SpaceUsage(dict(list(small.files.items())[:4]))) == set()


# ------------------------------------------------------------------ why


def test_why(repo: Repository, stores: Stores) -> None:
    commit = branch_with(repo, "side", 1)
    repo.tag("v1", "side")
    why = repo.why_kept(commit)
    assert (why.kind, why.refs, why.commits) == ("commit", ("heads/side", "tags/v1"), (commit,))
    assert any(entry.startswith("heads/side@{") for entry in why.reflog)
    column = repo.checkout(branch="side")["images"]
    from hangar.objects.read import get
    from hangar.schema.keys import encode_key

    root = column_root(repo, "side", "images")
    digest = get(stores.nodes, root, encode_key(10_007))
    assert digest is not None
    assert np.array_equal(column[10_007], picture(1, 300)[7])
    why = repo.why_kept(digest.hex())
    assert (why.kind, why.commits, why.kept) == ("blob", (commit,), True)
    assert [(one.column, one.sample) for one in why.uses] == [("images", 10_007)]
    assert repo.why_kept(root.hex()).kind == "node"
    forget(repo, "side")
    repo.remove_tag("v1")
    assert repo.why_kept(digest.hex()).refs == ()
    assert repo.why_kept(digest.hex()).reflog
    repo.gc(expire_reflog="all")
    assert repo.why_kept(digest.hex()).kind == ""
    assert not repo.why_kept("00" * 32).kept
    with pytest.raises(RevisionNotFoundError, match="64 characters"):
        repo.why_kept("nothing")


def column_root(repo: Repository, branch: str, name: str) -> Digest:
    from hangar.objects.records import load_commit

    stores = repo._open()
    head = stores.refs.get(BRANCHES + branch)
    assert head is not None
    root = next(entry.root for entry in load_commit(stores.db, head).columns if entry.name == name)
    assert root is not None
    return root


def test_collect_is_what_the_method_calls(stores: Stores) -> None:
    assert collect(stores, progress=False).commits.kept == 2


def test_what_expires_is_chosen_under_the_lock(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another collection and a new entry in between could make a key that was chosen name that new entry."""
    stores = filled(repo)._open()
    held = []

    def choose(*arguments: Any) -> Expiry:
        held.append(holder(stores.db) is not None)
        return choose_expired(*arguments)

    monkeypatch.setattr(sys.modules[collect.__module__], "choose_expired", choose)
    collect(stores, expire_reflog="all")
    assert held[-1]
