"""A small neural network in numpy: one hidden layer, trained by gradient descent with momentum."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Network"]

Array = npt.NDArray[Any]


class Network:
    """Classifies images of 64 pixels from 0 to 16 as one of ten digits.

    Parameters
    ----------
    seed
        Seed of the random initial weights.
    """

    def __init__(self, seed: int, hidden: int = 96) -> None:
        rng = np.random.default_rng(seed)
        sizes = (64, hidden, 10)
        self._weights = [
            (rng.standard_normal((before + 1, after)) * (2 / before) ** 0.5).astype(np.float32)
            for before, after in pairwise(sizes)
        ]
        self._velocities = [np.zeros_like(weights) for weights in self._weights]

    def _layers(self, images: Array) -> tuple[Array, Array, Array]:
        inputs = _with_one(images.reshape(len(images), -1).astype(np.float32) / 16)
        hidden = _with_one(np.maximum(inputs @ self._weights[0], 0))
        return inputs, hidden, hidden @ self._weights[1]

    def step(self, images: Array, labels: Array, rate: float = 0.05, momentum: float = 0.9) -> None:
        """One step of gradient descent on a batch: images (n, 8, 8), labels (n,)."""
        inputs, hidden, scores = self._layers(images)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        shares[np.arange(len(labels)), labels] -= 1
        shares /= len(labels)
        back = (shares @ self._weights[1][:-1].T) * (hidden[:, :-1] > 0)
        for weights, velocity, gradient in zip(
            self._weights, self._velocities, (inputs.T @ back, hidden.T @ shares), strict=True
        ):
            velocity *= momentum
            velocity -= rate * gradient
            weights += velocity

    def accuracy(self, images: Array, labels: Array) -> float:
        """Share of the images (n, 8, 8) whose class is the label, from 0 to 1."""
        return float((self._layers(images)[2].argmax(axis=1) == labels).mean())


def _with_one(values: Array) -> Array:
    """With a last column of ones, for the bias."""
    return np.concatenate([values, np.ones((len(values), 1), np.float32)], axis=1)
