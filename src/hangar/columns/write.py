"""Entry writer: stores values under encoded keys of a staged column. The steps are validate, hash, store blobs, stage.

Everything is validated before the first byte is written. Outside a ``with`` block a call is durable when it returns; a
batch is one transaction and a few syncs for any number of samples, so write batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from hangar.backends.preference import Preference
from hangar.blobs.ingest import hash_and_write_list, hash_and_write_rows
from hangar.columns.base import StagedSource, WriteSession
from hangar.columns.entries import EntryReader
from hangar.columns.keyspace import batch_list
from hangar.columns.mapping import ValueMapping
from hangar.digest import Digest, Header, blob_digest
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.schema import ColumnSchema, Encoded
from hangar.schema.cells import Rows
from hangar.wording import plural

__all__ = ["EncodedEntries", "EntryWriter"]


class EncodedEntries(msgspec.Struct, frozen=True):
    """A batch of entries that were encoded and hashed elsewhere, such as in another process.

    Attributes
    ----------
    keys, cells
        Encoded key and cell of each entry.
    headers, buffers, digests
        Of each blob among them: header, logical bytes, and digest. The caller vouches for the digests.
    """

    keys: Sequence[bytes]
    cells: Sequence[bytes]
    headers: Sequence[Header]
    buffers: Sequence[bytes | memoryview]
    digests: Sequence[Digest]


class EntryWriter:
    """Writes entries of one column of any layout. A column and its samples share one."""

    __slots__ = ("_schema", "_session", "_source")

    def __init__(self, session: WriteSession, source: StagedSource, schema: ColumnSchema) -> None:
        self._session = session
        self._source = source
        self._schema = schema

    def retire(self, session: WriteSession) -> None:
        """The column cannot be used any more; ``session`` raises the error."""

    def put_entry(self, encoded: bytes, value: Any) -> None:
        """Write one value under an encoded key."""
        session, schema = self._session, self._schema
        header, buffer = schema.encode(value)
        cell = schema.cell(buffer)
        with session.writing():
            if cell is None:
                digest = blob_digest(header, buffer)
                to = self._to()
                session.blobs.add_one(to.tag, header, buffer, digest, to.options)
                cell = schema.digest_cell(digest)
            self._source.working.set(encoded, cell)
            session.spill_if_large()

    def put_entries(self, encoded: Sequence[bytes], values: Any) -> None:
        """Write a batch, stacked or a sequence, under encoded keys."""
        batch = self._schema.encode_batch(self._batch_of(values), len(encoded))
        if len(batch) != len(encoded):
            raise InvalidInputError(f"{plural(len(encoded), 'key')} and {plural(len(batch), 'value')}")
        if encoded:
            with self._session.writing():
                working = self._source.working
                cells = self._schema.cells(batch)
                digests = self._begin_blobs(cells.blobs)
                change = working.prepare(encoded, cells.filled(digests))
                self._session.blobs.finish()
                working.put(change)
                self._session.spill_if_large()

    def put_encoded(self, batch: EncodedEntries) -> None:
        """Write a batch that was encoded and hashed elsewhere; if a key is repeated, the last entry wins."""
        if batch.keys:
            with self._session.writing():
                working, blobs, to = self._source.working, self._session.blobs, self._to()
                if batch.digests:
                    blobs.begin_list(to.tag, batch.headers, batch.buffers, batch.digests, to.options)
                change = working.prepare(batch.keys, batch.cells)
                blobs.finish()
                working.put(change)
                self._session.spill_if_large()

    def stored_cells(self, encoded: Sequence[bytes]) -> list[bytes | None]:
        """The cell of each encoded key as the column has it; None where it has no such entry."""
        return self._source.working.cells(encoded)

    def _batch_of(self, values: Any) -> Any:
        """``values`` as an array, if they are one and the column holds arrays; else as a list."""
        if isinstance(values, (Mapping, EntryReader)) and not isinstance(values, ValueMapping):
            # Iterating a mapping gives its keys, which would be stored as values.
            raise InvalidTypeError(f"a batch of values is a sequence, not {type(values).__name__}: use update()")
        if not self._schema.stacks or (isinstance(values, ValueMapping) and self._schema.variable):
            return batch_list("values", values.values() if isinstance(values, ValueMapping) else values)
        stacked = isinstance(values, np.ndarray) or hasattr(values, "__array__") or hasattr(values, "__dlpack__")
        return values if stacked else batch_list("values", values)

    def remove_entry(self, encoded: bytes) -> None:
        """Delete one existing entry."""
        with self._session.writing():
            self._source.working.set(encoded, None)
            self._session.spill_if_large()

    def remove_entries(self, encoded: Sequence[bytes]) -> None:
        """Delete existing entries."""
        if encoded:
            with self._session.writing():
                self._source.working.set_many(encoded, [None] * len(encoded))
                self._session.spill_if_large()

    def _to(self) -> Preference:
        return self._session.preference(self._source.id, self._schema)

    def _begin_blobs(self, blobs: Encoded) -> Sequence[Digest] | Rows:
        """Hash the blobs of a batch, and begin to write them. Returns their digests; an array where they are of one size."""
        if not len(blobs):
            return ()
        to = self._to()
        if blobs.rows is not None:
            return hash_and_write_rows(self._session.blobs, to.tag, blobs.headers[0], blobs.rows, to.options)
        return hash_and_write_list(self._session.blobs, to.tag, blobs.headers, blobs.buffers, to.options)
