"""Full verification of received history: every commit, record and tree, and where each is named.

A tree that was verified before, because it is in the repository, is not walked again: only whether it fits its new place
is checked. So verification costs what is new. What it finds is what to store, and the leaves whose blobs are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from typing import Final

import numpy as np
import numpy.typing as npt

from hangar.bounded import BoundedCache
from hangar.digest import Digest, RecordClass
from hangar.errors import CorruptionError, InvalidInputError
from hangar.objects.children import array_digests
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.node import Node, Root, decode_node
from hangar.objects.verify import TreeVerifier
from hangar.remote.fresh import FreshWalk
from hangar.remote.leaves import ArrayCheck, check_leaves, check_rows
from hangar.remote.quarantine import CLASSES
from hangar.remote.sending import bases_of, join_digests, split_digests
from hangar.remote.source import ObjectSource
from hangar.schema import ChunkedSchema, ColumnSchema, open_schema

__all__ = ["Leaves", "NewHistory", "new_commits", "verify_history"]

_COMMITS_BYTES: Final = 2**24
_COMMIT_BYTES: Final = 1_024
_COLUMN_BYTES: Final = 512
"""Estimates of the memory of a decoded commit, and of each of its columns."""


@dataclass(slots=True)
class Leaves:
    """The new leaves of columns of one schema that name blobs. ``column_id`` is that of the first such column."""

    schema: ColumnSchema
    column_id: bytes
    joined: bytearray = field(default_factory=bytearray)

    def digests(self) -> list[bytes]:
        """Digests of the leaves, each once, in the order of the trees."""
        return list(dict.fromkeys(split_digests(bytes(self.joined))))


@dataclass(slots=True)
class NewHistory:
    """Verified history, ready to be stored.

    Attributes
    ----------
    commits
        The new commits, parents before children, each with its parents.
    records
        All other new objects, by class: digests, joined, some of them repeated.
    leaves
        Leaves that name blobs, and that no parent of their commit has in the same column, by the digest of the schema.
    """

    commits: dict[Digest, list[Digest]] = field(default_factory=dict)
    records: dict[RecordClass, bytearray] = field(
        default_factory=lambda: {kind: bytearray() for kind in CLASSES if kind != "commit"}
    )
    leaves: dict[bytes, Leaves] = field(default_factory=dict)


class _Nodes:
    """The nodes of a source, decoded."""

    def __init__(self, source: ObjectSource) -> None:
        self._source = source

    def load(self, digest: bytes) -> Node:
        return self.load_many([digest])[0]

    def load_many(self, digests: Sequence[bytes]) -> list[Node]:
        return list(map(decode_node, self.encoded(digests)))

    def encoded(self, digests: Sequence[bytes]) -> list[bytes]:
        return self._source.get("node", digests)


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
        self._found = NewHistory()
        self._commits: BoundedCache[bytes, Commit] = BoundedCache(_COMMITS_BYTES)
        self._schemas: dict[bytes, ColumnSchema] = {}
        self._columns: dict[bytes, _Columns] = {}

    def run(self, heads: Iterable[bytes]) -> NewHistory:
        for digest in new_commits(self._source, heads, self._commit):
            commit = self._commit(digest)
            self._found.commits[Digest(digest)] = commit.parents
            self._check_commit(digest, commit)
        self._found.leaves = {
            digest: columns.leaves for digest, columns in self._columns.items() if columns.leaves.joined
        }
        return self._found

    def _commit(self, digest: bytes) -> Commit:
        found = self._commits.get(digest)
        if found is None:
            found = self._source.commit(digest)
            self._commits.put(digest, found, _COMMIT_BYTES + _COLUMN_BYTES * len(found.columns))
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
            if entry.root is not None:
                if not schema.known_form:
                    schema.require()
                self._check_column(entry, schema, parents, where)

    def _record(self, kind: RecordClass, digest: bytes) -> None:
        if not self._source.has(kind, Digest(digest)):
            self._source.get(kind, [digest])
            self._found.records[kind] += digest

    def _schema(self, digest: bytes) -> ColumnSchema:
        found = self._schemas.get(digest)
        if found is None:
            self._record("schema", digest)
            found = self._schemas[digest] = open_schema(self._source.get("schema", [digest])[0])
        return found

    def _check_column(self, entry: ColumnEntry, schema: ColumnSchema, parents: list[Commit], where: str) -> None:
        columns = self._columns.get(schema.digest)
        if columns is None:
            columns = self._columns[schema.digest] = _Columns(
                self._source, Leaves(schema, entry.id), self._found.records
            )
        try:
            columns.check(
                entry.tree,  # type: ignore[arg-type]
                lambda: bases_of(entry, parents, lambda one: schema.covers(self._schema(one.schema))),
            )
        except (CorruptionError, InvalidInputError) as error:
            raise InvalidInputError(f"{where}: {error}") from None


class _Columns:
    """Verification of the columns of one schema. Nodes and arrays that they share are checked once."""

    def __init__(self, source: ObjectSource, leaves: Leaves, records: dict[RecordClass, bytearray]) -> None:
        self.leaves = leaves
        self._source = source
        self._records = records
        self._schema = schema = leaves.schema
        nodes = _Nodes(source)
        self._trees = self._verifier(nodes, schema)
        self._arrays = (
            ArrayCheck(schema, nodes, self._verifier(nodes, schema.chunk))
            if isinstance(schema, ChunkedSchema)
            else None
        )
        self._known_arrays: set[Digest] = set()
        self._old = FreshWalk(source)
        self._met_stored = False

    def _verifier(self, nodes: _Nodes, schema: ColumnSchema) -> TreeVerifier:
        return TreeVerifier(nodes, schema.form, self._stored, self._checked, self._checked_rows, self._placed)

    def check(self, root: Root, bases: Callable[[], Iterable[bytes]]) -> None:
        """Check a tree.

        Parameters
        ----------
        bases
            Gives the trees of such columns in the parents.
        """
        self._met_stored = False
        for problem in self._trees.problems(root):
            raise InvalidInputError(f"node {problem.digest.hex()[:12]}: {problem.message}")
        if self._met_stored:
            self._check_stored(root, bases())

    def _stored(self, digests: Sequence[Digest]) -> list[bool]:
        return self._source.stored("node", digests)

    def _placed(self, digests: Sequence[Digest], nodes: Sequence[Node]) -> None:
        self._met_stored = True

    def _checked(self, digests: Sequence[Digest], nodes: Sequence[Node]) -> None:
        self._records["node"] += join_digests(digests)
        if not nodes[0].level:
            self._check_leaves(digests, nodes)
            self._check_arrays(chain.from_iterable(map(array_digests, nodes)))

    def _checked_rows(self, digests: Sequence[Digest], rows: npt.NDArray[np.uint8]) -> None:
        joined = join_digests(digests)
        self._records["node"] += joined
        if check_rows(self._schema, rows):
            self.leaves.joined += joined

    def _check_leaves(self, digests: Sequence[bytes], leaves: Sequence[Node]) -> None:
        self.leaves.joined += join_digests(compress(digests, check_leaves(self._schema, leaves)))

    def _check_arrays(self, digests: Iterable[Digest]) -> None:
        """Check the array records that are not stored here."""
        fresh = [digest for digest in dict.fromkeys(digests) if digest not in self._known_arrays]
        if not fresh or self._arrays is None:
            return
        stored = self._source.stored("array", fresh)
        self._met_stored |= any(stored)
        new = [digest for digest, here in zip(fresh, stored, strict=True) if not here]
        self._known_arrays.update(new)
        self._records["array"] += join_digests(new)
        self._arrays.check(zip(new, self._source.get("array", new), strict=True))

    def _check_stored(self, root: Root, bases: Iterable[bytes]) -> None:
        """Check whether nodes and arrays that are stored here fit this schema, too, if no parent has them in such a column."""
        for kind, records in self._old.below(root.digest, bases):
            old = list(compress(records, self._source.stored(kind, [digest for digest, _ in records])))
            if kind == "array":
                assert self._arrays is not None
                self._arrays.check(old)
                continue
            leaves = {
                digest: node for digest, node in ((one, decode_node(data)) for one, data in old) if not node.level
            }
            if leaves:
                self._check_leaves(list(leaves), list(leaves.values()))
