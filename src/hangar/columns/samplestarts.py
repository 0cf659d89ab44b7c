"""Where the samples of a nested column begin, and the subsample keys of each: whole samples are read without the tree.

Built in one pass over the leaves, for a data set that reads whole samples in random order. It takes 4 bytes a sample
and nothing for subsample keys if each sample has the first of the same sequence of keys (such as 0, 1, 2, ...), else 1
or 2 bytes a subsample. A column with more than 65,536 different subsample keys has none.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hangar.columns.sampletable import Positions
from hangar.errors import CorruptionError
from hangar.names import SampleKey
from hangar.objects.bulk import keys_of
from hangar.objects.node import Root
from hangar.objects.samples import split_samples
from hangar.objects.store import NodeStore
from hangar.schema.keys import decode_keys, encode_key

__all__ = ["SampleStarts", "build_starts"]

_MOST_NAMES: Final = 2**16

Numbers = npt.NDArray[np.int64]


class SampleStarts:
    """The samples of one nested column of one commit, by position.

    Parameters
    ----------
    starts
        Position of the first subsample of each sample, and at the end their number: shape (samples + 1,).
    codes
        Index in ``names`` of the key of each subsample; empty if it is the place of the subsample in its sample.
    names
        The different subsample keys.
    """

    __slots__ = ("_codes", "_names", "_starts")

    def __init__(
        self,
        starts: npt.NDArray[np.unsignedinteger[Any]],
        codes: npt.NDArray[np.unsignedinteger[Any]],
        names: list[SampleKey],
    ) -> None:
        self._starts, self._codes = starts, codes
        self._names = np.empty(len(names), object)
        self._names[:] = names

    @property
    def nbytes(self) -> int:
        """Size in bytes, without the subsample keys."""
        return self._starts.nbytes + self._codes.nbytes + self._names.nbytes

    def subsamples(self, samples: Positions) -> tuple[Positions, list[SampleKey], Numbers]:
        """The subsamples of some samples, one sample after the other.

        Returns
        -------
        positions
            Position of each subsample in the tree.
        keys
            Key of each subsample.
        counts
            Number of subsamples of each sample.
        """
        first = self._starts[samples].astype(np.int64)
        counts = self._starts[samples + 1].astype(np.int64) - first
        places = _places(counts)
        positions = np.repeat(first, counts) + places
        keys: list[SampleKey] = self._names[self._codes[positions] if len(self._codes) else places].tolist()
        return positions, keys, counts

    def dicts(self, keys: list[SampleKey], values: list[Any], counts: Numbers) -> list[dict[SampleKey, Any]]:
        """A dict for each sample, of the keys and values of all of them."""
        pairs = zip(keys, values, strict=True)
        return [dict(islice(pairs, count)) for count in counts.tolist()]


def _places(counts: Numbers) -> Numbers:
    """0, 1, 2, ... for each sample."""
    ends = counts.cumsum()
    places: Numbers = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
    return places


def build_starts(nodes: NodeStore, root: Root) -> SampleStarts | None:
    """Find the samples of a nested column; None if it has too many different subsample keys.

    Raises
    ------
    CorruptionError
        A node cannot be read, or the tree contradicts itself.
    """
    narrow = np.uint32 if root.entries < 2**32 else np.uint64
    starts: list[npt.NDArray[Any]] = []
    codes: list[npt.NDArray[np.uint16]] = []
    code_of: dict[bytes, int] = {}
    held, last = 0, b""
    for keys in keys_of(nodes, root.digest):
        if isinstance(keys, np.ndarray):
            first = np.concatenate(([0], np.flatnonzero(keys[1:, 0] != keys[:-1, 0]) + 1))
            begin, end = encode_key(int(keys[0, 0])), encode_key(int(keys[-1, 0]))
            numbers, which = np.unique(keys[:, 1], return_inverse=True)
            rests = list(map(encode_key, numbers.tolist()))
        else:
            stops, rests = split_samples(keys)
            first = np.array([0, *stops.values()], np.int64)[:-1]
            begin, end = next(iter(stops)), next(reversed(stops))
            which = None
        # In key order, so that samples with the keys 0, 1, 2, ... have the codes 0, 1, 2, ...
        found = [code_of.setdefault(rest, len(code_of)) for rest in rests]
        if len(code_of) > _MOST_NAMES:
            return None
        part = np.array(found, np.uint16)
        codes.append(part if which is None else part[which])
        starts.append((first[1:] if begin == last else first).astype(narrow) + narrow(held))
        held, last = held + len(keys), end
    ends = np.concatenate([*starts, np.array([held], narrow)])
    if held != root.entries or len(ends) != root.samples + 1:
        raise CorruptionError(
            f"the tree of root {root.digest.hex()} counts samples that are not there: run `hangar fsck`"
        )
    all_codes = np.concatenate(codes)
    whole = ends.astype(np.int64)
    if np.array_equal(all_codes, _places(whole[1:] - whole[:-1])):
        all_codes = all_codes[:0].copy()
    elif len(code_of) <= 2**8:
        all_codes = all_codes.astype(np.uint8)
    return SampleStarts(ends, all_codes, decode_keys(list(code_of)))
