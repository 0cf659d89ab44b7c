"""What a repository says of data that only a remote has."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import CorruptionError, InvalidStateError, LockedError, NotLocalError, Repository, make_numpy_dataset
from hangar.db.tables import COMPLETE, PROMISORS
from tests.partial.evicting import Copy, copied, evict, with_remote

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")
ROWS = np.arange(600 * 40, dtype=np.int64).reshape(600, 40)


@pytest.fixture
def made(repo: Repository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Repository, Copy, int]]:
    """600 arrays, texts of both lengths, labels and boxes in samples of three; all of it also at a remote."""
    co = repo.checkout(write=True)
    co.add_ndarray_column("rows", (40,), np.int64).write(range(600), ROWS)
    texts = co.add_str_column("texts")
    texts.update({f"t{i}": "short" if i % 2 else "a long text, which is a blob " * 4 + str(i) for i in range(40)})
    co.add_ndarray_column("labels", (), np.int64).write(range(600), np.arange(600))
    boxes = co.add_ndarray_column("boxes", (20,), np.float64, contains_subsamples=True)
    boxes.update({i: {j: np.full(20, 10 * i + j, float) for j in range(3)} for i in range(50)})
    co.commit("data")
    co.close()
    number = with_remote(repo)
    copy = copied(repo, tmp_path_factory.mktemp("there") / "copy")
    yield repo, copy, number
    copy.stores.close()


@pytest.mark.parametrize("leaves", [False, True])
def test_keys_are_whole_and_what_is_here_can_be_listed(made: tuple[Repository, Copy, int], leaves: bool) -> None:
    repo, copy, number = made
    gone = [3, 100, *range(200, 400)]
    report = evict(repo, copy, "rows", gone, number, leaves=leaves)
    assert (report.blobs, report.kept, report.nbytes) == (202, 0, 202 * 320)
    with repo.checkout() as co:
        rows = co["rows"]
        assert rows.contains_remote_references
        assert rows.remote_reference_keys == tuple(gone)
        assert list(rows.keys()) == list(range(600))
        assert len(rows) == 600
        assert 3 in rows
        here = [key for key in range(600) if key not in set(gone)]
        local = rows.keys(local=True)
        assert list(local) == here
        assert len(local) == len(here)
        assert 3 not in local
        assert 4 in local
        assert list(reversed(local)) == here[::-1]
        assert 601 not in local
        assert [int(v[0]) for v in rows.values(local=True)] == [40 * key for key in here]
        assert [(k, int(v[0])) for k, v in rows.items(local=True)] == [(key, 40 * key) for key in here]
        np.testing.assert_array_equal(rows.read(here), ROWS[here])
        assert co.columns.contains_remote_references == {
            "boxes": False, "labels": False, "rows": True, "texts": False,
        }  # fmt: skip
        assert co.columns.remote_sample_keys["rows"] == tuple(gone)


def test_reading_names_the_command_and_a_default_never_hides_it(made: tuple[Repository, Copy, int]) -> None:
    repo, copy, number = made
    evict(repo, copy, "rows", [3, 5], number)
    with repo.checkout() as co:
        rev = co.commit_hash[:12]
        with pytest.raises(
            NotLocalError, match=rf"sample 3 .*`hangar fetch-data origin {rev} -d rows -s int:3`"
        ) as info:
            co["rows", 3]
        assert isinstance(info.value, FileNotFoundError)
        assert (info.value.count, info.value.remotes) == (1, ("origin",))
        for read in (
            lambda: co["rows"].get(3, None),
            lambda: co.get(("rows", 3), default=None),
            lambda: co["rows"][[1, 3, 5]],
            lambda: co["rows"].read([1, 3, 5]),
            lambda: co["rows"].read(slice(0, 10)),
            lambda: list(co["rows"].values()),
            lambda: list(co["rows"].items()),
            lambda: np.asarray(co["rows"]),
        ):
            with pytest.raises(NotLocalError, match=rf"fetch-data origin {rev} -d rows"):
                read()
        with pytest.raises(NotLocalError, match=r"2 values of column 'rows' are not on this disk; 'origin' has them"):
            co["rows"].read([1, 3, 5, 3])


def test_texts_and_samples_of_subsamples(made: tuple[Repository, Copy, int]) -> None:
    repo, copy, number = made
    evict(repo, copy, "texts", ["t0", "t1", "t2"], number)
    evict(repo, copy, "boxes", [(7, 1), (8,), (9, ...), 10], number)
    with repo.checkout() as co:
        texts, boxes = co["texts"], co["boxes"]
        assert texts.remote_reference_keys == ("t0", "t2")
        assert texts["t1"] == "short"
        assert len(texts.keys(local=True)) == 38
        with pytest.raises(NotLocalError, match="-d texts -s t2"):
            texts["t2"]
        assert boxes.remote_reference_keys == (7, 8, 9, 10)
        assert list(boxes.keys(local=True)) == [i for i in range(50) if i not in (7, 8, 9, 10)]
        assert 7 not in boxes.keys(local=True)
        assert len(boxes.values(local=True)) == 46
        assert [view.sample for view in boxes.values(local=True)][:8] == [0, 1, 2, 3, 4, 5, 6, 11]
        assert boxes[7].contains_remote_references
        assert boxes[7].remote_reference_keys == (1,)
        assert list(boxes[7].keys(local=True)) == [0, 2]
        assert not boxes[6].contains_remote_references
        assert {k: v[0] for k, v in boxes[7].items(local=True)} == {0: 70.0, 2: 72.0}
        with pytest.raises(NotLocalError, match=r"-d boxes -s int:7/int:1"):
            boxes[7, 1]
        with pytest.raises(NotLocalError):
            boxes[7].data  # noqa: B018
        with pytest.raises(NotLocalError):
            [view.data for view in boxes.values()]


def test_lost_data_is_no_promised_data(made: tuple[Repository, Copy, int]) -> None:
    repo, copy, number = made
    evict(repo, copy, "rows", [3], number)
    stores = repo.stores
    stores.db.update(lambda transaction: transaction.delete_prefix(PROMISORS, b""))
    repo.close()
    with repo.checkout() as co:
        assert not co["rows"].contains_remote_references
        assert co["rows"].remote_reference_keys == ()
        with pytest.raises(CorruptionError, match="no remote is known to have it"):
            co["rows", 3]


def test_nothing_is_looked_at_where_nothing_is_promised(
    made: tuple[Repository, Copy, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, copy, number = made
    with repo.checkout() as co:
        monkeypatch.setattr(type(repo.stores.blobs), "locate", None)
        assert not co["rows"].contains_remote_references
        assert len(co["rows"].keys(local=True)) == 600
        monkeypatch.undo()
        evict(repo, copy, "rows", [3], number)
        # A column of which all is here is examined once; then its root is known to be complete.
        assert not co["boxes"].contains_remote_references
        with repo.stores.db.read() as transaction:
            assert transaction.count(COMPLETE) == 1
        monkeypatch.setattr(type(repo.stores.blobs), "locate", None)
        assert not co["boxes"].contains_remote_references
        monkeypatch.undo()
        evict(repo, copy, "boxes", [4], number)
        assert co["boxes"].contains_remote_references


def test_what_no_remote_has_is_not_evicted(made: tuple[Repository, Copy, int]) -> None:
    repo, copy, number = made
    co = repo.checkout(write=True)
    co["rows"][5] = ROWS[5] + 1_000_000
    co.commit("one more")
    co.close()
    report = evict(repo, copy, "rows", [4, 5, 6], number, leaves=True)
    assert (report.blobs, report.kept) == (2, 1)
    report = evict(repo, copy, "rows", [4, 5, 6], number, leaves=True)
    assert (report.blobs, report.kept, report.absent) == (0, 1, 2)
    with repo.checkout() as reader:
        assert reader["rows"].remote_reference_keys == (4, 6)
        np.testing.assert_array_equal(reader["rows", 5], ROWS[5] + 1_000_000)


def test_a_writer_goes_on(made: tuple[Repository, Copy, int]) -> None:
    """Everything but reading the bytes works: commits, and writing a promised value stores it."""
    repo, copy, number = made
    evict(repo, copy, "rows", range(100), number, leaves=True)
    with repo.checkout(write=True) as co:
        rows = co["rows"]
        del rows[3]
        rows[1000] = ROWS[0] - 1
        rows["again"] = ROWS[7]
        assert 7 not in rows.remote_reference_keys
        assert len(rows.remote_reference_keys) == 98
        with pytest.raises(NotLocalError, match="fetch-data origin master -d rows"):
            rows[8]
        co.commit("changed")
    assert repo.diff("master~1", "master").diff.deleted.samples[0].sample == 3
    with repo.checkout() as co:
        np.testing.assert_array_equal(co["rows", 7], ROWS[7])
        assert len(co["rows"].remote_reference_keys) == 98
        copied_column: Any = pickle.loads(pickle.dumps(co["rows"]))
        assert copied_column.contains_remote_references


def test_a_stale_table_of_locations_is_no_way_around(made: tuple[Repository, Copy, int]) -> None:
    repo, copy, number = made
    with warnings.catch_warnings(), repo.checkout() as co:
        for _ in range(40):
            co["rows"].read(range(600))
        assert co["rows"]._table is not None
        assert co["rows"]._table.table is not None
        evict(repo, copy, "rows", range(600), number)
        repo.stores.blobs.refresh()
        with pytest.raises(NotLocalError):
            co["rows"].read([1, 2, 3])
        with pytest.raises(NotLocalError):
            co["rows", 3]


def test_data_of_other_files_frees_space(made: tuple[Repository, Copy, int], tmp_path: Path) -> None:
    repo, copy, number = made
    before = repo.size_nbytes
    report = evict(repo, copy, "rows", range(600), number, leaves=True)
    assert report.freed > 0
    assert repo.size_nbytes < before
    with repo.stores.db.read() as transaction:
        assert transaction.count(PROMISORS) < 30


def test_the_check_says_promised_and_removing_what_is_not_promised_is_an_error(
    made: tuple[Repository, Copy, int],
) -> None:
    """Row 22."""
    repo, copy, number = made
    evict(repo, copy, "rows", range(100), number, leaves=True)
    report = repo.fsck(data=True)
    assert report.sound
    assert report.promised == 100
    with pytest.warns(RuntimeWarning, match="100 values of the history only a remote has"):
        assert repo.verify_repo_integrity()
    with pytest.raises(InvalidStateError, match="100 values of the history here are at remote 'origin' alone"):
        repo.remote.remove("origin")
    _remove_unpromised(repo, 200)
    report = repo.fsck()
    assert [problem.kind for problem in report.problems] == ["blob"]
    assert "no remote has promised it" in report.problems[0].detail
    repo.remote.remove("origin", force=True)
    report = repo.fsck()
    assert (len(report.problems), report.promised) == (101, 0)


def _remove_unpromised(repo: Repository, sample: int) -> None:
    """Remove the location of a blob that nobody promises, as a defect would."""
    from hangar.blobs.digests import DigestSet
    from hangar.blobs.repack import remove_blobs
    from hangar.gc.policy import files_to_rewrite
    from hangar.lock import under_lock

    stores = repo.stores
    with repo.checkout() as co:
        cell = co["rows"]._cell(sample)
    assert cell is not None
    chosen = DigestSet(np.frombuffer(cell, np.uint8).reshape(1, 32))
    under_lock(stores.db, lambda lock: remove_blobs(stores.blobs, lock, chosen.holds, files_to_rewrite))


def test_garbage_collection_keeps_promises_of_what_is_reachable(made: tuple[Repository, Copy, int]) -> None:
    """The leaf that promised a value is removed; a commit made here still names the value in a leaf of its own."""
    repo, copy, number = made
    evict(repo, copy, "rows", range(600), number, leaves=True)
    co = repo.checkout(write=True)
    for key in range(0, 600, 40):
        co["rows"][key] = np.full(40, key)
    co.commit("data, corrected", amend=True)
    co.close()
    with repo.stores.db.read() as transaction:
        before = transaction.count(PROMISORS)
    report = repo.gc(expire_reflog="all")
    assert report.commits.removed == 1
    with repo.stores.db.read() as transaction:
        assert transaction.count(PROMISORS) > before  # values that are promised one by one
    found = repo.fsck(data=True)
    assert (found.sound, found.promised) == (True, 600 - 15)
    with repo.checkout() as reader:
        assert len(reader["rows"].remote_reference_keys) == 600 - 15
    co = repo.checkout(write=True)
    co.columns.delete("rows")
    co.commit("no rows", amend=True)
    co.close()
    repo.gc(expire_reflog="all")
    with repo.stores.db.read() as transaction:
        assert not transaction.count(PROMISORS)
    assert repo.fsck(data=True).sound


def test_a_data_set_has_what_is_here(made: tuple[Repository, Copy, int]) -> None:
    repo, copy, number = made
    evict(repo, copy, "rows", [key for key in range(600) if key % 10], number)
    evict(repo, copy, "boxes", [(3, 1), 4], number)
    with repo.checkout() as co:
        data = make_numpy_dataset([co["rows"], co["labels"]], shuffle=False)
        assert [int(label) for _, label in data] == list(range(0, 600, 10))
        assert [int(row[0]) for row, _ in data] == [40 * key for key in range(0, 600, 10)]
        part = make_numpy_dataset(co["rows"], index_range=slice(1, 3), shuffle=False)
        assert [int(row[0]) for row in part] == [400, 800]
        samples = make_numpy_dataset(co["boxes"], shuffle=False)
        assert [sample[0][0] for sample in samples] == [10.0 * i for i in range(50) if i not in (3, 4)]
        named = make_numpy_dataset(co["rows"], keys=[10, 11], shuffle=False)
        with pytest.raises(NotLocalError, match=r"fetch-data origin .* -d rows"):
            list(named)
    evict(repo, copy, "rows", range(600), number)
    with (
        repo.checkout() as co,
        pytest.raises(InvalidStateError, match=r"No local data found in column 'rows'.*fetch-data"),
    ):
        make_numpy_dataset([co["rows"], co["labels"]])


def test_an_interrupted_eviction_loses_nothing(
    made: tuple[Repository, Copy, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the promise and the removal the data is both here and promised."""
    import hangar.remote.evict

    repo, copy, number = made

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hangar.remote.evict, "remove_blobs", killed)
        with pytest.raises(KeyboardInterrupt):
            evict(repo, copy, "rows", range(50), number)
    with repo.checkout() as co:
        assert not co["rows"].contains_remote_references
        np.testing.assert_array_equal(co["rows"].read(range(600)), ROWS)
    found = repo.fsck(data=True)
    assert (found.sound, found.promised) == (True, 0)
    assert evict(repo, copy, "rows", range(50), number).blobs == 50
    writer = repo.checkout(write=True)
    with pytest.raises(LockedError):
        evict(repo, copy, "rows", range(60), number)
    writer.close()
    assert repo.fsck(data=True).promised == 50
