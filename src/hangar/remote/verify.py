"""Full verification of received history: every commit, record and tree, and where each is named.

A tree that was verified before, because it is in the repository, is not walked again: only whether it fits its new place
is checked. So verification costs what is new. What it finds is what to store, and the leaves whose blobs are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from hangar.blobs.digests import DigestSet
from hangar.bounded import BoundedCache
from hangar.digest import Digest, RecordClass, digest_array
from hangar.errors import CorruptionError, InvalidInputError
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.node import Node, Root, decode_node
from hangar.objects.verify import TreeVerifier
from hangar.remote.fresh import FreshWalk
from hangar.remote.leaves import ArrayCheck, check_leaf
from hangar.remote.quarantine import CLASSES
from hangar.remote.sending import bases_of
from hangar.remote.source import ObjectSource
from hangar.schema import ColumnSchema, open_schema

__all__ = ["Leaves", "NewHistory", "new_commits", "verify_history"]

_CACHE_BYTES: Final = 16 * 2**20


@dataclass(slots=True)
class Leaves:
    """The new leaves of columns of one schema that name blobs. ``column_id`` is that of the first such column."""

    schema: ColumnSchema
    column_id: bytes
    digests: DigestSet = field(default_factory=DigestSet)


@dataclass(slots=True)
class NewHistory:
    """Verified history, ready to be stored.

    Attributes
    ----------
    commits
        The new commits, parents before children.
    records
        All other new objects, by class.
    leaves
        Leaves that name blobs, and that no parent of their commit has in the same column, by the digest of the schema.
    """

    commits: list[Digest]
    records: dict[RecordClass, DigestSet]
    leaves: dict[bytes, Leaves]


class _Nodes:
    """The nodes of a source, decoded, through a cache."""

    def __init__(self, source: ObjectSource) -> None:
        self._source = source
        self._cache: BoundedCache[bytes, Node] = BoundedCache(_CACHE_BYTES)

    def load(self, digest: bytes) -> Node:
        return self.load_many([digest])[0]

    def load_many(self, digests: Sequence[bytes]) -> list[Node]:
        found = {digest: self._cache.get(digest) for digest in digests}
        absent = [digest for digest, node in found.items() if node is None]
        for digest, data in zip(absent, self._source.get("node", absent), strict=True):
            node = found[digest] = decode_node(data)
            self._cache.put(digest, node, 512 + 2 * len(data))
        return [found[digest] for digest in digests]  # type: ignore[misc]


def verify_history(source: ObjectSource, heads: Iterable[bytes]) -> NewHistory:
    """Verify commits in quarantine, and everything that they name, blobs excluded.

    Parameters
    ----------
    source
        The repository and the quarantine; nothing that the objects name is missing.
    heads
        Commits, in the repository or in quarantine.

    Raises
    ------
    InvalidInputError
        Something is wrong. The message says what and where.
    """
    try:
        return _Verification(source).run(heads)
    except CorruptionError as error:
        raise InvalidInputError(f"the received history is not valid: {error}") from error


def new_commits(
    source: ObjectSource, heads: Iterable[bytes], load: Callable[[bytes], Commit] | None = None
) -> Iterator[bytes]:
    """The commits among ``heads`` and their ancestors that the repository does not have, parents before children."""
    load = source.commit if load is None else load
    done: set[bytes] = set()
    stack = [(digest, False) for digest in heads]
    while stack:
        digest, ready = stack.pop()
        if digest in done:
            continue
        if ready:
            done.add(digest)
            yield digest
        elif source.has("commit", Digest(digest)):
            done.add(digest)
        else:
            stack.append((digest, True))
            stack += [(parent, False) for parent in load(digest).parents]


class _Verification:
    def __init__(self, source: ObjectSource) -> None:
        self._source = source
        self._nodes = _Nodes(source)
        self._found = NewHistory([], {kind: DigestSet() for kind in CLASSES if kind != "commit"}, {})
        self._commits: dict[bytes, Commit] = {}
        self._schemas: dict[bytes, ColumnSchema] = {}
        self._verifiers: dict[bytes, TreeVerifier] = {}
        self._walks: dict[bytes, FreshWalk] = {}
        self._arrays = ArrayCheck(self._nodes, self._trusted)

    def run(self, heads: Iterable[bytes]) -> NewHistory:
        for digest in new_commits(self._source, heads, self._commit):
            commit = self._commits[digest]
            self._found.commits.append(Digest(digest))
            self._check_commit(digest, commit)
        return self._found

    def _commit(self, digest: bytes) -> Commit:
        found = self._commits.get(digest)
        if found is None:
            found = self._commits[digest] = self._source.commit(digest)
        return found

    def _check_commit(self, digest: bytes, commit: Commit) -> None:
        parents = [self._commit(parent) for parent in commit.parents]
        if commit.attributes is not None:
            self._record("attributes", commit.attributes)
        for entry in commit.columns:
            where = f"commit {digest.hex()[:12]}, column {entry.name!r}"
            schema = self._schema(entry.schema)
            if entry.attributes is not None:
                self._record("attributes", entry.attributes)
            if bool(entry.layout) != schema.nested:
                raise InvalidInputError(f"{where}: the layout is not that of the schema")
            root = entry.tree
            if root is not None:
                if not schema.known_form:
                    schema.require()
                self._check_tree(root, schema, where)
                self._collect(entry, schema, parents, where)

    def _record(self, kind: RecordClass, digest: bytes) -> None:
        if not self._source.has(kind, Digest(digest)):
            self._source.get(kind, [digest])
            self._found.records[kind].add(digest_array([digest]))

    def _schema(self, digest: bytes) -> ColumnSchema:
        found = self._schemas.get(digest)
        if found is None:
            self._record("schema", digest)
            found = self._schemas[digest] = open_schema(self._source.get("schema", [digest])[0])
        return found

    def _check_tree(self, root: Root, schema: ColumnSchema, where: str) -> None:
        verifier = self._verifiers.get(schema.digest)
        if verifier is None:
            verifier = self._verifiers[schema.digest] = TreeVerifier(self._nodes, schema.form, self._trusted)
        for problem in verifier.problems(root):
            raise InvalidInputError(f"{where}: node {problem.digest.hex()[:12]}: {problem.message}")

    def _trusted(self, digest: Digest) -> bool:
        return self._source.has("node", digest)

    def _collect(self, entry: ColumnEntry, schema: ColumnSchema, parents: list[Commit], where: str) -> None:
        """Check the leaves and arrays that are new in a column, and note what is to be stored."""
        assert entry.root is not None
        walk = self._walks.setdefault(schema.digest, FreshWalk(self._source))
        bases = bases_of(entry, parents, lambda one: schema.covers(self._schema(one.schema)))
        for kind, records in walk.below(entry.root, bases):
            digests = digest_array([digest for digest, _ in records])
            self._found.records[kind].add(digests[~self._source.stored(kind, digests)])
            try:
                self._arrays.check(schema, kind, records)
                naming = [digest for digest, data in records if kind == "node" and check_leaf(schema, data)]
            except (CorruptionError, InvalidInputError) as error:
                raise InvalidInputError(f"{where}: {error}") from None
            if naming:
                self._leaves_of(schema, entry).digests.add(digest_array(naming))

    def _leaves_of(self, schema: ColumnSchema, entry: ColumnEntry) -> Leaves:
        found = self._found.leaves.get(schema.digest)
        if found is None:
            found = self._found.leaves[schema.digest] = Leaves(schema, entry.id)
        return found
