"""Nested columns: sample key -> subsample key -> value.

One tree of (sample, subsample) pairs, in which a sample is a range; it counts samples, so that ``len`` and positions are as near as
in a flat column. A sample without subsamples does not exist. ``column[sample]`` is a light view of the sample; batches of pairs are read and
written as those of flat columns are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise
from typing import Any, ClassVar, Literal
from weakref import ref

import numpy as np
import numpy.typing as npt

from hangar.columns.accessor import FlatSubsampleReader, FlatSubsampleWriter
from hangar.columns.ahead import windows
from hangar.columns.base import ColumnBase, Session, Source
from hangar.columns.entries import EntryReader
from hangar.columns.keyspace import PAIRS, lookup_prefix
from hangar.columns.lookup import KeyBatch, check_position, position_batch
from hangar.columns.write import ColumnWriter, as_pairs
from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError, SampleNotFoundError
from hangar.names import SampleKey, check_key
from hangar.objects.order import select_sample
from hangar.objects.scan import entries_below, scan_samples, starts_with
from hangar.schema.keys import check_keys, decode_keys, decode_prefix, decode_prefixes, encode_pairs

__all__ = ["NestedSampleReader", "NestedSampleWriter"]


class NestedSampleReader(ColumnBase, EntryReader):
    """Samples of one nested column, as one commit (or the staging area) holds them."""

    column_layout: ClassVar[Literal["flat", "nested"]] = "nested"
    _accessor: ClassVar[type[FlatSubsampleReader]] = FlatSubsampleReader

    def __init__(self, session: Session, source: Source) -> None:
        super().__init__(session, source)
        self._space = PAIRS

    # ------------------------------------------------------------------ one sample

    def _prefix(self, sample: Any) -> bytes | None:
        """What the keys of ``sample`` begin with; None where there is no such sample."""
        self._session.check()
        prefix = lookup_prefix(sample)
        root = self._source.root()
        if prefix is None or root is None or not starts_with(self._nodes, root.digest, prefix):
            return None
        return prefix

    def _must_prefix(self, sample: Any) -> bytes:
        prefix = self._prefix(sample)
        if prefix is None:
            raise SampleNotFoundError(f"column {self._source.name!r} has no sample {sample!r}")
        return prefix

    def _missing(self, key: Any) -> SampleNotFoundError:
        sample, subsample = key
        return SampleNotFoundError(
            f"column {self._source.name!r} has no subsample {subsample!r} of a sample {sample!r}"
        )

    def __getitem__(self, key: Any) -> Any:
        """A sample, or one of its subsamples.

        Parameters
        ----------
        key
            ``sample`` gives a view of the sample, ``sample, subsample`` (or a list of the two) a value, ``sample, ...`` a dict
            of all subsamples; a list of such pairs gives a list.

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) there is no such sample or subsample.
        InvalidTypeError
            (a ``TypeError``) the type of a key can never be right.
        CorruptionError
            The stored bytes are not what they were.
        """
        if isinstance(key, list) and all(isinstance(one, (tuple, list)) for one in key):
            return self._batch(key)
        if not isinstance(key, (tuple, list)):
            return self._accessor(self, *self._found(key))
        if len(key) == 2 and key[1] is Ellipsis:
            return self._dicts([self._must_prefix(key[0])])[0]
        return self._value(key)

    def _found(self, sample: Any) -> tuple[SampleKey, bytes]:
        prefix = self._must_prefix(sample)
        return decode_prefix(prefix), prefix

    def _batch(self, keys: Sequence[Any]) -> list[Any]:
        whole = [len(key) == 2 and key[1] is Ellipsis for key in keys]
        if not any(whole):
            return self._values.many(self._cells(keys))
        if all(whole):
            return self._dicts([self._must_prefix(key[0]) for key in keys])
        return [self[tuple(key)] for key in keys]

    def _dicts(self, prefixes: Sequence[bytes]) -> list[dict[SampleKey, Any]]:
        """Each sample with all its subsamples, read as one batch."""
        root = self._source.root()
        if root is None:
            return []
        keys: list[bytes] = []
        cells: list[bytes] = []
        ends = [0]
        for prefix in prefixes:
            skip = len(prefix)
            found, held = entries_below(self._nodes, root.digest, prefix)
            keys += [key[skip:] for key in found]
            cells += held
            ends.append(len(keys))
        pairs = list(zip(decode_keys(keys), self._values.many(cells), strict=True))
        return [dict(pairs[start:stop]) for start, stop in pairwise(ends)]

    def get(self, key: Any, default: Any = None) -> Any:
        """As ``column[key]``, or ``default`` where there is no such sample or subsample."""
        try:
            return self[key]
        except SampleNotFoundError:
            return default

    def __contains__(self, key: object) -> bool:
        self._session.check()
        try:
            if isinstance(key, (tuple, list)):
                return self._cell(key) is not None
            return self._prefix(key) is not None
        except InvalidTypeError:
            return False

    def __len__(self) -> int:
        self._session.check()
        root = self._source.root()
        return 0 if root is None else root.samples

    @property
    def num_subsamples(self) -> int:
        """Subsamples of all samples together."""
        self._session.check()
        root = self._source.root()
        return 0 if root is None else root.entries

    # ------------------------------------------------------------------ batches

    def read(
        self,
        keys: Sequence[Any] | npt.NDArray[Any] | slice | None = None,
        out: np.ndarray[Any, Any] | None = None,
        *,
        positions: Sequence[int] | npt.NDArray[Any] | slice | None = None,
    ) -> Any:
        """Read a batch of subsamples, or of whole samples.

        Parameters
        ----------
        keys
            Pairs of sample and subsample key in any order, twice if you like: a sequence, or an integer array of shape (n, 2). Or samples: their
            keys (a sequence or an integer array of shape (n,)), or pairs ``(sample, ...)``. A ``slice`` selects samples by
            position in key order.
        out
            For pairs: array of shape ``(n, *shape)`` and the column's dtype to read into.
        positions
            Instead of ``keys``: positions of samples in key order, negative ones from the end.

        Returns
        -------
        numpy.ndarray or list
            Of pairs, arrays stacked to ``(n, *shape of a subsample)``, fresh memory or ``out``; str and bytes as a list. Of samples a list
            of dicts.

        Raises
        ------
        SampleNotFoundError, PositionNotFoundError
            A key or position does not exist; nothing was read.
        InvalidInputError
            The subsamples differ in shape, or ``out`` does not fit.
        CorruptionError
            The stored bytes are not what they were.
        """
        self._session.check()
        if (keys is None) == (positions is None):
            raise InvalidTypeError("read takes keys or positions, one of them")
        if positions is not None or isinstance(keys, slice):
            prefixes = self._prefixes_at(keys if positions is None else positions)
        else:
            samples = _whole_samples(keys)
            if samples is None:
                return self._read_keys(keys, out)
            prefixes = [self._must_prefix(sample) for sample in samples]
        if out is not None:
            raise InvalidInputError(
                "out= is for subsamples, named by pairs (sample, subsample); whole samples are dicts"
            )
        return self._dicts(prefixes)

    def _prefixes_at(self, positions: Any) -> list[bytes]:
        root = self._source.root()
        chosen = position_batch(positions, len(self), self._holder())
        if root is None or not len(chosen):
            return []
        if isinstance(chosen, range):
            first = select_sample(self._nodes, root.digest, chosen.start)
            return list(islice(chain.from_iterable(scan_samples(self._nodes, root.digest, first)), len(chosen)))
        return [select_sample(self._nodes, root.digest, position) for position in chosen.tolist()]

    def _holder(self) -> str:
        return f"column {self._source.name!r} has samples:"

    def read_slice(self, key: tuple[SampleKey, SampleKey], slices: Any) -> np.ndarray[Any, Any]:
        """Part of one subsample: ``slices`` is what would stand in ``array[...]``. The whole subsample is read and checked.

        Raises
        ------
        PositionNotFoundError
            (an ``IndexError``) the subsample has no such part.
        """
        return self._read_slice(key, slices)

    def at(self, position: int) -> SampleKey:
        """The sample key at ``position`` in key order; negative ones count from the end.

        Raises
        ------
        PositionNotFoundError
            (an ``IndexError``) the column has fewer samples.
        InvalidTypeError
            (a ``TypeError``) ``position`` is no integer.
        """
        self._session.check()
        root = self._source.root()
        index = check_position(position, len(self))
        if root is None or index is None:
            raise PositionNotFoundError(f"{self._holder()} {len(self):,}, and none at position {position}")
        return decode_prefix(select_sample(self._nodes, root.digest, index))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """A nested column is no array: InvalidTypeError."""
        raise InvalidTypeError("a nested column is no array: its samples are; read pairs, or a sample")

    # ------------------------------------------------------------------ iteration

    def __iter__(self) -> Iterator[SampleKey]:
        self._session.check()
        nodes, root = self._source.snapshot()
        if root is not None:
            for prefixes in scan_samples(nodes, root.digest):
                self._session.check()
                yield from decode_prefixes(prefixes)

    def keys(self, local: bool = False) -> Iterator[SampleKey]:
        """Sample keys in order: ints by value, then strings by code point. ``local``: only of samples whose data is all on this disk."""
        return iter(self)

    def values(self, local: bool = False) -> Iterator[FlatSubsampleReader]:
        """A view of each sample in key order. Their data is read ahead for many samples together when it is asked for."""
        self._session.check()
        nodes, root = self._source.snapshot()
        if root is None:
            return
        for window in windows(nodes, root, self._schema, self._values):
            self._session.check()
            if isinstance(window, bytes):
                yield self._accessor(self, decode_prefix(window), window)
                continue
            made, reference = self._accessor, ref(window)
            for index, sample in enumerate(window.samples):
                yield made(self, sample, window.prefixes[index], (reference, index))

    def items(self, local: bool = False) -> Iterator[tuple[SampleKey, FlatSubsampleReader]]:
        """Pairs of sample key and view of the sample, as :meth:`values`."""
        for view in self.values(local):
            yield view._sample, view


def _whole_samples(keys: Any) -> Sequence[Any] | None:
    """The samples that ``keys`` name whole; None where they are pairs."""
    if isinstance(keys, np.ndarray):
        return keys.tolist() if keys.ndim == 1 else None
    given = KeyBatch.checked(keys)
    kinds = set(map(type, given))
    if not kinds & {tuple, list}:
        return list(given) or None
    if kinds <= {tuple, list} and Ellipsis in [key[1] for key in given if len(key) == 2]:
        if all(len(key) == 2 and key[1] is Ellipsis for key in given):
            return [key[0] for key in given]
        raise InvalidTypeError(
            "a batch names subsamples, (sample, subsample), or whole samples, (sample, ...): not both"
        )
    return None


class NestedSampleWriter(ColumnWriter, NestedSampleReader):
    """A nested column of the staging area."""

    _accessor: ClassVar[type[FlatSubsampleReader]] = FlatSubsampleWriter

    def __setitem__(self, key: Any, value: Any) -> None:
        """Add subsamples to a sample, new or there already, and overwrite those of the same key.

        Parameters
        ----------
        key
            The sample; or a pair ``sample, subsample``, which writes one value.
        value
            A mapping from subsample keys to values, or pairs. Everything is validated before the first write.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) a key is not suitable, or a value is not what the column holds.
        InvalidTypeError
            (a ``TypeError``) the value is neither a mapping nor pairs.
        """
        self._session.check()
        if isinstance(key, (tuple, list)):
            self.put_entry(self._space.encode(key), value)
        else:
            self.update([(key, value)])

    def write(self, keys: Iterable[tuple[SampleKey, SampleKey]] | npt.NDArray[Any], values: Any) -> None:
        """Write a batch of subsamples.

        Parameters
        ----------
        keys
            Pairs of sample and subsample key, or an integer array of shape (n, 2); the last of two equal ones counts.
        values
            Arrays stacked to ``(n, *shape of a subsample)``, or a sequence of n values.

        Raises
        ------
        InvalidInputError
            A key is not suitable, a value is not what the column holds, or there are not as many of both. Nothing was written.
        InvalidTypeError
            (a ``TypeError``) ``keys`` or ``values`` is no sequence.
        """
        self._session.check()
        self.put_entries(self._space.encode_all(keys), values)

    def update(self, other: Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None = None, **kwargs: Any) -> None:
        """Write a mapping from samples to mappings (or pairs), as ``column[sample] = mapping`` for each.

        Everything is validated before the first write.
        """
        self._session.check()
        samples: list[SampleKey] = []
        subsamples: list[SampleKey] = []
        values: list[Any] = []
        for sample, inner in as_pairs(other, kwargs).items():
            if inner is None:
                raise InvalidTypeError(f"sample {sample!r} is given no mapping of subsamples, but None")
            pairs = inner.data if isinstance(inner, FlatSubsampleReader) else as_pairs(inner, {})
            samples += [check_key(sample)] * len(pairs)
            subsamples += pairs
            values += pairs.values()
        self.put_entries(encode_pairs(samples, check_keys(subsamples)), values)

    # ------------------------------------------------------------------ deleting

    def _keys_of(self, prefix: bytes) -> list[bytes]:
        root = self._source.root()
        return [] if root is None else entries_below(self._nodes, root.digest, prefix)[0]

    def __delitem__(self, key: Any) -> None:
        """Delete a sample with all its subsamples, or one subsample (``del column[sample, subsample]``).

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) there is no such sample or subsample.
        """
        self.delete([key])

    def delete(self, keys: Sequence[Any]) -> None:
        """Delete a batch of samples, or of subsamples named by pairs.

        Raises
        ------
        SampleNotFoundError
            One of them does not exist. Nothing was deleted.
        """
        self._session.check()
        samples = _whole_samples(keys)
        if samples is None:
            self._cells(keys)
            self.remove_entries(self._space.batch(keys).encoded())
            return
        prefixes = dict.fromkeys(self._must_prefix(sample) for sample in samples)
        self.remove_entries([key for prefix in prefixes for key in self._keys_of(prefix)])

    def pop(self, sample: SampleKey) -> dict[SampleKey, Any]:
        """Delete a sample and return its subsamples."""
        prefix = self._must_prefix(sample)
        found = self._dicts([prefix])[0]
        self.remove_entries(self._keys_of(prefix))
        return found
