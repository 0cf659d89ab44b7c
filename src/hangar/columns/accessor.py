"""One sample of a nested column: subsample key -> value.

It is a cheap view of the keys in the column's tree that begin with the key of the sample, and holds no data. It has the
same interface as a flat column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from operator import getitem
from types import EllipsisType
from typing import Any, overload
from weakref import ReferenceType

from hangar.columns.ahead import ReadAhead
from hangar.columns.base import ColumnBase, Session, Source, StagedSource, WriteSession
from hangar.columns.block import BatchBlock, OpenBlock
from hangar.columns.evolve import ColumnWriter
from hangar.columns.keyed import KeyedWriter, generated_key
from hangar.columns.keyspace import PrefixSpace
from hangar.columns.local import has_promised, promised_keys
from hangar.columns.mapping import ValueMapping
from hangar.columns.present import COMPLETED_KEYS, first_keys, mapping_html
from hangar.columns.tables import ColumnTable, StagedTable
from hangar.columns.values import ValueReader
from hangar.columns.write import EntryWriter
from hangar.errors import SampleNotFoundError
from hangar.names import SampleKey
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.wording import plural

__all__ = ["FlatSubsampleReader", "FlatSubsampleWriter"]


class FlatSubsampleReader(BatchBlock, ValueMapping):
    """Subsamples of one sample, by key; ``column[sample]`` returns it."""

    _of: ColumnBase

    def __init__(
        self,
        of: ColumnBase,
        sample: SampleKey,
        prefix: bytes,
        ahead: tuple[ReferenceType[ReadAhead], int] | None = None,
    ) -> None:
        self._of = of
        self._sample = sample
        self._prefix = prefix
        self._ahead = ahead

    @cached_property
    def _space(self) -> PrefixSpace:  # type: ignore[override]
        return PrefixSpace(self._prefix)

    # These read from the column each time, because the column may be retired or widened.

    @property
    def _session(self) -> Session:
        return self._of._session

    @property
    def _source(self) -> Source:
        return self._of._source

    @property
    def _schema(self) -> ColumnSchema:
        return self._of._schema

    @property
    def _nodes(self) -> NodeStore:
        return self._of._nodes

    @property
    def _values(self) -> ValueReader:
        return self._of._values

    @property
    def _table(self) -> ColumnTable | None:
        return self._of._table

    @property
    def _staged_table(self) -> StagedTable | None:
        return self._of._staged_table

    def _open_batch(self) -> OpenBlock:
        return self._session.batch()

    def __reduce__(self) -> tuple[Any, ...]:
        self._session.check()
        return getitem, (self._of, self._sample)

    # ------------------------------------------------------------------ properties

    @property
    def sample(self) -> SampleKey:
        """Key of the sample."""
        self._session.check()
        return self._sample

    @property
    def column(self) -> str:
        """Name of the column."""
        return self._of.column

    @property
    def iswriteable(self) -> bool:
        """Whether it has writing methods."""
        return self._of.iswriteable

    @property
    def contains_remote_references(self) -> bool:
        """Whether some data is only promised by a remote and not on this disk."""
        return has_promised(self)

    @property
    def remote_reference_keys(self) -> tuple[SampleKey, ...]:
        """Keys of subsamples whose data is promised and not on this disk."""
        self._session.check()
        return tuple(promised_keys(self))

    @property
    def data(self) -> dict[SampleKey, Any]:
        """All subsamples, in key order."""
        self._of._session.check()
        found = self._take_ahead()
        return dict(super()._iterate_items()) if found is None else found

    def _take_ahead(self) -> dict[SampleKey, Any] | None:
        """The subsamples that iteration over the column has read ahead. Returned once, and only if the tree is unchanged."""
        if self._ahead is None:
            return None
        (window, index), self._ahead = self._ahead, None
        ahead = window()
        if ahead is None or ahead.root != self._of._source.root():
            return None
        return ahead.take(index)

    # ------------------------------------------------------------------ reading

    @overload
    def __getitem__(self, key: EllipsisType | slice) -> dict[SampleKey, Any]: ...
    @overload
    def __getitem__(self, key: list[SampleKey]) -> list[Any]: ...
    @overload
    def __getitem__(self, key: SampleKey) -> Any: ...
    def __getitem__(self, key: SampleKey | list[SampleKey] | EllipsisType | slice) -> Any:
        """Value of one subsample, or of each of a list; a dict of all (``[...]``) or of those at positions in key order (``[a:b]``).

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) there is no such subsample.
        InvalidTypeError
            (a ``TypeError``) ``key`` has a type that no key can have.
        CorruptionError
            The stored bytes are damaged.
        """
        if key is Ellipsis:
            return self.data
        if isinstance(key, slice):
            return self._dict_at(key)
        if type(key) is list:
            return self._list_of_keys(key)
        return self._value(key)

    def _iterate_values(self, *, backwards: bool = False) -> Iterator[Any]:
        found = None if backwards else self._take_ahead()
        return super()._iterate_values(backwards=backwards) if found is None else self._until_closed(found.values())

    def _iterate_items(self, *, backwards: bool = False) -> Iterator[tuple[SampleKey, Any]]:
        found = None if backwards else self._take_ahead()
        return super()._iterate_items(backwards=backwards) if found is None else self._until_closed(found.items())

    def _until_closed(self, items: Iterable[Any]) -> Iterator[Any]:
        self._session.check()
        yield from self._live(items)
        self._session.check()

    def _missing(self, key: object) -> SampleNotFoundError:
        return SampleNotFoundError(f"sample {self._sample!r} of column {self._source.name!r} has no subsample {key!r}")

    def _holder(self) -> str:
        return f"sample {self._sample!r} of column {self._source.name!r} has subsamples:"

    def __repr__(self) -> str:
        self._session.check()
        return f"<{type(self).__name__} {self._sample!r} of {self._source.name!r}: {plural(len(self), 'subsample')}>"

    def __str__(self) -> str:
        return f"{self!r}\n    keys: {first_keys(self)}"

    def _repr_html_(self) -> str:
        self._session.check()
        return mapping_html(f"{type(self).__name__} {self._sample!r} of {self._source.name}", self)

    def _ipython_key_completions_(self) -> list[SampleKey]:
        return list(islice(iter(self), COMPLETED_KEYS))


class FlatSubsampleWriter(KeyedWriter, FlatSubsampleReader):
    """Subsamples of one sample of the staging area."""

    _of: ColumnWriter

    @property
    def _session(self) -> WriteSession:
        return self._of._session

    @property
    def _source(self) -> StagedSource:
        return self._of._source

    def _writer(self) -> EntryWriter:
        return self._of._writer()

    def append(self, value: Any) -> str:
        """Add a value under a new, unique key and return the key. Such keys sort by time."""
        key = generated_key()
        self[key] = value
        return key
