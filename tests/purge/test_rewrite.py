"""Purging values that lie inline in the tree: the history that holds them is replaced."""

from __future__ import annotations

import contextlib
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import PurgedError, Repository
from hangar.digest import Digest
from hangar.errors import CorruptionError, InvalidStateError, SampleNotFoundError
from hangar.history.bisect import Search, read_search, write_search
from tests.compat import independent_reader
from tests.processes import child
from tests.purge.searching import files_with

NAME = "Erika Mustermann, 1964"
OTHER = "Max Mustermann, 1963"
LONG = "a long text about Erika Mustermann " * 5


@pytest.fixture
def people(repo: Repository) -> Repository:
    """Five commits, two branches and a tag; a short secret in commits 2 and 3, changed in 4, and gone in 5."""
    with closing(repo.checkout(write=True)) as writer:
        images = writer.add_ndarray_column("images", shape=(100,), dtype="uint8")
        names = writer.add_str_column("names")
        images[0] = np.arange(100, dtype="uint8")
        names.update({f"n{i}": f"nobody {i}" for i in range(500)})
        writer.commit("One")
        names["erika"], names["max"] = NAME, OTHER
        writer.commit("Two")
        images[1] = np.arange(100, 200).astype("uint8")
        writer.commit("Three")
    repo.create_branch("side", "master")
    with closing(repo.checkout(write=True)) as writer:
        writer["names"]["erika"] = LONG
        writer.commit("Four")
        del writer["names"]["erika"]
        writer.commit("Five")
    with closing(repo.checkout(write=True, branch="side")) as writer:
        writer["names"]["n0"] = "somebody"
        writer.commit("Side")
    return repo


def values(repo: Repository, rev: str, column: str = "names") -> dict[Any, Any]:
    with closing(repo.checkout(commit=repo.rev_parse(rev))) as co:
        return dict(co[column].items())


def test_it_is_refused_unless_asked_for(people: Repository) -> None:
    heads = [people.rev_parse(name) for name in ("master", "side")]
    with pytest.raises(
        InvalidStateError, match=r"1 value .*erika.*inline in the trees of 3 commits.*--rewrite-history"
    ):
        people.purge("names", "erika", reason="", branch="side")
    assert heads == [people.rev_parse(name) for name in ("master", "side")]
    assert values(people, "side")["erika"] == NAME
    assert people.list_purged() == []


def test_the_plan_says_which_commits(people: Repository) -> None:
    plan = people.purge("names", "erika", reason="", branch="side", dry_run=True)
    assert plan.inline == (("erika",),)
    assert len(plan.digests) == 1  # the long text
    assert [old in plan.rewritten for old in plan.commits] == [True] * 4
    assert next(iter(plan.rewritten)) == people.rev_parse("side~2")
    assert len(plan.rewritten) == 5
    assert plan.refs == ("heads/master", "heads/side")


def test_history_is_rewritten(people: Repository) -> None:
    before = {
        name: people.rev_parse(name) for name in ("master", "master~1", "master~2", "master~3", "master~4", "side")
    }
    infos = {name: people.commit_info(name) for name in before}
    plan = people.purge("names", "erika", reason="", branch="side", dry_run=True)
    report = people.purge("names", "erika", reason="consent", branch="side", rewrite_history=True)
    assert report.rewritten == plan.rewritten
    assert report.refs == ("heads/master", "heads/side")
    assert report.unfinished == ()
    assert people.rev_parse("master~4") == before["master~4"]
    for name in ("master", "master~1", "master~2", "master~3", "side"):
        assert people.rev_parse(name) == report.rewritten[before[name]]
        info, was = people.commit_info(name), infos[name]
        assert (info.message, info.author, info.email, info.time) == (was.message, was.author, was.email, was.time)
        kept = values(people, name, "images")
        assert all(np.array_equal(kept[key], np.arange(100 * key, 100 * key + 100).astype("uint8")) for key in kept)
    assert "erika" not in values(people, "side")
    assert values(people, "side")["max"] == OTHER
    assert values(people, "side")["n0"] == "somebody"
    assert len(values(people, "master~2")) == 501
    assert people.fsck(data=True).sound
    assert files_with(Path(people.path), NAME.encode(), LONG.encode()) == []
    assert files_with(Path(people.path), OTHER.encode()) != []
    people.close()
    read = independent_reader.Repository(Path(people.path) / ".hangar")
    assert read.refs["heads/side"] == bytes.fromhex(report.rewritten[before["side"]])


def test_staged_values(people: Repository) -> None:
    with closing(people.checkout(write=True, branch="side")) as writer:
        writer["names"]["erika"] = "Erika M., married"
        writer["names"]["new"] = "unrelated and staged"
        writer["images"][7] = np.full(100, 7, "uint8")
    report = people.purge("names", "erika", reason="", branch="side", rewrite_history=True)
    assert report.staged
    assert files_with(Path(people.path), NAME.encode(), b"Erika M., married") == []
    with closing(people.checkout(write=True, branch="side")) as writer:
        assert "erika" not in writer["names"]
        assert writer["names"]["new"] == "unrelated and staged"
        assert writer["images"][7][0] == 7
        writer.commit("After")
    assert people.fsck(data=True).sound


def test_staged_values_alone_need_no_rewriting(people: Repository) -> None:
    with closing(people.checkout(write=True)) as writer:
        writer["names"]["fresh"] = "never committed at all"
    before = people.rev_parse("master")
    report = people.purge("names", "fresh", reason="")
    assert report.rewritten == {}
    assert people.rev_parse("master") == before
    assert files_with(Path(people.path), b"never committed at all") == []


def test_labels_and_nested_columns(repo: Repository) -> None:
    with closing(repo.checkout(write=True)) as writer:
        boxes = writer.add_ndarray_column("boxes", shape=(4,), dtype="float32", contains_subsamples=True)
        for film in range(40):
            boxes[film] = {i: np.array([film, i, 0.25, 777.125], "float32") for i in range(3)}
        writer.commit("First")
        writer["boxes"][0][9] = np.ones(4, "float32")
        writer.commit("Second")
    secret = [np.array([5, i, 0.25, 777.125], "float32").tobytes() for i in range(3)]
    lone = np.array([7, 1, 0.25, 777.125], "float32").tobytes()
    report = repo.purge("boxes", [5, (7, 1)], reason="", rewrite_history=True)
    assert [sample.key for sample in report.samples] == [(5, 0), (5, 1), (5, 2), (7, 1)]
    assert files_with(Path(repo.path), *secret, lone) == []
    with closing(repo.checkout()) as co:
        assert len(co["boxes"]) == 39
        assert list(co["boxes"][7]) == [0, 2]
    assert repo.fsck(data=True).sound


def test_only_one_version(people: Repository) -> None:
    report = people.purge("names", "erika", reason="", commit="master~1", this_version=True)
    assert not report.rewritten  # the long text has a digest
    assert values(people, "side")["erika"] == NAME


def test_a_database_that_is_open_elsewhere(people: Repository) -> None:
    """Its free pages cannot be removed then: the purge says so, and is continued when it is closed."""
    path = people.path
    people.close()

    def hold(talk: Connection) -> None:
        with Repository(path) as other, closing(other.checkout(branch="side")) as co:
            assert co["names"]["max"] == OTHER
            talk.send("open")
            assert talk.recv() == "rewritten"
            # From memory, or the node is gone; nothing wrong is read.
            with contextlib.suppress(CorruptionError):
                assert co["names"]["erika"] == NAME

    with child(hold) as process:
        assert process.receive() == "open"
        with Repository(path) as repo:
            report = repo.purge("names", "erika", reason="", branch="side", rewrite_history=True)
            assert len(report.unfinished) == 1
            assert "open in another process" in report.unfinished[0]
            assert "erika" not in values(repo, "side")
            assert [note.kind for note in repo.fsck().notes if note.kind == "purge"] == ["purge"]
            process.send("rewritten")
            process.result()
            assert repo.continue_purge() == ()
            assert files_with(Path(path), NAME.encode(), LONG.encode()) == []
            assert not [note for note in repo.fsck().notes if note.kind == "purge"]


def test_a_merge_with_conflicts_that_waits(people: Repository) -> None:
    """Its rows hold values of both sides."""
    people.merge("to side", "side", "master")
    for branch, text in (("master", "short one"), ("side", "short two")):
        with closing(people.checkout(write=True, branch=branch)) as writer:
            writer["names"]["fought"] = text
            writer["images"][9] = np.full(100, len(text) + ord(branch[0]), "uint8")
            writer.commit(f"Change on {branch}")
    people.merge("again", "side", "master", keep_conflicts=True)
    with pytest.raises(InvalidStateError, match="or abort it"):
        people.purge("names", "fought", reason="", branch="side", rewrite_history=True)
    secrets = [np.full(100, 9 + ord(letter), "uint8").tobytes() for letter in "ms"]
    assert files_with(Path(people.path), *secrets) != []
    report = people.purge("images", 9, reason="", branch="side")
    assert len(report.digests) == 2
    assert files_with(Path(people.path), *secrets) == []
    people.merge_abort()
    people.purge("names", "fought", reason="", branch="side", rewrite_history=True)
    assert files_with(Path(people.path), b"short one", b"short two") == []
    assert people.fsck(data=True).sound


def test_a_bisection_in_progress_goes_on(people: Repository) -> None:
    stores = people.stores
    commits = [bytes.fromhex(people.rev_parse(rev)) for rev in ("master", "master~3")]
    write_search(stores.db, Search([("bad", Digest(commits[0])), ("good", Digest(commits[1]))]))
    report = people.purge("names", "erika", reason="", branch="side", rewrite_history=True)
    search = read_search(people.stores.db)
    assert search is not None
    assert [commit.hex() for _, commit in search.verdicts] == [report.rewritten[one.hex()] for one in commits]
    assert people.fsck().sound


def test_tags_and_deleted_branches(people: Repository) -> None:
    """What only a reflog names holds the value too."""
    people.create_branch("gone", "side")
    people.remove_branch("gone", force_delete=True)
    people.tag("v1", "side~1", message="with Erika")
    report = people.purge("names", "erika", reason="", branch="side", rewrite_history=True)
    assert report.refs == ("heads/master", "heads/side", "tags/v1")
    assert people.rev_parse("v1") == people.rev_parse("side~1")
    assert people.stores.refs.annotation("tags/v1") is not None
    assert people.rev_parse("gone@{1}") == people.rev_parse("side")
    reflog = people.stores.refs.reflog("heads/side")
    assert (reflog[0].operation, reflog[0].name) == ("purge", "Ada")
    assert files_with(Path(people.path), NAME.encode()) == []
    assert people.fsck(data=True).sound


def test_stashed_values(people: Repository) -> None:
    with closing(people.checkout(write=True)) as writer:
        writer["names"]["aside"] = "a short secret, put aside"
        writer["names"]["kept"] = "another one that stays"
        writer["images"][5] = np.full(100, 55, "uint8")
    people.stash()
    with pytest.raises(SampleNotFoundError):
        people.purge("names", "aside", reason="")
    held = np.full(100, 55, "uint8").tobytes()
    assert people.purge("images", 5, reason="", commit="stash@{0}").unfinished == ()
    report = people.purge("names", "aside", reason="", commit="stash@{0}", rewrite_history=True)
    assert report.refs[0].startswith("stash/")
    assert files_with(Path(people.path), held, b"a short secret, put aside") == []
    people.stash_pop()
    with closing(people.checkout(write=True)) as writer:
        assert writer["names"]["kept"] == "another one that stays"
        assert "aside" not in writer["names"]
        with pytest.raises(PurgedError):
            writer["images"][5]
    assert people.fsck(data=True).sound
