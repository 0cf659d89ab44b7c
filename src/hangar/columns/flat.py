"""Flat columns: sample key -> value.

A reader has the interface of a ``Mapping``; a writer adds methods that change it. A write outside of a ``with`` block
is durable when the call returns. The samples of nested columns share all of this code; only the key space differs.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, overload

from hangar.columns.base import ColumnBase, Session, Source
from hangar.columns.keyspace import FLAT
from hangar.columns.mapping import ValueMapping
from hangar.names import SampleKey

__all__ = ["FlatSampleReader"]


class FlatSampleReader(ColumnBase, ValueMapping):
    """Samples of one flat column, as one commit (or the staging area) holds them."""

    column_layout: ClassVar[Literal["flat", "nested"]] = "flat"

    def __init__(self, session: Session, source: Source) -> None:
        super().__init__(session, source)
        self._space = FLAT

    @overload
    def __getitem__(self, key: list[SampleKey]) -> list[Any]: ...
    @overload
    def __getitem__(self, key: SampleKey) -> Any: ...
    def __getitem__(self, key: SampleKey | list[SampleKey]) -> Any:
        """Value of the sample ``key``, or of each of a list of keys.

        Raises
        ------
        SampleNotFoundError
            (a ``KeyError``) there is no such sample.
        InvalidTypeError
            (a ``TypeError``) ``key`` has a type that no key can have.
        CorruptionError
            The stored bytes are damaged.
        """
        if type(key) is list:
            return self._list_of_keys(key)
        return self._value(key)

    def to_dask(self, batch: int | None = None) -> Any:
        """The column as a lazy dask array of shape ``(samples, *shape of a sample)``, in key order.

        Nothing is read before it is computed. A chunk holds whole samples, which are read as one batch. Of a sample of a
        chunked column, use ``dask.array.from_array(column[key])``.

        Parameters
        ----------
        batch
            Samples in a chunk. None: as many as have 32 MB.

        Returns
        -------
        dask.array.Array

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) the values are not arrays of one shape.
        AccessError
            (a ``PermissionError``) the column of a writer, which changes.
        MissingPackageError
            (an ``ImportError``) dask is not installed.
        """
        from hangar.columns.stack import as_dask

        return as_dask(self, batch)
