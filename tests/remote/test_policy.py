"""What a served repository permits: fast-forwards, leases, protected branches, nobody moved beneath a writer; asked twice, done once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar.db.tables import OPERATIONS
from hangar.digest import Digest
from hangar.errors import (
    AccessError,
    HangarError,
    InvalidInputError,
    InvalidStateError,
    NameTakenError,
    OutcomeUnknownError,
    StaleRefError,
    UnsupportedVersionError,
)
from hangar.refs import Annotation
from hangar.remote.peer import Hello, Objects, ObjectsRequest, PushStart, RefResult, RefUpdate
from hangar.remote.service import Service
from hangar.remote.transfer import push
from tests.remote.world import WHO, Place, fetch, places, push_branch, update

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")


@pytest.fixture
def team(tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """A server with one commit on master, and a client that has it too, with a commit of its own on the branch work."""
    with places(tmp_path, "server", "client") as (server, client):
        server.commit(lambda writer: writer.add_ndarray_column("label", (), np.int64).write([0], np.array([0])))
        fetch(client, server.service)
        client.repo.create_branch("work", base_commit="origin/master")
        client.commit(put(1), "work")
        yield server, client


def put(number: int) -> Any:
    return lambda writer: writer["label"].__setitem__(number, np.int64(number))


def master(server: Place) -> Digest:
    head = server.head()
    assert head is not None
    return head


def test_a_push_that_would_drop_commits_is_refused(team: tuple[Place, Place]) -> None:
    server, client = team
    old = master(server)
    theirs = server.commit(put(2))
    # With the old commit expected, and with the right one.
    with pytest.raises(StaleRefError, match=r"hangar pull"):
        push(client.stores, server.service, [update("heads/master", old, client.head("work"))], who=WHO)
    with pytest.raises(StaleRefError, match=r"--force-with-lease"):
        push_branch(client, server.service, "work", to="master")
    assert server.head() == theirs
    # Forced, it needs the commit that stands there.
    with pytest.raises(StaleRefError):
        push(client.stores, server.service, [update("heads/master", old, client.head("work"), force=True)], who=WHO)
    push_branch(client, server.service, "work", to="master", force=True)
    assert server.head() == client.head("work")
    # The reflog of the server has what was dropped.
    entry = server.stores.refs.reflog("heads/master")[0]
    assert (entry.old, entry.operation) == (theirs, "push (forced)")
    server.check()


def test_protected_branches_lose_nothing_even_by_force(team: tuple[Place, Place]) -> None:
    server, client = team
    guarded = Service(server.stores, protected=lambda name: name == "master")
    server.commit(put(2))
    for force in (False, True):
        with pytest.raises(AccessError, match="protected"):
            push_branch(client, guarded, "work", to="master", force=force)
    with pytest.raises(AccessError, match="protected"):
        push(client.stores, guarded, [update("heads/master", server.head(), None)], who=WHO)
    fetch(client, server.service)
    client.repo.create_branch("next", base_commit="origin/master")
    client.commit(put(3), "next")
    push_branch(client, guarded, "next", to="master")
    assert server.head() == client.head("next")
    guarded.close()


def test_branches_and_tags_are_made_and_deleted_in_one_step(team: tuple[Place, Place]) -> None:
    server, client = team
    note = Annotation("first release", "Bo", "bo@example.org", 10**18, 60)
    moves = [
        update("heads/feature/x", None, client.head("work")),
        update("tags/v1", None, client.head("work"), annotation=note),
    ]
    assert push(client.stores, server.service, moves, who=WHO).refs == ("heads/feature/x", "tags/v1")
    assert server.stores.refs.annotation("tags/v1") == note
    # One move that is refused takes the others with it.
    wrong = [update("heads/other", None, client.head("work")), update("tags/v1", None, client.head("work"))]
    with pytest.raises(StaleRefError):
        push(client.stores, server.service, wrong, who=WHO)
    with pytest.raises(NameTakenError):
        push(client.stores, server.service, [update("tags/v1", client.head("work"), master(server))], who=WHO)
    assert server.head("other") is None
    gone = [update("heads/feature/x", client.head("work"), None), update("tags/v1", client.head("work"), None)]
    push(client.stores, server.service, gone, who=WHO)
    assert not server.stores.refs.exists("tags/v1")
    with pytest.raises(AccessError, match="HEAD"):
        push(client.stores, server.service, [update("heads/master", server.head(), None)], who=WHO)
    server.check()


def test_a_branch_that_somebody_works_on_is_not_moved(team: tuple[Place, Place]) -> None:
    server, client = team
    writer = server.repo.checkout(write=True)
    with pytest.raises(AccessError, match="close that checkout, or push to another branch"):
        push_branch(client, server.service, "work", to="master")
    push_branch(client, server.service, "work", to="elsewhere")
    writer["label"][9] = np.int64(9)
    writer.close()
    with pytest.raises(AccessError, match="commit or reset them there"):
        push_branch(client, server.service, "work", to="master")
    server.check()


def test_staging_between_the_checks_and_the_end_is_seen(team: tuple[Place, Place]) -> None:
    """The policy is checked again in the transaction that moves the branch."""
    server, client = team

    class Slow(Service):
        def finish_push(
            self, push: bytes, updates: tuple[RefUpdate, ...], who: tuple[str, str]
        ) -> tuple[RefResult, ...]:
            with server.repo.checkout(write=True) as writer:
                writer["label"][5] = np.int64(5)
            writer.close()
            return super().finish_push(push, updates, who)

    slow = Slow(server.stores)
    with pytest.raises(AccessError, match="staged changes"):
        push_branch(client, slow, "work", to="master")
    slow.close()
    server.check()


def test_a_repository_that_is_read_only_takes_nothing(team: tuple[Place, Place]) -> None:
    server, client = team
    service = Service(server.stores, read_only=True)
    assert service.hello(Hello()).read_only
    with pytest.raises(AccessError, match="for reading only"):
        push_branch(client, service, "work", to="new")


@pytest.mark.parametrize(
    "name", ["heads/../x", "heads/-x", "remotes/origin/x", "stash/00000001", "HEAD", "heads/" + "x" * 300, "tags/"]
)
def test_names_that_are_not_those_of_branches_and_tags_are_refused(team: tuple[Place, Place], name: str) -> None:
    server, client = team
    with pytest.raises(InvalidInputError):
        push(client.stores, server.service, [update(name, None, client.head("work"))], who=WHO)


def test_an_old_client_is_told_so(team: tuple[Place, Place]) -> None:
    server, _ = team
    with pytest.raises(UnsupportedVersionError, match="install a newer Hangar here"):
        server.service.hello(Hello(versions=(0,)))
    with pytest.raises(UnsupportedVersionError, match="on the server"):
        server.service.hello(Hello(versions=(7, 8)))
    assert server.service.hello(Hello(versions=(9, 1))).version == 1


# ---------------------------------------------------------------------------------------------------- lost answers


class Lossy(Service):
    """Its answers to the end of a push are lost: every one, or every other one; before or after it was done."""

    def __init__(self, *arguments: Any, lost: list[str], **how: Any) -> None:
        super().__init__(*arguments, **how)
        self.lost = lost

    def finish_push(self, push: bytes, updates: tuple[RefUpdate, ...], who: tuple[str, str]) -> tuple[RefResult, ...]:
        fate = self.lost.pop(0) if self.lost else "kept"
        if fate == "request":
            raise OutcomeUnknownError("lost")
        results = super().finish_push(push, updates, who)
        if fate == "answer":
            raise OutcomeUnknownError("lost")
        return results


def test_a_lost_answer_is_neither_a_conflict_nor_done_twice(tmp_path: Path) -> None:
    """Pushes of which every one loses its answer or its request up to four times: 100 losses in all (row 19)."""
    rng = np.random.default_rng(0)
    with places(tmp_path, "server", "client") as (server, client):
        client.commit(lambda writer: writer.add_ndarray_column("label", (), np.int64).write([0], np.array([0])))
        service = Lossy(server.stores, lost=["answer"])
        push_branch(client, service)
        lost = commits = 0
        while lost < 100:
            commits += 1
            head = client.commit(put(lost + 1))
            service.lost = rng.choice(["answer", "request"], rng.integers(1, 5)).tolist()
            lost += len(service.lost)
            try:
                push_branch(client, service)
            except OutcomeUnknownError:
                push_branch(client, server.service)
            assert server.head() == head
        moves = [entry.new for entry in server.stores.refs.reflog("heads/master")]
        assert len(moves) == len(set(moves)) == commits + 1
        service.close()
        server.forget_pushes()  # those that another service finished
        server.check()


def test_an_operation_id_stands_for_one_move(team: tuple[Place, Place]) -> None:
    server, client = team
    move = update("heads/new", None, client.head("work"))
    push(client.stores, server.service, [move], who=WHO)
    # Asked again, by a client that never got the answer: done, even if the branch has moved on since.
    server.repo.create_branch("newer", base_commit="new")
    assert push(client.stores, server.service, [move], who=WHO).refs == ("heads/new",)
    assert server.service.finish_push(b"x" * 16, (move,), WHO) == (RefResult("heads/new", True),)
    other = RefUpdate("heads/other", None, move.new, move.operation)
    with pytest.raises(InvalidInputError, match="operation id"):
        push(client.stores, server.service, [other], who=WHO)
    assert server.head("other") is None


def test_old_operations_are_forgotten(team: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar.remote.policy._MOST_OPERATIONS", 20)
    server, client = team
    for number in range(30):
        push(client.stores, server.service, [update(f"heads/b{number}", None, client.head("work"))], who=WHO)
    with server.stores.db.read() as transaction:
        assert 10 < transaction.count(OPERATIONS) <= 20
    server.check()


# ---------------------------------------------------------------------------------------------------- many at once


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("rounds", [2, pytest.param(200, marks=pytest.mark.nightly)])
def test_sixteen_clients_push_to_one_branch(tmp_path: Path, rounds: int) -> None:
    """For each base exactly one wins, the others get StaleRefError, and what was acknowledged is in history (row 17)."""
    clients = 16
    with places(tmp_path, "server", "client") as (server, client):
        client.commit(lambda writer: writer.add_ndarray_column("label", (), np.int64).write([0], np.array([0])))
        push_branch(client, server.service)
        acknowledged: list[Digest] = []
        for number in range(rounds):
            base = master(server)
            heads = []
            for one in range(clients):
                name = f"c{one}"
                if client.stores.refs.exists(f"heads/{name}"):
                    client.repo.remove_branch(name, force_delete=True)
                client.repo.create_branch(name, base_commit=base.hex())
                heads.append(client.commit(put(number * clients + one + 1), name, f"{number} {one}"))
            outcomes: dict[Digest, object] = {}
            barrier = threading.Barrier(clients)

            def run(head: Digest, base: Digest = base, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                try:
                    outcomes[head] = push(client.stores, server.service, [update("heads/master", base, head)], who=WHO)  # noqa: B023
                except HangarError as error:
                    outcomes[head] = error  # noqa: B023

            threads = [threading.Thread(target=run, args=(head,)) for head in heads]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            won = [head for head, outcome in outcomes.items() if not isinstance(outcome, HangarError)]
            assert len(won) == 1, outcomes
            assert {type(outcome) for head, outcome in outcomes.items() if head not in won} == {StaleRefError}
            assert master(server) == won[0]
            acknowledged += won
        history = {digest for digest, _ in server.trees(master(server))}
        assert history.issuperset(acknowledged)
        server.check()


def test_a_push_in_progress_is_given_up_after_a_while(team: tuple[Place, Place]) -> None:
    server, client = team
    service = Service(server.stores, push_seconds=0.0, pushes=1)
    start = PushStart(b"a" * 16, (update("heads/new", None, client.head("work")),))
    service.begin_push(start)
    service.begin_push(PushStart(b"b" * 16, start.updates))
    with pytest.raises(InvalidStateError, match="begin it again"):
        service.missing(b"a" * 16)
    service.close()
    server.check()


# ---------------------------------------------------------------------------------------------------- garbage collection


def test_what_a_push_relies_on_is_collected_before_its_end(tmp_path: Path) -> None:
    """The server had the commit that the push builds on, with its data, and has it no more when the push ends."""

    def fill(writer: Any) -> None:
        column = writer.add_ndarray_column("image", (20, 20), np.uint8)
        column.write(list(range(300)), np.random.default_rng(0).integers(0, 256, (300, 20, 20), np.uint8))

    with places(tmp_path, "server", "client") as (server, client):
        server.commit(lambda writer: writer.add_ndarray_column("label", (), np.int64).write([0], np.array([0])))
        old = client.commit(fill)
        push_branch(client, server.service, to="passing")
        server.repo.remove_branch("passing", force_delete=True)
        new = client.commit(lambda writer: writer["image"].__setitem__(7, np.zeros((20, 20), np.uint8)))
        collected: list[Any] = []

        class Collecting(Service):
            def finish_push(
                self, push: bytes, updates: tuple[RefUpdate, ...], who: tuple[str, str]
            ) -> tuple[RefResult, ...]:
                if not collected:
                    collected.append(server.repo.gc(expire_reflog="all"))
                return super().finish_push(push, updates, who)

        service = Collecting(server.stores)
        pushed = push_branch(client, service, to="again")
        assert collected[0].blobs.removed == 300
        assert pushed.blobs >= 300
        assert {digest for digest, _ in server.trees(new)} == {old, new}
        assert server.content(new) == client.content(new)
        service.close()
        server.check()


def test_what_a_fetch_relies_on_is_collected_before_its_end(tmp_path: Path) -> None:
    with places(tmp_path, "server", "client") as (server, client):
        first = server.commit(lambda writer: writer.add_ndarray_column("a", (), np.int64).write([0], np.array([0])))
        fetch(client, server.service)
        second = server.commit(lambda writer: writer["a"].__setitem__(1, np.int64(1)))
        client.stores.db.update(
            lambda transaction: client.stores.refs.delete(
                transaction, "remotes/origin/master", first, who=WHO, operation="forget"
            )
        )

        class Collecting(Service):
            def objects(self, request: ObjectsRequest) -> Iterator[Objects]:
                yield from super().objects(request)
                client.repo.gc(expire_reflog="all")

        service = Collecting(server.stores)
        found = fetch(client, service)
        assert set(found.commits) == {first, second}
        assert client.trees(second) == server.trees(second)
        service.close()
        client.check()
