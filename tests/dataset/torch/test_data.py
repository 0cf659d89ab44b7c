"""Data sets of torch, and collate: all kinds of columns, transforms, and what torch builds on them."""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, default_collate, random_split

import hangar
from hangar import Repository, make_torch_dataset
from hangar.checkout import ReaderCheckout
from hangar.dataset import Loader, Sampler, collate
from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError
from tests.counting import calls_of
from tests.dataset.content import COUNT, FLAT, NESTED, same, subsamples, value


def test_the_loop_that_users_know(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("dummy_aset", (5, 7), np.float32).write(
        np.arange(150), np.arange(150 * 35, dtype=np.float32).reshape(150, 5, 7)
    )
    writer.commit("dummy")
    writer.close()
    co = repo.checkout()

    aset = co.arraysets["dummy_aset"]
    dset = make_torch_dataset(aset, index_range=slice(1, 100))
    loader = DataLoader(dset, batch_size=16)

    batches = list(loader)
    assert [len(batch) for batch in batches] == [16] * 6 + [3]
    expected = torch.arange(150 * 35, dtype=torch.float32).reshape(150, 5, 7)[1:100]
    assert torch.equal(torch.cat(batches), expected)


def test_items_of_all_kinds(reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset([reader.columns[name] for name in FLAT])
    assert len(dataset) == COUNT
    for index in (0, 17, -1, np.int64(5), torch.tensor(3)):
        item = dataset[index]
        assert type(item) is tuple
        key = 100 + int(index) % COUNT
        assert all(same(value(name, key), one) for name, one in zip(FLAT, item, strict=True))
    assert same(value("text", 103), make_torch_dataset(reader.columns["text"])[3])
    for wrong in (COUNT, -COUNT - 1):
        with pytest.raises(PositionNotFoundError, match="has items: 60"):
            dataset[wrong]
    with pytest.raises(InvalidTypeError, match="selected by an int"):
        dataset["a"]  # type: ignore[index]
    assert sum(1 for _ in make_torch_dataset(reader.columns["label"])) == COUNT


def test_items_are_rows_of_their_batch(reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset([reader.columns["image"], reader.columns["label"]])
    batch = dataset.__getitems__([4, 2, 4])
    assert len(batch) == 3
    assert batch[0][0].base is not None
    assert batch[0][0].base is batch[2][0].base
    assert [item[0][0, 0] for item in batch] == [104, 102, 104]
    assert [item[1] for item in batch[1:]] == [102 % 7, 104 % 7]
    assert pickle.loads(pickle.dumps(batch))[1][1] == 102 % 7
    assert "3 items of image, label" in repr(batch)


def test_dicts(reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset([reader.columns["image"], reader.columns["text"]], as_dict=True)
    assert dataset[1].keys() == {"image", "text"}
    for collate_fn in (collate, default_collate):
        batch = next(iter(DataLoader(dataset, batch_size=3, collate_fn=collate_fn)))
        assert type(batch) is dict if collate_fn is collate else True
        assert batch["image"].shape == (3, 4, 5)
        assert batch["text"] == [value("text", key) for key in (100, 101, 102)]


@pytest.mark.parametrize("name", [*FLAT, *NESTED])
def test_collate_of_each_kind(name: str, reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset(reader.columns[name])
    (batch,) = list(DataLoader(dataset, batch_size=COUNT, collate_fn=collate))
    keys = range(100, 100 + COUNT)
    if name in ("image", "label"):
        assert isinstance(batch, torch.Tensor)
        assert batch.dtype == {"image": torch.uint8, "label": torch.int64}[name]
        assert np.array_equal(batch.numpy(), np.stack([value(name, key) for key in keys]))
        batch += 1  # It is the caller's own.
        assert np.array_equal(dataset[0] + 1, batch[0].numpy())
        return
    assert isinstance(batch, list)
    for key, one in zip(keys, batch, strict=True):
        if name in NESTED:
            expected = {sub: value(name, 10 * key + sub) for sub in subsamples(key)}
            assert same(expected, {sub: one[sub].numpy() if name == "boxes" else one[sub] for sub in one})
        else:
            assert same(value(name, key), one.numpy() if name == "ragged" else one)


def test_arrays_of_variable_shape_are_lists_also_where_shapes_are_equal(reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset(reader.columns["ragged"])
    for items in ([0, 3], [0, 1]):
        assert [type(one) for one in collate(dataset.__getitems__(items))] == [torch.Tensor] * 2


def test_collate_copies_nothing_and_does_nothing_for_a_sample(reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset([reader.columns["image"], reader.columns["label"]])
    dataset.selection.prepare()
    small, large = np.arange(4), np.arange(60)[::-1].copy()
    for _ in range(3):
        collate(dataset.__getitems__(small))
    assert calls_of(lambda: collate(dataset.__getitems__(large))) == calls_of(
        lambda: collate(dataset.__getitems__(small))
    )
    images, _ = collate(dataset.__getitems__(large))
    assert images.is_contiguous()
    assert images.untyped_storage().nbytes() == 60 * 20


def test_torchs_own_collate_without_a_warning(reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset([reader.columns[name] for name in ("image", "label", "text")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, labels, texts = next(iter(DataLoader(dataset, batch_size=5)))
    assert images[:, 0, 0].tolist() == [100, 101, 102, 103, 104]
    assert labels.dtype == torch.int64
    assert list(texts) == [value("text", 100 + index) for index in range(5)]
    alone = next(iter(DataLoader(make_torch_dataset(reader.columns["label"]), batch_size=5)))
    assert alone.tolist() == labels.tolist()


@pytest.mark.parametrize("name", ["text", "blob"])
def test_a_batch_of_texts_is_a_list_for_torchs_own_collate(name: str, reader: ReaderCheckout) -> None:
    expected = [value(name, 100 + index) for index in range(3)]
    for transform, made in ((None, expected), ({name: lambda one: one[:4]}, [one[:4] for one in expected])):
        batch = next(iter(DataLoader(make_torch_dataset(reader.columns[name], transform=transform), batch_size=3)))
        assert type(batch) is list
        assert batch == made
    labelled = make_torch_dataset([reader.columns["label"], reader.columns[name]], transform=lambda item: item[1])
    assert next(iter(DataLoader(labelled, batch_size=3))) == expected


def test_chosen_keys(reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset([reader.columns["image"], reader.columns["boxes"]], [(105, (103, 0)), (100, (101, 1))])
    images, boxes = next(iter(DataLoader(dataset, batch_size=2, collate_fn=collate)))
    assert images[:, 0, 0].tolist() == [105, 100]
    assert boxes[:, 0].tolist() == [1030, 1011]


# ---------------------------------------------------------------------- transforms


def test_transforms_of_items(reader: ReaderCheckout) -> None:
    columns = [reader.columns["image"], reader.columns["label"]]
    dataset = make_torch_dataset(columns, transform=lambda item: (torch.from_numpy(item[0]).float() / 2, int(item[1])))
    assert dataset[3][1] == 103 % 7
    images, labels = next(iter(DataLoader(dataset, batch_size=4, collate_fn=collate)))
    assert images.dtype == torch.float32
    assert images[:, 0, 0].tolist() == [50, 50.5, 51, 51.5]
    assert labels.tolist() == [100 % 7, 101 % 7, 102 % 7, 103 % 7]
    single = make_torch_dataset(reader.columns["text"], transform=len)
    assert collate(single.__getitems__([0, 1])).tolist() == [len(value("text", key)) for key in (100, 101)]


def test_transforms_of_columns(reader: ReaderCheckout) -> None:
    columns = [reader.columns[name] for name in ("image", "text", "ragged")]
    dataset = make_torch_dataset(columns, transform={"text": str.split, "ragged": lambda array: array[:1]})
    for batch in (collate(dataset.__getitems__([0, 1])), collate(list(dataset.__getitems__([0, 1])))):
        images, words, ragged = batch
        assert images.shape == (2, 4, 5)
        assert words == [value("text", key).split() for key in (100, 101)]
        assert ragged.shape == (2, 1, 2)  # What a transform makes is stacked if it can be.
    assert dataset[1][1] == value("text", 101).split()


def test_dicts_that_a_transform_makes(reader: ReaderCheckout) -> None:
    columns = [reader.columns["image"], reader.columns["label"]]
    named = make_torch_dataset(columns, as_dict=True, transform=lambda item: {**item, "twice": 2 * int(item["label"])})
    made = make_torch_dataset(columns, transform=lambda item: {"image": item[0], "label": item[1]})
    single = make_torch_dataset(reader.columns["image"], transform=lambda image: {"image": image, "label": 0})
    for dataset in (named, made, single, ConcatDataset([named])):
        for collate_fn in (collate, default_collate):
            batch = next(iter(DataLoader(dataset, batch_size=3, collate_fn=collate_fn)))
            assert batch["image"].shape == (3, 4, 5)
            assert batch["label"].tolist() == ([0] * 3 if dataset is single else [key % 7 for key in (100, 101, 102)])
    assert next(iter(DataLoader(named, batch_size=3, collate_fn=collate)))["twice"].tolist() == [4, 6, 8]
    # Samples of a nested column have different keys.
    boxes = make_torch_dataset(reader.columns["boxes"], transform=lambda item: {key: item[key][:2] for key in item})
    assert [sorted(item) for item in collate(boxes.__getitems__([0, 1]))] == [[0, 1], [0, 1, 2]]


@pytest.mark.parametrize(
    ("transform", "error"),
    [
        (lambda image: {"a": 1} if image[0, 0] < 101 else {"b": 1}, "one has a, another b"),
        (lambda image: {"a": 1} if image[0, 0] < 101 else 5, "one has a, another int"),
        (lambda image: (1,) * int(image[0, 0] - 98), "one is a tuple of 2"),
    ],
)
def test_items_that_do_not_go_together(transform: Any, error: str, reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset(reader.columns["image"], transform=transform)
    with pytest.raises(InvalidInputError, match=error):
        collate(dataset.__getitems__([0, 1]))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="errors have no notes before Python 3.11")
@pytest.mark.parametrize("of_column", [False, True])
def test_an_error_of_a_transform_names_the_sample(of_column: bool, reader: ReaderCheckout) -> None:
    def inverse(label: Any) -> float:
        return 1 // (int(label) - 103 % 7)

    column = reader.columns["label"]
    dataset = make_torch_dataset([column], transform={"label": inverse} if of_column else inverse)
    what = "the transform of column 'label'" if of_column else "the transform"
    reads: list[Callable[[], Any]] = [
        lambda: dataset[3],
        lambda: collate(dataset.__getitems__([0, 3, 1])),
        lambda: next(iter(Loader(dataset, batch_size=6))),
    ]
    for read in reads:
        with pytest.raises(ZeroDivisionError) as raised:
            read()
        assert raised.value.__notes__ == [f"{what} failed for item 3, key 103"]  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError, match="failed for item 3, key 103"):
        next(iter(DataLoader(dataset, batch_size=6, num_workers=1, multiprocessing_context="fork")))


def test_transforms_that_do_not_fit(reader: ReaderCheckout) -> None:
    column = reader.columns["image"]
    with pytest.raises(InvalidInputError, match="names a column 'label', and the data set has: image"):
        make_torch_dataset(column, transform={"label": int})
    for wrong in (5, {"image": 5}):
        with pytest.raises(InvalidTypeError, match="transform is a callable"):
            make_torch_dataset(column, transform=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="columns of different names"):
        make_torch_dataset([column, column], as_dict=True)
    with pytest.raises(InvalidInputError, match="as_dict"):
        make_torch_dataset(column, as_dict="yes")  # type: ignore[arg-type]


# ---------------------------------------------------------------------- what torch builds on data sets


def test_subsets_splits_and_concatenations(reader: ReaderCheckout) -> None:
    columns = [reader.columns["image"], reader.columns["label"]]
    dataset = make_torch_dataset(columns)
    subset = Subset(dataset, [5, 3, 50])
    images, _ = next(iter(DataLoader(subset, batch_size=3, collate_fn=collate)))
    assert images[:, 0, 0].tolist() == [105, 103, 150]
    parts = random_split(dataset, [40, 20], torch.Generator().manual_seed(0))
    seen = [
        key
        for part in parts
        for images, _ in DataLoader(part, batch_size=7, collate_fn=collate)
        for key in images[:, 0, 0].tolist()
    ]
    assert sorted(seen) == list(range(100, 160))
    both: Any = ConcatDataset([subset, make_torch_dataset(columns, index_range=slice(0, 2))])
    for collate_fn in (collate, None):
        (batch,) = DataLoader(both, batch_size=5, collate_fn=collate_fn)
        assert batch[0][:, 0, 0].tolist() == [105, 103, 150, 100, 101]
        assert batch[1].tolist() == [key % 7 for key in (105, 103, 150, 100, 101)]
    named: Any = ConcatDataset(
        [make_torch_dataset(columns, as_dict=True, index_range=slice(start, start + 1)) for start in (3, 9)]
    )
    (batch,) = DataLoader(named, batch_size=2, collate_fn=collate)
    assert batch["image"][:, 0, 0].tolist() == [103, 109]


def test_a_batch_sampler(reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset(reader.columns["image"])
    sampler = Sampler(dataset, 8, seed=2)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate)
    for epoch in range(2):
        seen = [key for images in loader for key in images[:, 0, 0].tolist()]
        assert seen == (100 + sampler.items(epoch, 0, COUNT)).tolist()
    single = DataLoader(dataset, batch_size=7, sampler=Sampler(dataset, seed=2), collate_fn=collate)
    assert torch.cat(list(single))[:, 0, 0].tolist() == (100 + sampler.items(0, 0, COUNT)).tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": Sampler(COUNT, 8)},
        {"sampler": Sampler(COUNT, 8), "batch_size": None},
        {"batch_sampler": Sampler(COUNT)},
    ],
)
def test_samplers_in_the_wrong_place(options: dict[str, Any], reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset(reader.columns["image"])
    with pytest.raises(InvalidTypeError, match="Sampler with a batch_size as batch_sampler="):
        next(iter(DataLoader(dataset, collate_fn=collate, **options)))


# ---------------------------------------------------------------------- dtypes


@pytest.mark.parametrize(
    "name", ["bfloat16", "float8_e4m3fn", "float16", "bool", "complex64", "uint16", "uint64", "int8"]
)
@pytest.mark.parametrize("shape", [(), (3,), (0,)])
def test_dtypes(name: str, shape: tuple[int, ...], repo: Repository) -> None:
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("x", shape, getattr(torch, name))
    values = np.arange(4 * int(np.prod(shape))).reshape(4, *shape).astype(column.dtype)
    column.write(range(4), values)
    writer.commit("x")
    dataset = make_torch_dataset(repo.checkout().columns["x"])
    batch = collate(dataset.__getitems__([3, 0]))
    assert batch.dtype == getattr(torch, name)
    assert batch.shape == (2, *shape)
    assert batch.float().tolist() == values[[3, 0]].astype(np.float32).tolist() if name != "complex64" else True


def test_a_dtype_that_torch_lacks(reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset(reader.columns["label"], transform=lambda label: np.array(int(label), "M8[s]"))
    with pytest.raises(InvalidTypeError, match="torch has no dtype datetime64"):
        collate(dataset.__getitems__([0]))


def test_the_name_is_public() -> None:
    assert hangar.make_torch_dataset is hangar.dataset.make_torch_dataset
