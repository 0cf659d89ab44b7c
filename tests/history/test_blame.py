"""Which commit last changed a sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hangar import Repository
from hangar.digest import Digest
from hangar.errors import ColumnNotFoundError, InvalidTypeError, RevisionNotFoundError, SampleNotFoundError
from hangar.history import blame as module
from hangar.history.blame import Blame
from hangar.objects.commit import Commit
from hangar.objects.graph import record_generation
from hangar.objects.records import load_commit, store_commit
from tests.history.undoing import commit, fill, image, new_repository


def name_of(repo: Repository, found: Blame) -> str:
    assert found.author == "Ada"
    assert repo.commit_info(found.commit).time == found.time
    return found.message


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Commits one to six on master, with a renamed column; a column and a subsample come and go."""
    repo = new_repository(tmp_path_factory.mktemp("blame"))
    commit(repo, "one", fill)
    commit(repo, "two", lambda w: w["label"].update({0: np.int64(-1), 9: np.int64(9)}))
    commit(repo, "three", lambda w: w.rename_column("label", "labels"))

    def four(writer: Any) -> None:
        writer["labels"][1] = np.int64(-1)
        writer["image"]["a"] = image(77)
        writer["boxes"]["a"]["x"] = np.array([9, 9], np.float32)
        writer["boxes"]["b"] = {0: np.array([1, 2], np.float32)}

    def five(writer: Any) -> None:
        writer["labels"][0] = np.int64(0)
        del writer["boxes"]["a"][0]
        writer.attributes["units"] = "cm"

    commit(repo, "four", four)
    commit(repo, "five", five)
    commit(repo, "six", lambda w: w["text"].update({"b": "b"}))
    return repo


@pytest.mark.parametrize(
    ("column", "key", "message", "named"),
    [
        ("labels", 0, "five", "labels"),
        ("labels", 1, "four", "labels"),
        ("labels", 2, "one", "label"),
        ("labels", 9, "two", "label"),
        ("image", "a", "four", "image"),
        ("image", "b/c", "one", "image"),
        ("text", "a", "one", "text"),
        ("text", "b", "six", "text"),
        ("boxes", ("a", "x"), "four", "boxes"),
        ("boxes", "a", "five", "boxes"),
        ("boxes", "b", "four", "boxes"),
    ],
)
def test_blame(repo: Repository, column: str, key: Any, message: str, named: str) -> None:
    found = repo.blame(column, key)
    assert name_of(repo, found) == message
    assert found.column == named
    assert (found.sample, found.subsample) == (key if isinstance(key, tuple) else (key, None))


def test_blame_of_an_older_commit(repo: Repository) -> None:
    assert repo.blame("labels", 0, rev="master~2").message == "two"
    assert repo.blame("label", 0, rev="master~5").message == "one"
    assert repo.blame("boxes", ("a", 0), rev="master~2").message == "one"


@pytest.mark.parametrize("few", [0, 256])
def test_blame_of_a_whole_column(repo: Repository, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW", few)
    assert [(one.sample, one.message) for one in repo.blame("labels")] == [
        (0, "five"),
        (1, "four"),
        (2, "one"),
        (3, "one"),
        (4, "one"),
        (9, "two"),
    ]
    assert [(one.sample, one.subsample, one.message) for one in repo.blame("boxes")] == [
        ("a", "x", "four"),
        ("b", 0, "four"),
    ]
    assert [one.sample for one in repo.blame("labels", limit=2)] == [0, 1]
    assert repo.blame("empty") == []


def test_what_is_not_there(repo: Repository, tmp_path: Path) -> None:
    with pytest.raises(ColumnNotFoundError, match=r"no column 'lables'.*did you mean 'labels'"):
        repo.blame("lables", 0)
    with pytest.raises(SampleNotFoundError, match="no sample 77"):
        repo.blame("labels", 77)
    with pytest.raises(SampleNotFoundError, match="no sample"):
        repo.blame("boxes", ("a", 0))
    with pytest.raises(SampleNotFoundError, match="no sample"):
        repo.blame("empty", 0)
    with pytest.raises(InvalidTypeError):
        repo.blame("labels", 1.5)
    with pytest.raises(RevisionNotFoundError):
        repo.blame("labels", 0, rev="nope")
    with pytest.raises(ColumnNotFoundError, match="no commit yet"):
        new_repository(tmp_path).blame("labels", 0)


# ---------------------------------------------------------------------- merges, against a model


def merge_commit(repo: Repository, message: str, parents: list[str], change: Callable[[Any], object]) -> str:
    """Commit a change of the first parent with further parents, as a merge does."""
    made = commit(repo, message, change)
    stores = repo.stores
    before = Digest(bytes.fromhex(made))
    first = load_commit(stores.db, before)
    merged = Commit(
        parents=[Digest(bytes.fromhex(one)) for one in parents],
        columns=first.columns,
        attributes=first.attributes,
        author=first.author,
        email=first.email,
        time_ns=first.time_ns,
        tz=first.tz,
        message=message,
        meta={},
    )

    def publish(transaction: Any) -> str:
        digest = store_commit(transaction, merged)
        record_generation(transaction, digest, merged.parents)
        stores.refs.update(
            transaction,
            "heads/master",
            before,
            digest,
            who=("Ada", "a"),
            operation="merge",
        )
        return digest.hex()

    return stores.db.update(publish)


def test_a_merge_is_followed_to_the_side_that_has_the_value(tmp_path: Path) -> None:
    repo = new_repository(tmp_path)
    base = commit(repo, "base", lambda w: w.add_str_column("t").update(dict.fromkeys("abcd", "0")))
    repo.create_branch("side", base)
    theirs = commit(repo, "theirs", lambda w: w["t"].update({"a": "t", "b": "t", "d": "t"}), "side")
    ours = commit(repo, "ours", lambda w: w["t"].update({"b": "o", "c": "o", "d": "t"}), "master")
    merge_commit(repo, "merge", [ours, theirs], lambda w: w["t"].update({"a": "t", "b": "both", "e": "new"}))
    wanted = {"a": "theirs", "b": "merge", "c": "ours", "d": "ours", "e": "merge"}
    assert {key: repo.blame("t", key).message for key in wanted} == wanted
    assert {one.sample: one.message for one in repo.blame("t")} == wanted
    later = commit(repo, "later", lambda w: w["t"].update({"b": "b"}))
    assert repo.blame("t", "b").commit == later
    assert repo.blame("t", "a").message == "theirs"


_KEYS = st.sampled_from("abcdef")
_STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.dictionaries(_KEYS, st.sampled_from("xy"), max_size=3)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS, few=st.sampled_from([0, 256]))
def test_blame_follows_a_model(
    steps: list[tuple[int, int, dict[str, str]]],
    few: int,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random histories with merges: the blamed commit is that of a walk over dicts."""
    monkeypatch.setattr(module, "_FEW", few)
    repo = new_repository(tmp_path_factory.mktemp("model"))
    made = [commit(repo, "0", lambda w: w.add_str_column("t").update({"a": "x"}))]
    content: dict[str, dict[str, str]] = {made[0]: {"a": "x"}}
    parents: dict[str, list[str]] = {made[0]: []}
    for number, (first, second, changes) in enumerate(steps, 1):
        sides = list(dict.fromkeys([made[-1 - first % len(made)], made[-1 - second % len(made)]]))
        wanted = {**content[sides[0]], **changes, "n": str(number)}

        def change(writer: Any, wanted: dict[str, str] = wanted) -> None:
            writer["t"].update(wanted)
            for key in [key for key in writer["t"] if key not in wanted]:
                del writer["t"][key]

        digest = merge_commit(repo, str(number), sides, change)
        made.append(digest)
        content[digest], parents[digest] = wanted, sides

    def model(key: str) -> str:
        at = made[-1]
        while True:
            same = [one for one in parents[at] if content[one].get(key) == content[at][key]]
            if not same:
                return at
            at = same[0]

    wanted = {key: model(key) for key in content[made[-1]]}
    assert {one.sample: one.commit for one in repo.blame("t")} == wanted
    assert {key: repo.blame("t", key).commit for key in wanted} == wanted
    repo.close()


def test_blame_reads_a_path_for_each_commit_that_changed_the_column(tmp_path: Path) -> None:
    """One sample of 200,000 over 30 commits, of which one in three changed the column: at most a path and side for each."""
    repo = new_repository(tmp_path)

    def first(writer: Any) -> None:
        writer.add_ndarray_column("n", (), np.int64).write(range(200_000), np.arange(200_000))
        writer.add_str_column("t")

    commit(repo, "0", first)
    for number in range(1, 31):
        name, value = ("t", str(number)) if number % 3 else ("n", np.int64(-number))
        commit(repo, str(number), lambda w, n=number, c=name, v=value: w[c].update({n: v}))  # type: ignore[misc]
    stores = Repository(tmp_path).stores
    head = stores.refs.get("heads/master")
    assert head is not None
    found = module.blame(stores, head, "n", 150_000)
    assert found.message == "0"
    assert stores.nodes.loads <= 3 + 2 * 10
