"""Writing to columns: check, hash, store, stage. Flat and nested columns differ in the keys alone.

Everything is validated before the first byte is written. Outside a ``with`` block a call is durable when it returns; a batch is
one transaction and a handful of syncs however many samples it has, so write batches.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from hangar.backends.preference import Preference, check_preference
from hangar.blobs.ingest import store_list, store_rows
from hangar.columns.base import StagedSource, WriteSession
from hangar.columns.entries import EntryReader
from hangar.columns.evolve import EvolvingColumn
from hangar.columns.flat import FlatSampleReader
from hangar.columns.keyspace import as_pairs, batch_list
from hangar.columns.mapping import ValueMapping
from hangar.digest import Digest, blob_digest
from hangar.errors import ClosedError, InvalidInputError, InvalidStateError, InvalidTypeError
from hangar.names import SampleKey
from hangar.schema import Encoded
from hangar.schema.cells import Rows
from hangar.staging.column import StagedBatch

__all__ = ["ColumnWriter", "FlatSampleWriter", "ValueWriter", "generated_key"]


def generated_key() -> str:
    """A new key: 16 hex digits of the time in nanoseconds, then 16 random ones, so that appends lie together and never clash."""
    return f"{time.time_ns():016x}{os.urandom(8).hex()}"


class _Retired:
    """The session of a column that is no more."""

    writable = True

    def check(self) -> None:
        raise ClosedError("this column is no more: it was removed, or its checkout was reset or closed; get it again")

    def reduce_column(self, name: str) -> Any:
        self.check()


class ColumnWriter(EvolvingColumn):
    """What writing to a column takes, whatever its layout: entries under encoded keys, and where their blobs go."""

    def __init__(self, session: WriteSession, source: StagedSource) -> None:
        super().__init__(session, source)

    def retire(self) -> None:
        """Refuse everything from now on: the column was removed, or the staging area was reset or closed."""
        self._session = cast("WriteSession", _Retired())

    def put_entry(self, encoded: bytes, value: Any) -> None:
        """Write one value under an encoded key."""
        session, schema = self._session, self._schema
        header, buffer = schema.encode(value)
        cell = schema.cell(buffer)
        with session.writing():
            if cell is None:
                digest = blob_digest(header, buffer)
                to = self._to()
                session.blobs.add_one(to.tag, header, bytes(buffer), digest, to.options)
                cell = schema.digest_cell(digest)
            self._source.working.set(encoded, cell)
            session.grown()

    def put_entries(self, encoded: Sequence[bytes], values: Any) -> None:
        """Write a batch, stacked or a sequence, under encoded keys."""
        batch = self._schema.encode_batch(self._batch_of(values), len(encoded))
        if len(batch) != len(encoded):
            raise InvalidInputError(f"{len(encoded):,} keys and {len(batch):,} values")
        if encoded:
            with self._session.writing():
                working = self._source.working
                working.put(self._store(batch, lambda cells: working.prepare(encoded, cells)))
                self._session.grown()

    def _batch_of(self, values: Any) -> Any:
        """``values`` as an array, where they are one and the column holds arrays, or a list."""
        if isinstance(values, Mapping) or (isinstance(values, EntryReader) and not isinstance(values, ValueMapping)):
            # Iteration would give its keys, and text keys would be stored as text.
            raise InvalidTypeError(f"a batch of values is a sequence, not {type(values).__name__}: use update()")
        if not self._schema.stacks or (isinstance(values, ValueMapping) and self._schema.variable):
            return batch_list("values", values.values() if isinstance(values, ValueMapping) else values)
        stacked = isinstance(values, np.ndarray) or hasattr(values, "__array__") or hasattr(values, "__dlpack__")
        return values if stacked else batch_list("values", values)

    def remove_entry(self, encoded: bytes) -> None:
        """Delete one entry, which is there."""
        with self._session.writing():
            self._source.working.set(encoded, None)
            self._session.grown()

    def remove_entries(self, encoded: Sequence[bytes]) -> None:
        """Delete entries, all of which are there."""
        if encoded:
            with self._session.writing():
                self._source.working.set_many(encoded, [None] * len(encoded))
                self._session.grown()

    def _to(self) -> Preference:
        return self._session.preference(self._source.id, self._schema)

    def _store(self, batch: Encoded, change: Callable[[Sequence[bytes] | Rows], StagedBatch]) -> StagedBatch:
        """Store the blobs of a batch.

        Returns what ``change`` makes, while they are being written, of the cells in the order of the values: an array where they are of one width.
        """
        cells = self._schema.cells(batch)
        blobs = cells.blobs
        if not len(blobs):
            return change(cells.filled(()))
        to = self._to()

        def use(digests: Sequence[Digest] | Rows) -> StagedBatch:
            return change(cells.filled(digests))

        if blobs.rows is not None:
            return store_rows(self._session.blobs, to.tag, blobs.headers[0], blobs.rows, to.options, use)
        return store_list(self._session.blobs, to.tag, blobs.headers, blobs.buffers, to.options, use)

    # ------------------------------------------------------------------ backend

    def change_backend(self, backend: str, backend_options: dict[str, Any] | None = None) -> None:
        """Let new blobs of the column go to another backend, on this machine. What is stored stays where it is.

        Raises
        ------
        InvalidStateError
            (a ``RuntimeError``) inside a ``with`` block.
        InvalidInputError, InvalidTypeError
            The backend is unknown or cannot hold such data, or the options are wrong; the old one stays.
        """
        self._session.check()
        if self._session.in_batch:
            raise InvalidStateError("a backend cannot be changed inside a `with` block")
        found = check_preference(self._schema, backend, backend_options)
        if found is None:
            raise InvalidInputError("backend must be a tag such as '10', not None")
        self._session.set_preference(self._source.id, found)

    def _preference(self) -> Preference:
        self._check()
        return self._session.preference(self._source.id, self._schema)


class ValueWriter(ValueMapping):
    """A mapping from keys to values that can be changed."""

    def _writer(self) -> ColumnWriter:
        """The column, which can still be written to."""
        raise NotImplementedError

    def __setitem__(self, key: SampleKey, value: Any) -> None:
        """Write ``value`` under ``key``, new or there already.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) the key is not suitable, or the value is not what the column holds.
        """
        self._writer().put_entry(self._space.encode(key), value)

    def write(self, keys: Iterable[SampleKey], values: Any) -> None:
        """Write a batch.

        Parameters
        ----------
        keys
            Keys; the last of two equal ones counts.
        values
            Arrays stacked to ``(n, *shape of a sample)``, or a sequence of n values.

        Raises
        ------
        InvalidInputError
            A key is not suitable, a value is not what the column holds, or there are not as many of both. Nothing was written.
        InvalidTypeError
            (a ``TypeError``) ``keys`` or ``values`` is no sequence.
        """
        self._writer().put_entries(self._space.encode_all(keys), values)

    def append(self, value: Any) -> str:
        """Add a value under a new key, which is returned: ordered by time, and unlike any other."""
        key = generated_key()
        self[key] = value
        return key

    def update(self, other: Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None = None, **kwargs: Any) -> None:
        """Write a mapping, or pairs, as ``dict.update`` does. Everything is validated before the first write."""
        self._session.check()
        pairs = as_pairs(other, kwargs)
        self.write(list(pairs), list(pairs.values()))

    def __delitem__(self, key: SampleKey) -> None:
        """Delete ``key`` and its value; SampleNotFoundError (a ``KeyError``) where there is none."""
        self._writer().remove_entry(self._existing_one(key))

    def delete(self, keys: Sequence[SampleKey]) -> None:
        """Delete a batch of keys, as one write.

        Parameters
        ----------
        keys
            A sequence of keys, or an integer array.

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) one of them does not exist. Nothing was deleted.
        InvalidTypeError
            (a ``TypeError``) ``keys`` is no sequence, or holds what can never be a key.
        """
        self._writer().remove_entries(self._existing(keys))

    def pop(self, key: SampleKey) -> Any:
        """Delete ``key`` and return its value."""
        writer = self._writer()
        value = self._value(key)
        writer.remove_entry(self._existing_one(key))
        return value


class FlatSampleWriter(ColumnWriter, ValueWriter, FlatSampleReader):
    """A flat column of the staging area."""

    def _writer(self) -> ColumnWriter:
        self._session.check()
        return self
