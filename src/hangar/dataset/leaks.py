"""Check a split for leaks: samples of one group in two parts, or equal content in two parts.

A model that has seen a test sample, or another sample of its group, in training looks better than it is. Content is
compared by digest, so no sample is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from hangar.columns import NestedSampleReader
from hangar.dataset.keyhash import Reader, derive_hash_key, encoded_key_batches, group_encoder
from hangar.dataset.splits import Codes, Holder, Split
from hangar.digest import digest_array
from hangar.errors import InvalidInputError, SampleNotFoundError
from hangar.hashing import hash_list
from hangar.objects.node import ARRAYS, BY_DIGEST, DIGEST_TAG, MIXED, Node
from hangar.objects.order import select_keys
from hangar.objects.samples import distinct_samples
from hangar.objects.scan import leaves

__all__ = ["Leak", "LeakReport", "check_split"]

LIMIT: Final = 100
_MAX_SAMPLES: Final = 8
_TAG: Final = bytes((DIGEST_TAG,))

DigestPrefixes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Leak:
    """A group, or a value under several keys, that is in more than one part.

    Attributes
    ----------
    kind
        ``'group'`` or ``'content'``.
    column
        The column of the samples.
    samples
        Part and key of some of the samples (at least one of each part, and up to eight): in a nested column for content
        the key is a pair of sample and subsample.
    count
        Number of all samples of this group or content.
    """

    kind: Literal["group", "content"]
    column: str
    samples: tuple[tuple[str, Any], ...]
    count: int


@dataclass(frozen=True, slots=True)
class LeakReport:
    """Result of :func:`check_split`.

    Attributes
    ----------
    leaks
        The first leaks of each column and kind, up to the limit.
    total
        Number of all leaks.
    counts
        For each checked column, the number of samples of each part.
    skipped
        Columns that were not checked, and why.
    """

    leaks: tuple[Leak, ...]
    total: int
    counts: dict[str, dict[str, int]]
    skipped: dict[str, str]

    @property
    def clean(self) -> bool:
        """Whether there is no leak in the checked columns."""
        return not self.total


def check_split(
    split: Split,
    checkout: Holder,
    columns: Sequence[str] | str | None = None,
    *,
    group_column: str = "",
    small: bool = False,
    limit: int = LIMIT,
) -> LeakReport:
    """Find groups and equal values that are in more than one part of a split.

    Parameters
    ----------
    split
        The split.
    checkout
        Checkout with the columns.
    columns
        Names of the columns to check. By default all columns; a column with a sample that has no group label is then
        skipped.
    group_column
        Check the groups of this column, whether the split is made by it or not. By default the groups of the split.
    small
        Compare small values too: numbers, and texts up to 64 bytes. By default they are taken for labels, which may
        be equal, and are not compared.
    limit
        Maximum number of leaks to list for each kind and column. All are counted.

    Returns
    -------
    LeakReport
        The leaks, and what was checked.

    Raises
    ------
    ColumnNotFoundError, SampleNotFoundError
        (``KeyError``) there is no such column; or a sample of a column that was named has no group label.
    InvalidInputError
        (a ``ValueError``) ``limit`` is not a positive int, or the group column does not hold one integer or text for
        each sample.
    """
    limit = _check_limit(limit)
    names = [columns] if isinstance(columns, str) else list(checkout.keys() if columns is None else columns)
    labels = group_column or split.group_column
    encoder = group_encoder(
        "" if labels else split.group_prefix, None if labels else split.group, checkout[labels] if labels else None
    )
    leaks: list[Leak] = []
    total = 0
    counts: dict[str, dict[str, int]] = {}
    skipped: dict[str, str] = {}
    for name in names:
        column: Reader = checkout[name]
        try:
            assigned = split.assign(checkout, name)
            groups = _group_digests(column, encoder)
        except SampleNotFoundError as error:
            if columns is not None:
                raise
            skipped[name] = str(error)
            continue
        counts[name] = assigned.counts
        digests, samples, positions = _content_digests(column, small=small)
        for kind, keys, codes in (("group", groups, assigned.codes), ("content", digests, assigned.codes[samples])):
            count, runs = _groups_in_several_parts(keys, codes, limit)
            total += count
            for rows in runs:
                chosen = _some_of_each(rows, codes)
                if kind == "group":
                    found = [column.at(int(one)) for one in chosen]
                else:
                    found = _entry_keys(column, positions[chosen])
                parts = [split.names[code] for code in codes[chosen].tolist()]
                leaks.append(Leak(kind, name, tuple(zip(parts, found, strict=True)), len(rows)))  # type: ignore[arg-type]
    return LeakReport(tuple(leaks), total, counts, skipped)


def _check_limit(limit: object) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidInputError(f"limit is an int from 1 on, not {limit!r}")
    return limit


def _some_of_each(rows: Positions, codes: Codes) -> Positions:
    """Some of ``rows``, ascending: the first of each part, and then the first ones."""
    _, firsts = np.unique(codes[rows], return_index=True)
    others = np.setdiff1d(np.arange(len(rows)), firsts)
    some: Positions = rows[np.sort(np.r_[firsts, others][: max(_MAX_SAMPLES, len(firsts))])]
    return some


def _entry_keys(column: Reader, positions: Positions) -> list[Any]:
    nodes, root = column._snapshot()
    assert root is not None
    return list(column._space.decode(select_keys(nodes, root.digest, positions)))


def _group_digests(column: Reader, encoder: Any) -> DigestPrefixes:
    """First 16 bytes of the digest of the group of each sample: uint64, shape (n, 2); shape (0, 2) without groups."""
    if encoder is None:
        return np.empty((0, 2), np.uint64)
    key = derive_hash_key("")
    found = [_prefixes(hash_list(key, encoder(keys))) for keys in encoded_key_batches(column)]
    return np.concatenate(found) if found else np.empty((0, 2), np.uint64)


def _prefixes(digests: Sequence[bytes]) -> DigestPrefixes:
    return np.ascontiguousarray(digest_array(digests)[:, :16]).view(np.uint64)


def _content_digests(column: Reader, *, small: bool) -> tuple[DigestPrefixes, Positions, Positions]:
    """The entries to compare: first 16 bytes of each digest, number of its sample, and its position."""
    digests: list[DigestPrefixes] = []
    samples: list[Positions] = []
    positions: list[Positions] = []
    at = 0
    for leaf, sample_numbers in _leaves_with_samples(column):
        chosen, found = _entry_digests(leaf, small=small)
        if len(chosen):
            digests.append(_prefixes(found))
            samples.append(sample_numbers[chosen])
            positions.append(chosen + at)
        at += len(leaf.keys)
    none = np.empty(0, np.int64)
    if not digests:
        return np.empty((0, 2), np.uint64), none, none
    return np.concatenate(digests), np.concatenate(samples), np.concatenate(positions)


def _leaves_with_samples(column: Reader) -> Iterator[tuple[Node, Positions]]:
    """The leaves of a column. For each entry of a leaf the number of its sample, from 0 in key order."""
    nodes, root = column._snapshot()
    if root is None:
        return
    nested = isinstance(column, NestedSampleReader)
    at, last = 0, b""
    for leaf, _, _ in leaves(nodes, root.digest):
        if not nested:
            yield leaf, np.arange(at, at + len(leaf.keys))
            at += len(leaf.keys)
            continue
        prefixes = distinct_samples(leaf.keys)
        at -= prefixes[0] == last
        numbers = {prefix: at + i for i, prefix in enumerate(prefixes)}
        heads = [key[:9] if key[:1] == b"\x10" else key[: key.find(b"\x00") + 1] for key in leaf.keys]
        yield leaf, np.array([numbers[head] for head in heads], np.int64)
        at, last = at + len(prefixes), prefixes[-1]


def _entry_digests(leaf: Node, *, small: bool) -> tuple[Positions, Sequence[bytes]]:
    """Indices of the entries of a leaf to compare, and their digests. A small value is hashed here."""
    count = len(leaf.keys)
    if leaf.kind in (BY_DIGEST, ARRAYS):
        return np.arange(count), leaf.cells()
    cells = leaf.cells()
    is_digest = [leaf.kind == MIXED and cell[:1] == _TAG for cell in cells]
    if not small:
        return np.flatnonzero(is_digest), [cell[1:] for cell, one in zip(cells, is_digest, strict=True) if one]
    key = derive_hash_key("")
    hashed = hash_list(key, cells)
    return np.arange(count), [
        cell[1:] if one else value for cell, one, value in zip(cells, is_digest, hashed, strict=True)
    ]


def _groups_in_several_parts(digests: DigestPrefixes, codes: Codes, limit: int) -> tuple[int, list[Positions]]:
    """Number of digests that rows of more than one part share, and the rows of the first ``limit`` of them, ascending."""
    if len(digests) < 2:
        return 0, []
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: equal digests keep the order of their rows
    ranked, ordered = digests[order], codes[order]
    starts = np.flatnonzero(np.r_[True, (ranked[1:] != ranked[:-1]).any(axis=1)])
    mixed = np.flatnonzero(np.minimum.reduceat(ordered, starts) != np.maximum.reduceat(ordered, starts))
    mixed = mixed[np.argsort(order[starts[mixed]])]
    ends = np.r_[starts[1:], len(digests)]
    return len(mixed), [order[starts[i] : ends[i]] for i in mixed[:limit]]
