"""Binary search in history."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, log2
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hangar.db.tables import META
from hangar.digest import Digest
from hangar.errors import CorruptionError, InvalidInputError, InvalidStateError, InvalidTypeError, RevisionNotFoundError
from hangar.history.bisect import Search, bisect, end_search, next_step, read_search, write_search
from tests.history.maker import History, new_history
from tests.history.undoing import commit, new_repository


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with new_history(tmp_path) as made:
        yield made


def line(history: History, count: int) -> list[Digest]:
    return [history.commit(str(i), *([str(i - 1)] if i else [])) for i in range(count)]


@pytest.mark.parametrize("first_bad", [1, 50, 64, 99])
def test_a_line_takes_the_logarithm_of_its_length(history: History, first_bad: int) -> None:
    commits = line(history, 100)
    asked: list[Digest] = []

    def test(digest: Digest) -> bool:
        asked.append(digest)
        return commits.index(digest) < first_bad

    assert bisect(history.db, [commits[0]], commits[-1], test) == commits[first_bad]
    assert len(asked) <= ceil(log2(99))
    assert len(set(asked)) == len(asked)


def test_skipped_commits(history: History) -> None:
    commits = line(history, 20)
    broken = set(commits[8:12])
    found = bisect(
        history.db, [commits[0]], commits[-1], lambda one: None if one in broken else commits.index(one) < 15
    )
    assert found == commits[15]
    with pytest.raises(InvalidStateError, match=f"only skipped.*{commits[12].hex()[:12]}.*{commits[8].hex()[:12]}"):
        bisect(history.db, [commits[0]], commits[-1], lambda one: None if one in broken else commits.index(one) < 10)


_EDGES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=25)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edges=_EDGES, data=st.data())
def test_any_history(
    edges: list[tuple[int, int]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A commit is bad if it has the first bad one among its ancestors: that one is found, whatever the merges."""
    with new_history(tmp_path_factory.mktemp("any")) as history:
        history.commit("0")
        above = {"0": {"0"}}
        for i, (one, other) in enumerate(edges, 1):
            parents = list(dict.fromkeys(str(max(0, i - back)) for back in (one, other)))
            history.commit(str(i), *parents)
            above[str(i)] = {str(i)}.union(*(above[parent] for parent in parents))
        last = str(len(edges))
        culprit = data.draw(st.sampled_from(sorted(above[last] - {"0"})))
        found = bisect(
            history.db,
            [history.digests["0"]],
            history.digests[last],
            lambda one: culprit not in above[history.name(one) or ""],
        )
        assert history.name(found) == culprit


def test_good_and_bad_that_were_swapped(history: History) -> None:
    commits = line(history, 5)
    for good, bad in ((commits[4], commits[1]), (commits[2], commits[2])):
        with pytest.raises(InvalidInputError, match="swapped"):
            bisect(history.db, [good], bad, lambda _: True)
    with pytest.raises(InvalidTypeError, match="True"):
        bisect(history.db, [commits[0]], commits[4], lambda _: "good")  # type: ignore[arg-type,return-value]


def test_the_state_survives(history: History) -> None:
    commits = line(history, 5)
    assert read_search(history.db) is None
    search = Search([("bad", commits[4])])
    assert next_step(history.db, search) is None
    search.verdicts += [("good", commits[0]), ("skip", commits[2]), ("bad", commits[3])]
    write_search(history.db, search)
    found = read_search(history.db)
    assert found == search
    assert found is not None
    assert (found.bad, found.good, found.skipped) == (commits[3], [commits[0]], [commits[2]])
    step = next_step(history.db, found)
    assert step is not None
    assert step.test == commits[1]
    assert set(step.suspects) == set(commits[1:4])
    end_search(history.db)
    assert read_search(history.db) is None
    for row in (b"", b"garbage", b"\x92\x01\x90", b"\x92\x00\x91\x92\xa4evil\xc4\x00"):
        history.db.update(lambda transaction, row=row: transaction.put(META, b"bisect", row))  # type: ignore[misc]
        with pytest.raises(CorruptionError, match="bisection"):
            read_search(history.db)


def test_bisect_of_a_repository(tmp_path: Path) -> None:
    repo = new_repository(tmp_path)
    first = commit(repo, "0", lambda w: w.add_str_column("t").update({"k": "good"}))
    made = [first]
    for number in range(1, 12):
        change: Any = lambda w, n=number: w["t"].update({n: "x", "k": "good" if n < 7 else "bad"})  # noqa: E731
        made.append(commit(repo, str(number), change))
    seen: list[Any] = []

    def test(checkout: Any) -> bool:
        seen.append(checkout)
        return bool(checkout["t", "k"] == "good")

    assert repo.bisect(first, "master", test) == made[7]
    assert repo.bisect([first, "master~8"], "master", test) == made[7]
    with pytest.raises(PermissionError):
        len(seen[0])
    with pytest.raises(RevisionNotFoundError):
        repo.bisect("nope", "master", test)
    with pytest.raises(InvalidInputError, match="good"):
        repo.bisect([], "master", test)
    with pytest.raises(ZeroDivisionError):
        repo.bisect(first, "master", lambda _: bool(1 / 0))
    assert repo.bisect(first, "master~4", lambda checkout: checkout["t", "k"] == "good") == made[7]
