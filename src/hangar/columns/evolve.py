"""Writer changes to a column itself, not to its samples: attributes, the largest shape, and the backend.

Attributes and shape are versioned; a change does not change the identity of the column, and earlier commits keep their
values. The backend is a local setting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hangar.backends.preference import Preference, check_preference
from hangar.columns.attributes import AttributesWriter, Changing
from hangar.columns.base import ColumnBase, StagedSource, WriteSession
from hangar.columns.chunkedentries import open_entry_writer
from hangar.columns.write import EntryWriter
from hangar.errors import AccessError, ClosedError, InvalidInputError, InvalidStateError
from hangar.schema import ColumnSchema, widened

if TYPE_CHECKING:
    from hangar.objects.attributes import AttributeMap

__all__ = ["ColumnWriter", "change_attributes"]


class _Retired:
    """Session of a column that was removed."""

    writable = closed = True

    def check(self) -> None:
        raise ClosedError(
            "this column cannot be used any more: it was removed, or its checkout was reset or closed; get it again"
        )

    def batch(self) -> Any:
        self.check()

    def reduce_column(self, name: str) -> Any:
        self.check()


class ColumnWriter(ColumnBase):
    """A column of the staging area, flat or nested; its samples are written by the :class:`EntryWriter` that it has."""

    _session: WriteSession
    _source: StagedSource

    def __init__(self, session: WriteSession, source: StagedSource) -> None:
        super().__init__(session, source)
        self._entry_writer = open_entry_writer(session, source, self._schema)

    def _use_schema(self, schema: ColumnSchema) -> None:
        super()._use_schema(schema)
        self._entry_writer = open_entry_writer(self._session, self._source, schema)

    def _writer(self) -> EntryWriter:
        """The entry writer; raises if the column cannot be written to any more."""
        self._session.check()
        return self._entry_writer

    def retire(self) -> None:
        """Refuse all further use: the column was removed, or the staging area was reset or closed."""
        self._session = cast("WriteSession", _Retired())
        self._entry_writer.retire(self._session)

    @property
    def attributes(self) -> AttributesWriter:
        """Notes of users about the column (units, class names): a mapping that can be changed."""
        self._check()
        return AttributesWriter(self._load_attributes, self._change_attributes)

    def _change_attributes(self, change: Changing[Any]) -> None:
        self._check()
        change_attributes(self._session, self._source, change)

    def widen(self, shape: int | tuple[int, ...] | list[int]) -> None:
        """Allow larger samples in a column of variable shape.

        Parameters
        ----------
        shape
            The new maximum of each dimension; the same number of dimensions, none smaller than before.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) the column has a fixed shape or holds str or bytes, the rank differs, or a dimension
            would shrink.
        InvalidTypeError
            (a ``TypeError``) ``shape`` is not an int or a sequence of ints.
        AccessError
            (a ``PermissionError``) inside a ``with`` block.
        """
        self._check()
        if self._session.in_batch:
            raise AccessError("a column cannot be widened inside a `with` block")
        schema = widened(self._source.schema, shape, self._source.name)
        if schema.digest == self._source.schema.digest:
            return
        with self._session.writing():
            self._session.staging.set_schema(self._source.working, schema)
        self._use_schema(schema)

    def change_backend(self, backend: str, backend_options: dict[str, Any] | None = None) -> None:
        """Set the backend for new blobs of the column, on this machine. Stored blobs are not moved.

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


def change_attributes(session: WriteSession, source: StagedSource | None, change: Changing[Any]) -> None:
    """Change the attributes of a column, or of the next commit as a whole (None), and stage them."""
    with session.writing():
        working = None if source is None else source.working
        digest = session.staging.attributes if working is None else working.attributes
        values: AttributeMap = {} if digest is None else session.load_attributes(digest)
        change(values)
        session.staging.set_attributes(working, values)
