"""Data sets over chunked and sparse columns: an item is a part of an array, and only its chunks are read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from hangar import Repository, make_numpy_dataset
from hangar.checkout import ReaderCheckout
from hangar.columns.chunked.array import ChunkedArray
from hangar.columns.chunked.table import ChunkTable
from hangar.dataset import Manifest, Sampler
from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError

SHAPE = (8, 30, 40)


def scan(key: int) -> Any:
    return np.random.default_rng(key).integers(0, 255, SHAPE, np.uint8)


@pytest.fixture
def reader(tmp_path: Path) -> ReaderCheckout:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.com")
    with closing(repo.checkout(write=True)) as writer:
        writer.add_chunked_column("scan", np.uint8, (2, 10, 10)).update({key: scan(key) for key in range(6)})
        masks = writer.add_chunked_column("mask", np.uint8, (4, 8, 8))
        masks.update({key: (scan(key) > 200).astype(np.uint8) for key in range(6)})
        writer.add_sparse_column("graph", np.float32, (30, 40)).write(
            range(6),
            [sparse.csr_array(np.where(scan(key)[0] > 200, scan(key)[0], 0).astype(np.float32)) for key in range(6)],
        )
        writer.add_ndarray_column("label", (), np.int64).write(range(6), np.arange(6))
        writer.add_ndarray_column("image", (5, 7), np.uint8).write(
            range(6), np.arange(210, dtype=np.uint8).reshape(6, 5, 7)
        )
        nested = writer.add_chunked_column("nested", np.uint8, (2, 10, 10), contains_subsamples=True)
        nested["p"] = {key: scan(key) for key in range(3)}
        writer.commit("scans")
    return repo.checkout()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A 1 for each chunk that was read."""
    found: list[int] = []
    original = ChunkTable.find

    def counted(self: Any, index: Any) -> Any:
        found.append(1)
        return original(self, index)

    monkeypatch.setattr(ChunkTable, "find", counted)
    return found


def test_one_slice_for_each_item(reader: ReaderCheckout, read: list[int]) -> None:
    keys = [3, 3, 0, 5]
    slices = [np.s_[0:2, 0:10, 10:20], np.s_[4:6, 20:30, 0:10], np.s_[0:2, 0:10, 0:10], np.s_[6:8, 10:20, 30:40]]
    data = make_numpy_dataset(reader["scan"], keys=keys, slices=slices, batch_size=4, shuffle=False)
    (batch,) = data
    np.testing.assert_array_equal(batch, np.stack([scan(key)[one] for key, one in zip(keys, slices, strict=True)]))
    assert read == [1, 1, 1, 1]
    bounds = np.array([[[part.start, part.stop] for part in one] for one in slices])
    (same,) = make_numpy_dataset(reader["scan"], keys=keys, slices=bounds, batch_size=4, shuffle=False)
    np.testing.assert_array_equal(same, batch)
    # Parts of several shapes are a list, and one item alone is read as it is.
    data = make_numpy_dataset(
        reader["scan"], keys=[1, 2], slices=[np.s_[0], np.s_[0:2, ..., ::4]][:2], batch_size=2, shuffle=False
    )
    ((first, second),) = data
    np.testing.assert_array_equal(first, scan(1)[0])
    np.testing.assert_array_equal(second, scan(2)[0:2, ..., ::4])
    np.testing.assert_array_equal(data.dataset[1], second)


def test_a_slice_for_all_and_columns_beside(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(
        [reader["scan"], reader["graph"], reader["label"]],
        slices={"scan": np.s_[1, :5, :5], "graph": np.s_[:5]},
        batch_size=3,
        shuffle=False,
    )
    for number, (scans, graphs, labels) in enumerate(data):
        assert labels.tolist() == [3 * number, 3 * number + 1, 3 * number + 2]
        for i, key in enumerate(labels.tolist()):
            np.testing.assert_array_equal(scans[i], scan(key)[1, :5, :5])
            np.testing.assert_array_equal(graphs[i].toarray() > 0, scan(key)[0, :5] > 200)
    # Columns of arrays are sliced where they are named.
    (images,) = make_numpy_dataset(reader["image"], slices={"image": np.s_[2:4, 1]}, batch_size=6, shuffle=False)
    assert images.shape == (6, 2)


def test_random_crops_are_the_same_in_all_columns(reader: ReaderCheckout) -> None:
    seen: list[Any] = []
    chance = np.random.default_rng(0)

    def crop(key: Any, shape: tuple[int, ...]) -> Any:
        start = [int(chance.integers(0, extent - 3)) for extent in shape]
        seen.append((key, shape))
        return tuple(slice(at, at + 3) for at in start)

    data = make_numpy_dataset([reader["scan"], reader["mask"]], slices=crop, batch_size=6, shuffle=False)
    for _ in range(2):
        ((scans, masks),) = data
        assert scans.shape == (6, 3, 3, 3)
        np.testing.assert_array_equal(scans > 200, masks.astype(bool))
    assert seen[:6] == [((key, key), SHAPE) for key in range(6)] or seen[:6] == [(key, SHAPE) for key in range(6)]
    assert len(seen) == 12


def test_without_slices_an_item_is_the_whole_array(reader: ReaderCheckout, read: list[int]) -> None:
    data = make_numpy_dataset(reader["scan"], batch_size=6, shuffle=False)
    (batch,) = data
    np.testing.assert_array_equal(batch, np.stack([scan(key) for key in range(6)]))
    read.clear()

    def first(array: Any) -> Any:
        assert isinstance(array, ChunkedArray)
        return array[0, :4, :4]

    (batch,) = make_numpy_dataset(reader["scan"], transform=first, batch_size=6, shuffle=False)
    assert batch.shape == (6, 4, 4)
    assert read == [1] * 6
    item = make_numpy_dataset(reader["nested"], keys=[("p", ...)]).dataset[0]
    np.testing.assert_array_equal(item[2], scan(2))
    (pairs,) = make_numpy_dataset(
        reader["nested"], keys=[("p", 2), ("p", 0)], slices=np.s_[0], batch_size=2, shuffle=False
    )
    np.testing.assert_array_equal(pairs, np.stack([scan(2)[0], scan(0)[0]]))


def test_what_is_refused(reader: ReaderCheckout) -> None:
    column = reader["scan"]
    for slices, error, text in [
        ([np.s_[0:2]] * 5, InvalidInputError, "5 slices for 6 items"),
        ([np.s_[0:2]] * 5 + ["x"], InvalidTypeError, "not 'x'"),
        (np.zeros((6, 3)), InvalidTypeError, "start and stop"),
        ({"other": np.s_[0:2]}, InvalidInputError, "'other'"),
    ]:
        with pytest.raises(error, match=text):
            make_numpy_dataset(column, slices=slices)
    with pytest.raises(InvalidInputError, match="name them"):
        make_numpy_dataset(reader["image"], slices=np.s_[0:2])
    with pytest.raises(InvalidInputError, match="pairs"):
        make_numpy_dataset(reader["nested"], slices=np.s_[0:2])
    with pytest.raises(PositionNotFoundError, match="no part"):
        make_numpy_dataset(column, slices=np.s_[9, 0]).dataset[0]
    with pytest.raises(InvalidInputError, match="slices"):
        Manifest.of(make_numpy_dataset(column, slices=np.s_[0:2], batch_size=2))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:Sparse invariant checks")
def test_torch_with_workers_subsets_and_the_loader(reader: ReaderCheckout, workers: int) -> None:
    torch = pytest.importorskip("torch")
    from hangar import make_torch_dataset
    from hangar.dataset import Loader, collate

    keys = [(number % 6, number % 6) for number in range(24)]
    slices = [np.s_[0:2, number : number + 5, :5] for number in range(24)]
    data = make_torch_dataset([reader["scan"], reader["label"]], keys=keys, slices={"scan": slices})
    subset = torch.utils.data.Subset(data, list(range(1, 24, 2)))
    loader: Any = torch.utils.data.DataLoader(
        subset,
        batch_size=4,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )
    number = 1
    for scans, labels in loader:
        assert scans.shape == (4, 2, 5, 5)
        for one, label in zip(scans, labels.tolist(), strict=True):
            assert label == number % 6
            np.testing.assert_array_equal(one.numpy(), scan(label)[slices[number]])
            number += 2
    assert number == 25
    if not workers:
        own = Loader(data, Sampler(data, 4, seed=1), prefetch=2)
        assert sum(len(labels) for _, labels in own) == 24
        graphs = make_torch_dataset(reader["graph"], slices=np.s_[:7])
        assert collate(graphs.__getitems__([0, 3])).shape == (2, 7, 40)
