"""Base class of columns: properties, and the session and source that a column reads from.

A column holds no data and no database handle. Its *session* (of a reader or a writer checkout) tells whether it may be
used. Its *source* gives the tree to read: that of a commit for a reader, that of the staging area for a writer.
``checkout/`` creates sessions; this module defines their interfaces.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from hangar.backends.preference import Preference, column_needs, load_preference
from hangar.blobs import BlobWriter
from hangar.blobs.asked import AskedRows
from hangar.blobs.index import Digests
from hangar.columns.attributes import AttributesReader
from hangar.columns.block import BatchBlock, OpenBlock
from hangar.columns.chunked.array import ChunkedArray
from hangar.columns.chunked.buffer import ChunkBuffer
from hangar.columns.chunked.values import open_values
from hangar.columns.local import has_promised, named, promised_keys, promised_samples
from hangar.columns.present import COMPLETED_KEYS, column_html, column_lines, counts, holds, lacks
from hangar.columns.source import CommittedSource, Source, StagedSource
from hangar.columns.tables import ColumnTable, StagedTable
from hangar.columns.values import ValueReader
from hangar.columns.views import LiveChunks
from hangar.digest import Digest
from hangar.objects.attributes import AttributeMap
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.schema.base import KindName
from hangar.staging import Staging
from hangar.stores import Stores

__all__ = ["ColumnBase", "CommittedSource", "ResolveColumn", "Session", "Source", "StagedSource", "WriteSession"]


class ResolveColumn(Protocol):
    """Fetches blobs of a column that are not here, as far as it can. It is pickled with readers."""

    def __call__(
        self, column_id: bytes, schema: ColumnSchema, digests: Digests, *, asked: AskedRows | None = None
    ) -> int:
        """Fetch blobs, as :class:`hangar.blobs.asked.Resolve` does."""


class Session(Protocol):
    """Interface of the checkout that a column belongs to."""

    stores: Stores
    nodes: NodeStore
    writable: bool
    live: LiveChunks
    resolve: ResolveColumn | None

    @property
    def rev(self) -> str:
        """The revision it shows, for commands in messages: a short digest, or a branch."""

    def check(self) -> None:
        """Raise ClosedError or LockedError if the checkout cannot be used any more."""

    def reduce_column(self, name: str) -> tuple[Any, ...]:
        """Result of ``__reduce__`` for a column (pickling)."""

    def batch(self) -> OpenBlock:
        """A batch of writes, as a context manager. Nested batches join the outermost one. Does nothing for a reader."""

    def load_attributes(self, digest: Digest) -> AttributeMap:
        """Load the attributes with a digest."""


class WriteSession(Session, Protocol):
    """Interface of a writer checkout."""

    blobs: BlobWriter
    arrays: ChunkBuffer

    @property
    def staging(self) -> Staging:
        """The staging area."""

    def writing(self) -> AbstractContextManager[None]:
        """A single write, as a context manager: durable at its end, or inside a batch at the end of the batch.

        Call :meth:`check` first.
        """

    @property
    def in_batch(self) -> bool:
        """Whether a ``with`` block is open."""

    def drop(self) -> None:
        """Drop all writes of the present batch, and refuse further ones: half of it must not become visible."""

    def spill_if_large(self) -> None:
        """Store tree nodes if a long batch holds too many in memory; called after each staged batch."""

    def preference(self, column_id: bytes, schema: ColumnSchema) -> Preference:
        """Backend that new blobs of a column are written to."""

    def set_preference(self, column_id: bytes, preference: Preference) -> None:
        """Set the backend for new blobs of a column."""


def _fetch(
    resolve: ResolveColumn,
    table: ColumnTable | None,
    column_id: bytes,
    schema: ColumnSchema,
    digests: Digests,
    *,
    asked: AskedRows | None = None,
) -> int:
    """Fetch blobs that are not here; returns their bytes."""
    if table is not None:
        table.missed()
    return resolve(column_id, schema, digests, asked=asked)


class ColumnBase(BatchBlock):
    """Properties that flat and nested columns share."""

    column_layout: ClassVar[Literal["flat", "nested"]]

    def __init__(self, session: Session, source: Source) -> None:
        self._session = session
        self._source = source
        self._schema = source.schema
        self._nodes = session.nodes
        self._table = (
            ColumnTable(session.stores, session.nodes, self._schema, source.root())
            if isinstance(source, CommittedSource)
            else None
        )
        self._values = self._reader_of(self._schema)
        self._staged_table = (
            StagedTable(session.stores, session.nodes, source) if isinstance(source, StagedSource) else None
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return self._session.reduce_column(self._source.name)

    def _use_schema(self, schema: ColumnSchema) -> None:
        """Switch to another schema, which also fits the stored values."""
        self._schema = schema
        self._values = self._reader_of(schema)

    def _reader_of(self, schema: ColumnSchema) -> ValueReader:
        session, source = self._session, self._source
        return open_values(
            session.stores,
            session.nodes,
            schema,
            None if session.resolve is None else partial(_fetch, session.resolve, self._table, source.id, schema),
            lambda error: named(error, source.name, session.rev),
            column=self,
        )

    def _check(self) -> None:
        self._session.check()

    def _array(self, digest: bytes) -> ChunkedArray:
        """The array of a record; of a chunked column."""
        self._check()
        found: ChunkedArray = self._values.one(digest)
        return found

    @property
    def column(self) -> str:
        """Name of the column."""
        self._check()
        return self._source.name

    @property
    def column_type(self) -> KindName:
        """Kind of the values."""
        self._check()
        return self._schema.kind_name

    @property
    def schema_type(self) -> Literal["fixed_shape", "variable_shape"]:
        """Whether all values have one shape."""
        self._check()
        return "variable_shape" if self._schema.variable else "fixed_shape"

    @property
    def dtype(self) -> np.dtype[Any] | type[Any] | None:
        """Element type of arrays; ``str`` for text columns, ``bytes`` for bytes columns; None if values differ in it."""
        self._check()
        return self._schema.python_type if self._schema.dtype is None else self._schema.dtype

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """Shape of every array, or the largest size of each dimension (None where it is not bounded); None for str and bytes."""
        self._check()
        return self._schema.max_shape

    @property
    def needs(self) -> str:
        """Message that names what is missing to read and write the values, such as a package to install; ``''`` if nothing is.

        A column with missing packages can still be listed, renamed, removed and committed.
        """
        self._check()
        return column_needs(self._session.stores.db, self._source.id, self._schema)

    @property
    def schema(self) -> ColumnSchema:
        """The versioned schema: kind, dtype, shape, layout, ``inline`` (whether small values are stored in the tree) and ``digest``."""
        self._check()
        return self._schema

    @property
    def attributes(self) -> AttributesReader:
        """Notes of users about the column (units, class names): a mapping. A writer can change it."""
        self._check()
        return AttributesReader(self._load_attributes)

    def _load_attributes(self) -> AttributeMap:
        self._check()
        digest = self._source.attributes
        return {} if digest is None else self._session.load_attributes(digest)

    def _preference(self) -> Preference:
        self._check()
        return load_preference(self._session.stores.db, self._source.id, self._schema)

    @property
    def backend(self) -> str:
        """Tag of the backend for new blobs of the column, on this machine."""
        return self._preference().tag

    @property
    def backend_options(self) -> dict[str, Any]:
        """Options of that backend."""
        return dict(self._preference().options)

    # ------------------------------------------------------------------ at a prompt

    def __repr__(self) -> str:
        self._check()
        return f"<{type(self).__name__} {self._source.name!r}: {counts(self)} of {holds(self._schema)}{lacks(self) and ' '}{lacks(self)}>"

    def __str__(self) -> str:
        self._check()
        return column_lines(self)

    def _repr_html_(self) -> str:
        self._check()
        return column_html(self)

    def _ipython_key_completions_(self) -> list[Any]:
        self._check()
        return list(islice(iter(self), COMPLETED_KEYS))  # type: ignore[call-overload]

    @property
    def iswriteable(self) -> bool:
        """Whether the column has writing methods."""
        self._check()
        return self._session.writable

    @property
    def contains_subsamples(self) -> bool:
        """Whether samples hold subsamples."""
        self._check()
        return self._schema.nested

    @property
    def contains_remote_references(self) -> bool:
        """Whether some data is only promised by a remote and not on this disk."""
        return has_promised(self)

    @property
    def remote_reference_keys(self) -> tuple[int | str, ...]:
        """Keys of samples whose data is promised and not on this disk."""
        self._check()
        return tuple(promised_samples(self) if self._schema.nested else promised_keys(self))

    def _open_batch(self) -> OpenBlock:
        return self._session.batch()
