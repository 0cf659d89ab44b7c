"""Leaks of a split: what is planted is found, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import InvalidInputError, Repository, SampleNotFoundError
from hangar.dataset import check_split, hash_split

SPLIT = hash_split({"train": 0.5, "test": 0.5}, salt="leaks")


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org", remove_old=True)
    writer = repo.checkout(write=True)
    images = writer.add_ndarray_column("images", (6, 6), np.uint16)
    images.write(np.arange(500), np.arange(500 * 36, dtype=np.uint16).reshape(500, 6, 6))
    return writer


def a_pair(keys: Any, *, apart: bool) -> tuple[Any, Any]:
    """Two keys in different parts, or in the same one."""
    keys = list(keys)
    parts = SPLIT.parts_of(keys)
    other = next(i for i in range(1, len(keys)) if (parts[i] != parts[0]) is apart)
    return keys[0], keys[other]


def test_no_leak(writer: Any) -> None:
    report = check_split(SPLIT, writer)
    assert report.clean
    assert (report.leaks, report.total, report.skipped) == ((), 0, {})
    assert report.counts == {"images": SPLIT.assign(writer, "images").counts}


def test_equal_content_in_two_parts(writer: Any) -> None:
    first, second = a_pair(range(100, 200), apart=True)
    writer["images"][second] = writer["images", first]
    kept, same = a_pair(range(300, 400), apart=False)
    writer["images"][same] = writer["images", kept]
    report = check_split(SPLIT, writer)
    assert (report.total, report.clean) == (1, False)
    (leak,) = report.leaks
    assert (leak.kind, leak.column, leak.count) == ("content", "images", 2)
    assert leak.samples == tuple(zip(SPLIT.parts_of([first, second]), [first, second], strict=True))
    # By the groups that explain it there is none: both are in one part then.
    group = hash_split({"train": 0.5, "test": 0.5}, salt="leaks", group=lambda key: first if key == second else key)
    assert check_split(group, writer).clean


def test_many_copies_are_one_leak_and_all_are_counted(writer: Any) -> None:
    writer["images"].write(np.arange(1000, 1200), np.zeros((200, 6, 6), np.uint16))
    for key in range(100, 150):
        writer["images"][key + 2000] = writer["images", key]
    report = check_split(SPLIT, writer, limit=3)
    codes = dict(zip(range(5000), SPLIT.parts_of(range(5000)), strict=True))
    crossing = [key for key in range(100, 150) if codes[key] != codes[key + 2000]]
    assert report.total == 1 + len(crossing)
    assert len(report.leaks) == 3
    assert [leak.samples[0][1] for leak in report.leaks] == crossing[:3]
    assert check_split(SPLIT, writer, limit=1000).leaks[-1].count == 200
    assert {part for part, _ in check_split(SPLIT, writer, limit=1000).leaks[-1].samples} == {"train", "test"}
    with pytest.raises(InvalidInputError, match="limit"):
        check_split(SPLIT, writer, limit=0)


def test_the_first_of_each_part_is_shown(writer: Any) -> None:
    """Also if the second part has only the last of many copies."""
    parts = SPLIT.parts_of(range(5000, 5200))
    train = [key for key, part in zip(range(5000, 5200), parts, strict=True) if part == "train"][:40]
    test = next(key for key, part in zip(range(5199, 5000, -1), parts[::-1], strict=False) if part == "test")
    train = [key for key in train if key < test]
    writer["images"].write([*train, test], np.zeros((len(train) + 1, 6, 6), np.uint16))
    (leak,) = check_split(SPLIT, writer).leaks
    assert (leak.samples[-1], len(leak.samples), leak.count) == (("test", test), 8, len(train) + 1)


def test_small_values_are_labels_unless_asked(writer: Any) -> None:
    labels = writer.add_ndarray_column("labels", (), np.int64)
    labels.write(np.arange(500), np.arange(500) % 10)
    texts = writer.add_str_column("texts")
    texts.write(np.arange(500), ["short" if i % 2 else f"{i} {'long' * 20}" for i in range(500)])
    first, second = a_pair(range(0, 200, 2), apart=True)
    texts[second] = texts[first]
    report = check_split(SPLIT, writer)
    assert [(leak.column, leak.count) for leak in report.leaks] == [("texts", 2)]
    report = check_split(SPLIT, writer, ["labels", "texts"], small=True)
    assert [(leak.column, leak.count) for leak in report.leaks] == [
        *[("labels", 50)] * 10,
        ("texts", 2),
        ("texts", 250),
    ]


def test_a_group_in_two_parts(writer: Any) -> None:
    patient = writer.add_str_column("patient")
    patient.write(np.arange(500), [f"patient {i // 2}" for i in range(500)])
    report = check_split(SPLIT, writer, "images", group_column="patient")
    parts = SPLIT.parts_of(range(500))
    apart = [i for i in range(0, 500, 2) if parts[i] != parts[i + 1]]
    assert report.total == len(apart) > 80
    assert [leak.kind for leak in report.leaks] == ["group"] * 100
    assert [[key for _, key in leak.samples] for leak in report.leaks] == [[i, i + 1] for i in apart[:100]]
    by_patient = hash_split(group_column="patient")
    assert check_split(by_patient, writer).clean
    assert check_split(by_patient, writer, group_column="patient").clean


def test_columns_without_labels(writer: Any) -> None:
    patient = writer.add_str_column("patient")
    patient.write(np.arange(400), [f"patient {i // 2}" for i in range(400)])
    report = check_split(hash_split(group_column="patient"), writer)
    assert list(report.counts) == ["patient"]
    assert "has no group" in report.skipped["images"]
    with pytest.raises(SampleNotFoundError, match="'images' has no group"):
        check_split(hash_split(group_column="patient"), writer, "images")


@pytest.mark.parametrize("text", [False, True])
def test_nested_columns(writer: Any, text: bool) -> None:
    """Copies inside one sample are no leak; large samples, which fill several leaves, count as one sample."""
    nested = writer.add_bytes_column("nested", contains_subsamples=True)
    names: list[Any] = [f"s{i}" if text else i for i in range(40)]
    pairs = [(name, j) for name in names for j in range(400 if name == names[3] else 5)]
    nested.write(pairs, [f"{pair} {'x' * 80}".encode() for pair in pairs])
    nested[names[5], 0] = nested[names[5], 1]
    nested[names[3], 0] = nested[names[3], 399]
    assert check_split(SPLIT, writer, "nested").clean
    first, second = a_pair(names, apart=True)
    nested[second, 4] = nested[first, 2]
    report = check_split(SPLIT, writer)
    assert report.total == 1
    assert [key for _, key in report.leaks[0].samples] == [(first, 2), (second, 4)]
    assert report.counts["nested"] == SPLIT.assign(writer, "nested").counts
    nested[names[3], 398] = nested[names[39], 0]
    crossing = len(set(SPLIT.parts_of([names[3], names[39]]))) - 1
    assert check_split(SPLIT, writer, "nested").total == 1 + crossing


def test_an_empty_repository(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.org", remove_old=True)
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("images", (6, 6), np.uint16)
    writer.add_bytes_column("nested", contains_subsamples=True)
    report = check_split(SPLIT, writer, small=True)
    assert report.clean
    assert report.counts == {"images": {"train": 0, "test": 0}, "nested": {"train": 0, "test": 0}}


def test_chunked_arrays_of_equal_content_are_found(writer: Any) -> None:
    column = writer.add_chunked_column("scan", np.uint8, (4, 4))
    for key in range(40):
        column[key] = np.full((9, 9), key, np.uint8)
    assert check_split(SPLIT, writer).clean
    first, second = a_pair(range(40), apart=True)
    column[second] = column[first]
    (leak,) = check_split(SPLIT, writer).leaks
    assert (leak.column, leak.count) == ("scan", 2)
