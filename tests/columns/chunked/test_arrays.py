"""Chunked columns: whole arrays, slices, resizing, and how they are stored."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hangar import Repository
from hangar.errors import AccessError, ClosedError, HangarError, InvalidInputError, SampleNotFoundError

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout

Array = np.ndarray[Any, Any]


def image(*shape: int, dtype: Any = np.float32) -> Array:
    """Different values everywhere."""
    return (np.arange(int(np.zeros(shape).size)) % 251 + 1).reshape(shape).astype(dtype)


def committed(repo: Repository, writer: WriterCheckout) -> Any:
    """What a reader sees after a commit."""
    writer.commit("more")
    return repo.checkout()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool", "complex128", ">i4"])
def test_whole_arrays(repo: Repository, writer: WriterCheckout, dtype: str, nested: bool) -> None:
    column: Any = writer.add_chunked_column("volume", dtype, (3, 4), contains_subsamples=nested)
    key: Any = ("a", 1) if nested else "a"
    value = image(7, 9, dtype=dtype)
    column[key] = value
    assert np.array_equal(column[key][...], value)
    found = committed(repo, writer)["volume"][key]
    assert np.array_equal(found, value)
    assert (found.shape, found.ndim, found.size, found.chunks) == ((7, 9), 2, 63, (3, 4))
    assert found.dtype == np.dtype(dtype).newbyteorder("<")
    assert found.nbytes == value.nbytes
    assert found.nchunks_initialized == 9
    assert np.array_equal(pickle.loads(pickle.dumps(found))[...], value)
    assert [part.tolist() for part in found] == value.tolist()
    assert len(found) == 7
    assert repo.fsck(data=True).problems == ()


def test_an_array_that_nobody_wrote_costs_nothing(repo: Repository, writer: WriterCheckout) -> None:
    column = writer.add_chunked_column("video", np.uint8, (16, 128, 128, 3), fill_value=7)
    array = column.create("a", (100_000, 512, 512, 3))
    assert array.nchunks_initialized == 0
    assert (array[99_999, 511, -1] == [7, 7, 7]).all()
    array[50_000:50_002, 0, 0] = 1
    assert array.nchunks_initialized == 1
    assert array[49_999:50_003, 0, 0, 0].tolist() == [7, 1, 1, 7]
    assert list(array.iter_chunks(initialized=True)) == [
        (slice(50_000, 50_016), slice(0, 128), slice(0, 128), slice(0, 3))
    ]
    with pytest.raises(InvalidInputError, match="already"):
        column.create("a", (1, 1, 1, 1))
    assert committed(repo, writer)["video"]["a"][50_000, 0, 0].tolist() == [1, 1, 1]


def test_equal_content_has_an_equal_digest(writer: WriterCheckout) -> None:
    column = writer.add_chunked_column("volume", np.int16, (4, 4), fill_value=-1)
    value = image(9, 6, dtype=np.int16)
    value[4:8] = -1
    column["whole"] = value
    grown = column.create("parts", (0, 6))
    grown.append(value[:5])
    grown.append(value[5:])
    cut = column.create("cut", (20, 20))
    cut[...] = 3
    cut.resize(9, 6)
    cut[...] = value
    with writer:
        dots = column.create("dots", (9, 6))
        for i in range(9):
            for j in range(6):
                dots[i, j] = 5
                dots[i, j] = value[i, j]
    backwards = column.create("backwards", (9, 6))
    backwards[::-1, ::-1] = value[::-1, ::-1]
    other = column.create("copy", (9, 6))
    other[...] = column["whole"]
    column["assigned"] = column["whole"]
    assert len({array.digest for array in column.values()}) == 1
    assert column["whole"].nchunks_initialized == 4


def test_shrinking_clears_what_was_cut_off(writer: WriterCheckout) -> None:
    column = writer.add_chunked_column("volume", np.uint8, (4, 4))
    array = column.create("a", (8, 8))
    array[...] = 9
    array.resize((5, 3))
    array.resize((8, 8))
    expected = np.zeros((8, 8), np.uint8)
    expected[:5, :3] = 9
    assert np.array_equal(array, expected)
    with writer:
        array[...] = 4
        array.resize(2, 8)
        array.resize(8, 8)
        assert int(array[...].sum()) == 2 * 8 * 4


def test_chunks_of_few_bytes_lie_in_the_tree(repo: Repository, writer: WriterCheckout) -> None:
    column = writer.add_chunked_column("points", np.float32, (2, 4))
    column["a"] = image(5, 4)
    column["a"][4] = 0
    reader = committed(repo, writer)
    assert np.array_equal(reader["points"]["a"][:4], image(4, 4))
    assert reader["points"]["a"].nchunks_initialized == 2
    assert repo.fsck(data=True).problems == ()
    assert repo.fsck().blobs == 0


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_empty_arrays(repo: Repository, writer: WriterCheckout, shape: tuple[int, int]) -> None:
    column = writer.add_chunked_column("volume", np.uint8, (4, 4))
    column["a"] = np.zeros(shape, np.uint8)
    found = committed(repo, writer)["volume"]["a"]
    assert found[...].shape == shape == found.shape
    assert list(found.iter_chunks()) == []


def test_errors_are_those_of_numpy(writer: WriterCheckout) -> None:
    column = writer.add_chunked_column("volume", np.uint8, (4, 4), shape=(100, None))
    column["a"] = image(9, 9, dtype=np.uint8)
    array = column["a"]
    before = array.digest
    calls: list[tuple[Any, type[Exception]]] = [
        (lambda: array[9], IndexError),
        (lambda: array.__setitem__(9, 1), IndexError),
        (lambda: array.__setitem__(slice(0, 2), np.zeros((3, 9), np.uint8)), ValueError),
        (lambda: array.__setitem__(0, np.zeros(9)), ValueError),
        (lambda: array.__setitem__(0, 256), ValueError),
        (lambda: array.__setitem__(0, -1), ValueError),
        (lambda: array.resize(101, 9), ValueError),
        (lambda: array.resize(9), ValueError),
        (lambda: array.append(np.zeros((1, 8), np.uint8)), ValueError),
        (lambda: column.__setitem__("b", image(9, 9)), ValueError),
        (lambda: column.__setitem__("b", image(9, dtype=np.uint8)), ValueError),
        (lambda: column.create("b", (101, 1)), ValueError),
        (lambda: bool(array), TypeError),
    ]
    for call, error in calls:
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, HangarError)
    assert array.digest == before
    array[0, :3] = [1, 2, 3]
    array[1] = np.array(7, np.uint8)
    assert array[:2, :4].tolist() == [[1, 2, 3, 4], [7, 7, 7, 7]]
    assert "b" not in column


@pytest.mark.parametrize(
    "how",
    [
        {"chunks": ()},
        {"chunks": (0, 4)},
        {"chunks": (4, 4), "shape": (4,)},
        {"chunks": (4, 4), "shape": (4, -1)},
        {"chunks": (2**20, 2**20)},
        {"chunks": (4,), "fill_value": 256},
        {"chunks": (4,), "fill_value": "a"},
        {"chunks": (4,), "backend": "30"},
        {"chunks": (4,), "dtype": "str"},
    ],
    ids=repr,
)
def test_bad_columns(writer: WriterCheckout, how: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        writer.add_chunked_column("volume", **{"dtype": np.uint8, **how})
    assert isinstance(caught.value, HangarError)
    assert "volume" not in writer.columns


def test_a_batch_is_one_transaction(repo: Repository, writer: WriterCheckout) -> None:
    column = writer.add_chunked_column("volume", np.float32, (64, 64))
    column["a"] = image(128, 128)
    array = column["a"]
    writer.commit("base")
    size = sum(path.stat().st_size for path in Path(repo.path).glob("**/blobs/*"))
    with writer:
        for i in range(10):
            array[0, 0] = i
            assert array[0, 0] == i
        assert column["a"][0, 0] == 9
        assert writer.diff.status() == "DIRTY"
    # Written ten times, stored at most twice: the status had to know what it is.
    grown = sum(path.stat().st_size for path in Path(repo.path).glob("**/blobs/*")) - size
    assert grown < 3 * 64 * 64 * 4


def test_a_failed_batch_leaves_no_trace(writer: WriterCheckout) -> None:
    column = writer.add_chunked_column("volume", np.float32, (64, 64))
    column["a"] = image(128, 128)
    array = column["a"]
    before = writer.commit("base")

    def fail() -> None:
        with writer:
            array[...] = 0
            column.create("b", (4, 4))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert array[0, 0] == 1
    assert "b" not in column
    assert writer.commit_hash == before
    assert writer.diff.status() == "CLEAN"


def test_threads_that_write_one_array_lose_nothing(writer: WriterCheckout) -> None:
    column = writer.add_chunked_column("volume", np.int32, (4, 4))
    array = column.create("a", (32, 8))
    grown = column.create("b", (0, 3))

    def write(first: int) -> None:
        for i in range(first, 32, 4):
            column["a"][i] = i
            array[i, 1] = -i
            grown.append(np.full((1, 3), i, np.int32))

    threads = [threading.Thread(target=write, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert array[:, 0].tolist() == list(range(32))
    assert array[:, 1].tolist() == [-i for i in range(32)]
    assert sorted(grown[:, 2].tolist()) == list(range(32))


def test_arrays_of_a_writer_follow_their_sample(writer: WriterCheckout) -> None:
    column = writer.add_chunked_column("volume", np.uint8, (4,))
    column["a"] = image(9, dtype=np.uint8)
    array = column["a"]
    taken = column.pop("a")
    assert taken[...].tolist() == image(9).tolist()
    with pytest.raises(SampleNotFoundError):
        array[0]
    column["a"] = image(5, dtype=np.uint8)
    assert array.shape == (5,)
    with pytest.raises(AccessError):
        pickle.dumps(array)
    del writer.columns["volume"]
    with pytest.raises(HangarError):
        array[0]


def test_arrays_from_before_a_reset_cannot_be_used(writer: WriterCheckout) -> None:
    flat: Any = writer.add_chunked_column("flat", np.uint8, (4,))
    nested: Any = writer.add_chunked_column("nested", np.uint8, (4,), contains_subsamples=True)
    flat["a"], nested["a"] = image(9, dtype=np.uint8), {"b": image(9, dtype=np.uint8)}
    writer.commit("arrays")
    sample = nested["a"]
    arrays = [flat["a"], nested["a", "b"], sample["b"]]
    arrays[0][0] = 7
    writer.reset_staging_area()
    for array in arrays:
        with pytest.raises(ClosedError, match="cannot be used any more"):
            array[0]
        with pytest.raises(ClosedError, match="cannot be used any more"):
            array.resize(2)
        with pytest.raises(ClosedError, match="cannot be used any more"):
            array[0] = 1
    with pytest.raises(ClosedError):
        sample["b"] = image(5, dtype=np.uint8)
    assert writer.diff.status() == "CLEAN"
    assert writer["flat"]["a"][...].tolist() == image(9, dtype=np.uint8).tolist()


def test_arrays_are_shared_between_samples_and_columns(
    repo: Repository, writer: WriterCheckout, tmp_path: Path
) -> None:
    column = writer.add_chunked_column("volume", np.float32, (64, 64))
    plain = writer.add_ndarray_column("tile", (64, 64), np.float32)
    value = image(64, 64)
    column["a"] = np.tile(value, (3, 2))
    column["b"] = value
    plain["a"] = value
    writer.commit("shared")
    report = repo.gc(dry_run=True)
    assert report.blobs.kept == 1


def test_iteration_and_reading_by_key(repo: Repository, writer: WriterCheckout) -> None:
    column = writer.add_chunked_column("volume", np.uint8, (4,))
    column.update({i: image(5 + i, dtype=np.uint8) for i in range(5)})
    reader = committed(repo, writer)["volume"]
    assert [array.shape for array in reader.values()] == [(5,), (6,), (7,), (8,), (9,)]
    assert [array.shape for array in reader.read([3, 1])] == [(8,), (6,)]
    assert reader.read_slice(2, slice(2, 4)).tolist() == [3, 4]
    assert reader.get(9) is None
    with pytest.raises(TypeError):
        np.asarray(reader)
