"""Source of the entries of a column: a commit, or the staging area.

A source looks up entries by key or by prefix, and has the tree of all entries. The source of a commit never changes.
The source of the staging area is resolved again at each access.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hangar.digest import Digest
from hangar.errors import ClosedError
from hangar.objects.commit import ColumnEntry
from hangar.objects.lookup import get, get_many
from hangar.objects.node import Root
from hangar.objects.scan import starts_with
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema
from hangar.staging import StagedColumns, Staging, WorkingColumn

__all__ = ["CommittedSource", "Source", "StagedSource"]


class Source(Protocol):
    """Interface of a source."""

    @property
    def name(self) -> str: ...
    @property
    def id(self) -> bytes: ...
    @property
    def schema(self) -> ColumnSchema: ...
    @property
    def attributes(self) -> Digest | None: ...
    def root(self) -> Root | None:
        """The tree of all entries."""

    def snapshot(self) -> tuple[NodeStore, Root | None]:
        """The current tree, and a node store that keeps it while later writes go on."""

    def cell(self, key: bytes) -> bytes | None:
        """The entry of one encoded key."""

    def cells(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The entries of encoded keys, in order."""

    def starts_with(self, prefix: bytes) -> bool:
        """Whether some key begins with ``prefix``."""


class CommittedSource:
    """A column of a commit; never changes."""

    __slots__ = ("_entry", "_nodes", "_tree", "schema")

    def __init__(self, nodes: NodeStore, entry: ColumnEntry, schema: ColumnSchema) -> None:
        self._nodes = nodes
        self._entry = entry
        self._tree = entry.tree
        self.schema = schema

    @property
    def name(self) -> str:
        return self._entry.name

    @property
    def id(self) -> bytes:
        return self._entry.id

    @property
    def attributes(self) -> Digest | None:
        return self._entry.attributes

    def root(self) -> Root | None:
        return self._tree

    def snapshot(self) -> tuple[NodeStore, Root | None]:
        return self._nodes, self._tree

    def cell(self, key: bytes) -> bytes | None:
        root = self._entry.root
        return None if root is None else get(self._nodes, root, key)

    def cells(self, keys: Sequence[bytes]) -> list[bytes | None]:
        root = self._entry.root
        return [None] * len(keys) if root is None else get_many(self._nodes, self.schema.form, root, keys)

    def starts_with(self, prefix: bytes) -> bool:
        root = self._entry.root
        return root is not None and starts_with(self._nodes, root, prefix)


class StagedSource:
    """A column of the staging area. It is looked up by id, so that it is never stale after a rollback.

    Parameters
    ----------
    settle
        Called before each access: stages the changed chunks of the present batch.
    """

    __slots__ = ("_settle", "_staging", "id")

    def __init__(
        self, staging: Staging | StagedColumns, column: WorkingColumn, settle: Callable[[], None] | None = None
    ) -> None:
        self._staging = staging
        self.id = column.id
        self._settle = settle

    @property
    def working(self) -> WorkingColumn:
        """The current state of the column."""
        if self._settle is not None:
            self._settle()
        return self._present()

    def _present(self) -> WorkingColumn:
        found = self._staging.by_id.get(self.id)
        if found is None:
            raise ClosedError(
                "this column is no longer in the staging area: it was removed, or the batch that added it was rolled back"
            )
        return found

    @property
    def name(self) -> str:
        return self._present().name

    @property
    def schema(self) -> ColumnSchema:
        return self._present().schema

    @property
    def attributes(self) -> Digest | None:
        return self._present().attributes

    def root(self) -> Root | None:
        return self.working.merged_tree()

    def snapshot(self) -> tuple[NodeStore, Root | None]:
        return self.working.snapshot()

    def cell(self, key: bytes) -> bytes | None:
        if self._settle is not None:
            self._settle()
        return self.stored_cell(key)

    def stored_cell(self, key: bytes) -> bytes | None:
        """Like :meth:`cell`, without the changed chunks of the present batch."""
        found = self._staging.by_id.get(self.id)
        return (self._present() if found is None else found).cell(key)

    def stage_cell(self, key: bytes, cell: bytes) -> None:
        """Change one entry; changed chunks of the present batch stay where they are."""
        self._present().set(key, cell)

    def cells(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self.working.cells(keys)

    def starts_with(self, prefix: bytes) -> bool:
        return self.working.starts_with(prefix)

    def below(self, prefix: bytes) -> dict[bytes, bytes]:
        """The entries whose keys begin with ``prefix``, in key order."""
        return self.working.below(prefix)
