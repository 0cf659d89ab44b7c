"""Each kind of column in a partial clone: its keys are there, reading says what is missing, and fetching brings it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from hangar import NotLocalError, Repository
from hangar.remote.on_read import FetchOnRead

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")
RNG = np.random.default_rng(3)
VALUES: dict[str, Any] = {
    "arrays": RNG.random((30, 7)).astype(np.float32),
    "bytes": bytes(range(256)) * 4,
    "chunks": RNG.random((256, 256)).astype(np.float32),
    "images": RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8),
    "sparse": sparse.random(200, 300, 0.05, format="csr", dtype=np.float32, random_state=1),
    "texts": "a text of more than sixty-four bytes is not stored in the tree, but as a blob",
    "varying": RNG.random((11, 9)),
}


def add_columns(co: Any) -> None:
    co.add_ndarray_column("arrays", (30, 7), np.float32)
    co.add_bytes_column("bytes")
    co.add_chunked_column("chunks", "float32", (32, 32))
    co.add_image_column("images")
    co.add_sparse_column("sparse", "float32", (200, 300))
    co.add_str_column("texts")
    co.add_ndarray_column("varying", (20, 20), np.float64, variable_shape=True)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("origin")
    repo = Repository(place, exists=False)
    repo.init("Ada", "ada@example.org")
    co = repo.checkout(write=True)
    add_columns(co)
    for name, value in VALUES.items():
        co[name]["x"] = value
    co.commit("one of each")
    co.close()
    repo.close()
    return place


def plain(value: Any) -> Any:
    found = value[...] if hasattr(value, "iter_chunks") else value
    return found.toarray() if sparse.issparse(found) else found


@pytest.mark.parametrize("name", VALUES)
def test_a_kind(clone: Repository, name: str) -> None:
    with clone.checkout() as co:
        column = co[name]
        assert (list(column), "x" in column, column.remote_reference_keys) == (["x"], True, ("x",))
        assert not list(column.keys(local=True))
        with pytest.raises(NotLocalError, match=rf"fetch-data origin {co.commit_hash[:12]} -d {name}"):
            plain(column["x"])
    co = clone.checkout(fetch_on_read=True)
    fetch = co.session.resolve
    assert isinstance(fetch, FetchOnRead)
    if name == "chunks":
        np.testing.assert_array_equal(co[name]["x"][40:50, 60:70], VALUES[name][40:50, 60:70])
        assert (fetch.fetched, fetch.nbytes) == (2, 2 * 32 * 32 * 4)  # the chunks of the slice alone
    np.testing.assert_array_equal(plain(co[name]["x"]), plain(VALUES[name]))
    assert not co[name].contains_remote_references
    co.close()
    report = clone.evict(name)
    assert report.blobs == (64 if name == "chunks" else 1)
    with clone.checkout() as reader:
        assert reader[name].remote_reference_keys == ("x",)
    clone.remote.fetch_data_sample("origin", name, "x", branch="master")
    with clone.checkout() as reader:
        np.testing.assert_array_equal(plain(reader[name]["x"]), plain(VALUES[name]))
        assert list(reader[name].keys(local=True)) == ["x"]
    assert clone.fsck(data=True).promised == sum(64 if other == "chunks" else 1 for other in VALUES if other != name)


# ---------------------------------------------------------------------------------------------------- many samples

MANY = 40


def one_of(name: str, key: int) -> Any:
    """The value of a key; all differ."""
    value = VALUES[name]
    if name == "texts":
        return f"{value}: {key}"
    if name == "bytes":
        return value + bytes([key])
    if name == "sparse":
        return (value * np.float32(key + 1)).tocsr()
    if name == "varying":
        return value[: key % 7 + 3] + key
    return value + value.dtype.type(key)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty samples of each kind, and a nested column of forty samples with one to three subsamples."""
    place = tmp_path_factory.mktemp("many")
    repo = Repository(place, exists=False)
    repo.init("Ada", "ada@example.org")
    co = repo.checkout(write=True)
    add_columns(co)
    co.add_ndarray_column("nested", (30, 7), np.float32, contains_subsamples=True)
    with co:
        for name in VALUES:
            co[name].update({key: one_of(name, key) for key in range(3 if name == "chunks" else MANY)})
        for key in range(MANY):
            co["nested"][key] = {sub: one_of("arrays", key) + sub for sub in range(key % 3 + 1)}
    co.commit("many of each")
    co.close()
    repo.close()
    return place


@pytest.mark.parametrize("name", [name for name in VALUES if name != "chunks"])
def test_a_read_of_many_is_one_request(many: Path, tmp_path: Path, name: str) -> None:
    with Repository(tmp_path, exists=False) as repo:
        repo.clone("Bob", "bob@example.org", str(many))
        co = repo.checkout(fetch_on_read=True)
        fetch, column = co.session.resolve, co[name]
        assert isinstance(fetch, FetchOnRead)
        keys = [7, 3, 30, 3, 21]
        found = column[keys]  # a list; `read` stacks what can be stacked
        for key, value in zip(keys, found, strict=True):
            np.testing.assert_array_equal(plain(value), plain(one_of(name, key)))
        assert (fetch.calls, fetch.fetched) == (1, 4)
        for key, value in column.items():
            np.testing.assert_array_equal(plain(value), plain(one_of(name, key)))
        assert fetch.calls <= 5  # iteration reads some samples ahead
        assert fetch.fetched == MANY
        co.close()
        with repo.checkout() as reader:  # it stays
            np.testing.assert_array_equal(plain(reader[name][39]), plain(one_of(name, 39)))
            assert not reader[name].contains_remote_references


def test_samples_of_a_nested_column_are_one_request(many: Path, tmp_path: Path) -> None:
    with Repository(tmp_path, exists=False) as repo:
        repo.clone("Bob", "bob@example.org", str(many))
        co = repo.checkout(fetch_on_read=True)
        fetch, column = co.session.resolve, co["nested"]
        assert isinstance(fetch, FetchOnRead)
        for key, sample in zip((2, 5, 9), column.read([2, 5, 9]), strict=True):
            assert sorted(sample) == list(range(key % 3 + 1))
            np.testing.assert_array_equal(sample[0], one_of("arrays", key))
        assert (fetch.calls, fetch.fetched) == (1, 3 + 3 + 1)
        np.testing.assert_array_equal(column[8].read([2, 0])[0], one_of("arrays", 8) + 2)
        assert (fetch.calls, fetch.fetched) == (2, 9)
        co.close()


def test_a_slice_is_one_request(many: Path, tmp_path: Path) -> None:
    with Repository(tmp_path, exists=False) as repo:
        repo.clone("Bob", "bob@example.org", str(many))
        co = repo.checkout(fetch_on_read=True)
        fetch, column = co.session.resolve, co["chunks"]
        assert isinstance(fetch, FetchOnRead)
        wanted = one_of("chunks", 1)
        array = column[1]
        cases: list[tuple[Any, int]] = [
            (np.s_[10:70, 100:110], 3),
            (np.s_[10:70, 100:110], 0),
            (np.s_[::100, ::-50], 17),  # 3 x 6, and one of them is here
            (np.s_[[5, 250], [250, 5]], 1),
            (np.s_[...], 43),
        ]
        calls = 0
        for index, count in cases:
            before = fetch.fetched
            np.testing.assert_array_equal(array[index], wanted[index])
            calls += bool(count)
            assert (fetch.calls, fetch.fetched - before) == (calls, count)
        np.testing.assert_array_equal(column[2].oindex[[1, 200], 3:40], one_of("chunks", 2)[[1, 200], 3:40])
        assert (fetch.calls, fetch.fetched) == (calls + 1, 64 + 4)
        co.close()
