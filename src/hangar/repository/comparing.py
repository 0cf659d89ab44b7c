"""Differences between commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hangar.repository.base import RepositoryBase

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hangar.diff import DiffAndConflicts, ValueChange

__all__ = ["CompareMethods"]


class CompareMethods(RepositoryBase):
    """Methods of :class:`hangar.Repository` that compare commits."""

    def diff(self, master: str, dev: str) -> DiffAndConflicts:
        """What changed from ``master`` to ``dev``, and what would conflict if ``dev`` were merged into ``master``.

        The cost depends on the size of the difference. No array is read.

        Parameters
        ----------
        master, dev
            Branches, tags, commits or other revisions.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such revision.
        """
        from hangar.diff import diff_revisions

        return diff_revisions(self._open(), master, dev)

    def changes(self, master: str, dev: str, *, columns: Sequence[str] | None = None) -> Iterator[ValueChange]:
        """Stream the samples that changed from ``master`` to ``dev``, with their values, in bounded memory.

        Parameters
        ----------
        master, dev
            Branches, tags, commits or other revisions.
        columns
            Names of columns, before or after the change; None: all.

        Yields
        ------
        ValueChange
            By column, in key order. Its ``difference()`` compares the two values.

        Raises
        ------
        RevisionNotFoundError, ColumnNotFoundError
            There is no such revision; there is no such column on either side.
        CorruptionError
            A value is damaged.
        """
        from hangar.diff import changes_of_revisions

        return changes_of_revisions(self._open(), master, dev, columns)
