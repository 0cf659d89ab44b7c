"""Plan of a purge: the stored values of the chosen samples, the samples that share them, and the commits that hold them.

A sample has a value in each commit. All its values are purged, also those under an earlier name of the column, unless
the caller asks for one commit only. A value is a blob, with a digest, or lies inline in a leaf of the tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from hangar.blobs.tombstones import find_tombstones
from hangar.digest import Digest, digest_array, digest_list
from hangar.errors import ColumnNotFoundError, NothingToDoError
from hangar.history import named_commit
from hangar.history.branches import unknown_branch
from hangar.history.roots import LiveRoots, live_roots
from hangar.history.usage import Usage, Use
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.graph import ancestors
from hangar.objects.records import load_commit, load_record
from hangar.objects.store import NodeStore
from hangar.objects.walk import blob_leaves
from hangar.purge.report import PurgedSample, PurgeReport, SharedSample
from hangar.purge.selection import Selection, key_list, sample_name
from hangar.refs import BRANCHES
from hangar.schema import ChunkedSchema, ColumnSchema, open_schema
from hangar.schema.keys import encode_key, encode_nested_key
from hangar.stores import Stores

__all__ = ["Plan", "make_plan", "stored_digests"]

_MOST_SHARED: Final = 20
"""Other samples with the same data that a report names."""


@dataclass(slots=True)
class Plan:
    """Everything that a purge removes.

    Attributes
    ----------
    column, column_id
        Name and id of the column.
    selection
        The chosen samples.
    roots
        Live roots that the plan was made from.
    blobs
        Encoded keys by digest of each value that is a blob.
    cells
        Inline values by encoded key.
    inline_commits
        Commits that hold such an inline value.
    commits
        All commits that hold one of the values, children before parents.
    staged, staged_inline
        Whether the staging area holds one; whether it holds an inline one.
    shared, shared_count
        Other samples with the same blobs: some, and their number.
    """

    column: str
    column_id: bytes
    selection: Selection
    roots: LiveRoots
    blobs: dict[bytes, set[bytes]] = field(default_factory=dict)
    cells: dict[bytes, set[bytes]] = field(default_factory=dict)
    inline_commits: set[Digest] = field(default_factory=set)
    commits: list[Digest] = field(default_factory=list)
    staged: bool = False
    staged_inline: bool = False
    shared: list[SharedSample] = field(default_factory=list)
    shared_count: int = 0

    def report(self, **changes: Any) -> PurgeReport:
        """The plan as a report."""
        keys = sorted(self.cells.keys() | {key for keys in self.blobs.values() for key in keys})
        digests: dict[bytes, list[str]] = {}
        for digest in sorted(self.blobs):
            for key in self.blobs[digest]:
                digests.setdefault(key, []).append(digest.hex())
        samples = tuple(PurgedSample(self.name(key), tuple(digests.get(key, ())), key in self.cells) for key in keys)
        facts: dict[str, Any] = {
            "column": self.column,
            "samples": samples,
            "commits": tuple(digest.hex() for digest in self.commits),
            "staged": self.staged,
            "shared": tuple(self.shared),
            "shared_count": self.shared_count,
        }
        return PurgeReport(**{**facts, **changes})

    def name(self, key: bytes) -> tuple[Any, ...]:
        """The key of an entry as a user writes it."""
        return sample_name(key, nested=self.selection.nested)


def make_plan(
    stores: Stores, column: str, keys: object, *, branch: str = "", rev: str = "", only_this: bool = False
) -> Plan:
    """Find all values that must be purged.

    Parameters
    ----------
    column, keys
        Name of the column, and the samples: a key or several.
    branch, rev
        Where they are named: a branch with its staged changes (by default the branch last written), or a revision.
    only_this
        Purge only the values at that place, not those of the same samples in other commits.

    Raises
    ------
    ColumnNotFoundError, SampleNotFoundError, RevisionNotFoundError
        Something that was named does not exist.
    NothingToDoError
        Everything was purged before.
    """
    return _Planning(stores, column, keys, branch, rev).plan(only_this=only_this)


def stored_digests(stores: Stores, column: str, keys: object, *, branch: str = "", rev: str = "") -> list[bytes]:
    """Digests of all blobs that samples have or had, those that were purged too; see :func:`make_plan`."""
    return _Planning(stores, column, keys, branch, rev).digests()


class _Planning:
    def __init__(self, stores: Stores, column: str, keys: object, branch: str, rev: str) -> None:
        self._stores = stores
        self._schemas: dict[bytes, ColumnSchema] = {}
        self._roots = live_roots(stores)
        self._where, nodes, entry = self._find(column, branch, rev)
        schema = self._schema(entry)
        self._selection = Selection.of(key_list(keys), column, nested=schema.nested)
        self._named = self._selection.entries(nodes, entry.tree, schema)
        self._selection.require(self._named, column, self._where)
        self._plan = Plan(column, entry.id, self._selection, self._roots)
        self._named_schema, self._named_nodes = schema, nodes

    def _find(self, column: str, branch: str, rev: str) -> tuple[str, NodeStore, ColumnEntry]:
        """Where the samples are named: a description, and the column there."""
        stores, staged = self._stores, self._roots.staged
        entries: Sequence[ColumnEntry] = ()
        nodes = stores.nodes
        if rev:
            where = rev
            head = named_commit(stores.db, stores.refs, None, rev)
        else:
            branch = branch or stores.refs.head().last_written
            where = f"branch {branch!r}"
            if not stores.refs.exists(BRANCHES + branch):
                raise unknown_branch(stores.refs, branch)
            head = stores.refs.get(BRANCHES + branch)
        if not rev and staged is not None and staged.branch == branch:
            entries, nodes = staged.entries(), staged.nodes
        elif head is not None:
            entries = load_commit(stores.db, head).columns
        found = next((entry for entry in entries if entry.name == column), None)
        if found is None:
            there = ", ".join(entry.name for entry in entries) or "none"
            raise ColumnNotFoundError(f"there is no column {column!r} in {where}; there are: {there}")
        return where, nodes, found

    def _schema(self, entry: ColumnEntry) -> ColumnSchema:
        found = self._schemas.get(entry.schema)
        if found is None:
            found = self._schemas[entry.schema] = open_schema(load_record(self._stores.db, "schema", entry.schema))
        return found

    # ------------------------------------------------------------------ values

    def plan(self, *, only_this: bool) -> Plan:
        if only_this:
            self._take(self._named_nodes, self._named, self._named_schema)
        else:
            self.digests()
        self._drop_purged()
        self._find_inline()
        self._find_blobs()
        return self._plan

    def digests(self) -> list[bytes]:
        for nodes, entry in self._versions():
            self._take(nodes, self._selection.entries(nodes, entry.tree, self._schema(entry)), self._schema(entry))
        return sorted(self._plan.blobs)

    def _commits(self) -> Iterator[tuple[Digest, Commit]]:
        return ancestors(self._stores.db, self._roots.commits)

    def _places(self) -> Iterator[tuple[Digest | None, NodeStore, ColumnEntry]]:
        """The column in the staging area and in every commit, under every name."""
        staged, wanted = self._roots.staged, self._plan.column_id
        if staged is not None:
            yield from ((None, staged.nodes, entry) for entry in staged.entries() if entry.id == wanted)
            # Its stored tree too: it may hold values that were staged and then replaced.
            stored = (column.record for column in staged.columns.values() if column.id == wanted)
            yield from ((None, staged.nodes, entry) for entry in stored)
        for digest, commit in self._commits():
            yield from ((digest, self._stores.nodes, entry) for entry in commit.columns if entry.id == wanted)

    def _versions(self) -> Iterator[tuple[NodeStore, ColumnEntry]]:
        """Each tree of the column once."""
        seen: set[tuple[Digest | None, Digest]] = set()
        for _, nodes, entry in self._places():
            if (entry.root, entry.schema) not in seen:
                seen.add((entry.root, entry.schema))
                yield nodes, entry

    def _take(self, nodes: NodeStore, entries: dict[bytes, bytes], schema: ColumnSchema) -> None:
        if isinstance(schema, ChunkedSchema):
            self._take_arrays(nodes, entries, schema)
            return
        for key, cell in entries.items():
            digest = schema.digest_of(cell)
            if digest is None:
                self._plan.cells.setdefault(key, set()).add(cell)
            else:
                self._plan.blobs.setdefault(digest, set()).add(key)

    def _take_arrays(self, nodes: NodeStore, entries: dict[bytes, bytes], schema: ChunkedSchema) -> None:
        """Take the chunks of arrays; of small chunks, which lie inline in chunk maps, the arrays as a whole."""
        for key, cell in entries.items():
            if schema.chunk.inline:
                self._plan.cells.setdefault(key, set()).add(cell)
                continue
            (record,) = nodes.load_arrays([cell])
            for _, leaf in () if record.root is None else blob_leaves(nodes, record.root):
                for digest in digest_list(leaf.blobs()):
                    self._plan.blobs.setdefault(digest, set()).add(key)

    def _drop_purged(self) -> None:
        """Remove values from the plan that were purged before."""
        plan = self._plan
        names = list(plan.blobs)
        if names:
            with self._stores.db.read() as transaction:
                purged = find_tombstones(transaction, names)
            known = set(digest_list(digest_array(names)[self._stores.blobs.known(digest_array(names))]))
            for digest in purged.keys() - known:
                del plan.blobs[digest]
        if not plan.blobs and not plan.cells:
            raise NothingToDoError(
                "these samples have no data, or it was purged before: `hangar purge --list` shows it"
            )

    # ------------------------------------------------------------------ commits

    def _find_inline(self) -> None:
        """Find the commits that hold one of the inline values."""
        plan = self._plan
        if not plan.cells:
            return
        chosen = Selection(self._selection.nested, set(plan.cells))
        holds: dict[Digest | None, bool] = {}
        for commit, nodes, entry in self._places():
            if entry.root not in holds:
                found = chosen.entries(nodes, entry.tree, self._schema(entry))
                holds[entry.root] = any(cell in plan.cells[key] for key, cell in found.items())
            if holds[entry.root]:
                plan.staged_inline |= commit is None
                if commit is not None:
                    plan.inline_commits.add(commit)

    def _find_blobs(self) -> None:
        """Find the commits that hold one of the blobs or inline values, and other samples with the same blobs."""
        plan = self._plan
        holding: set[Digest] = set(plan.inline_commits)
        if plan.blobs:
            usage = Usage(self._stores, plan.blobs, roots=self._roots, commits=self._commits)
            for use in usage.commits():
                plan.staged |= use.commit is None
                holding.update(() if use.commit is None else (use.commit,))
            # Once each: a chunked array may share thousands of chunks.
            others = {(one.column_id, one.sample, one.subsample): one for one in self._others(usage)}
            plan.shared_count = len(others)
            plan.shared = [_shared(one) for one in islice(others.values(), _MOST_SHARED)]
        plan.staged |= plan.staged_inline
        plan.commits = [digest for digest, _ in self._commits() if digest in holding]

    def _others(self, usage: Usage) -> Iterator[Use]:
        for use in usage.samples():
            if use.column_id != self._plan.column_id or _encoded(use) not in self._selection:
                yield use


def _encoded(use: Use) -> bytes:
    if use.sample is None:
        return b""
    return encode_key(use.sample) if use.subsample is None else encode_nested_key(use.sample, use.subsample)


def _shared(use: Use) -> SharedSample:
    key = () if use.sample is None else (use.sample,) if use.subsample is None else (use.sample, use.subsample)
    return SharedSample(use.digest.hex(), use.column, key, "" if use.commit is None else use.commit.hex())
