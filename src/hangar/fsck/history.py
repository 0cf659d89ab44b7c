"""Checks all history and the staging area: commits, their records, and every tree, each shared part once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from hangar.backends import Locations
from hangar.blobs.absence import denial
from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests
from hangar.blobs.tombstones import Tombstone, find_tombstones
from hangar.db.tables import GRAPH
from hangar.digest import Digest, digest_list
from hangar.errors import NOT_DAMAGE, CorruptionError, HangarError
from hangar.fsck.arrays import ArrayCheck
from hangar.fsck.findings import Findings
from hangar.objects.attributes import load_attributes
from hangar.objects.children import array_digests
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.graph import generation
from hangar.objects.node import ARRAYS, Node
from hangar.objects.records import load_commit, load_record
from hangar.objects.store import NodeStore
from hangar.objects.verify import TreeVerifier
from hangar.objects.walk import walk
from hangar.progress import Reporter
from hangar.schema import ChunkedSchema, ColumnSchema, open_schema
from hangar.staging import StagedColumns, read_conflicts
from hangar.stores import Stores

__all__ = ["HistoryCheck"]

_ELSEWHERE: Final = "add a remote that has it with `hangar remote add NAME ADDRESS`, then run `hangar fetch-data NAME REV --all-history`"


class HistoryCheck:
    """Check of the history of a repository.

    Parameters
    ----------
    findings
        Collects the problems.
    damaged_run
        Path of the damaged run if there is exactly one, else empty. Missing locations are then reported for that file.

    Attributes
    ----------
    commits
        The commits that were checked, each with whether it can be read.
    purged
        The tombstones of the blobs that were erased on purpose.
    promised
        Blobs that are not here, and that a remote has promised.
    """

    def __init__(self, stores: Stores, findings: Findings, reporter: Reporter, damaged_run: str) -> None:
        self._stores = stores
        self._nodes = NodeStore(stores.db)
        self._findings = findings
        self._reporter = reporter
        self._damaged_run = damaged_run
        self.commits: dict[Digest, bool] = {}
        self._schemas: dict[Digest, ColumnSchema | None] = {}
        self._attributes: set[Digest] = set()
        self._verifiers: dict[Digest, TreeVerifier] = {}
        self._arrays: dict[Digest, ArrayCheck] = {}
        self._walked: dict[Digest, set[Digest]] = {}
        self.columns: set[bytes] = set()
        self.blobs = 0
        self.purged: dict[bytes, Tombstone] = {}
        self.promised = DigestSet()
        # A damaged table is reported by the check of the tables.
        self._promises = findings.attempt("table", stores.blobs.promises.possible)

    @property
    def nodes(self) -> int:
        """Number of tree nodes that were checked."""
        return sum(map(len, self._walked.values()))

    def history(self, head: Digest) -> None:
        """Check a commit and those of its ancestors that were not checked before."""
        stack = [head]
        while stack:
            digest = stack.pop()
            if digest in self.commits:
                continue
            self._reporter.advance()
            commit = self._findings.attempt("commit", lambda: load_commit(self._stores.db, digest), digest.hex())  # noqa: B023
            self.commits[digest] = commit is not None
            if commit is not None:
                stack += [Digest(parent) for parent in commit.parents]
                self._generation(digest, commit)
                self._commit(digest, commit)

    def _generation(self, digest: Digest, commit: Commit) -> None:
        """Check that the stored generation is one more than the highest of the parents."""
        try:
            with self._stores.db.read() as transaction:
                if transaction.get(GRAPH, digest) is None:
                    return  # it is computed where it is needed
                below = max((generation(transaction, Digest(parent)) for parent in commit.parents), default=0)
                if generation(transaction, digest) != below + 1:
                    raise CorruptionError("the stored generation is not one more than the highest of its parents'")
        except NOT_DAMAGE:
            raise
        except HangarError as error:
            self._findings.add("graph", error, digest.hex())

    def _commit(self, digest: Digest, commit: Commit) -> None:
        if commit.attributes is not None:
            self._check_attributes(Digest(commit.attributes))
        for entry in commit.columns:
            self._column(entry, f"commit {digest.hex()[:12]}, column {entry.name!r}", self._nodes)

    def _check_attributes(self, digest: Digest) -> None:
        if digest not in self._attributes:
            self._attributes.add(digest)
            self._findings.attempt("attributes", lambda: load_attributes(self._stores.db, digest), digest.hex())

    def _schema(self, digest: Digest) -> ColumnSchema | None:
        if digest not in self._schemas:
            self._schemas[digest] = self._findings.attempt(
                "schema", lambda: open_schema(load_record(self._stores.db, "schema", digest)), digest.hex()
            )
        return self._schemas[digest]

    def _column(self, entry: ColumnEntry, where: str, store: NodeStore) -> None:
        self.columns.add(entry.id)
        if entry.attributes is not None:
            self._check_attributes(Digest(entry.attributes))
        schema = self._schema(Digest(entry.schema))
        root = entry.tree
        if schema is None or root is None:
            return
        if schema.needs:
            self._findings.unchecked[f"values of column {entry.name!r}: {schema.needs}"] = None
        elif bool(entry.layout) != schema.nested:
            self._findings.add("commit", f"{where}: the layout is not that of the schema", schema.digest.hex())
        if schema.known_form:
            verifier = self._verifiers.get(schema.digest)
            if verifier is None:
                verifier = self._verifiers[schema.digest] = TreeVerifier(store, schema.form)
            for problem in verifier.problems(root):
                self._findings.add("node", f"{where}: {problem.message}", problem.digest.hex())
        self._leaves(store, root.digest, schema, where)

    def _leaves(self, store: NodeStore, root: Digest, schema: ColumnSchema, where: str) -> None:
        """Check that every blob of the tree has a location."""
        walked = self._walked.setdefault(schema.digest, set())

        def failed(digest: Digest, error: HangarError) -> None:
            if not schema.known_form or schema.needs:  # else a verifier has reported it
                self._findings.add("node", f"{where}: {error}", digest.hex())

        for _, node in walk(store, root, walked, failed):
            self._reporter.advance()
            if node.kind == ARRAYS:
                self._check_arrays(store, node, schema, where)
            elif not node.level:
                # A damaged row of a location concerns many leaves, and is told once.
                self._findings.attempt("location", lambda: self._present(node, schema, where))  # noqa: B023

    def _check_arrays(self, store: NodeStore, leaf: Node, schema: ColumnSchema, where: str) -> None:
        if isinstance(schema, ChunkedSchema):  # else a package is missing; the walk follows the records all the same
            self._arrays_of(store, array_digests(leaf), schema, where)

    def _arrays_of(self, store: NodeStore, digests: Iterable[Digest], schema: ChunkedSchema, where: str) -> None:
        check = self._arrays.get(schema.digest)
        if check is None:
            check = self._arrays[schema.digest] = ArrayCheck(store, schema)
        for problem in check.of(digests):
            self._findings.add(problem.kind, f"{where}: {problem.message}", problem.digest.hex())

    def _present(self, leaf: Node, schema: ColumnSchema, where: str) -> None:
        digests = leaf.blobs()
        if not len(digests):
            return
        self.blobs += len(digests)
        known = np.asarray(self._stores.blobs.known(digests))
        if schema.inline_bytes >= 0 and not schema.needs:
            self._findings.attempt("node", lambda: self._long_enough(digests[known], schema.inline_bytes, where))
        absent = digests[~known]
        if len(absent) and self._promises:
            promised = self._stores.blobs.promises.promised(absent)
            self.promised.add(absent[promised])
            absent = absent[~promised]
        denied = self._denied(absent)
        for lost in self._not_purged(absent, denied):
            if lost in denied:
                detail = f"{where}: it is not here, and no remote has it: {denial(denied[lost])}"
                self._findings.add("blob", detail, lost.hex(), "", remedy=_ELSEWHERE)
            else:
                detail = f"{where}: it has no known location, and no remote has promised it"
                self._findings.add("blob", detail, lost.hex(), self._damaged_run)

    def _denied(self, absent: Digests) -> dict[Digest, list[str]]:
        """Those of some blobs that remotes had promised and do not have, with the names of the remotes."""
        promises = self._stores.blobs.promises
        names = promises.names() if len(absent) and self._promises else {}
        found: dict[Digest, list[str]] = {}
        for number, mask in promises.denied(absent).items() if names else ():
            for digest in digest_list(absent[mask]):
                found.setdefault(digest, []).append(names.get(number, "a former remote"))
        return found

    def _not_purged(self, absent: Digests, denied: Mapping[Digest, object]) -> list[Digest]:
        """Those of some blobs without a location that were not purged, here or at the remote that had promised them."""
        names = digest_list(absent)
        if names:
            try:
                with self._stores.db.read() as transaction:
                    self.purged.update(find_tombstones(transaction, names))
                    self.purged.update(find_tombstones(transaction, list(denied), foreign=True))
            except CorruptionError:
                return []  # the check of the tables tells of it, and this may be a consequence
        return [digest for digest in names if digest not in self.purged]

    def _long_enough(self, digests: Digests, inline_bytes: int, where: str) -> None:
        """Check that no blob is short enough to be inline: otherwise equal content could have two different roots."""
        if not len(digests):
            return
        locations = Locations(self._stores.blobs.locate(digests).words)
        # For uncompressed blobs the stored length is the length of the value.
        for short in digests[(locations.codec == 0) & (locations.length <= inline_bytes)]:
            self._findings.add(
                "node", f"{where}: a value of this length must be inline in the tree", short.tobytes().hex()
            )

    def staging(self, staged: StagedColumns) -> None:
        """Check the staging area."""
        entries = self._findings.attempt("staging", staged.entries)
        if entries is None:
            # The changes cannot be applied to a damaged tree. What they apply to is checked as it is.
            entries = [column.record for column in staged.columns.values()]
        for column in staged.columns.values():
            # The schemas of staged columns are already stored.
            self._schemas.setdefault(column.schema.digest, column.schema)
        self._verifiers.clear()
        self._arrays.clear()
        if staged.attributes is not None:
            self._check_attributes(staged.attributes)
        for entry in entries:
            self._column(entry, f"staging area, column {entry.name!r}", staged.nodes)
        if staged.conflicts is not None:
            self._conflicts(staged)

    def _conflicts(self, staged: StagedColumns) -> None:
        """Check the chunked arrays in conflict: those of a merge in part are named by the conflicts alone."""
        try:
            with self._stores.db.read() as transaction:
                rows = dict(read_conflicts(transaction))
        except CorruptionError:
            return  # the check of the tables tells of it
        for (subject, column, _), row in rows.items():
            working = staged.by_id.get(column or b"")
            if subject == "sample" and working is not None and isinstance(working.schema, ChunkedSchema):
                cells = [Digest(cell) for cell in (row.base, row.ours, row.theirs) if cell is not None]
                where = f"conflict in column {working.name!r}"
                self._arrays_of(staged.nodes, cells, working.schema, where)
