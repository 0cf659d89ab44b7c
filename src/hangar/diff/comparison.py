"""Comparison of two states of a repository: commits or the staging area.

A snapshot is one of them, as a list of columns and the store of their trees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hangar.diff.compare import ColumnPair, compare, pair_columns
from hangar.diff.results import DiffOut
from hangar.digest import Digest
from hangar.errors import ColumnNotFoundError
from hangar.objects.attributes import load_attributes
from hangar.objects.commit import ColumnEntry
from hangar.objects.records import load_commit, load_record
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema, open_schema

if TYPE_CHECKING:
    from hangar.staging import StagedColumns, Staging
    from hangar.stores import Stores

__all__ = ["Comparison", "Snapshot", "chosen_columns", "commit_snapshot", "staged_snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of a repository: a commit or the staging area.

    Attributes
    ----------
    columns
        Its columns.
    attributes
        Digest of the attributes of the commit itself, None if it has none.
    commit
        The commit, or the commit that the staging area is based on; None before the first.
    nodes
        Store with the trees of the staging area; None for a commit, whose trees every store has.
    """

    columns: Sequence[ColumnEntry]
    attributes: Digest | None
    commit: Digest | None
    nodes: NodeStore | None = None


def commit_snapshot(stores: Stores, commit: Digest | None) -> Snapshot:
    """A commit; None: the empty state before the first commit."""
    if commit is None:
        return Snapshot((), None, None)
    record = load_commit(stores.db, commit)
    return Snapshot(record.columns, _digest(record.attributes), commit)


def staged_snapshot(staging: StagedColumns | Staging) -> Snapshot:
    """The staging area: its base commit with the staged changes."""
    return Snapshot(staging.entries(), _digest(staging.attributes), staging.base, staging.nodes)


def chosen_columns(before: Snapshot, after: Snapshot, names: Sequence[str] | None) -> Callable[[str], object] | None:
    """Predicate that selects the columns ``names``; None selects all.

    Raises
    ------
    ColumnNotFoundError
        Neither side has a column of one of the names.
    """
    if names is None:
        return None
    if isinstance(names, str):
        names = [names]
    known = {entry.name for side in (before, after) for entry in side.columns}
    for name in names:
        if name not in known:
            raise ColumnNotFoundError(
                f"there is no column {name!r} on either side: there are {', '.join(sorted(known))}"
            )
    return frozenset(names).__contains__


def _digest(data: bytes | None) -> Digest | None:
    return None if data is None else Digest(data)


class Comparison:
    """Comparison of two sides of one repository.

    Parameters
    ----------
    stores
        The stores of the repository.
    before, after
        The sides; at most one of them is a staging area.
    choose
        Selects columns by name: a column counts if its name on either side is chosen. None: all columns.
    """

    def __init__(
        self, stores: Stores, before: Snapshot, after: Snapshot, choose: Callable[[str], object] | None = None
    ) -> None:
        self.stores = stores
        self.before, self.after = before, after
        self.nodes = after.nodes or before.nodes or stores.nodes
        self._choose = choose
        self._schemas: dict[bytes, ColumnSchema] = {}

    @cached_property
    def pairs(self) -> list[ColumnPair]:
        """The chosen columns of both sides, paired by id, by their last name; columns equal on both sides too."""
        choose = self._choose
        pairs = pair_columns(self.before.columns, self.after.columns)
        if choose is None:
            return pairs
        return [pair for pair in pairs if any(one is not None and choose(one.name) for one in pair)]

    @property
    def columns(self) -> tuple[list[ColumnEntry], list[ColumnEntry]]:
        """The chosen columns of each side."""
        first, second = ([entry for pair in self.pairs if (entry := pair[side]) is not None] for side in (0, 1))
        return first, second

    @property
    def changed_pairs(self) -> Iterator[ColumnPair]:
        """The columns that differ."""
        return (pair for pair in self.pairs if pair.before != pair.after)

    def schema(self, digest: bytes) -> ColumnSchema:
        """The schema of a digest."""
        found = self._schemas.get(digest)
        if found is None:
            found = self._schemas[digest] = open_schema(load_record(self.stores.db, "schema", Digest(digest)))
        return found

    def load_attributes(self, digest: Digest) -> Mapping[str, Any]:
        """The attributes of a digest."""
        return load_attributes(self.stores.db, digest)

    def result(self) -> DiffOut:
        """All changed keys, schemas, names and attributes, in memory."""
        return compare(
            self.nodes,
            *self.columns,
            attributes_a=None if self._choose else self.before.attributes,
            attributes_b=None if self._choose else self.after.attributes,
            load_attributes=self.load_attributes,
        )
