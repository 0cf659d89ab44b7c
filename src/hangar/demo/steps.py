"""The steps of ``hangar demo``: store scikit-learn's handwritten digits and photographs, train a network on two commits.

It uses commands as a user would, and Python for arrays in memory. At the end it compares the samples of every commit
with the input. A :class:`Presenter` presents it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from hangar.demo.training import Training, resume_run, save_curves, train
from hangar.errors import CorruptionError, InvalidStateError
from hangar.repository import Repository

__all__ = ["DemoReport", "Presenter", "run_demo"]

PHOTOGRAPHS: Final = ("china.jpg", "flower.jpg")
WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WRONG: Final = 300
"""Labels that are made wrong on purpose, for the second look to find."""
DOUBTFUL: Final = (5, 37, 905)
"""Some of their samples."""


class Presenter(Protocol):
    """Presents the demonstration to a user."""

    def say(self, text: str) -> None:
        """Show a paragraph of text."""

    def run(self, *words: str) -> None:
        """Run a ``hangar`` command in the repository, and show it with its output."""

    def python(self, code: str, action: Callable[[], None]) -> None:
        """Show ``code``, and run ``action``, which does the same."""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Result of the demonstration. Every sample of both commits was compared with the input.

    Attributes
    ----------
    first_accuracy, second_accuracy
        Share of the test digits that a network recognizes, after training on each commit.
    resumed_batches
        Batches of a resumed run that were compared with those of one that was not stopped.
    picture
        The curves of both runs, SVG.
    """

    directory: Path
    first_commit: str
    second_commit: str
    samples: int
    relabelled: int
    compared: int
    first_accuracy: float
    second_accuracy: float
    resumed_batches: int
    picture: Path


@dataclass(frozen=True, slots=True)
class _Data:
    """The input data."""

    images: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    noisy: np.ndarray[Any, Any]
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
    labels = labels.astype(np.int64)
    return _Data(flat.reshape(-1, 8, 8).astype(np.uint8), labels, _noisy(labels), photographs, folder)


def _noisy(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Labels with mistakes: :data:`WRONG` of them are another digit."""
    rng = np.random.default_rng(2026)
    others = np.setdiff1d(np.arange(len(labels)), DOUBTFUL)
    wrong = np.r_[list(DOUBTFUL), rng.choice(others, WRONG - len(DOUBTFUL), replace=False)]
    noisy: np.ndarray[Any, Any] = labels.copy()
    noisy[wrong] = (labels[wrong] + rng.integers(1, 10, WRONG)) % 10
    return noisy


def run_demo(directory: Path, presenter: Presenter, picture: Path | None = None) -> DemoReport:
    """Fill, commit, branch, change, look back, compare, and train.

    Parameters
    ----------
    directory
        An existing directory for the repository.
    presenter
        Presents the steps.
    picture
        File for the curves of the training runs; default ``accuracy.svg`` in ``directory``.

    Raises
    ------
    InvalidStateError
        scikit-learn or pillow is not installed.
    RepositoryExistsError
        There is a repository in ``directory``.
    CorruptionError
        A sample differs from the input, or a batch of the resumed run from that of the first one.
    """
    data = _load()
    picture = directory / "accuracy.svg" if picture is None else picture
    _fill(directory, data, presenter)
    repository = Repository(directory)
    with repository:
        first = repository.rev_parse("master")
        _relabel(repository, data, presenter)
        second = repository.rev_parse("relabel")
        _look(presenter)
        compared = _compare(repository, data, {first: data.noisy, second: data.labels}, presenter)
        runs = _train(repository, first, second, picture, presenter)
        resumed = _resume(repository, runs[1], directory / "run.json", presenter)
    presenter.run("fsck", "--data")
    return DemoReport(
        directory=directory,
        first_commit=first,
        second_commit=second,
        samples=2 * len(data.labels) + len(data.photographs) + len(WORDS),
        relabelled=WRONG,
        compared=compared,
        first_accuracy=runs[0].accuracies[-1],
        second_accuracy=runs[1].accuracies[-1],
        resumed_batches=resumed,
        picture=picture,
    )


def _fill(directory: Path, data: _Data, presenter: Presenter) -> None:
    presenter.say(
        "A repository is a directory with a .hangar folder in it. "
        "This one is for handwritten digits and two photographs."
    )
    presenter.run("init", "--name", "Ada Lovelace", "--email", "ada@example.com")
    presenter.say("Samples are stored in columns of arrays of one type and shape, of text, or of bytes.")
    height, width, channels = map(str, next(iter(data.photographs.values())).shape)
    presenter.run("column", "create", "images", "UINT8", "8", "8")
    presenter.run("column", "create", "labels", "INT64")
    presenter.run("column", "create", "names", "STR")
    presenter.run("column", "create", "photos", "UINT8", height, width, channels)
    presenter.say(f"The {len(data.images):,} digits are arrays in memory, so Python writes them, all in one batch.")

    def write() -> None:
        with Repository(directory) as repository:
            writer: Any = repository.checkout(write=True)
            with writer:
                writer["images"].write(range(len(data.images)), data.images)
                writer["labels"].write(range(len(data.noisy)), data.noisy)
                writer["names"].write(range(len(WORDS)), WORDS)
            writer.close()

    presenter.python(
        """
        writer = repo.checkout(write=True)
        with writer:
            writer["images"].write(range(1797), images)
            writer["labels"].write(range(1797), noisy)
            writer["names"].write(range(10), ["zero", "one", "two", ...])
        writer.close()
        """,
        write,
    )
    presenter.say("The photographs are files in a folder, so a command imports them.")
    folder = directory / "photographs"
    folder.mkdir(exist_ok=True)
    for name in PHOTOGRAPHS:
        shutil.copyfile(data.folder / name, folder / name)
    presenter.run("import", "photos", str(folder))
    presenter.say(
        "A split is a rule that is stored with the data: which digits are for training, and which for testing."
    )
    presenter.run("split", "create", "default", "train=0.8", "test=0.2")
    presenter.run("split", "check", "default", "-d", "images")
    presenter.say("Everything is on disk already, but no commit has it yet:")
    presenter.run("status")
    presenter.run("commit", "-m", "Digits with labels made in a hurry, and two photographs")


def _corrected(data: _Data) -> dict[int, int]:
    """The labels that the second look changes."""
    wrong = np.flatnonzero(data.noisy != data.labels)
    return dict(zip(wrong.tolist(), data.labels[wrong].tolist(), strict=True))


def _relabel(repository: Repository, data: _Data, presenter: Presenter) -> None:
    presenter.say(
        f"Some labels look doubtful (the demo made {WRONG} of them wrong). A second look belongs on a branch."
    )
    presenter.run("show", ":images/37")
    presenter.run("show", ":labels/37")
    presenter.run("checkout", "-b", "relabel")

    def write() -> None:
        writer: Any = repository.checkout(write=True, branch="relabel")
        corrected = _corrected(data)
        writer["labels"].write(list(corrected), np.array(list(corrected.values())))
        writer.close()

    presenter.python(
        """
        writer = repo.checkout(write=True, branch="relabel")
        writer["labels"].write(list(corrected), np.array(list(corrected.values())))
        writer.close()
        """,
        write,
    )
    presenter.run("status")
    presenter.run("commit", "-m", "Labels after a second look")


def _look(presenter: Presenter) -> None:
    presenter.say("Two commits, two branches, and nothing left to commit:")
    presenter.run("log", "--graph")
    presenter.run("status")
    presenter.say(
        f"The second commit stores {WRONG} labels and shares all else with the first. Each branch has its own label."
    )
    presenter.run("show", "master:labels/37")
    presenter.run("show", "relabel:labels/37")


def _compare(repository: Repository, data: _Data, labels: dict[str, np.ndarray[Any, Any]], presenter: Presenter) -> int:
    """Compare every sample of each commit with the input. Returns their number."""
    presenter.say("Both commits are opened again, and every sample is compared with the input.")
    compared = 0

    def read() -> None:
        nonlocal compared
        for commit, expected in labels.items():
            compared += _compare_commit(repository, commit, data, expected)

    presenter.python(
        """
        old = repo.checkout(branch="master")
        assert np.array_equal(old["images"].read(range(1797)), images)
        assert np.array_equal(old["labels"].read(range(1797)), noisy)
        assert np.array_equal(old["photos", "china"], china)
        """,
        read,
    )
    presenter.say(f"{compared:,} samples compared: all equal the input.")
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


def _train(
    repository: Repository, first: str, second: str, picture: Path, presenter: Presenter
) -> tuple[Training, Training]:
    """Train a network on each commit, and draw the curves."""
    presenter.say(
        "Do corrected labels help? The same network is trained on the train part of each commit, and tested on the "
        "test part with the corrected labels."
    )
    runs: list[Training] = []
    presenter.python(
        """
        for branch in ("master", "relabel"):
            reader = repo.checkout(branch=branch)
            train = load_split(reader, "default").assign(reader, "images").keys("train")
            data = make_numpy_dataset([reader["images"], reader["labels"]], [(k, k) for k in train], batch_size=32)
            for epoch in range(40):
                for images, labels in data:  # in a new random order each time
                    network.step(images, labels)
        """,
        lambda: runs.extend(train(repository, commit, second) for commit in (first, second)),
    )
    for name, run in zip(("master", "relabel"), runs, strict=True):
        presenter.say(
            f"{name}: {run.accuracies[-1]:.1%} of the test digits are recognized. The last epoch: {run.stats}. "
            f"Over all epochs {run.wait_share:.0%} of the time was spent waiting for data."
        )
    save_curves(runs[0], runs[1], picture)
    presenter.say(f"The curves of both runs are in {picture}")
    return runs[0], runs[1]


def _resume(repository: Repository, whole: Training, file: Path, presenter: Presenter) -> int:
    """Stop a run in the middle of an epoch, and go on from its manifest. Returns the number of compared batches."""
    presenter.say("A run is stopped in the middle of its fourth epoch, and goes on from a file of some hundred bytes.")
    compared: list[int] = []
    presenter.python(
        """
        Manifest.of(data, split=("default", "train")).save("run.json")
        manifest = Manifest.load("run.json")
        data.load_state_dict(manifest.sampler.state_dict())  # in another process, on another day
        manifest.batch(12)  # and any batch of the run again
        """,
        lambda: compared.append(resume_run(repository, whole.commit, whole, file)),
    )
    presenter.say(
        f"The {compared[0]} batches after the stop were compared with those of the run that was not stopped, and so was "
        f"batch 12: all are identical. The manifest has {file.stat().st_size:,} bytes."
    )
    return compared[0]
