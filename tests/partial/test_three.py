"""Three repositories: a full one, a partial clone that is a remote itself, and a laptop."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import InvalidInputError, NotLocalError, Repository
from hangar.remote.server import serve
from tests.partial.conftest import Make
from tests.partial.damaging import damage, digests_of, lose

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")
ROWS = np.arange(2_000).reshape(50, 40)


@pytest.fixture
def partial(team: Make, tmp_path: Path) -> Iterator[tuple[Repository, Repository, Repository]]:
    """O, a served partial clone of it, and a full clone that has the partial one as remote ``b``."""
    o = team("o", None)
    b = team("b", "o")
    a = team("a", "o")
    a.remote.fetch_data("origin", "master")
    server, hangar_server, address = serve(str(b.path), channel_address="localhost:0")
    server.start()
    a.remote.add("b", address, insecure=True)
    yield o, b, a
    server.stop(None).wait()
    hangar_server.close()


def changed(repository: Repository) -> None:
    with closing(repository.checkout(write=True)) as writer:
        writer["rows"][9] = np.zeros(40, np.int64)
        writer.commit("row 9 corrected")


def expected() -> Any:
    return np.where(np.arange(50)[:, None] == 9, 0, ROWS)


def test_a_push_to_a_partial_clone(
    partial: tuple[Repository, Repository, Repository], team: Make, tmp_path: Path
) -> None:
    """It says what the partial clone has by promise only; nothing is lost whatever goes next."""
    o, b, a = partial
    changed(a)
    report = a.remote.push_refs("b", ["master"])
    assert (report.blobs, report.promised) == (1, 49)
    found = b.fsck(data=True)
    assert (found.sound, found.promised) == (True, 50)
    # What the partial clone does not have is not dropped for it.
    evicted = a.evict("rows", remote="b")
    assert (evicted.blobs, evicted.kept) == (1, 49)
    # Who clones from the partial clone gets what it has, and learns the rest.
    c = team("c", "b")
    with pytest.raises(NotLocalError, match="'origin' does not have 49 values that history names; 1 value was fetched"):
        c.remote.fetch_data("origin", "master")
    assert {problem.kind for problem in c.fsck().problems} == {"blob"}
    c.remote.add("o", str(o.path))
    fetched = c.remote.fetch_columns("origin", "master")
    assert (fetched.blobs, fetched.elsewhere, fetched.absent) == (49, {"o": 49}, 0)
    assert c.fsck(data=True).sound

    a.remote.remove("origin")
    o.close()
    shutil.rmtree(tmp_path / "o")
    report = a.remote.push_refs("b", ["master"], complete=True)
    assert (report.refs, report.blobs) == ({}, 49)
    assert b.fsck(data=True).promised == 1  # the row that was corrected
    assert a.evict("rows").blobs == 49
    with closing(b.checkout()) as reader:
        np.testing.assert_array_equal(reader["rows"].read(range(50)), expected())
    with closing(a.checkout(fetch_on_read=True)) as reader:
        np.testing.assert_array_equal(reader["rows"].read(range(50)), expected())


def test_what_only_a_false_promise_covers_is_in_no_push(partial: tuple[Repository, Repository, Repository]) -> None:
    """O has lost a value that the partial clone still counts on; a complete push of who has it saves it."""
    o, b, a = partial
    lose(o, digests_of(o, "rows", [5]))
    changed(a)
    a.remote.push("b", "master")
    with pytest.raises(NotLocalError, match="1 value "):
        b.remote.fetch_data("origin", commit="master")
    assert [problem.kind for problem in b.fsck().problems].count("blob")
    a.remote.push("b", "master", complete=True)
    assert b.fsck(data=True).sound
    with closing(b.checkout()) as reader:
        np.testing.assert_array_equal(reader["rows"].read(range(50)), expected())


def test_a_complete_push_of_what_is_not_here(partial: tuple[Repository, Repository, Repository]) -> None:
    _, b, a = partial
    changed(a)
    assert a.evict("rows", [1, 2], remote="origin").blobs == 2
    with pytest.raises(NotLocalError, match="2 values that the remote lacks are not on this disk either"):
        a.remote.push("b", "master", complete=True)
    assert b.rev_parse("master") == a.rev_parse("master")  # the commits are there
    a.remote.fetch_data("origin", commit="master")
    assert a.remote.push_refs("b", ["master"], complete=True).blobs == 2  # it goes on where it ended
    assert b.fsck(data=True).promised == 1


def test_a_remote_that_lacks_or_has_damaged_a_value_is_not_the_end(team: Make, tmp_path: Path) -> None:
    """Fetching and reading go on to the other remote that has it."""
    first = team("first", None)
    second = team("second", "first")
    second.remote.fetch_data("origin", "master")
    mine = team("mine", "first")
    mine.remote.add("second", str(second.path))
    mine.remote.add("away", str(tmp_path / "nowhere"))
    lose(first, digests_of(first, "rows", [1, 2]))
    damage(first, digests_of(first, "rows", [3]))
    report = mine.remote.fetch_columns("origin", "master")
    assert (report.blobs, report.nbytes, report.elsewhere, report.absent) == (50, 50 * 320, {"second": 3}, 0)
    assert mine.fsck(data=True).promised == 0

    other = team("other", "first")
    with pytest.raises(NotLocalError, match=r"does not have 3 values.*, 1 of them damaged there: .*; 47 values were"):
        other.remote.fetch_data("origin", "master")
    report = other.remote.fetch_columns("origin", "master")
    assert (report.absent, report.damaged, other.fsck().promised) == (3, 1, 1)
    other.remote.add("second", str(second.path))
    with closing(other.checkout(fetch_on_read=True)) as reader:
        np.testing.assert_array_equal(reader["rows"].read([1, 2, 4]), ROWS[[1, 2, 4]])


def test_deleted_branches_are_pruned_when_asked(team: Make) -> None:
    origin = team("origin", None)
    for name in ("gone", "gone/deep", "stays"):
        origin.create_branch(name)
    mine = team("mine", "origin")
    origin.remove_branch("gone", force_delete=True)
    origin.remove_branch("gone/deep", force_delete=True)
    report = mine.remote.fetch_branches("origin")
    assert (report.stale, report.pruned) == (("origin/gone", "origin/gone/deep"), {})
    assert "origin/gone" in mine.list_branches()
    head = mine.rev_parse("origin/gone")
    with pytest.raises(InvalidInputError, match="give no branch"):
        mine.remote.fetch("origin", "master", prune=True)
    assert mine.remote.fetch("origin", prune=True) == "origin"
    assert [name for name in mine.list_branches() if "/" in name] == ["origin/master", "origin/stays"]
    entry = mine.stores.refs.reflog("remotes/origin/gone")[0]
    assert (entry.operation, entry.old) == ("fetch (prune)", bytes.fromhex(head))
    report = mine.remote.fetch_branches("origin", prune=True)
    assert (report.stale, report.pruned) == ((), {})
