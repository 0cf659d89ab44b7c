"""A team works on one repository over gRPC: clones, commits, diverges, pulls, pushes, and trains on a part of the data."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from sklearn.datasets import load_digits

from hangar import (
    NotFoundError,
    NotLocalError,
    PurgedError,
    RemoteNotFoundError,
    Repository,
    RevisionNotFoundError,
    StaleRefError,
    UnreachableError,
    make_numpy_dataset,
)
from hangar.remote.server import serve
from tests.remote.proxy import Proxy

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")
IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = IMAGES.astype(np.uint8)


def commit(repo: Repository, key: int, label: int, message: str) -> str:
    co = repo.checkout(write=True)
    co["labels"][key] = label
    co["images"][key] = np.full(64, label, np.uint8)
    digest = co.commit(message)
    co.close()
    return digest


class Team:
    """A served repository of 1,797 digits with labels, and a proxy that counts the bytes to it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.served, self.hangar, address = serve(place / "served", channel_address="localhost:0")
        self.served.start()
        self.proxy = Proxy(int(address.rpartition(":")[2])).__enter__()
        self.address = f"localhost:{self.proxy.port}"
        lead = Repository(place / "served")
        co = lead.checkout(write=True)
        co.add_ndarray_column("images", (64,), np.uint8).write(range(len(IMAGES)), IMAGES)
        co.add_ndarray_column("labels", (), np.int64).write(range(len(LABELS)), LABELS.astype(np.int64))
        co.commit("digits")
        co.close()
        self.lead = lead

    def clone(self, name: str) -> Repository:
        place = self.place / name
        place.mkdir()
        repo = Repository(place, exists=False)
        assert repo.clone(name, f"{name}@example.org", self.address) == "master"
        return repo

    def cut(self) -> None:
        """Nobody reaches the server any more."""
        self.proxy.__exit__(None, None, None)

    def close(self) -> None:
        self.lead.close()
        self.cut()
        self.served.stop(0)
        self.hangar.close()


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    made = Team(tmp_path)
    yield made
    made.close()


def test_a_team_session(team: Team) -> None:
    ada, bob = team.clone("ada"), team.clone("bob")
    assert ada.list_branches() == ["master", "origin/master"]
    assert ada.rev_parse("origin/master") == team.lead.rev_parse("master")

    # Both commit without having any image, and push: the second is refused.
    commit(ada, 2_000, 3, "Ada's digit")
    commit(bob, 2_001, 7, "Bob's digit")
    assert ada.remote.push("origin", "master") == "master"
    assert team.lead.rev_parse("master") == ada.rev_parse("master") == ada.rev_parse("origin/master")
    with pytest.raises(
        StaleRefError, match=r"has commits that are not in the branch here.*`hangar pull origin master`"
    ):
        bob.remote.push("origin", "master")

    # Pull merges, though the images are not here; then the push succeeds, and a third one has nothing to do.
    merged = bob.remote.pull("origin", "master")
    assert bob.log(return_contents=True)["ancestors"][merged] == [bob.rev_parse("master^1"), ada.rev_parse("master")]  # type: ignore[index]
    assert bob.remote.push("origin", "master") == "master"
    with pytest.warns(UserWarning, match="nothing to push"):
        bob.remote.push("origin", "master")
    assert team.lead.fsck(data=True).sound
    assert ada.remote.pull("origin", "master") == merged
    assert ada.rev_parse("master") == merged

    # The third clones without data and trains on one sample in a hundred: only these cross the wire.
    before = team.proxy.down
    eve = team.clone("eve")
    cloned = team.proxy.down - before
    keys = list(range(0, len(IMAGES), 100))
    before = team.proxy.down
    eve.remote.fetch_data_sample("origin", "images", keys, branch="master")
    fetched = team.proxy.down - before
    with eve.checkout() as co:
        data = make_numpy_dataset([co["images"], co["labels"]], batch_size=6, shuffle=False)
        seen = list(data)
    np.testing.assert_array_equal(np.concatenate([images for images, _ in seen]), IMAGES[keys])
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in seen]), LABELS[keys])
    wanted = IMAGES[keys].nbytes
    assert fetched < 4 * wanted + 4_000
    assert cloned < IMAGES.nbytes + 50_000  # names of 1,799 images, and their labels
    assert eve.fsck(data=True).promised == len(np.unique(IMAGES, axis=0)) + 2 - len(np.unique(IMAGES[keys], axis=0))


def test_data_is_fetched_when_it_is_read(team: Team) -> None:
    eve = team.clone("eve")
    with eve.checkout() as co, pytest.raises(NotLocalError, match=r"fetch-data origin .* -d images -s int:5"):
        co["images", 5]
    co = eve.checkout(fetch_on_read=True)
    calls = team.proxy.connections
    images = co["images"]
    np.testing.assert_array_equal(images.read(range(500, 756)), IMAGES[500:756])
    np.testing.assert_array_equal(images[5], IMAGES[5])
    np.testing.assert_array_equal(images.read(slice(0, 100)), IMAGES[:100])
    np.testing.assert_array_equal(images[[7, 1_700]][1], IMAGES[1_700])
    assert team.proxy.connections - calls == 1  # one connection, kept open
    copy = pickle.loads(pickle.dumps(images))
    np.testing.assert_array_equal(copy[1_000], IMAGES[1_000])
    data = make_numpy_dataset([images, co["labels"]], batch_size=256, shuffle=True)
    assert sum(int(labels.sum()) for _, labels in data) == int(LABELS.sum())
    co.close()
    # It stays.
    team.cut()
    with eve.checkout() as reader:
        np.testing.assert_array_equal(reader["images"].read(range(len(IMAGES))), IMAGES)
        assert not reader["images"].contains_remote_references
    report = eve.fsck(data=True)
    assert (report.sound, report.promised) == (True, 0)


def test_a_writer_fetches_too(team: Team) -> None:
    eve = team.clone("eve")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="reference-only"):
            eve.checkout(write=True)
    assert not eve.writer_lock_held
    co = eve.checkout(write=True, fetch_on_read=True)
    co["images"][0] = co["images"][1] + np.uint8(1)
    co.commit("brighter")
    np.testing.assert_array_equal(co["images"][0], IMAGES[1] + 1)
    co.close()
    assert eve.remote.push("origin", "master") == "master"


def test_what_is_evicted_comes_back(team: Team) -> None:
    eve = team.clone("eve")
    digest = eve.rev_parse("master")
    assert eve.remote.fetch_data("origin", branch="master") == [digest]
    mine = commit(eve, 5_000, 1, "mine")
    report = eve.evict("images")
    assert report.kept == 1
    assert report.blobs == len(np.unique(IMAGES, axis=0))
    found = eve.fsck(data=True)
    assert (found.sound, found.promised) == (True, report.blobs)
    with eve.checkout() as co:
        assert list(co["images"].keys(local=True)) == [5_000]
    assert eve.evict("images", [3, 4]).absent == 2
    # Data that is not here does not stand in the way of what rewrites the rest.
    converted = eve.convert_backend("images", "00")
    assert not converted.damaged
    assert not eve.gc(expire_reflog="all").damaged
    assert eve.remote.fetch_data("origin", commit=mine, column_names=["images"]) == [mine]
    with eve.checkout() as co:
        np.testing.assert_array_equal(co["images"].read(range(len(IMAGES))), IMAGES)


def test_a_budget_of_bytes_stops_and_goes_on(team: Team) -> None:
    eve = team.clone("eve")
    count = len(np.unique(IMAGES, axis=0))
    report = eve.remote.fetch_columns("origin", branch="master", nbytes=10_000)
    assert report.nbytes <= 10_000
    assert report.blobs == 10_000 // 64
    assert (report.left, report.left_nbytes) == (count - report.blobs, 64 * (count - report.blobs))
    with eve.checkout() as co:
        np.testing.assert_array_equal(co["images"].read(range(100)), IMAGES[:100])
    assert eve.remote.fetch_columns("origin", branch="master").left == 0


def test_branches_and_tags_of_a_remote(team: Team) -> None:
    ada, bob = team.clone("ada"), team.clone("bob")
    ada.create_branch("relabel")
    ada.tag("v1", message="first")
    ada.remote.push("origin", "relabel", tags=True)
    report = bob.remote.fetch_branches("origin")
    assert (report.moved, report.tags) == (("origin/relabel",), ("v1",))
    assert bob.list_branches() == ["master", "origin/master", "origin/relabel"]
    assert bob.remote.pull("origin", "relabel") == bob.rev_parse("origin/relabel")
    assert "relabel" in bob.list_branches()
    with bob.checkout(branch="origin/relabel") as co:
        assert co.commit_hash == bob.rev_parse("v1")
    assert not bob.diff("master", "origin/relabel").diff.added.samples
    ada.remote.push("origin", "relabel", delete=True)
    assert "origin/relabel" not in ada.list_branches()
    assert team.lead.list_branches() == ["master"]
    commit(bob, 3_000, 1, "to be taken back")
    bob.remote.push("origin", "master")
    bob.reset("master~1", hard=True)
    bob.remote.push("origin", "master", force_with_lease=True)
    assert team.lead.rev_parse("master") == bob.rev_parse("master")
    commit(ada, 1, 1, "x")
    commit(team.lead, 4_000, 2, "meanwhile")
    with pytest.raises(StaleRefError, match="where it was fetched last"):
        ada.remote.push("origin", "master", force_with_lease=True)


def test_errors(team: Team, tmp_path: Path) -> None:
    eve = team.clone("eve")
    with pytest.raises(RevisionNotFoundError, match=r"no branch 'mastr'.*did you mean 'master'") as missing:
        eve.remote.fetch("origin", "mastr")
    assert isinstance(missing.value, grpc.RpcError)
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.warns(UserWarning, match="nothing new"):
        assert eve.remote.fetch("origin", "master") == "origin/master"
    for branch, digest in (("a", "b"), (None, None)):
        with pytest.raises(ValueError, match="``branch`` and ``commit``"):
            eve.remote.fetch_data("origin", branch, digest)
    with pytest.raises(KeyError, match="nope"):
        eve.remote.fetch_data("origin", "master", column_names=["nope"])
    with pytest.raises(KeyError, match="999999"):
        eve.remote.fetch_data_sample("origin", "images", 999_999, "master")
    with pytest.raises(TypeError):
        eve.remote.fetch_data_sample("origin", "images", [1.5], "master")
    with pytest.raises(RemoteNotFoundError):
        eve.remote.ping("nowhere")
    with pytest.raises(ValueError, match="not suitable"):
        eve.create_branch("origin/master x")
    with pytest.raises(ValueError, match="remote 'origin'"):
        eve.create_branch("origin/mine")
    with pytest.raises(ValueError, match="there is a remote 'origin'"):
        eve.remote.add("origin", "host:1")
    eve.create_branch("up/mine")
    with pytest.raises(ValueError, match="begin with 'up/'"):
        eve.remote.add("up", "host:1")
    assert 0 < eve.remote.ping("origin") < 5
    place = tmp_path / "none"
    place.mkdir()
    team.cut()
    with pytest.raises(UnreachableError):
        Repository(place, exists=False).clone("x", "x@y.z", "localhost:1")
    assert not list(place.iterdir())
    with pytest.raises(ConnectionError):
        eve.remote.ping("origin")
    co = eve.checkout(fetch_on_read=True)
    with pytest.raises(ConnectionError):
        co["images", 1]


def test_a_purge_travels_and_has_an_effect_when_it_is_accepted(team: Team) -> None:
    ada, bob = team.clone("ada"), team.clone("bob")
    for clone in (ada, bob):
        clone.remote.fetch_data("origin", "master")
    team.lead.purge("images", [7], reason="consent withdrawn")
    report = ada.remote.fetch_branches("origin")
    assert report.tombstones == 1
    (found,) = ada.list_purged()
    assert (found.state, found.reason) == ("foreign", "consent withdrawn")
    with ada.checkout() as co:
        np.testing.assert_array_equal(co["images", 7], IMAGES[7])
    assert ada.remote.fetch_branches("origin").tombstones == 0
    # Accepted, it is obeyed: erased here, and neither fetched nor pushed again.
    done = ada.accept_purges()
    assert (done.digests, done.erased, done.unfinished) == ((found.digest,), 1, ())
    with ada.checkout() as co, pytest.raises(PurgedError, match="consent withdrawn"):
        co["images", 7]
    assert ada.remote.fetch_columns("origin", "master").blobs == 0
    checked = ada.fsck(data=True)
    assert (checked.sound, checked.promised, [one.kind for one in checked.notes]) == (True, 0, ["purged"])
    with ada.checkout() as reader:
        assert not reader["images"].contains_remote_references
    with pytest.raises(NotFoundError):
        ada.accept_purges()
    # Bob has not accepted it, and cannot bring the data back to the server: his commit arrives, the bytes do not.
    writer = bob.checkout(write=True)
    writer["images"][9_000] = IMAGES[7]
    writer.commit("again")
    writer.close()
    bob.remote.push("origin", "master")
    with team.lead.checkout() as reader, pytest.raises(PurgedError, match="consent withdrawn"):
        reader["images", 9_000]
    assert team.lead.fsck(data=True).sound
    # A purge of a clone travels with a push, and has no effect at the server until it is accepted there.
    ada.purge("images", [8], reason="mine")
    ada.remote.pull("origin", "master")
    commit(ada, 8_000, 1, "more")
    ada.remote.push("origin", "master")
    states = {one.reason: one.state for one in team.lead.list_purged()}
    assert states == {"consent withdrawn": "in effect", "mine": "foreign"}
    with team.lead.checkout() as reader:
        np.testing.assert_array_equal(reader["images", 8], IMAGES[8])
