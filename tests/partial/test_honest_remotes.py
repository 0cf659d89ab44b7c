"""Data is dropped, and a remote removed, only if somebody else really has the data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.errors import InvalidInputError, InvalidStateError, NotLocalError, PurgedError
from hangar.remote import asking
from hangar.remote import evict as evict_module
from hangar.remote.bundle import create_bundle, verify_bundle
from hangar.remote.server import serve


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Repository]:
    repository = made(tmp_path / "origin")
    repository.init("Ada", "ada@example.org")
    with closing(repository.checkout(write=True)) as writer:
        rows = writer.add_ndarray_column("rows", (40,), np.int64)
        rows.write(range(50), np.arange(2_000).reshape(50, 40))
        writer.commit("fifty rows")
    yield repository
    repository.close()


def made(path: Path) -> Repository:
    path.mkdir()
    return Repository(path, exists=False)


def clone(source: Path, path: Path) -> Repository:
    repository = made(path)
    repository.clone("Bob", "bob@example.org", str(source))
    return repository


def test_a_repository_is_no_remote_of_its_own(origin: Repository, tmp_path: Path) -> None:
    """Eviction asks the remote. It must not be asked whether it is here."""
    (tmp_path / "link").symlink_to(tmp_path / "origin")
    server, hangar_server, address = serve(str(tmp_path / "origin"), channel_address="localhost:0")
    server.start()
    shutil.copytree(tmp_path / "origin", tmp_path / "copy")
    try:
        for name, place in (
            ("self", tmp_path / "origin"),
            ("inner", tmp_path / "origin" / ".hangar"),
            ("link", tmp_path / "link"),
            ("served", address),
        ):
            origin.remote.add(name, str(place))
            with pytest.raises(InvalidStateError, match=f"remote '{name}' is this repository itself"):
                origin.evict("rows", remote=name)
            origin.remote.remove(name)
        assert origin.fsck(data=True).promised == 0
        origin.remote.add("copy", str(tmp_path / "copy"))
        assert origin.evict("rows").blobs == 50
    finally:
        server.stop(None).wait()
        hangar_server.close()


def test_the_promises_of_a_partial_clone_are_checked_before_another_remote_goes(
    origin: Repository, tmp_path: Path
) -> None:
    """Two remotes promise everything, one of them is a partial clone and has nothing."""
    clone(tmp_path / "origin", tmp_path / "partial").close()
    with clone(tmp_path / "partial", tmp_path / "mine") as mine:
        mine.remote.add("full", str(tmp_path / "origin"))
        with closing(mine.checkout(fetch_on_read=True)) as reader:
            assert reader["rows", 3].tolist() == list(range(120, 160))
        mine.remote.fetch_data("full", branch="master")
        assert mine.evict("rows").blobs == 50
        with pytest.raises(InvalidStateError, match="50 values of the history here are at remote 'full' alone: "):
            mine.remote.remove("full")
        mine.remote.remove("origin")  # its promises were found to be false, and were withdrawn
        with pytest.raises(InvalidStateError, match="50 values of the history here are at remote 'full' alone: "):
            mine.remote.remove("full")
        mine.remote.fetch_data_sample("full", "rows", [1, 2], branch="master")
        mine.remote.fetch_data("full", branch="master")
        mine.remote.remove("full")
        assert mine.fsck(data=True).promised == 0


def test_what_was_fetched_again_is_not_only_at_the_remote(origin: Repository, tmp_path: Path) -> None:
    with clone(tmp_path / "origin", tmp_path / "mine") as mine:
        mine.remote.fetch_data("origin", branch="master")
        assert mine.evict("rows", [3, 4]).blobs == 2
        mine.remote.fetch_data_sample("origin", "rows", [3, 4], branch="master")
        mine.remote.remove("origin")
        assert mine.fsck(data=True).promised == 0


def test_what_the_remote_has_purged(origin: Repository, tmp_path: Path) -> None:
    """Reads and fetches say that the remote does not have it any more, and a bundle goes without it."""
    with clone(tmp_path / "origin", tmp_path / "mine") as mine:
        origin.purge("rows", [7], reason="on request")
        with pytest.raises(NotLocalError, match="does not have 1 value that history names; 49 values were fetched"):
            mine.remote.fetch_data("origin", branch="master")
        with closing(mine.checkout(fetch_on_read=True)) as reader:
            with pytest.raises(PurgedError, match=r"sample 7 of column 'rows': .* on request"):
                reader["rows", 7]
            assert reader["rows", 8].tolist() == list(range(320, 360))
    made_of = create_bundle(origin.stores, tmp_path / "all.bundle", ["master"], data="all")
    found = verify_bundle(tmp_path / "all.bundle")
    assert (made_of.blobs, found.errors, found.blobs_outside) == (49, (), 1)


def test_tags_that_are_on_no_branch_are_cloned(origin: Repository, tmp_path: Path) -> None:
    """Such as the tag of a branch that was deleted. It is history of the remote as any other."""
    with clone(tmp_path / "origin", tmp_path / "early") as early:
        origin.create_branch("trial")
        with closing(origin.checkout(write=True, branch="trial")) as writer:
            writer["rows"][7] = np.zeros(40, np.int64)
            kept = writer.commit("a trial")
        origin.tag("tried", "trial", message="worth keeping")
        origin.checkout(write=True, branch="master").close()
        origin.remove_branch("trial", force_delete=True)
        create_bundle(origin.stores, tmp_path / "tag.bundle", ["tried"], data="all")
        with pytest.warns(UserWarning, match="nothing new"):
            early.remote.fetch("origin", "master")
        assert early.list_tags() == []
        early.remote.fetch_branches("origin")
        for repository in (
            early,
            clone(tmp_path / "origin", tmp_path / "late"),
            clone(tmp_path / "tag.bundle", tmp_path / "x"),
        ):
            assert repository.rev_parse("tried") == kept
            repository.remote.fetch_data("origin", commit="tried")
            with closing(repository.checkout(commit="tried")) as reader:
                assert not reader["rows", 7].any()
            repository.close()


@pytest.mark.parametrize("address", ["http://host:1", "host:99999", "ada:secret@host:1", "host:1:2", "a path"])
def test_what_is_no_address_is_refused_when_it_is_given(origin: Repository, address: str) -> None:
    with pytest.raises(InvalidInputError, match=r"is not the address of a remote|a port is a number"):
        origin.remote.add("up", address)
    origin.remote.add("up", "host:1")
    with pytest.raises(InvalidInputError):
        origin.remote.change("up", address)
    assert origin.remote.list_all() == [("up", "host:1")]


def test_a_part_of_a_chunk_is_written_where_the_chunk_is_at_the_remote(origin: Repository, tmp_path: Path) -> None:
    """Its other values are needed, so the chunk is fetched, or the error names the command."""
    values = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    with closing(origin.checkout(write=True)) as writer:
        volumes = writer.add_chunked_column("volumes", shape=(100, 100), dtype=np.float32, chunks=(50, 50))
        volumes["a"] = values
        writer.commit("a volume")
    with clone(tmp_path / "origin", tmp_path / "mine") as mine:
        part = np.zeros((10, 10), np.float32)
        with pytest.warns(UserWarning, match="reference-only"):
            writer = mine.checkout(write=True)
        with closing(writer), pytest.raises(NotLocalError, match=r"column 'volumes'.*hangar fetch-data origin"):
            writer["volumes"]["a"][60:70, 60:70] = part
        with closing(mine.checkout(write=True, fetch_on_read=True)) as writer:
            writer["volumes"]["a"][60:70, 60:70] = part
            writer.commit("a part")
        assert mine.fsck(data=True).promised == 50 + 3
        mine.remote.push("origin", "master")
    values[60:70, 60:70] = 0
    with closing(origin.checkout()) as reader:
        np.testing.assert_array_equal(reader["volumes"]["a"][:], values)


def test_two_repositories_that_evict_at_the_same_moment_do_not_both_drop(
    origin: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a remote of the other. One evicts between the question and the drop of the other."""
    other = clone(tmp_path / "origin", tmp_path / "other")
    other.remote.fetch_data("origin", branch="master")
    origin.remote.add("other", str(tmp_path / "other"))
    ask = asking.asked
    inner: list[int] = []

    def ask_and_let_the_other_evict(reader: Any, digests: Any, **options: Any) -> Any:
        answer = ask(reader, digests, **options)
        monkeypatch.setattr(evict_module, "asked", ask)
        inner.append(other.evict("rows").blobs)
        return answer

    monkeypatch.setattr(evict_module, "asked", ask_and_let_the_other_evict)
    assert origin.evict("rows").blobs == 50
    assert inner == [0]
    with closing(other.checkout()) as reader:
        assert np.array_equal(reader["rows"][7], np.arange(280, 320))
    origin.remote.fetch_data("other", branch="master")
    assert other.evict("rows").blobs == 50
    other.close()
