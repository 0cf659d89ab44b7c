"""Splits: a sample is where the recipe says, everywhere and always."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import (
    AccessError,
    AttributeNotFoundError,
    ColumnNotFoundError,
    InvalidInputError,
    InvalidTypeError,
    NameTakenError,
    Repository,
    SampleNotFoundError,
    UnsupportedVersionError,
)
from hangar.dataset import Split, delete_split, hash_split, list_splits, load_split
from hangar.dataset.keyhash import derive_hash_key, encode_labels, hash_encoded_keys

THREE = {"train": 0.8, "val": 0.1, "test": 0.1}
GOLDEN = {
    "": ["9e3141c791b95dad", "97b657fd83e0e412", "216380a83b0e5c14", "d1af8c8b368fd6ea", "1c27c948442782b7"],
    "2026": ["70c25c5db6c0aa8f", "be9fa0e5c004105c", "319f75a77621d8fe", "0998bffd48207ccc", "2a034f6bb526b9aa"],
}
GOLDEN_PARTS = "rrrerrrrrrrearrrrerrrrrrrrrrarrrrrerrerrerrrrrrarrrrrrrrerrr"
GOLDEN_TEXTS = ["val", "train", "train", "train", "train"]
GOLDEN_THIRDS = "abbbbcaacabbcccbccccbccccbbbcabbabcaaaac"


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org", remove_old=True)
    return repo


@pytest.fixture
def writer(repo: Repository) -> Any:
    """Columns of 3,000 integer keys, 600 text keys, a nested one, and labels of groups."""
    writer = repo.checkout(write=True)
    numbers = writer.add_ndarray_column("numbers", (), np.int64)
    texts = writer.add_str_column("texts")
    boxes = writer.add_ndarray_column("boxes", (2,), np.float32, contains_subsamples=True)
    patient = writer.add_str_column("patient")
    ward = writer.add_ndarray_column("ward", (), np.int16)
    with writer:
        numbers.write(np.arange(3000), np.arange(3000))
        texts.write([f"p{i % 60}/{i}" for i in range(600)], [f"text {i}" for i in range(600)])
        boxes.write(
            [(key, j) for key in (*range(200), "a", "b") for j in range(3)],
            np.arange(606 * 2, dtype=np.float32).reshape(-1, 2),
        )
        patient.write(np.arange(3000), [f"patient {i % 97}" for i in range(3000)])
        ward.write(np.arange(3000), (np.arange(3000) % 31 - 5).astype(np.int16))
    writer.commit("samples")
    return writer


# ---------------------------------------------------------------------- what never changes


def test_golden_hash_values() -> None:
    """Hash values are part of what users store: they are the same on every machine and in every release."""
    keys = [b"\x10" + n.to_bytes(8, "big") for n in (0, 1, 2**64 - 1)] + [b"\x20a", "\x20é".encode()]
    assert [f"{value:016x}" for value in hash_encoded_keys(derive_hash_key(""), keys).tolist()] == GOLDEN[""]
    assert [f"{value:016x}" for value in hash_encoded_keys(derive_hash_key("2026"), keys).tolist()] == GOLDEN["2026"]


def test_golden_parts() -> None:
    assert "".join(part[1] for part in hash_split().parts_of(range(60))) == GOLDEN_PARTS
    assert hash_split(salt="x").parts_of(["a", "b", "c", "d", 5]) == GOLDEN_TEXTS
    thirds = hash_split({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, salt="thirds")
    assert "".join(thirds.parts_of(np.arange(40))) == GOLDEN_THIRDS


def test_a_batch_draws_as_single_keys_do() -> None:
    """The compiled kernel, the hash of rows and the hash of lists agree."""
    split = hash_split(salt="one")
    keys: list[Any] = [*range(5000), *(f"k{i}" for i in range(5000))]
    assert split.parts_of(keys) == [split.parts_of([key])[0] for key in keys]


def test_fractions_are_met_and_salts_are_independent() -> None:
    first = np.array(hash_split(THREE, salt="a").parts_of(range(20_000)))
    second = np.array(hash_split(THREE, salt="b").parts_of(range(20_000)))
    for name, fraction in THREE.items():
        deviation = 4 * (20_000 * fraction * (1 - fraction)) ** 0.5
        assert abs((first == name).sum() - 20_000 * fraction) < deviation
        assert abs(((first == name) & (second == name)).sum() - 20_000 * fraction**2) < deviation


def test_changed_fractions_move_few() -> None:
    before = np.array(hash_split({"train": 0.7, "test": 0.3}).parts_of(range(5000)))
    after = np.array(hash_split({"train": 0.8, "test": 0.2}).parts_of(range(5000)))
    moved = before != after
    assert set(before[moved]) == {"test"}
    assert 400 < moved.sum() < 600


# ---------------------------------------------------------------------- columns


def test_keys_and_positions_of_a_part(repo: Repository, writer: Any) -> None:
    split = hash_split(THREE, salt="s")
    for name in ("numbers", "texts", "boxes"):
        found = split.assign(writer, name)
        keys = list(writer[name])
        for part in THREE:
            assert found.keys(part) == [key for key in keys if split.parts_of([key]) == [part]]
            assert [keys[i] for i in found.positions(part)] == found.keys(part)
        assert sum(found.counts.values()) == len(keys) == len(found.codes)
        assert {part: len(found.keys(part)) for part in THREE} == found.counts
    with pytest.raises(InvalidInputError, match="no part 'dev' of the split; there are: train, val, test"):
        split.assign(writer, "numbers").keys("dev")
    with pytest.raises(ColumnNotFoundError):
        split.assign(writer, "nope")


def test_columns_with_the_same_keys_are_split_alike(writer: Any) -> None:
    split = hash_split(salt="s")
    numbers = split.assign(writer, "numbers")
    assert split.assign(writer, "ward").codes.tolist() == numbers.codes.tolist()
    nested = split.assign(writer, "boxes")
    assert nested.codes[:200].tolist() == numbers.codes[:200].tolist()


def test_staged_changes_and_empty_columns(writer: Any) -> None:
    split = hash_split(salt="s")
    before = split.assign(writer, "numbers").keys("test")
    writer["numbers"][2**40] = 1
    del writer["numbers"][before[0]]
    assert set(split.assign(writer, "numbers").keys("test")) - {2**40} == set(before[1:])
    writer.add_str_column("empty")
    found = split.assign(writer, "empty")
    assert (found.counts, found.keys("train"), found.positions("val").tolist()) == (dict.fromkeys(THREE, 0), [], [])


def test_samples_stay_when_data_grows_and_branches_merge(repo: Repository, writer: Any) -> None:
    split = hash_split(group_column="patient", salt="s")
    before = dict(zip(range(3000), split.assign(writer, "numbers").codes.tolist(), strict=True))
    with writer:
        writer["numbers"].write(np.arange(10_000, 13_000), np.arange(3000))
        writer["patient"].write(np.arange(10_000, 13_000), [f"patient {i % 150}" for i in range(3000)])
        for key in range(0, 3000, 7):
            del writer["numbers"][key]
    after = split.assign(writer, "numbers")
    now = dict(zip(writer["numbers"], after.codes.tolist(), strict=True))
    assert len(now) == 6000 - 429
    assert {key: code for key, code in now.items() if key < 3000} == {
        key: code for key, code in before.items() if key % 7
    }


# ---------------------------------------------------------------------- groups


def test_groups_of_a_column(writer: Any) -> None:
    split = hash_split(group_column="patient", salt="s")
    found = split.assign(writer, "numbers")
    for part in THREE:
        assert found.keys(part)
    homes: dict[str, set[int]] = {}
    for key, code in zip(writer["numbers"], found.codes.tolist(), strict=True):
        homes.setdefault(writer["patient", key], set()).add(code)
    assert len(homes) == 97
    assert all(len(codes) == 1 for codes in homes.values())
    # Integer labels, with negative ones; a nested column by the samples that own its subsamples.
    by_ward = hash_split(group_column="ward", salt="s")
    codes = by_ward.assign(writer, "numbers").codes
    assert all(len(set(codes[first::31].tolist())) == 1 for first in range(31))
    del writer["boxes"]["a"], writer["boxes"]["b"]
    assert by_ward.assign(writer, "boxes").codes.tolist() == codes[:200].tolist()
    assert by_ward.parts_of([3, 34], writer) == [by_ward.parts_of([3], writer)[0]] * 2


def test_a_label_is_the_same_in_every_kind_of_column() -> None:
    labels = [-1, 0, 7, 30_000]
    for dtype in (np.int16, np.int64, ">i4"):
        assert encode_labels(np.array(labels, dtype)) == encode_labels(labels)
    assert encode_labels(np.array([7, 255], np.uint8)) == encode_labels([7, 255])
    assert len(set(encode_labels([7, "7", "é", 2**64 - 2, -1]))) == 5
    for wrong in (1.5, None, True, 2**64, b"x", "\ud800"):
        with pytest.raises(InvalidInputError, match="label of a group"):
            encode_labels([wrong])


def test_groups_of_a_prefix_and_of_a_function(writer: Any) -> None:
    by_prefix = hash_split(group_prefix="/", salt="s").assign(writer, "texts")
    by_function = hash_split(group=lambda key: str(key).partition("/")[0], salt="s").assign(writer, "texts")
    assert by_prefix.codes.tolist() == by_function.codes.tolist()
    homes = {(key.partition("/")[0], code) for key, code in zip(writer["texts"], by_prefix.codes.tolist(), strict=True)}
    assert len(homes) == 60
    assert hash_split(group_prefix="é").parts_of(["xéy", "xéz", 5]) == [
        *hash_split().parts_of(["x", "x"]),
        *hash_split().parts_of([5]),
    ]
    with pytest.raises(InvalidInputError, match="label of a group"):
        hash_split(group=lambda key: None).parts_of([1])  # type: ignore[arg-type,return-value]


def test_groups_that_cannot_be(writer: Any) -> None:
    with pytest.raises(SampleNotFoundError, match="a sample of column 'texts' has no group"):
        hash_split(group_column="patient").assign(writer, "texts")
    with pytest.raises(ColumnNotFoundError, match="nope"):
        hash_split(group_column="nope").assign(writer, "texts")
    with pytest.raises(InvalidInputError, match="column 'boxes' cannot name groups"):
        hash_split(group_column="boxes").assign(writer, "numbers")
    with pytest.raises(InvalidInputError, match="give the checkout"):
        hash_split(group_column="patient").parts_of([1])
    with pytest.raises(InvalidTypeError):
        hash_split().parts_of("abc")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"parts": {"a": 0.5}}, InvalidInputError, "sum to 1, not 0.5"),
        ({"parts": {}}, InvalidInputError, "1 to 255 parts"),
        ({"parts": {"a": 0.0, "b": 1.0}}, InvalidInputError, "above 0"),
        ({"parts": {"a": -1, "b": 2}}, InvalidInputError, "above 0"),
        ({"parts": {"a": float("nan"), "b": 1}}, InvalidInputError, "above 0"),
        ({"parts": {"a b": 1.0}}, InvalidInputError, "not suitable"),
        ({"parts": {"a": True}}, InvalidTypeError, "number"),
        ({"parts": {"a": "1"}}, InvalidTypeError, "number"),
        ({"parts": [("a", 1.0)]}, InvalidTypeError, "mapping"),
        ({"salt": 5}, InvalidTypeError, "salt"),
        ({"salt": "\ud800"}, InvalidInputError, "UTF-8"),
        ({"group": "patient"}, InvalidTypeError, "group_column"),
        ({"group_column": "a", "group_prefix": "/"}, InvalidInputError, "one way"),
    ],
)
def test_bad_recipes(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        hash_split(**arguments)


# ---------------------------------------------------------------------- stored with the commit


def test_a_split_is_stored_with_the_commit(repo: Repository, writer: Any) -> None:
    first = writer.commit_hash
    split = hash_split({"fit": 0.9, "rest": 0.1}, salt="s é", group_column="patient")
    split.save(writer, "by-patient")
    assert load_split(writer, "by-patient") == split
    hash_split(group_prefix="/").save(writer, "other")
    second = writer.commit("splits")
    assert len(writer.attributes["split.by-patient"]) == 5  # the recipe, and no list of keys
    writer.close()
    reader = repo.checkout(commit=second)
    assert load_split(reader, "by-patient") == split
    assert list_splits(reader) == {"by-patient": split, "other": hash_split(group_prefix="/")}
    old = repo.checkout(commit=first)
    assert list_splits(old) == {}
    with pytest.raises(AttributeNotFoundError, match="no split 'by-patient' here; there are: none"):
        load_split(old, "by-patient")
    with pytest.raises(AccessError, match="write=True"):
        split.save(reader, "again")  # type: ignore[arg-type]
    with pytest.raises(AccessError, match="write=True"):
        delete_split(reader, "other")  # type: ignore[arg-type]


def test_another_split_of_the_same_name_is_no_accident(repo: Repository, writer: Any) -> None:
    hash_split().save(writer, "default")
    hash_split().save(writer, "default")
    with pytest.raises(NameTakenError, match="replace=True"):
        hash_split(salt="other").save(writer, "default")
    assert load_split(writer, "default") == hash_split()
    hash_split(salt="other").save(writer, "default", replace=True)
    assert load_split(writer, "default").salt == "other"
    delete_split(writer, "default")
    with pytest.raises(AttributeNotFoundError, match="'default'"):
        delete_split(writer, "default")
    with pytest.raises(InvalidInputError, match="not suitable"):
        hash_split().save(writer, "a b")
    with pytest.raises(InvalidInputError, match="function"):
        hash_split(group=str).save(writer, "f")
    with pytest.raises(InvalidInputError, match="'nope', which is not here"):
        hash_split(group_column="nope").save(writer, "g")
    assert list_splits(writer) == {}


@pytest.mark.parametrize(
    "recipe",
    [
        "train",
        {"kind": "list"},
        {"kind": "hash", "version": "1"},
        {"kind": "hash", "version": 1},
        {"kind": "hash", "version": 1, "parts": [["a", 0.5]]},
        {"kind": "hash", "version": 1, "parts": [["a", 0.5, 1]]},
        {"kind": "hash", "version": 1, "parts": [[["a"], 1.0]]},
        {"kind": "hash", "version": 1, "parts": {"a": 1.0}},
        {"kind": "hash", "version": 1, "parts": [["a", 1.0]], "salt": 5},
        {"kind": "hash", "version": 1, "parts": [["a", 1.0]], "group": "os.system"},
        {"kind": "hash", "version": 1, "parts": [["a", 0.5], ["a", 0.5]]},
        {"kind": "hash", "version": 1, "parts": [["a", 1.0]], "group_column": "a", "group_prefix": "b"},
    ],
)
def test_attributes_that_are_no_splits(recipe: Any, writer: Any) -> None:
    """Attributes come from users and from other people's repositories."""
    writer.attributes["split.odd"] = recipe
    with pytest.raises(InvalidInputError, match=r"the attribute 'split.odd' is not a split"):
        load_split(writer, "odd")


def test_a_split_of_a_newer_release(writer: Any) -> None:
    writer.attributes["split.new"] = {"kind": "hash", "version": 2, "parts": [["a", 1.0]], "colour": "red"}
    with pytest.raises(UnsupportedVersionError, match="newer Hangar"):
        load_split(writer, "new")


def test_the_package_imports_no_framework() -> None:
    program = "import sys, hangar.dataset; hangar.dataset.hash_split; print([m for m in ('torch', 'tensorflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_split_can_be_compared_and_pickled() -> None:
    import pickle

    split = hash_split(THREE, salt="s", group_prefix="/")
    assert pickle.loads(pickle.dumps(split)) == split
    assert split != hash_split(THREE, salt="t", group_prefix="/")
    assert isinstance(split, Split)
    assert hash_split({"a": np.float64(0.5), "b": np.float32(0.5)}).recipe()["parts"] == [["a", 0.5], ["b", 0.5]]
