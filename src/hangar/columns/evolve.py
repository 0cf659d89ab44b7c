"""What a writer changes about a column itself, and not in its samples: attributes, and the largest shape.

Both are versioned with the column and leave its identity alone: commits from before keep what they had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hangar.columns.attributes import AttributesWriter, Changing
from hangar.columns.base import ColumnBase, StagedSource, WriteSession
from hangar.errors import AccessError
from hangar.schema import widened

if TYPE_CHECKING:
    from hangar.objects.attributes import AttributeMap

__all__ = ["EvolvingColumn", "change_attributes"]


class EvolvingColumn(ColumnBase):
    """The part of a writer's column that flat and nested ones share."""

    _session: WriteSession
    _source: StagedSource

    @property
    def attributes(self) -> AttributesWriter:
        """What people say about the column (units, class names): a mapping that can be changed."""
        self._check()
        return AttributesWriter(self._load_attributes, self._change_attributes)

    def _change_attributes(self, change: Changing[Any]) -> None:
        self._check()
        change_attributes(self._session, self._source, change)

    def widen(self, shape: int | tuple[int, ...] | list[int]) -> None:
        """Let the samples of a column of variable shape be larger than before.

        Parameters
        ----------
        shape
            The new largest size of each dimension: as many as before, none smaller.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) the column has a fixed shape or holds str or bytes, the rank is another one, or a dimension would shrink.
        InvalidTypeError
            (a ``TypeError``) ``shape`` is no int and no sequence of ints.
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


def change_attributes(session: WriteSession, source: StagedSource | None, change: Changing[Any]) -> None:
    """Change the attributes of a column, or of the next commit as a whole (None), and stage them."""
    with session.writing():
        working = None if source is None else source.working
        digest = session.staging.attributes if working is None else working.attributes
        values: AttributeMap = {} if digest is None else session.load_attributes(digest)
        change(values)
        session.staging.set_attributes(working, values)
