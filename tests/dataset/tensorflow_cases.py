"""Cases of TensorFlow data sets, which ``test_tensorflow.py`` runs in a process of their own: the import takes seconds, and starts threads."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import hangar
from hangar import AccessError, InvalidInputError, InvalidStateError, InvalidTypeError, Repository
from hangar.checkout import ReaderCheckout
from hangar.dataset import Sampler, make_tensorflow_dataset
from hangar.dataset import tensorflow as implementation
from tests.dataset.content import COUNT, FLAT, value
from tests.docs.blocks import ROOT

KEYS = range(100, 100 + COUNT)
make: Any = make_tensorflow_dataset
"""For arguments of wrong types."""


def columns(reader: ReaderCheckout, *names: str) -> list[Any]:
    return [reader.columns[name] for name in names]


def test_the_loop_of_the_slides(reader: ReaderCheckout) -> None:
    data, target = reader.arraysets["image"], reader.arraysets["label"]
    made = hangar.make_tf_dataset([data, target])
    assert isinstance(made, tf.data.Dataset)
    seen = 0
    for images, labels in made.batch(16):
        assert images.shape[1:] == (4, 5)
        assert labels.numpy().tolist() == [key % 7 for key in KEYS[seen : seen + 16]]
        assert images.numpy()[:, 0, 0].tolist() == list(KEYS[seen : seen + 16])
        seen += len(labels)
    assert seen == COUNT
    model = tf.keras.Sequential([tf.keras.layers.Flatten(), tf.keras.layers.Dense(7)])
    model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    steps = model.fit(
        made.map(lambda x, y: (tf.cast(x, tf.float32) / 255, y)).batch(16), epochs=2, shuffle=False, verbose=0
    )
    assert len(steps.history["loss"]) == 2


@pytest.mark.parametrize("block", [1024, 7])
def test_items_of_every_kind(block: int, reader: ReaderCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implementation, "MAX_BLOCK_SAMPLES", block)
    made = make_tensorflow_dataset(columns(reader, *FLAT))
    spec = dict(zip(FLAT, made.element_spec, strict=True))
    assert spec["image"] == tf.TensorSpec((4, 5), tf.uint8)
    assert spec["label"] == tf.TensorSpec((), tf.int64)
    assert (spec["ragged"].shape.as_list(), spec["ragged"].dtype) == ([None, None], tf.float32)
    assert (spec["text"], spec["blob"]) == (tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.string))
    assert len(made) == COUNT
    found = list(made.as_numpy_iterator())
    for key, item in zip(KEYS, found, strict=True):
        for name, one in zip(FLAT, item, strict=True):
            expected = value(name, key)
            if name in ("text", "blob"):
                assert one == (expected.encode() if name == "text" else expected)
            else:
                assert one.dtype == expected.dtype
                assert np.array_equal(one, expected)


@pytest.mark.parametrize("size", [None, 2])
def test_arrays_without_elements(size: int | None, repo: Repository) -> None:
    writer = repo.checkout(write=True)
    empty = writer.add_ndarray_column("empty", (0, 3), np.float32)
    label = writer.add_ndarray_column("label", (), np.int64)
    empty.write(range(5), np.zeros((5, 0, 3), np.float32))
    label.write(range(5), np.arange(5))
    writer.commit("Arrays without elements")
    writer.close()
    reader = repo.checkout()
    for order in (("empty", "label"), ("label", "empty"), ("empty",)):
        found = list(make_tensorflow_dataset(columns(reader, *order), batch_size=size).as_numpy_iterator())
        lead = [()] * 5 if size is None else [(2,), (2,), (1,)]
        assert [item[order.index("empty")].shape for item in found] == [(*one, 0, 3) for one in lead]
        if "label" in order:
            assert np.hstack([item[order.index("label")] for item in found]).tolist() == list(range(5))


def test_one_column_gives_tuples_too(reader: ReaderCheckout) -> None:
    assert [item for (item,) in make_tensorflow_dataset(reader["label"]).take(3).as_numpy_iterator()] == [2, 3, 4]
    (batch,) = next(iter(make_tensorflow_dataset(reader["ragged"]).padded_batch(3)))
    assert batch.shape == (3, 3, 2)
    (ragged,) = next(iter(make_tensorflow_dataset(reader["ragged"]).ragged_batch(3)))
    assert ragged.row_lengths().numpy().tolist() == [2, 3, 1]
    pairs = [(103, 1), (101, 0)]
    assert [int(one[0]) for (one,) in make_tensorflow_dataset(reader["boxes"], pairs)] == [1031, 1010]


def test_bytes_keep_their_zeros(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    blobs, texts = writer.add_bytes_column("b"), writer.add_str_column("t")
    values = [b"\x00", b"a\x00", b"", b"\xff" * 300 + b"\x00\x00"]
    blobs.write(range(4), values)
    texts.write(range(4), ["\x00", "é\x00", "", "猫" * 100])
    writer.commit("odd")
    reader = repo.checkout()
    made = make_tensorflow_dataset([reader["b"], reader["t"]])
    assert [blob for blob, _ in made.as_numpy_iterator()] == values
    assert [text.decode() for _, text in made.as_numpy_iterator()] == ["\x00", "é\x00", "", "猫" * 100]


def test_empty_and_high_ranks(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("v", (3, 2, 4), np.int16, variable_shape=True)
    shapes = [(0, 2, 4), (3, 2, 4), (1, 1, 1), (2, 0, 3)]
    values = [np.arange(int(np.prod(shape)), dtype=np.int16).reshape(shape) for shape in shapes]
    column.write(range(4), values)
    writer.add_ndarray_column("scalar", (), ml_dtypes.bfloat16).write(range(4), np.arange(4).astype(ml_dtypes.bfloat16))
    writer.commit("odd")
    reader = repo.checkout()
    for (one, scalar), expected, number in zip(
        make_tensorflow_dataset([reader["v"], reader["scalar"]]), values, range(4), strict=True
    ):
        assert np.array_equal(one.numpy(), expected)
        assert one.shape == expected.shape
        assert (scalar.dtype, float(scalar)) == (tf.bfloat16, number)


def test_shuffling_follows_the_sampler_and_is_new_in_each_iteration(reader: ReaderCheckout) -> None:
    made = make_tensorflow_dataset(columns(reader, "image", "text"), shuffle=True, seed=3)
    orders = [[int(image[0, 0]) for image, _ in made] for _ in range(2)]
    assert all(sorted(order) == list(KEYS) for order in orders)
    assert orders[0] != orders[1]
    sampler = Sampler(COUNT, 10, seed=3)
    assert orders == [[100 + int(item) for batch in sampler for item in batch] for _ in range(2)]
    plain = make_tensorflow_dataset(reader["image"])
    assert [[int(image[0, 0]) for (image,) in plain] for _ in range(2)] == [list(KEYS)] * 2


def test_batches(reader: ReaderCheckout) -> None:
    made = make_tensorflow_dataset(columns(reader, "image", "blob"), batch_size=25)
    assert (len(made), made.element_spec[0].shape.as_list()) == (3, [None, 4, 5])
    batches = list(made.as_numpy_iterator())
    assert [len(images) for images, _ in batches] == [25, 25, 10]
    assert [blob for _, blobs in batches for blob in blobs] == [value("blob", key) for key in KEYS]
    assert len(list(make_tensorflow_dataset(reader["image"], batch_size=25, drop_last=True))) == 2
    assert len(make_tensorflow_dataset(reader["image"], batch_size=25, drop_last=True)) == 2
    assert [len(b) for (b,) in make_tensorflow_dataset(reader["image"], [100, 105], batch_size=2)] == [2]
    part = make_tensorflow_dataset(reader["image"], index_range=slice(3, 5))
    assert [int(image[0, 0]) for (image,) in part] == [103, 104]


def test_a_block_is_one_gather(reader: ReaderCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the elements are put together: no read for each sample."""
    from hangar.dataset.selection import Selection

    calls: list[int] = []
    gather = Selection.gather

    def counted(self: Selection, items: Any, out: Any = None) -> Any:
        calls.append(len(items))
        return gather(self, items, out)

    monkeypatch.setattr(Selection, "gather", counted)
    list(make_tensorflow_dataset(columns(reader, *FLAT), shuffle=True).filter(lambda *item: item[1] > 3))
    assert calls == [COUNT]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda r: make([]), InvalidTypeError, "at least one column"),
        (lambda r: make(r["boxes"]), InvalidInputError, "give keys, pairs"),
        (lambda r: make(r["ragged"], batch_size=2), InvalidInputError, "padded_batch"),
        (lambda r: make(r["image"], drop_last=True), InvalidStateError, "drop_last is for batches"),
        (lambda r: make(r["image"], batch_size=61), InvalidStateError, "larger than the data set"),
        (lambda r: make(r["image"], batch_size=0), InvalidInputError, "at least 1"),
        (lambda r: make(r["image"], batch_size="2"), InvalidTypeError, "int or None"),
        (lambda r: make(r["image"], None, "yes"), InvalidInputError, "shuffle"),
        (lambda r: make(r["image"], seed=-1), InvalidInputError, "seed"),
    ],
)
def test_bad_arguments(call: Callable[[Any], Any], error: type[Exception], text: str, reader: ReaderCheckout) -> None:
    with pytest.raises(error, match=text):
        call(reader)


def test_a_writer_column_is_refused(reader: ReaderCheckout, repo: Repository) -> None:
    writer = repo.checkout(write=True)
    with pytest.raises(AccessError, match="reader checkout"):
        make_tensorflow_dataset(writer["image"])


def test_damage_is_an_error_of_the_iteration(reader: ReaderCheckout, repo: Repository) -> None:
    made = make_tensorflow_dataset(reader["blob"])
    for path in (repo.stores.directory / "blobs").iterdir():
        path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    with pytest.raises(tf.errors.OpError, match="CorruptionError"):
        list(made)


def test_a_dtype_that_tensorflow_does_not_have(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("odd", (2,), ml_dtypes.float8_e3m4)["k"] = np.zeros(2, ml_dtypes.float8_e3m4)
    writer.commit("odd")
    with pytest.raises(InvalidTypeError, match="no dtype float8_e3m4"):
        make_tensorflow_dataset(repo.checkout()["odd"])


def test_the_page_says_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(
        str(ROOT / "docs" / "howto" / "train-with-tensorflow.rst"),
        module_relative=False,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
        encoding="utf-8",
    )
    assert tried >= 20
    assert failed == 0
