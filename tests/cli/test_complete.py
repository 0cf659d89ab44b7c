"""What shells are offered: samples, found without reading all of a column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from click.shell_completion import ShellComplete

from hangar import Repository
from hangar.cli import main
from hangar.cli.complete import MOST_SAMPLES
from hangar.columns import FlatSampleReader
from tests.cli.shell import Shell

NUMBERS = [5, 50, 51, 500, 599, 6]


@pytest.fixture
def labels(empty: Shell) -> Shell:
    """Integers, texts that look like integers, and many texts; and a nested column."""
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        column = writer.add_ndarray_column("labels", shape=(), dtype="int64")
        texts = [f"cat_{number:05d}" for number in range(3_000)]
        keys: list[Any] = [*NUMBERS, "5", "55", "dog", *texts]
        column.write(keys, np.arange(len(keys)))
        nested = writer.add_str_column("boxes", contains_subsamples=True)
        nested.update({"cat": {"left": "l", "right": "r", 7: "n"}, "a/b": {"c": "x"}})
        writer.commit("First")
        writer["labels"]["doe"] = np.array(1)
        writer.close()
    return empty


def offered(shell: Shell, *words: str) -> list[str]:
    completer = ShellComplete(main, {}, "hangar", "_HANGAR_COMPLETE")
    found = completer.get_completions(["-C", str(shell.path), *words[:-1]], words[-1])
    return [one.value for one in found]


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("d", ["doe", "dog"]),
        ("dog", ["dog"]),
        ("5", ["50", "51", "500", "599", "55"]),
        ("59", ["599"]),
        ("6", ["6"]),
        ("str:5", ["str:5", "str:55"]),
        ("int:50", ["int:50", "int:500"]),
        ("cat_0012", [f"cat_{number:05d}" for number in range(120, 130)]),
        ("x", []),
        ("07", []),
    ],
)
def test_samples_are_completed(labels: Shell, prefix: str, found: list[str]) -> None:
    assert offered(labels, "rm", "labels", prefix) == found


def test_what_is_completed_is_bounded(labels: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    at = FlatSampleReader.at

    def counted(self: FlatSampleReader, position: int) -> Any:
        nonlocal calls
        calls += 1
        return at(self, position)

    monkeypatch.setattr(FlatSampleReader, "at", counted)
    assert len(offered(labels, "rm", "labels", "")) == MOST_SAMPLES
    assert len(offered(labels, "rm", "labels", "cat")) == MOST_SAMPLES
    assert calls < 300


def test_where_samples_are_completed(labels: Shell) -> None:
    assert offered(labels, "restore", "labels", "do") == ["doe", "dog"]
    assert offered(labels, "rm", "labels", "cat_00001", "do") == ["doe", "dog"]
    assert offered(labels, "export", "labels", "-s", "do") == ["doe", "dog"]
    assert offered(labels, "show", "ma") == ["master"]
    assert offered(labels, "show", "master:l") == ["master:labels"]
    assert offered(labels, "show", "master:labels/do") == ["master:labels/dog"]
    assert offered(labels, "show", ":labels/do") == [":labels/doe", ":labels/dog"]
    assert offered(labels, "rm", "boxes", "c") == ["cat"]
    assert offered(labels, "rm", "boxes", "cat/") == ["cat/7", "cat/left", "cat/right"]
    assert offered(labels, "rm", "boxes", "a/b/") == ["a/b/c"]
    assert offered(labels, "rm", "nope", "c") == []


def test_the_sample_of_a_log_is_completed(labels: Shell) -> None:
    assert offered(labels, "log", "--column", "labels", "--sample", "do") == ["doe", "dog"]
    assert offered(labels, "log", "--sample", "do") == []


def test_help_completes_commands(labels: Shell) -> None:
    assert offered(labels, "help", "com") == ["commit", "completion"]
    assert offered(labels, "help", "column", "re") == ["remove", "rename"]
    assert offered(labels, "help", "nosuch", "") == offered(labels, "help", "commit", "") == []


def test_words_of_diff_are_completed(labels: Shell) -> None:
    """Revisions, columns, and samples of a column."""
    assert offered(labels, "diff", "") == ["master", "boxes", "labels"]
    assert offered(labels, "diff", "master", "lab") == ["labels"]
    assert offered(labels, "diff", "labels/do") == ["labels/doe", "labels/dog"]
    assert offered(labels, "diff", "boxes/cat/l") == ["boxes/cat/left"]
    assert offered(labels, "diff", "nope/x") == []
