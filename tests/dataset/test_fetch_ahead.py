"""Data sets over a partial clone fetch ahead: few requests, the same batches, and errors where the data is missing."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository, make_numpy_dataset
from hangar.dataset import ahead
from hangar.errors import UnreachableError
from tests.partial.reading import fetch_of, first_commit

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")
COUNT = 3_000
ROWS = np.arange(COUNT * 50).reshape(COUNT, 50)
TEXT = "a text of more than sixty-four bytes is not stored in the tree, but as a blob: number {}"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("origin")
    with first_commit(place) as co:
        co.add_ndarray_column("rows", (50,), np.int64).write(range(COUNT), ROWS)
        co.add_str_column("texts").write(range(COUNT), [TEXT.format(i) for i in range(COUNT)])
        nested = co.add_ndarray_column("nested", (50,), np.int64, contains_subsamples=True)
        with co:
            for key in range(200):
                nested[key] = {sub: ROWS[key] + sub for sub in range(key % 3 + 1)}
        volumes = co.add_chunked_column("volumes", "int64", (10, 10))
        with co:
            for key in range(40):
                volumes[key] = ROWS[key * 8 : key * 8 + 8].reshape(20, 20)
    return place


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Iterator[Repository]:
    shutil.copytree(origin, tmp_path / "origin")
    (tmp_path / "clone").mkdir()
    with Repository(tmp_path / "clone", exists=False) as repo:
        repo.clone("Bob", "bob@example.org", str(tmp_path / "origin"))
        yield repo


def expected(origin: Path, **options: Any) -> list[Any]:
    with Repository(origin) as repo, repo.checkout() as co:
        return list(make_numpy_dataset([co["rows"], co["texts"]], batch_size=20, seed=5, **options))


def same(found: Any, wanted: Any) -> None:
    assert len(found) == len(wanted)
    for (rows, texts), (others, words) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(rows, others)
        assert list(texts) == list(words)


def test_an_epoch_takes_few_requests(clone: Repository, origin: Path) -> None:
    co = clone.checkout(fetch_on_read=True)
    fetch = fetch_of(co)
    data = make_numpy_dataset([co["rows"], co["texts"]], batch_size=20, seed=5)
    same(list(data), expected(origin))
    # Groups of 20, 40, 80, 160, 320, 640, 1,280 and 460 items, of two columns, where the batches would be 300 requests.
    assert (fetch.calls, fetch.fetched) == (16, 2 * COUNT)
    list(data)
    assert (fetch.calls, fetch.fetched) == (16, 2 * COUNT)
    co.close()
    assert clone.fsck(data=True).sound


def test_some_are_here_and_an_epoch_ends_early(clone: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.remote.fetch_data_sample("origin", "rows", list(range(0, COUNT, 2)), "master")
    monkeypatch.setattr(ahead, "_ITEMS", 500)
    co = clone.checkout(fetch_on_read=True)
    fetch = fetch_of(co)
    data = make_numpy_dataset(co["rows"], batch_size=100, shuffle=False)
    for number, batch in enumerate(data):
        np.testing.assert_array_equal(batch, ROWS[number * 100 : number * 100 + 100])
        if number == 5:
            break
    assert fetch.fetched <= (100 + 200 + 400 + 500) // 2
    del data
    assert not [thread for thread in threading.enumerate() if thread.name == "hangar-fetch-ahead"]
    co.close()


@pytest.mark.parametrize("kind", ["nested", "pairs", "volumes", "items"])
def test_kinds_of_columns(clone: Repository, kind: str) -> None:
    co = clone.checkout(fetch_on_read=True)
    fetch = fetch_of(co)
    if kind == "nested":
        data = make_numpy_dataset(co["nested"], batch_size=10, shuffle=False)
        for number, batch in enumerate(data):
            for at, sample in enumerate(batch):
                key = number * 10 + at
                assert sorted(sample) == list(range(key % 3 + 1))
                np.testing.assert_array_equal(sample[0], ROWS[key])
        most = 5
    elif kind == "pairs":
        data = make_numpy_dataset(co["nested"], [(key, 0) for key in range(200)], batch_size=10, shuffle=False)
        np.testing.assert_array_equal(np.concatenate(list(data)), ROWS[:200])
        most = 5
    elif kind == "volumes":
        data = make_numpy_dataset(co["volumes"], batch_size=4, shuffle=False)
        np.testing.assert_array_equal(np.concatenate(list(data)).reshape(-1), ROWS[:320].reshape(-1))
        most = 5
    else:
        items = list(make_numpy_dataset(co["texts"], shuffle=False))
        assert items == [TEXT.format(i) for i in range(COUNT)]
        most = 6
    assert 1 <= fetch.calls <= most
    co.close()


PART = np.s_[5:15, :5]
SLICES: dict[str, tuple[Any, int]] = {
    "same": (PART, 3),  # of 10, 20 and 10 items
    "each": ([PART] * 40, 3),
    "function": (lambda key, shape: PART, 4),  # may choose at random: a request for each batch
}


@pytest.mark.parametrize("name", SLICES)
def test_parts_of_arrays(clone: Repository, name: str) -> None:
    slices, calls = SLICES[name]
    co = clone.checkout(fetch_on_read=True)
    fetch = fetch_of(co)
    data = make_numpy_dataset(co["volumes"], batch_size=10, shuffle=False, slices=slices)
    found = np.concatenate(list(data))
    np.testing.assert_array_equal(found, ROWS[:320].reshape(40, 20, 20)[:, 5:15, :5])
    assert (fetch.calls, fetch.fetched) == (calls, 80)
    co.close()


def test_a_remote_that_goes_away_ends_the_epoch_with_an_error(clone: Repository, tmp_path: Path) -> None:
    clone.remote.fetch_data_sample("origin", "rows", list(range(500)), "master")
    co = clone.checkout(fetch_on_read=True)
    data = make_numpy_dataset(co["rows"], batch_size=100, shuffle=False)
    shutil.rmtree(tmp_path / "origin")
    batches = iter(data)
    for at in range(0, 500, 100):  # all that is here
        np.testing.assert_array_equal(next(batches), ROWS[at : at + 100])
    with pytest.raises(UnreachableError, match="remote 'origin' cannot be reached"):
        next(batches)
    assert data.state_dict()["position"] == 500
    co.close()


# ---------------------------------------------------------------------------------------------------- other libraries


def torch_batches(co: Any, **options: Any) -> Iterator[Any]:
    pytest.importorskip("torch")
    from hangar import make_torch_dataset
    from hangar.dataset import Loader

    loader = Loader(make_torch_dataset([co["rows"], co["texts"]]), batch_size=20, shuffle=True, seed=5, **options)
    return iter(loader)


def context(name: str) -> Callable[[Any], Iterator[Any]]:
    return lambda co: torch_batches(co, num_workers=2, multiprocessing_context=name)


LOADERS = {
    "thread": torch_batches,
    "no thread": lambda co: torch_batches(co, prefetch=0),
    "fork": context("fork"),
    "spawn": pytest.param(context("spawn"), marks=pytest.mark.nightly),
    "forkserver": pytest.param(context("forkserver"), marks=pytest.mark.nightly),
}


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_a_torch_loader(clone: Repository, origin: Path, load: Callable[[Any], Iterator[Any]]) -> None:
    co = clone.checkout(fetch_on_read=True)
    fetch = fetch_of(co)
    found = [(rows.numpy(), texts) for rows, texts in load(co)]
    same(found, expected(origin))
    assert (fetch.calls, fetch.fetched) == (16, 2 * COUNT)  # workers fetch nothing
    second = load(co)
    next(second)
    del second
    assert fetch.calls == 16
    co.close()


def test_a_tensorflow_data_set(clone: Repository) -> None:
    pytest.importorskip("tensorflow")
    from hangar import make_tf_dataset

    co = clone.checkout(fetch_on_read=True)
    fetch = fetch_of(co)
    data = make_tf_dataset(co["rows"], batch_size=100, shuffle=False)
    np.testing.assert_array_equal(np.concatenate([rows.numpy() for (rows,) in data]), ROWS)
    assert fetch.fetched == COUNT
    assert fetch.calls <= 7
    co.close()
