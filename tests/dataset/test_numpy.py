"""numpy data sets: every item once in each iteration, batches as arrays, and the settings of API.md."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hangar
from hangar import (
    AccessError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    PositionNotFoundError,
    Repository,
    SampleNotFoundError,
)
from hangar.checkout import ReaderCheckout
from hangar.dataset import Sampler, make_numpy_dataset
from tests.dataset.content import COUNT, FLAT, same, subsamples, value

KEYS = range(100, 100 + COUNT)
make: Any = make_numpy_dataset
"""For arguments of wrong types."""


def columns(reader: ReaderCheckout, *names: str) -> list[Any]:
    return [reader.columns[name] for name in names]


def test_names() -> None:
    assert hangar.make_numpy_dataset is make_numpy_dataset
    assert "make_numpy_dataset" in hangar.__all__


def test_items_of_every_kind(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(columns(reader, *FLAT), shuffle=False)
    assert len(data) == COUNT
    assert (data.num_batches, data.batch_size, data.shuffle) == (None, None, False)
    found = list(data)
    assert len(found) == COUNT
    for key, item in zip(KEYS, found, strict=True):
        assert isinstance(item, tuple)
        assert all(same(value(name, key), one) for name, one in zip(FLAT, item, strict=True))


def test_one_column_gives_values_and_nested_samples_dicts(reader: ReaderCheckout) -> None:
    assert [int(one) for one in make_numpy_dataset(reader["label"], shuffle=False)] == [key % 7 for key in KEYS]
    found = list(make_numpy_dataset([reader["boxes"]], shuffle=False))
    assert all(
        same(one, {sub: value("boxes", 10 * key + sub) for sub in subsamples(key)})
        for key, one in zip(KEYS, found, strict=True)
    )
    pairs = [(101, 2), (101, 0), (103, 1)]
    batch = next(iter(make_numpy_dataset(reader["boxes"], pairs, 3, shuffle=False)))
    assert batch[:, 0].tolist() == [1012, 1010, 1031]


def test_each_iteration_is_shuffled_anew_and_has_every_item_once(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(columns(reader, "image", "label"))
    orders = [[int(image[0, 0]) for image, _ in data] for _ in range(3)]
    assert all(sorted(order) == list(KEYS) for order in orders)
    assert len(set(map(tuple, orders))) == 3
    again = make_numpy_dataset(columns(reader, "image", "label"))
    assert [int(image[0, 0]) for image, _ in again] == orders[0]
    other = make_numpy_dataset(columns(reader, "image", "label"), seed=1)
    assert [int(image[0, 0]) for image, _ in other] not in orders


def test_batches_are_stacked_and_follow_the_sampler(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(columns(reader, "image", "label", "text"), batch_size=16, seed=3)
    assert (data.num_batches, data.batch_size) == (4, 16)
    sampler = Sampler(COUNT, 16, seed=3)
    for _ in range(2):
        batches = list(data)
        assert [len(batch[0]) for batch in batches] == [16, 16, 16, 12]
        for (images, labels, texts), items in zip(batches, sampler, strict=True):
            keys = [100 + item for item in items.tolist()]
            assert images.shape[1:] == (4, 5)
            assert images[:, 0, 0].tolist() == keys
            assert labels.tolist() == [key % 7 for key in keys]
            assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
            assert texts == [value("text", key) for key in keys]


def test_a_batch_is_the_callers_own(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(reader["image"], batch_size=60, shuffle=False)
    first = next(iter(data))
    first[:] = 0
    assert first.flags.owndata or first.base is not None
    assert next(iter(data))[:, 0, 0].tolist() == list(KEYS)


def test_collating(reader: ReaderCheckout) -> None:
    ragged = next(iter(make_numpy_dataset(reader["ragged"], batch_size=4, shuffle=False)))
    assert [one.shape for one in ragged] == [(2, 2), (3, 2), (1, 2), (2, 2)]
    equal = next(iter(make_numpy_dataset(reader["ragged"], [100, 103, 106], 3, shuffle=False)))
    assert equal.shape == (3, 2, 2)
    boxes, blobs = next(iter(make_numpy_dataset(columns(reader, "boxes", "boxes"), batch_size=2, shuffle=False)))
    assert isinstance(boxes, list)
    assert boxes[0].keys() == blobs[0].keys() == dict.fromkeys(subsamples(100)).keys()
    data = make_numpy_dataset(
        columns(reader, "image", "text"), None, 3, False, False, lambda items: [len(text) for _, text in items]
    )
    assert next(iter(data)) == [len(value("text", key)) for key in (100, 101, 102)]
    named = make_numpy_dataset(columns(reader, "label", "text"), batch_size=2, shuffle=False, as_dict=True)
    batch = next(iter(named))
    assert type(batch) is dict
    assert (batch["label"].tolist(), batch["text"][0]) == ([2, 3], value("text", 100))
    assert named.dataset[0] == {"label": 2, "text": value("text", 100)}


def test_transforms(reader: ReaderCheckout) -> None:
    def half(image: Any) -> Any:
        return image.astype(np.float32) / 2

    data = make_numpy_dataset(
        columns(reader, "image", "text"), batch_size=3, shuffle=False, transform={"image": half, "text": len}
    )
    images, lengths = next(iter(data))
    assert (images.dtype, images[:, 0, 0].tolist()) == (np.float32, [50, 50.5, 51])
    assert (type(lengths), lengths.tolist()) == (np.ndarray, [len(value("text", key)) for key in (100, 101, 102)])
    data = make_numpy_dataset(
        columns(reader, "image", "label"), batch_size=2, shuffle=False, transform=lambda item: (item[1], str(item[1]))
    )
    numbers, texts = next(iter(data))
    assert (numbers.tolist(), texts) == ([2, 3], ["2", "3"])


def test_drop_last_and_the_settable_settings(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(reader["label"], batch_size=16, drop_last=True)
    assert (data.num_batches, len(list(data)), len(data)) == (3, 3, COUNT)
    data.batch_size = 7
    assert (data.num_batches, len(list(data))) == (8, 8)
    data.shuffle = False
    assert np.concatenate(list(data)).tolist() == [key % 7 for key in KEYS[:56]]
    data.shuffle = True
    assert data.shuffle is True
    with pytest.raises(InvalidStateError, match="61 is larger than the data set, which has 60"):
        data.batch_size = 61
    with pytest.raises(InvalidStateError, match="drop_last is for batches"):
        data.batch_size = None
    with pytest.raises(InvalidInputError, match="shuffle"):
        data.shuffle = "no"  # type: ignore[assignment]
    assert (data.batch_size, data.shuffle, data.num_batches) == (7, True, 8)


def test_a_new_setting_does_not_repeat_an_order(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(reader["image"], batch_size=20)
    orders = []
    for size in (20, 10, 30, None, 60):
        data.batch_size = size
        orders.append(tuple(np.concatenate([one.reshape(-1, 4, 5)[:, 0, 0] for one in data]).tolist()))
    assert all(sorted(order) == list(KEYS) for order in orders)
    assert len(set(orders)) == 5


def test_an_iteration_that_was_broken_off_is_resumed_exactly(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(reader["image"], batch_size=8, seed=5)
    whole = [[int(one) for one in batch[:, 0, 0]] for _ in range(2) for batch in data]
    for stop in range(16):
        other = make_numpy_dataset(reader["image"], batch_size=8, seed=5)
        seen, left = [], stop
        while left > 0:
            for batch in other:
                seen.append([int(one) for one in batch[:, 0, 0]])
                left -= 1
                if not left:
                    break
        fresh = make_numpy_dataset(reader["image"], batch_size=8, seed=5)
        fresh.load_state_dict(other.state_dict())
        rest = [[int(one) for one in batch[:, 0, 0]] for _ in range(2) for batch in fresh]
        assert [*seen, *rest][:16] == whole


def test_single_items_are_resumed_exactly(reader: ReaderCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar.dataset.numpy._BLOCK", 16)
    data = make_numpy_dataset(reader["label"], seed=5)
    whole = [label for _ in range(2) for label in data]
    for stop in (0, 1, 15, 16, 17, 40, COUNT - 1, COUNT):
        other = make_numpy_dataset(reader["label"], seed=5)
        items = iter(other)
        seen = [next(items) for _ in range(stop)]
        state = other.state_dict()
        assert (state["epoch"], state["position"]) == divmod(stop, COUNT)
        other.load_state_dict(state)
        assert [*seen, *other] == (whole[:COUNT] if stop < COUNT else whole)


def test_dicts_that_a_transform_makes(reader: ReaderCheckout) -> None:
    given = columns(reader, "image", "label")
    for as_dict, transform in (
        (True, lambda item: {**item, "twice": 2 * int(item["label"])}),
        (False, lambda item: {"image": item[0], "twice": 2 * int(item[1])}),
    ):
        data = make(given, batch_size=5, shuffle=False, as_dict=as_dict, transform=transform)
        batch = next(iter(data))
        assert batch["image"].shape == (5, 4, 5)
        assert batch["twice"].tolist() == [2 * (key % 7) for key in KEYS[:5]]


def test_the_items_by_number(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(columns(reader, "image", "label"), batch_size=8).dataset
    assert len(data) == COUNT
    assert [int(label) for _, label in data[10:14]] == [110 % 7, 111 % 7, 112 % 7, 113 % 7]
    assert int(data[-1][0][0, 0]) == 159
    assert int(data[np.int64(3)][0][0, 0]) == 103
    for wrong in (60, -61):
        with pytest.raises(PositionNotFoundError, match="none at position"):
            data[wrong]
    for what in ("a", 1.0, True):
        with pytest.raises(InvalidTypeError, match="int or a slice"):
            data[what]


def test_keys_and_ranges(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(columns(reader, "image", "text"), [(159, 100), (100, 159)], shuffle=False)
    assert [(int(image[0, 0]), text) for image, text in data] == [
        (159, value("text", 100)),
        (100, value("text", 159)),
    ]
    part = make_numpy_dataset(reader["image"], index_range=slice(5, 9))
    assert sorted(int(one[0, 0]) for one in part) == [105, 106, 107, 108]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda r: make([]), InvalidTypeError, "at least one column"),
        (lambda r: make("image"), InvalidTypeError, "takes columns"),
        (lambda r: make(r["image"], [1]), SampleNotFoundError, "1"),
        (lambda r: make(r["image"], drop_last=True), InvalidStateError, "drop_last is for batches"),
        (lambda r: make(r["image"], collate_fn=list), InvalidStateError, "collate_fn is for batches"),
        (lambda r: make(r["image"], batch_size=61), InvalidStateError, "larger than the data set"),
        (lambda r: make(r["image"], batch_size=0), InvalidInputError, "at least 1"),
        (lambda r: make(r["image"], batch_size=2.0), InvalidTypeError, "None, not float"),
        (lambda r: make(r["image"], batch_size=True), InvalidTypeError, "None, not bool"),
        (lambda r: make(r["image"], batch_size=2, collate_fn=5), InvalidTypeError, "function"),
        (lambda r: make(r["image"], shuffle=1), InvalidInputError, "shuffle"),
        (lambda r: make(r["image"], seed=-1), InvalidInputError, "seed"),
        (lambda r: make(r["image"], as_dict=0), InvalidInputError, "as_dict"),
        (lambda r: make([r["image"], r["boxes"]]), InvalidInputError, "layouts"),
    ],
)
def test_bad_arguments(call: Callable[[Any], Any], error: type[Exception], text: str, reader: ReaderCheckout) -> None:
    with pytest.raises(error, match=text):
        call(reader)


def test_a_writer_column_is_refused(reader: ReaderCheckout, repo: Repository) -> None:
    writer = repo.checkout(write=True)
    with pytest.raises(AccessError, match="reader checkout"):
        make_numpy_dataset(writer["image"])
    writer.close()


def test_a_data_set_pickles(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(columns(reader, "image", "label"), batch_size=8, seed=2)
    iterator = iter(data)
    next(iterator)
    other = pickle.loads(pickle.dumps(data))
    rest, others = list(iterator), list(other)
    assert len(rest) == 7
    assert len(others) == 8  # a copy begins the next epoch
    assert Counter(np.concatenate([images[:, 0, 0] for images, _ in others]).tolist()) == Counter(KEYS)


def test_an_open_data_set_outlives_its_checkout(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(reader["label"], batch_size=60, shuffle=False)
    reader.close()
    assert next(iter(data)).tolist() == [key % 7 for key in KEYS]
