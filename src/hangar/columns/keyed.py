"""Writing by key, shared by flat columns, nested columns and the samples of nested columns.

They differ only in their key space. In a flat column, and in one sample of a nested column, a key is one int or str; in
a nested column it is a pair of sample and subsample key.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy.typing as npt

from hangar.columns.chunked.writer import ChunkedArrayWriter
from hangar.columns.chunkedentries import ChunkedEntryWriter
from hangar.columns.entries import EntryReader
from hangar.columns.keyspace import as_pairs
from hangar.columns.write import EntryWriter
from hangar.errors import InvalidInputError
from hangar.names import SampleKey
from hangar.schema import as_shape

__all__ = ["KeyedWriter", "generated_key"]

Key: TypeAlias = "SampleKey | tuple[SampleKey, SampleKey]"
"""Key of a flat column or of a sample; in a nested column a pair."""


def generated_key() -> str:
    """A new key: 16 hex digits of the time in nanoseconds, then 16 random ones, so that appended keys sort by time and are unique."""
    return f"{time.time_ns():016x}{os.urandom(8).hex()}"


class KeyedWriter(EntryReader):
    """Changes values by the keys of ``_space``."""

    def _writer(self) -> EntryWriter:
        """The entry writer; raises if the column cannot be written to any more."""
        raise NotImplementedError

    def entry_writer(self) -> EntryWriter:
        """The writer of encoded entries, for bulk imports. It is not part of the public API."""
        return self._writer()

    def __setitem__(self, key: Key, value: Any) -> None:
        """Write ``value`` under ``key``; replaces an existing value.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) the key is not suitable, or the value does not fit the schema.
        """
        self._writer().put_entry(self._space.encode(key), value)

    def write(self, keys: Iterable[Key] | npt.NDArray[Any], values: Any) -> None:
        """Write a batch: each value under its key; existing values are replaced.

        Parameters
        ----------
        keys
            Keys in any order: a sequence, or an integer array of shape (n,). In a nested column pairs ``(sample,
            subsample)``, or an integer array of shape (n, 2). If a key is repeated, the last value wins.
        values
            Arrays stacked to ``(n, *shape of a value)``, or a sequence of n values.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) a key is not suitable, a value does not fit the schema, or the numbers of keys and values
            differ. Nothing was written.
        InvalidTypeError
            (a ``TypeError``) ``keys`` or ``values`` is not a sequence.
        """
        self._writer().put_entries(self._space.encode_all(keys), values)

    def update(self, other: Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None = None, **kwargs: Any) -> None:
        """Write a mapping, or pairs, as ``dict.update`` does. Everything is validated before the first write."""
        self._session.check()
        pairs = as_pairs(other, kwargs)
        self.write(list(pairs), list(pairs.values()))

    def __delitem__(self, key: Key) -> None:
        """Delete ``key`` and its value; SampleNotFoundError (a ``KeyError``) if it does not exist."""
        self._writer().remove_entry(self._existing_one(key))

    def delete(self, keys: Sequence[Key] | npt.NDArray[Any]) -> None:
        """Delete a batch of keys, as one write.

        Parameters
        ----------
        keys
            A sequence of keys, or an integer array, as for :meth:`write`.

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) one of them does not exist. Nothing was deleted.
        InvalidTypeError
            (a ``TypeError``) ``keys`` is not a sequence, or contains a value that can never be a key.
        """
        self._writer().remove_entries(self._existing(keys))

    def pop(self, key: Key) -> Any:
        """Delete ``key`` and return its value."""
        writer = self._writer()
        encoded = self._existing_one(key)
        # An array of a writer would look for its sample; this one is as it was.
        cell = self._source.cell(encoded) if self._is_chunked(writer) else None
        value = self._value(key) if cell is None else self._values.one(cell)
        writer.remove_entry(encoded)
        return value

    # ------------------------------------------------------------------ chunked arrays

    @staticmethod
    def _is_chunked(writer: EntryWriter) -> TypeGuard[ChunkedEntryWriter]:
        return isinstance(writer, ChunkedEntryWriter)

    def _opened(self, key: Key, cell: bytes) -> Any:
        # Other values need no writer, which would look at the lock once more.
        if self._schema.kind_name == "chunked":
            writer = self._writer()
            if self._is_chunked(writer):
                return writer.opened(self._space.encode(key), key)
        return super()._opened(key, cell)

    def create(self, key: Key, shape: int | tuple[int, ...] | list[int]) -> ChunkedArrayWriter:
        """Add an array of a chunked column that has only fill values; it takes no space, whatever its shape.

        Parameters
        ----------
        key
            A key that the column does not have.
        shape
            Its shape; it can be resized.

        Returns
        -------
        ChunkedArrayWriter
            The array, to write to.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) the key exists or is not suitable, the shape does not fit the column, or the column does not
            hold chunked arrays.
        """
        writer = self._writer()
        if not self._is_chunked(writer):
            raise InvalidInputError(f"column {self._source.name!r} does not hold chunked arrays: assign a value")
        encoded = self._space.encode(key)
        if self._source.cell(encoded) is not None:
            raise InvalidInputError(
                f"there is a sample {key!r} in column {self._source.name!r} already: resize it, or delete it first"
            )
        writer.create(encoded, as_shape(shape))
        return writer.opened(encoded, key)
