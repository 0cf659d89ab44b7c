"""A promise is withdrawn when the remote is found not to have the data, and made again when it has it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from hangar import InvalidStateError, NotLocalError, PurgedError, Repository
from tests.partial.conftest import Make
from tests.partial.damaging import digests_of, lose

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")


def fetch(mine: Repository) -> None:
    with pytest.raises(
        NotLocalError, match="'origin' does not have 3 values that history names; 47 values were fetched"
    ):
        mine.remote.fetch_data("origin", "master")


def fetch_within_a_budget(mine: Repository) -> None:
    """What is not there does not use up the budget."""
    while (report := mine.remote.fetch_columns("origin", "master", nbytes=20 * 320)).left:
        assert report.blobs == 20
        assert report.absent == 3
    assert (report.blobs, report.absent) == (7, 3)


def fetch_on_read(mine: Repository) -> None:
    with closing(mine.checkout(fetch_on_read=True)) as reader:
        with pytest.raises(NotLocalError, match="neither on this disk nor at a remote: 'origin' had promised them"):
            reader["rows"].read(range(50))
        reader["rows"].read([key for key in range(50) if key not in (3, 4, 5)])


def remove_another(mine: Repository) -> None:
    """Origin is asked for what the other remote has."""
    mine.remote.add("full", str(mine.remote.list_all()[0].address).replace("origin", "full"))
    mine.remote.fetch_branches("full")
    mine.remote.fetch_data_sample("full", "rows", [3], branch="master")
    assert mine.evict("rows", [3], remote="full").blobs == 1
    with pytest.raises(InvalidStateError, match="1 value of the history here is at remote 'full' alone"):
        mine.remote.remove("full")
    mine.remote.remove("full", force=True)


@pytest.mark.parametrize("found", [fetch, fetch_within_a_budget, fetch_on_read], ids=lambda one: one.__name__)
def test_a_false_promise(team: Make, found: Callable[[Repository], Any]) -> None:
    origin = team("origin", None)
    keeper, mine = team("keeper", "origin"), team("mine", "origin")
    keeper.remote.fetch_data("origin", "master")
    lose(origin, digests_of(origin, "rows", [3, 4, 5]))
    assert mine.fsck().promised == 50
    found(mine)

    report = mine.fsck(data=True)
    assert (report.promised, len(report.problems)) == (0, 3)
    for problem in report.problems:
        assert "no remote has it: 'origin' had promised it, and did not have it when it was asked" in problem.detail
        assert "hangar remote add NAME ADDRESS" in problem.remedy
    with closing(mine.checkout()) as reader:
        rows = reader["rows"]
        assert (rows.contains_remote_references, rows.remote_reference_keys) == (False, ())
        assert len(rows) == 50
        with pytest.raises(
            NotLocalError, match=r"sample 3 of column 'rows'.*`hangar fetch-data NAME \w+ -d rows -s int:3`"
        ):
            rows[3]
    # A collection keeps the knowledge, also when the leaf that promised is gone.
    with closing(mine.checkout(write=True)) as writer:
        writer["rows"][9] = np.zeros(40, np.int64)
        writer.commit("fifty rows, corrected", amend=True)
    refs = mine.stores.refs
    mine.stores.db.update(
        lambda transaction: refs.delete(
            transaction, "remotes/origin/master", refs.get("remotes/origin/master"), who=("", ""), operation="test"
        )
    )
    assert mine.gc(expire_reflog="all").commits.removed == 1
    assert [len(one.problems) for one in (mine.fsck(), origin.fsck())] == [3, 3]
    assert all("'origin' had promised it" in problem.detail for problem in mine.fsck().problems)
    # The other way: somebody gives the data back to the remote, and it is asked again.
    keeper.remote.push("origin", "master", complete=True)
    assert origin.fsck(data=True).sound
    mine.remote.fetch_data("origin", commit="master")
    assert mine.fsck(data=True).sound
    evicted = mine.evict("rows", [3, 4, 5])
    assert (evicted.blobs, evicted.unnamed) == (0, 3)  # for all that is known here, no branch there names them
    mine.remote.fetch_branches("origin")
    assert mine.evict("rows", [3, 4, 5]).blobs == 3
    assert mine.fsck().promised == 3 + 1
    with pytest.raises(InvalidStateError, match="4 values of the history here are at remote 'origin' alone"):
        mine.remote.remove("origin")


def test_a_remote_that_lost_everything_can_be_removed(team: Make) -> None:
    origin = team("origin", None)
    mine = team("mine", "origin")
    mine.remote.fetch_data_sample("origin", "rows", range(45), branch="master")
    lose(origin, digests_of(origin, "rows", range(40, 50)))
    with pytest.raises(InvalidStateError, match="5 values"):
        mine.remote.remove("origin")
    with pytest.raises(NotLocalError, match="5 values"):
        mine.remote.fetch_data("origin", "master")
    # What it lost, and what was here, is no reason to drop anything; nor is it one to keep the remote.
    report = mine.evict("rows", range(30, 45))
    assert (report.blobs, report.kept) == (10, 5)
    with pytest.raises(InvalidStateError, match="10 values"):
        mine.remote.remove("origin")
    mine.remote.fetch_data_sample("origin", "rows", range(40), branch="master")
    mine.remote.remove("origin")
    assert len(mine.fsck(data=True).problems) == 5


@pytest.mark.parametrize("how", ["fetch", "fetch_data", "fetch_on_read"])
def test_what_a_remote_has_purged_is_not_promised(team: Make, how: str) -> None:
    origin = team("origin", None)
    mine = team("mine", "origin")
    origin.purge("rows", [7], reason="on request")
    if how == "fetch":
        assert mine.remote.fetch_branches("origin").tombstones == 1
    elif how == "fetch_data":
        with pytest.raises(NotLocalError, match="hangar purge --list"):
            mine.remote.fetch_data("origin", "master")
    else:
        with closing(mine.checkout(fetch_on_read=True)) as reader, pytest.raises(PurgedError, match="on request"):
            reader["rows", 7]
    report = mine.fsck()
    assert (report.sound, report.promised) == (True, 0 if how == "fetch_data" else 49)
    assert [note.kind for note in report.notes] == ["purged"]
    with closing(mine.checkout()) as reader:
        assert 7 not in reader["rows"].remote_reference_keys
        with pytest.raises(PurgedError, match=r"sample 7 of column 'rows'.*purged by Ada.*on request"):
            reader["rows", 7]


def test_a_tombstone_of_somebody_else_does_not_hide_what_a_remote_has(team: Make) -> None:
    """One remote has purged a value, another one has it."""
    origin = team("origin", None)
    full = team("full", "origin")
    full.remote.fetch_data("origin", "master")
    mine = team("mine", "full")
    mine.remote.add("first", str(origin.path))
    origin.purge("rows", [7], reason="on request")
    mine.remote.fetch_branches("first")
    with closing(mine.checkout()) as reader, pytest.raises(NotLocalError, match="hangar fetch-data origin"):
        reader["rows", 7]
    assert (mine.fsck().promised, mine.fsck().notes) == (50, ())
    mine.remote.fetch_data("origin", "master")
    assert mine.fsck(data=True).promised == 0
