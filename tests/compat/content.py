"""Content of columns in one plain form, to compare what was put in, what Hangar reads and what the independent reader reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from hangar import Repository
from tests.compat import independent_reader as independent

_INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
DTYPES = dict(enumerate(["bool", *_INTEGERS, "float16", "float32", "float64", "complex64", "complex128"], 1))
"""Names of the element types that numpy has, by code."""
LISTED_SAMPLES, LISTED_CHARACTERS = 8, 3_000


class Content(NamedTuple):
    """What a column holds: the number of samples and a hash of them, and, where they are few, a line for each."""

    summary: str
    lines: list[str]


Contents: TypeAlias = dict[str, Content]


def line(key: Any, value: Any) -> str:
    """One sample: its key, what it is, and its logical bytes in hex."""
    if isinstance(value, str):
        return f"{key!r}: str {value.encode().hex()}"
    if isinstance(value, bytes):
        return f"{key!r}: bytes {value.hex()}"
    array = np.asarray(value)
    little = array.astype(array.dtype.newbyteorder("<"))
    return f"{key!r}: {array.dtype.name} {array.shape} {little.tobytes().hex()}"


def content(samples: Iterable[tuple[Any, Any]]) -> Content:
    lines = [line(key, value) for key, value in samples]
    text = "\n".join(lines)
    summary = f"{len(lines)} samples, {hashlib.sha256(text.encode()).hexdigest()[:32]}"
    return Content(summary, lines if len(lines) <= LISTED_SAMPLES and len(text) <= LISTED_CHARACTERS else [])


def by_key(samples: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """Samples in the order that columns have: ints by value, then strings by code point."""
    return sorted(samples.items(), key=lambda item: (isinstance(item[0], str), item[0]))


def contents(columns: Mapping[str, Mapping[Any, Any]]) -> Contents:
    return {name: content(by_key(samples)) for name, samples in sorted(columns.items())}


def read_by_hangar(repo: Repository, commit: str) -> Contents:
    checkout = repo.checkout(commit=commit)
    try:
        return {name: content(column.items()) for name, column in checkout.items()}
    finally:
        checkout.close()


def plain(value: independent.Value) -> Any:
    if value.kind == independent.STR:
        return value.data.decode()
    if value.kind == independent.BYTES:
        return value.data
    dtype = np.dtype(DTYPES[value.dtype]).newbyteorder("<")
    return np.frombuffer(value.data, dtype).reshape(value.shape)


def read_independently(columns: Mapping[str, independent.Column]) -> Contents:
    return {
        name: content((key, plain(value)) for key, value in column.values.items())
        for name, column in sorted(columns.items())
    }
