"""Samples of one number, for tests of a writer's batches."""

from __future__ import annotations

from typing import Any

import numpy as np


def value(number: int) -> np.ndarray[Any, Any]:
    return np.full(40, number, np.uint8)


def numbers(column: Any) -> dict[Any, int]:
    return {key: int(v[0]) for key, v in column.items()}
