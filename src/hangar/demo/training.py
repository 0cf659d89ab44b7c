"""Training in the demonstration: one network on two commits, a run that is stopped and resumed, and a plot of the accuracies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from hangar.dataset import Manifest, NumpyDataset, load_split, make_numpy_dataset
from hangar.demo.network import Network
from hangar.demo.plot import Curve, draw
from hangar.errors import CorruptionError
from hangar.repository import Repository

__all__ = ["EPOCHS", "Training", "resume_run", "save_curves", "train"]

EPOCHS: Final = 40
BATCH: Final = 32
SEED: Final = 7
AGAIN: Final = 12
"""Batch that is read again."""
STOPPED: Final = (3, 20)
"""Epoch, from 0, and batch in it, after which the run is stopped."""


@dataclass(frozen=True, slots=True)
class Training:
    """Result of a training run.

    Attributes
    ----------
    commit
        The commit it was trained on.
    accuracies
        Share of the test samples that were recognized, after each epoch.
    batches
        A digest of each batch, in order.
    stats
        Figures of all epochs, as text.
    wait_share
        Share of the time in which the network waited for data.
    """

    commit: str
    accuracies: tuple[float, ...]
    batches: tuple[str, ...]
    stats: str
    wait_share: float


def train(repository: Repository, commit: str, judged_by: str) -> Training:
    """Train a network on the train part of a commit, and test it on the test part with the labels of another one."""
    with repository.checkout(commit=judged_by) as judge:
        test = load_split(judge, "default").assign(judge, "images").positions("test")
        images, labels = judge["images"].read(positions=test), judge["labels"].read(positions=test)
    network, accuracies, batches = Network(SEED), [], []
    data = _data(repository, commit)
    waited = seconds = 0.0
    for _ in range(EPOCHS):
        for batch in data:
            network.step(*batch)
            batches.append(_digest(batch))
        accuracies.append(network.accuracy(images, labels))
        stats = data.stats()
        waited, seconds = waited + stats.waited, seconds + stats.seconds
    return Training(commit, tuple(accuracies), tuple(batches), str(data.stats()), waited / seconds)


def _data(repository: Repository, commit: str) -> NumpyDataset:
    with repository.checkout(commit=commit) as reader:
        keys = load_split(reader, "default").assign(reader, "images").keys("train")
        columns = [reader["images"], reader["labels"]]
        return make_numpy_dataset(columns, [(key, key) for key in keys], batch_size=BATCH, seed=SEED)


def resume_run(repository: Repository, commit: str, whole: Training, file: Path) -> int:
    """Begin a run again, stop it in the middle of an epoch, and go on in the state of its manifest.

    Returns
    -------
    int
        Number of batches after the stop that were compared with those of the run that was not stopped: all are equal.

    Raises
    ------
    CorruptionError
        One differs.
    """
    data = _data(repository, commit)
    seen = [_digest(batch) for batch in _until_stopped(data)]
    Manifest.of(data, split=("default", "train")).save(file)
    manifest = Manifest.load(file)
    resumed = _data(repository, commit)
    resumed.load_state_dict(manifest.sampler.state_dict())
    rest = [_digest(batch) for _ in range(2) for batch in resumed]  # the rest of the epoch, and the next one
    again = _digest(manifest.batch(AGAIN))
    expected = whole.batches[: len(seen) + len(rest)]
    seen_keys = len(set(manifest.seen(STOPPED[0])))
    if (*seen, *rest) != expected or again != expected[AGAIN] or seen_keys != STOPPED[1] * BATCH:
        raise CorruptionError("the run that was resumed differs from the one that was not stopped")
    return len(rest)


def _until_stopped(data: NumpyDataset) -> Iterator[Any]:
    epoch, stop = STOPPED
    for _ in range(epoch):
        yield from data
    for number, batch in enumerate(data, 1):
        yield batch
        if number == stop:
            return


def _digest(batch: Any) -> str:
    images, labels = batch
    return blake2b(images.tobytes() + labels.tobytes(), digest_size=16).hexdigest()


def save_curves(first: Training, second: Training, file: Path) -> None:
    """Draw the accuracies of the runs on both commits."""
    picture = draw(
        "One network, two commits of the same digits",
        "share of test digits that are recognized, after each epoch",
        [
            Curve("master", "300 labels wrong", "#d1570a", first.accuracies),
            Curve("relabel", "the labels corrected", "#0a66c2", second.accuracies),
        ],
    )
    file.write_text(picture, "utf-8")
