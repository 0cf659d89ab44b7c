"""Writing to nested columns: by pairs, by mappings of subsamples, and deleting whole samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy.typing as npt

from hangar.columns.accessor import FlatSubsampleReader, FlatSubsampleWriter
from hangar.columns.entries import as_keys
from hangar.columns.evolve import ColumnWriter
from hangar.columns.keyed import KeyedWriter
from hangar.columns.keyspace import as_pairs
from hangar.columns.nested import NestedSampleReader, whole_samples
from hangar.errors import InvalidTypeError
from hangar.names import SampleKey, check_key
from hangar.schema.keys import decode_keys

__all__ = ["NestedSampleWriter"]


class NestedSampleWriter(ColumnWriter, KeyedWriter, NestedSampleReader):
    """A nested column of the staging area."""

    _accessor: ClassVar[type[FlatSubsampleReader]] = FlatSubsampleWriter

    def __setitem__(self, key: Any, value: Any) -> None:
        """Add subsamples to a sample; existing subsamples of the same key are replaced.

        Parameters
        ----------
        key
            The sample; or a pair ``sample, subsample``, which writes one value.
        value
            A mapping from subsample keys to values, or pairs. Everything is validated before the first write.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) a key is not suitable, or a value does not fit the schema.
        InvalidTypeError
            (a ``TypeError``) the value is neither a mapping nor pairs.
        """
        if isinstance(key, (tuple, list)):
            pair: Any = key
            super().__setitem__(pair, value)
        else:
            self.update([(key, value)])

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
                raise InvalidTypeError(f"sample {sample!r} needs a mapping of subsamples, not None")
            pairs = inner.data if isinstance(inner, FlatSubsampleReader) else as_pairs(inner, {})
            samples += [check_key(sample)] * len(pairs)
            subsamples += pairs
            values += pairs.values()
        self.write(list(zip(samples, subsamples, strict=True)), values)

    # ------------------------------------------------------------------ deleting

    def __delitem__(self, key: Any) -> None:
        """Delete a sample with all its subsamples, or one subsample (``del column[sample, subsample]``).

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) there is no such sample or subsample.
        """
        if isinstance(key, (tuple, list)) and not (len(key) == 2 and key[1] is Ellipsis):
            pair: Any = key
            super().__delitem__(pair)
        else:
            self.delete([key])

    def delete(self, keys: Sequence[Any] | npt.NDArray[Any]) -> None:
        """Delete a batch of samples, or of subsamples, as one write.

        Parameters
        ----------
        keys
            Keys of samples (or pairs ``(sample, ...)``), each of which is deleted with all its subsamples; or pairs
            ``(sample, subsample)``, or an integer array of shape (n, 2).

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) one of them does not exist. Nothing was deleted.
        InvalidTypeError
            (a ``TypeError``) ``keys`` is not a sequence, or contains a value that can never be a key.
        """
        writer = self._writer()
        keys = as_keys(keys)
        samples = whole_samples(keys)
        if samples is None:
            super().delete(keys)
            return
        prefixes = dict.fromkeys(self._must_prefix(sample) for sample in samples)
        writer.remove_entries([key for prefix in prefixes for key in self._source.below(prefix)])

    def pop(self, sample: Any) -> dict[SampleKey, Any]:
        """Delete a sample and return its subsamples."""
        writer = self._writer()
        prefix = self._must_prefix(sample)
        entries = self._source.below(prefix)
        subsamples = decode_keys([key[len(prefix) :] for key in entries])
        found = dict(zip(subsamples, self._values.many(list(entries.values())), strict=True))
        writer.remove_entries(list(entries))
        return found
