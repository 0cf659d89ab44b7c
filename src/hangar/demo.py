"""The demonstration: stores scikit-learn's handwritten digits and photographs in a repository.

It uses commands as a user would, and Python for arrays in memory. At the end it compares the samples of every commit
with the input. A :class:`Narrator` presents it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from hangar.errors import CorruptionError, InvalidStateError
from hangar.repository import Repository

__all__ = ["DemoReport", "Narrator", "run_demo"]

PHOTOGRAPHS: Final = ("china.jpg", "flower.jpg")
WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RELABELLED: Final = {5: 9, 37: 3, 905: 9}
"""New labels of the samples that are changed on a branch."""


class Narrator(Protocol):
    """Presents the demonstration to a user."""

    def say(self, text: str) -> None:
        """Show a paragraph of text."""

    def run(self, *words: str) -> None:
        """Run a ``hangar`` command in the repository, and show it with its output."""

    def python(self, code: str, action: Callable[[], None]) -> None:
        """Show ``code``, and run ``action``, which does the same."""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Result of the demonstration. Every sample of both commits was compared with the input."""

    directory: Path
    first_commit: str
    second_commit: str
    samples: int
    relabelled: int
    compared: int


@dataclass(frozen=True, slots=True)
class _Data:
    """The input data."""

    images: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    photographs: dict[str, np.ndarray[Any, Any]]
    folder: Path


def _load() -> _Data:
    try:
        import sklearn.datasets
        from sklearn.datasets import load_digits, load_sample_image

        flat, labels = load_digits(return_X_y=True)
        photographs = {Path(name).stem: np.array(load_sample_image(name)) for name in PHOTOGRAPHS}
    except ImportError as error:
        raise InvalidStateError(
            f"the demo needs scikit-learn and pillow ({error}): run `pip install 'hangar[demo]'`"
        ) from None
    folder = Path(sklearn.datasets.__file__).parent / "images"
    return _Data(flat.reshape(-1, 8, 8).astype(np.uint8), labels.astype(np.int64), photographs, folder)


def run_demo(directory: Path, narrator: Narrator) -> DemoReport:
    """Fill, commit, branch, change, look back, and compare.

    Parameters
    ----------
    directory
        An existing directory for the repository.
    narrator
        Presents the steps.

    Raises
    ------
    InvalidStateError
        scikit-learn or pillow is not installed.
    RepositoryExistsError
        There is a repository in ``directory``.
    CorruptionError
        A sample differs from the input.
    """
    data = _load()
    _fill(directory, data, narrator)
    repository = Repository(directory)
    with repository:
        first = repository.resolve("master")
        _relabel(repository, narrator)
        second = repository.resolve("relabel")
        _look(narrator)
        compared = _compare(repository, data, {first: data.labels, second: _corrected(data.labels)}, narrator)
    narrator.run("fsck", "--data")
    return DemoReport(
        directory=directory,
        first_commit=first,
        second_commit=second,
        samples=2 * len(data.labels) + len(data.photographs) + len(WORDS),
        relabelled=len(RELABELLED),
        compared=compared,
    )


def _fill(directory: Path, data: _Data, narrator: Narrator) -> None:
    narrator.say(
        "A repository is a directory with a .hangar folder in it. "
        "This one is for handwritten digits and two photographs."
    )
    narrator.run("init", "--name", "Ada Lovelace", "--email", "ada@example.com")
    narrator.say("Samples are stored in columns of arrays of one type and shape, of text, or of bytes.")
    height, width, channels = map(str, next(iter(data.photographs.values())).shape)
    narrator.run("column", "create", "images", "UINT8", "8", "8")
    narrator.run("column", "create", "labels", "INT64")
    narrator.run("column", "create", "names", "STR")
    narrator.run("column", "create", "photos", "UINT8", height, width, channels)
    narrator.say(f"The {len(data.images):,} digits are arrays in memory, so Python writes them, all in one batch.")

    def write() -> None:
        with Repository(directory) as repository:
            writer: Any = repository.checkout(write=True)
            with writer:
                writer["images"].write(range(len(data.images)), data.images)
                writer["labels"].write(range(len(data.labels)), data.labels)
                writer["names"].write(range(len(WORDS)), WORDS)
            writer.close()

    narrator.python(
        """
        writer = repo.checkout(write=True)
        with writer:
            writer["images"].write(range(1797), images)
            writer["labels"].write(range(1797), labels)
            writer["names"].write(range(10), ["zero", "one", "two", ...])
        writer.close()
        """,
        write,
    )
    narrator.say("The photographs are files in a folder, so a command brings them in.")
    folder = directory / "photographs"
    folder.mkdir(exist_ok=True)
    for name in PHOTOGRAPHS:
        shutil.copyfile(data.folder / name, folder / name)
    narrator.run("import", "photos", str(folder))
    narrator.say("Everything is on disk already, but no commit has it yet:")
    narrator.run("status")
    narrator.run("commit", "-m", "The digits as they came, and two photographs")


def _corrected(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    corrected: np.ndarray[Any, Any] = labels.copy()
    corrected[list(RELABELLED)] = list(RELABELLED.values())
    return corrected


def _relabel(repository: Repository, narrator: Narrator) -> None:
    narrator.say("Some labels look doubtful. Another opinion belongs on a branch.")
    narrator.run("show", ":images/37")
    narrator.run("checkout", "-b", "relabel")

    def write() -> None:
        writer: Any = repository.checkout(write=True, branch="relabel")
        with writer:
            for key, label in RELABELLED.items():
                writer["labels"][key] = np.array(label)
        writer.close()

    narrator.python(
        """
        writer = repo.checkout(write=True, branch="relabel")
        with writer:
            for key, label in {5: 9, 37: 3, 905: 9}.items():
                writer["labels"][key] = np.array(label)
        writer.close()
        """,
        write,
    )
    narrator.run("ls", "labels", "--changed")
    narrator.run("commit", "-m", "Three labels by a second pair of eyes")


def _look(narrator: Narrator) -> None:
    narrator.say("Two commits, two branches, and nothing left to commit:")
    narrator.run("log", "--graph")
    narrator.run("status")
    narrator.say(
        "The second commit stores three labels and shares all else with the first. Each branch has its own label."
    )
    narrator.run("show", "master:labels/5")
    narrator.run("show", "relabel:labels/5")


def _compare(repository: Repository, data: _Data, labels: dict[str, np.ndarray[Any, Any]], narrator: Narrator) -> int:
    """Compare every sample of each commit with the input. Returns their number."""
    narrator.say("Both commits are opened again, and every sample is compared with the input.")
    compared = 0

    def read() -> None:
        nonlocal compared
        for commit, expected in labels.items():
            compared += _compare_commit(repository, commit, data, expected)

    narrator.python(
        """
        old = repo.checkout(branch="master")
        assert np.array_equal(old["images"].read(range(1797)), images)
        assert np.array_equal(old["labels"].read(range(1797)), labels)
        assert np.array_equal(old["photos", "china"], china)
        """,
        read,
    )
    narrator.say(f"{compared:,} samples compared: all equal the input.")
    return compared


def _compare_commit(repository: Repository, commit: str, data: _Data, labels: np.ndarray[Any, Any]) -> int:
    with repository.checkout(commit=commit) as reader:
        keys = range(len(data.images))
        same = {
            "images": np.array_equal(reader["images"].read(keys), data.images),
            "labels": np.array_equal(reader["labels"].read(keys), labels),
            "names": tuple(reader["names"][list(range(len(WORDS)))]) == WORDS,
            "photos": all(np.array_equal(reader["photos", key], one) for key, one in data.photographs.items()),
        }
        found = sum(len(column) for column in reader.values())
    wrong = [name for name, good in same.items() if not good]
    if wrong or found != 2 * len(data.images) + len(WORDS) + len(data.photographs):
        raise CorruptionError(
            f"commit {commit[:12]} differs from the input: {', '.join(wrong) or 'samples are missing'}"
        )
    return found
