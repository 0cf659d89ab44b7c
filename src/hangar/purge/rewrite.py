"""Rewrites the commits that hold inline values of chosen samples.

A value inline in the tree is covered by the digests of its leaf, of every node above, and of the commit. So it can only
be removed by replacing these, and all later commits. The entry is deleted from the tree; author, time and message of a
commit stay. All refs and reflogs move in one transaction, which checks that none has moved since.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hangar.db import WriteTransaction, tables
from hangar.digest import Digest
from hangar.errors import InvalidStateError
from hangar.history.bisect import rewrite_search
from hangar.objects.apply import apply
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.graph import add_commit, ancestors
from hangar.objects.node import Root
from hangar.objects.records import load_record
from hangar.objects.store import NodeStore
from hangar.publishing import OutdatedError
from hangar.purge.plan import Plan
from hangar.purge.selection import Selection
from hangar.refs.rewriting import rewrite_refs
from hangar.schema import open_schema
from hangar.staging.rewriting import rewrite_staging
from hangar.stores import Stores

__all__ = ["Rewriting"]


class Rewriting:
    """Replacement of all commits that hold one of the inline values of a plan, or descend from one that does.

    Parameters
    ----------
    stores
        Stores of the repository.
    plan
        The plan, made under the writer lock.

    Attributes
    ----------
    replaced
        New digest by old digest, parents before children.
    refs
        Refs that the last transaction moved.
    """

    def __init__(self, stores: Stores, plan: Plan) -> None:
        self._stores = stores
        self._plan = plan
        self._nodes = NodeStore(stores.db)
        self._gone = Selection(plan.selection.nested, set(plan.cells))
        self._trees: dict[tuple[Root, Digest], Root | None] = {}
        self._new: list[Commit] = []
        self._known: set[Digest] = set()
        self.replaced: dict[bytes, Digest] = {}
        self.refs: list[str] = []
        self._make()

    def _make(self) -> None:
        """Make the new commits and trees; they are pending in memory."""
        staged = self._plan.roots.staged
        if self._plan.cells and staged is not None:
            for column in staged.columns.values():
                self._column(column.record)
        if not self._plan.inline_commits:
            return
        for digest, commit in reversed(list(ancestors(self._stores.db, self._plan.roots.commits))):
            self._known.add(digest)
            columns = [self._column(entry) for entry in commit.columns]
            parents = [self.replaced.get(parent, parent) for parent in commit.parents]
            if columns != commit.columns or parents != commit.parents:
                new = msgspec.structs.replace(commit, columns=columns, parents=list(dict.fromkeys(parents)))
                self.replaced[digest] = new.digest()
                self._new.append(new)

    def _column(self, entry: ColumnEntry) -> ColumnEntry:
        tree = entry.tree
        if entry.id != self._plan.column_id or tree is None:
            return entry
        if (tree, entry.schema) not in self._trees:
            self._trees[tree, entry.schema] = self._tree(tree, entry.schema)
        new = self._trees[tree, entry.schema]
        return entry if new == tree else entry.with_tree(new)

    def _tree(self, tree: Root, schema_digest: Digest) -> Root | None:
        """The tree without the purged inline values; None if nothing is left."""
        schema = open_schema(load_record(self._stores.db, "schema", schema_digest))
        found = self._gone.entries(self._nodes, tree, schema)
        keys = sorted(key for key, cell in found.items() if cell in self._plan.cells[key])
        cells: Sequence[bytes | None] = [None] * len(keys)
        return apply(self._nodes, schema.form, tree, keys, cells) if keys else tree

    def record(self, transaction: WriteTransaction, who: tuple[str, str], message: str) -> None:
        """Store the new history, and move everything that names the old one.

        Raises
        ------
        InvalidStateError
            An operation with conflicts is in progress.
        OutdatedError
            A ref or reflog names a commit that was not there when the plan was made.
        """
        plan, stores = self._plan, self._stores
        if not plan.cells:
            return
        if transaction.count(tables.CONFLICTS):
            raise InvalidStateError(
                "a merge, cherry-pick or revert with conflicts is in progress, which may hold the values: conclude or abort it first"
            )
        if self.replaced:
            refs = {digest for _, digest in stores.refs.items("", transaction) if digest is not None}
            if not refs | set(stores.refs.reflog_commits(transaction)) <= self._known:
                raise OutdatedError("a branch moved since the purge was planned: run it again")
            for commit in self._new:
                add_commit(transaction, commit)
            rewrite_search(stores.db, transaction, self.replaced)
            self.refs = rewrite_refs(transaction, self.replaced, who=who, operation="purge", message=message)
        rewrite_staging(transaction, self.replaced, self._column, plan.column_id, plan.cells)
        self._nodes.flush(transaction)  # last, because the staging area may have a tree of its own
