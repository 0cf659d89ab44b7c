"""Nested columns: sample key -> subsample key -> value.

The tree holds (sample, subsample) pairs; a sample is a range of it. The tree also counts samples, so that ``len`` and
access by position are as fast as in a flat column. A sample without subsamples does not exist. ``column[sample]`` is a
cheap view of the sample. Batches of pairs are read and written like batches of flat columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, islice, pairwise
from typing import Any, ClassVar, Final, Literal
from weakref import ref

import numpy as np
import numpy.typing as npt

from hangar.columns.accessor import FlatSubsampleReader
from hangar.columns.ahead import windows
from hangar.columns.base import ColumnBase, Session, Source
from hangar.columns.entries import EntryReader, as_keys, chunk_entries
from hangar.columns.keybatch import NO_SUCH_KEY, KeyBatch, check_position, position_batch
from hangar.columns.keyspace import PAIRS, are_pairs, lookup_prefix
from hangar.columns.local import LocalSamples
from hangar.columns.views import SampleItems, SampleKeys, SampleValues
from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError, SampleNotFoundError
from hangar.names import SampleKey
from hangar.objects.node import Root
from hangar.objects.order import select_sample
from hangar.objects.ranges import SampleEntries, entries_of_samples, select_samples
from hangar.objects.scan import scan_samples
from hangar.schema.keys import decode_keys, decode_prefix, decode_prefixes

__all__ = ["NestedSampleReader", "whole_samples"]

_NO_ARRAY: Final = "a nested column is not an array, but its samples are: read pairs, or a sample"


class NestedSampleReader(ColumnBase, EntryReader):
    """Samples of one nested column, as one commit (or the staging area) holds them."""

    column_layout: ClassVar[Literal["flat", "nested"]] = "nested"
    _accessor: ClassVar[type[FlatSubsampleReader]] = FlatSubsampleReader

    def __init__(self, session: Session, source: Source) -> None:
        super().__init__(session, source)
        self._space = PAIRS

    # ------------------------------------------------------------------ one sample

    def _prefix(self, sample: Any) -> bytes | None:
        """Key prefix of ``sample``; None if there is no such sample."""
        self._session.check()
        prefix = lookup_prefix(sample)
        return prefix if prefix is not None and self._source.starts_with(prefix) else None

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
            ``sample`` gives a view of the sample, ``sample, subsample`` (or a list of the two) a value, ``sample, ...``
            a dict of all subsamples; a list of such pairs gives a list.

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) there is no such sample or subsample.
        InvalidTypeError
            (a ``TypeError``) a key has a type that no key can have.
        CorruptionError
            The stored bytes are damaged.
        """
        if isinstance(key, list) and all(isinstance(one, (tuple, list)) for one in key):
            return self._batch(key)
        if not isinstance(key, (tuple, list)):
            return self._accessor(self, *self._found(key))
        if len(key) == 2 and key[1] is Ellipsis:
            return self._dicts([key[0]], self._prefixes([key[0]]))[0]
        return self._value(key)

    def _found(self, sample: Any) -> tuple[SampleKey, bytes]:
        prefix = self._must_prefix(sample)
        return decode_prefix(prefix), prefix

    def _batch(self, keys: Sequence[Any]) -> list[Any]:
        whole = [len(key) == 2 and key[1] is Ellipsis for key in keys]
        if not any(whole):
            return self._list_of_keys(keys)
        if all(whole):
            samples = [key[0] for key in keys]
            return self._dicts(samples, self._prefixes(samples))
        return [self[tuple(key)] for key in keys]

    def _prefixes(self, samples: Sequence[Any]) -> list[bytes]:
        """Key prefixes of samples; :data:`NO_SUCH_KEY` for an impossible key."""
        self._session.check()
        return [NO_SUCH_KEY if prefix is None else prefix for prefix in map(lookup_prefix, samples)]

    def _dicts(self, samples: Sequence[Any], prefixes: Sequence[bytes]) -> list[dict[SampleKey, Any]]:
        """Read whole samples as one batch: a dict of subsamples for each."""
        root = self._source.root()
        if root is None:
            found = [SampleEntries(0, [], []) for _ in prefixes]
        else:
            found = entries_of_samples(self._nodes, root.digest, prefixes)
        for sample, entries in zip(samples, found, strict=True):
            if not entries.keys:
                raise SampleNotFoundError(f"column {self._source.name!r} has no sample {sample!r}")
        keys = [key[len(prefix) :] for prefix, entries in zip(prefixes, found, strict=True) for key in entries.keys]
        pairs = list(zip(decode_keys(keys), self._values_of_samples(found, root), strict=True))
        ends = accumulate([len(entries.keys) for entries in found], initial=0)
        return [dict(pairs[start:stop]) for start, stop in pairwise(ends)]

    def _values_of_samples(self, found: Sequence[SampleEntries], root: Root | None) -> list[Any]:
        """The values of all entries of samples, one after the other."""
        if not found:
            return []
        values: list[Any] = self._by_table(
            self._table_of(root),
            sum(len(entries.keys) for entries in found),
            lambda *_: np.concatenate([np.arange(one.start, one.start + len(one.keys)) for one in found]),
            self._values.many_of,
            lambda: self._values.many([cell for one in found for cell in one.cells]),
        )
        return values

    def get(self, key: Any, default: Any = None) -> Any:
        """Same as ``column[key]``, or ``default`` if there is no such sample or subsample."""
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
        """Number of subsamples of all samples."""
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
            Pairs of sample and subsample key in any order, repeated or not: a sequence, a generator, or an integer
            array of shape (n, 2). Or samples: their keys (a sequence or an integer array of shape (n,)), or pairs
            ``(sample, ...)``. A ``slice`` selects samples by position in key order.
        out
            For pairs: array of shape ``(n, *shape)`` and the column's dtype to read into.
        positions
            Instead of ``keys``: positions of samples in key order, negative ones from the end.

        Returns
        -------
        numpy.ndarray or list
            Of pairs, arrays stacked to ``(n, *shape of a subsample)``, new memory or ``out``; str and bytes as a list.
            Of samples a list of dicts.

        Raises
        ------
        SampleNotFoundError, PositionNotFoundError
            A key or position does not exist; nothing was read.
        InvalidInputError
            The subsamples differ in shape, or ``out`` does not fit.
        CorruptionError
            The stored bytes are damaged.
        """
        self._session.check()
        if (keys is None) == (positions is None):
            raise InvalidTypeError("read takes keys or positions, one of them")
        if positions is None and not isinstance(keys, slice):
            keys = as_keys(keys)
            named = whole_samples(keys)
            if named is None:
                return self._read_keys(keys, out)
            samples, prefixes = named, self._prefixes(named)
        else:
            samples = prefixes = self._prefixes_at(keys if positions is None else positions)
        if out is not None:
            raise InvalidInputError(
                "out= is for subsamples, named by pairs (sample, subsample); whole samples are dicts"
            )
        return self._dicts(samples, prefixes)

    def _prefixes_at(self, positions: Any) -> list[bytes]:
        root = self._source.root()
        chosen = position_batch(positions, len(self), self._holder())
        if root is None or not len(chosen):
            return []
        if isinstance(chosen, range):
            first = select_sample(self._nodes, root.digest, chosen.start)
            return list(islice(chain.from_iterable(scan_samples(self._nodes, root.digest, first)), len(chosen)))
        return select_samples(self._nodes, root.digest, chosen.tolist())

    def _holder(self) -> str:
        return f"column {self._source.name!r} has samples:"

    def read_slice(self, key: tuple[SampleKey, SampleKey], slices: Any) -> np.ndarray[Any, Any]:
        """Part of one subsample: ``slices`` is the index expression of ``array[...]``. The whole subsample is read and checked.

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
            (a ``TypeError``) ``position`` is not an integer.
        """
        self._session.check()
        root = self._source.root()
        index = check_position(position, len(self))
        if root is None or index is None:
            raise PositionNotFoundError(f"{self._holder()} {len(self):,}, and none at position {position}")
        return decode_prefix(select_sample(self._nodes, root.digest, index))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Raises InvalidTypeError: a nested column is not an array."""
        raise InvalidTypeError(_NO_ARRAY)

    def __dlpack__(self, **options: Any) -> Any:
        """Raises InvalidTypeError, like :meth:`__array__`."""
        raise InvalidTypeError(_NO_ARRAY)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Raises InvalidTypeError, like :meth:`__array__`."""
        raise InvalidTypeError(_NO_ARRAY)

    # ------------------------------------------------------------------ iteration

    def __iter__(self) -> Iterator[SampleKey]:
        return self._iterate_keys()

    def __reversed__(self) -> Iterator[SampleKey]:
        return self._iterate_keys(backwards=True)

    def keys(self, local: bool = False) -> SampleKeys:
        """Sample keys in order: ints by value, then strings by code point. A view, as that of a dict.

        ``local``: only of samples whose data is all on this disk.
        """
        return SampleKeys(self._viewed(local))

    def values(self, local: bool = False) -> SampleValues:
        """Samples in key order, as views. When their data is used, it is read ahead for many samples as one batch."""
        return SampleValues(self._viewed(local))

    def items(self, local: bool = False) -> SampleItems:
        """Pairs of sample key and sample, as :meth:`values`."""
        return SampleItems(self._viewed(local))

    def _on_disk(self) -> LocalSamples:
        return LocalSamples(self)

    def _iterate_keys(self, *, backwards: bool = False) -> Iterator[SampleKey]:
        for prefixes in self._prefixes_back() if backwards else self._prefixes_forth():
            yield from self._live(decode_prefixes(prefixes))
            self._session.check()

    def _prefixes_forth(self) -> Iterator[list[bytes]]:
        self._session.check()
        nodes, root = self._source.snapshot()
        return iter(()) if root is None else scan_samples(nodes, root.digest)

    def _prefixes_back(self) -> Iterator[list[bytes]]:
        """Key prefixes of the samples, from the last sample to the first, in batches."""
        self._session.check()
        nodes, root = self._source.snapshot()
        if root is None:
            return
        most = chunk_entries(self._schema)
        for stop in range(root.samples, 0, -most):
            start = max(0, stop - most)
            first = select_sample(nodes, root.digest, start)
            found = list(islice(chain.from_iterable(scan_samples(nodes, root.digest, first)), stop - start))
            yield found[::-1]

    def _iterate_values(self, *, backwards: bool = False) -> Iterator[FlatSubsampleReader]:
        return self._views_back() if backwards else self._views()

    def _iterate_items(self, *, backwards: bool = False) -> Iterator[tuple[SampleKey, FlatSubsampleReader]]:
        return ((view._sample, view) for view in self._iterate_values(backwards=backwards))

    def _views_back(self) -> Iterator[FlatSubsampleReader]:
        for prefixes in self._prefixes_back():
            for prefix, sample in self._live(zip(prefixes, decode_prefixes(prefixes), strict=True)):
                yield self._accessor(self, sample, prefix)
            self._session.check()

    def _views(self) -> Iterator[FlatSubsampleReader]:
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
            for index, sample in enumerate(self._live(window.samples)):
                yield made(self, sample, window.prefixes[index], (reference, index))
        self._session.check()


def whole_samples(keys: Any) -> Sequence[Any] | None:
    """The samples, if ``keys`` name whole samples; None if they are pairs."""
    if isinstance(keys, np.ndarray):
        return keys.tolist() if keys.ndim == 1 else None
    given = KeyBatch.checked(keys)
    if not any(issubclass(kind, (tuple, list)) for kind in set(map(type, given))):
        return list(given) or None
    if are_pairs(given) and type(...) in set(map(type, chain.from_iterable(given))):
        if all(len(key) == 2 and key[1] is Ellipsis for key in given):
            return [key[0] for key in given]
        raise InvalidTypeError(
            "a batch names subsamples, (sample, subsample), or whole samples, (sample, ...): not both"
        )
    return None
