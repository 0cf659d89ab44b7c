"""Integrity check of a repository: everything that history, refs and the staging area refer to exists and is intact.

The pages of the database are checked first, because LMDB would trust damaged pages. The structure is checked from all
live roots (see ``history.roots``) downwards; shared parts are checked once. Every checksummed row of the database is
read, the size of every blob file and run is checked, and with ``data=True`` every blob is read and hashed. Nothing is
changed. Problems are reported by digest and file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hangar import _fs
from hangar.backends import Locations
from hangar.blobs.catalog import RUN_DIRECTORY
from hangar.blobs.index import Digests
from hangar.blobs.tombstones import Tombstone, find_tombstones
from hangar.blobs.verify import Damage, missing_backends, surplus, verify_blobs, verify_files
from hangar.blobs.verify_records import verify_locations
from hangar.db.opening import DATABASE_LOCK
from hangar.db.tables import TABLES
from hangar.digest import Digest, digest_list
from hangar.errors import NOT_DAMAGE, CorruptionError, HangarError, ResourceLimitError
from hangar.history.roots import LiveRoots, live_roots
from hangar.lock import lock_problem
from hangar.objects.attributes import load_attributes
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.graph import generation
from hangar.objects.node import Node
from hangar.objects.records import load_commit, load_record
from hangar.objects.store import NodeStore
from hangar.objects.verify import TreeVerifier
from hangar.objects.walk import walk
from hangar.progress import Progress, Reporter, report
from hangar.refs import BRANCHES
from hangar.rollback import find_rollback, kept_files
from hangar.schema import ColumnSchema, open_schema
from hangar.staging import StagedColumns
from hangar.stores import Stores

__all__ = ["FsckReport", "Problem", "check", "require_sound"]

T = TypeVar("T")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its kind, the digest concerned (hex), the file, and a description."""

    kind: str
    digest: str
    file: str
    detail: str


@dataclass(frozen=True, slots=True)
class FsckReport:
    """Result of a check.

    Attributes
    ----------
    problems
        All problems; a cause comes before its consequences.
    commits, columns, nodes, blobs
        Numbers of checked objects.
    data
        Whether blobs were read.
    notes
        Observations that are not errors. ``rollback``: the database is older than its files. ``kept``: it was, and somebody
        went on writing. ``surplus``: bytes on disk that the database does not know, from an unfinished batch or a rollback.
        ``purged``: a blob that was erased on purpose.
    unchecked
        Data that could not be checked because a package is missing.
    """

    problems: tuple[Problem, ...]
    commits: int
    columns: int
    nodes: int
    blobs: int
    data: bool
    notes: tuple[Problem, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def check(stores: Stores, *, data: bool = False, progress: Progress = None) -> FsckReport:
    """Check a whole repository.

    Parameters
    ----------
    stores
        Stores of the repository.
    data
        Read every blob and compare it with its digest.
    progress
        See :mod:`hangar.progress`.

    Raises
    ------
    ResourceLimitError
        There are not enough descriptors or memory to check.
    AccessError
        Files may not be read by this user.
    """
    try:
        return _Check(stores).run(data, progress)
    except MemoryError as error:
        raise ResourceLimitError(
            f"there is not enough memory to check the repository; nothing is damaged: {error}"
        ) from None


def require_sound(found: FsckReport) -> bool:
    """Return True, or raise CorruptionError with the first problems."""
    if found.sound:
        return True
    lines = [f"{problem.kind} {problem.digest} {problem.file}: {problem.detail}" for problem in found.problems[:_SHOWN]]
    more = len(found.problems) - len(lines)
    raise CorruptionError("\n".join([*lines, *([f"and {more} more"] if more > 0 else [])]))


class _Check:
    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._nodes = NodeStore(stores.db)
        self._problems: dict[Problem, None] = {}
        self._commits: dict[Digest, None] = {}
        self._schemas: dict[Digest, ColumnSchema | None] = {}
        self._verifiers: dict[Digest, TreeVerifier] = {}
        self._walked: dict[Digest, set[Digest]] = {}
        self._columns: set[bytes] = set()
        self._unchecked: dict[str, None] = {}
        self._damaged_runs: list[str] = []
        self._blobs = 0
        self._purged: dict[bytes, Tombstone] = {}

    def run(self, data: bool, progress: Progress) -> FsckReport:
        """Check everything."""
        self._stores.db.require_in_place()
        for problem in self._stores.db.page_problems():
            self._found("page", f"{problem}; nothing else was checked", file="db/data.mdb")
        if self._problems:
            return FsckReport(tuple(self._problems), 0, 0, 0, 0, data)
        with report(progress, None, "records", "checking") as reporter:
            self._tables(reporter)
            self._locks()
            self._files(reporter)
            self._head()
            roots = self._roots()
            for commit in roots.commits:
                self._history(commit, reporter)
            self._staging(roots.staged, reporter)
        if data:
            self._data(progress)
        nodes = sum(map(len, self._walked.values()))
        counts = (len(self._commits), len(self._columns), nodes, self._blobs)
        return FsckReport(tuple(self._problems), *counts, data, self._notes(), tuple(self._unchecked))

    # ------------------------------------------------------------------ problems

    def _found(self, kind: str, detail: object, digest: str = "", file: str = "") -> None:
        self._problems[Problem(kind, digest, file, str(detail))] = None

    def _try(self, kind: str, function: Callable[[], T], digest: str = "", file: str = "db/data.mdb") -> T | None:
        try:
            return function()
        except NOT_DAMAGE:
            raise
        except HangarError as error:
            self._found(kind, error, digest, file)
            return None

    # ------------------------------------------------------------------ the database

    def _tables(self, reporter: Reporter) -> None:
        """Read every row of every table, which also checks their checksums and counts."""
        for table in TABLES:
            if table.checked:
                self._try("table", lambda table=table: self._table(table, reporter))  # type: ignore[misc]

    def _table(self, table: object, reporter: Reporter) -> None:
        with self._stores.db.read() as transaction:
            for _ in transaction.scan(table):  # type: ignore[arg-type]
                reporter.advance()

    def _head(self) -> None:
        """Check that the branches named by HEAD exist."""
        refs = self._stores.refs
        head = self._try("ref", refs.head)
        if head is None:
            return
        for branch in dict.fromkeys((head.write_branch, head.last_written)):
            if self._try("ref", lambda branch=branch: refs.exists(BRANCHES + branch)) is False:  # type: ignore[misc]
                self._found("ref", f"HEAD names the branch {branch!r}, which does not exist", file="db/data.mdb")

    def _roots(self) -> LiveRoots:
        return live_roots(self._stores, lambda kind, error: self._found(kind, error, file="db/data.mdb"))

    # ------------------------------------------------------------------ history

    def _history(self, head: Digest, reporter: Reporter) -> None:
        stack = [head]
        while stack:
            digest = stack.pop()
            if digest in self._commits:
                continue
            self._commits[digest] = None
            reporter.advance()
            commit = self._try("commit", lambda digest=digest: load_commit(self._stores.db, digest), digest.hex())  # type: ignore[misc]
            if commit is not None:
                stack += [Digest(parent) for parent in commit.parents]
                self._generation(digest, commit)
                self._commit(digest, commit, reporter)

    def _generation(self, digest: Digest, commit: Commit) -> None:
        """Check that the stored generation is one more than the highest of the parents."""

        def compare() -> None:
            with self._stores.db.read() as transaction:
                below = max((generation(transaction, Digest(parent)) for parent in commit.parents), default=0)
                if generation(transaction, digest) != below + 1:
                    raise CorruptionError("the stored generation is not one more than the highest of its parents'")

        self._try("commit", compare, digest.hex())

    def _commit(self, digest: Digest, commit: Commit, reporter: Reporter) -> None:
        if commit.attributes is not None:
            self._attributes(Digest(commit.attributes))
        for entry in commit.columns:
            self._column(entry, f"commit {digest.hex()[:12]}, column {entry.name!r}", reporter)

    def _attributes(self, digest: Digest) -> None:
        self._try("attributes", lambda: load_attributes(self._stores.db, digest), digest.hex())

    def _schema(self, digest: Digest) -> ColumnSchema | None:
        if digest not in self._schemas:
            self._schemas[digest] = self._try(
                "schema", lambda: open_schema(load_record(self._stores.db, "schema", digest)), digest.hex()
            )
        return self._schemas[digest]

    def _column(self, entry: ColumnEntry, where: str, reporter: Reporter, nodes: NodeStore | None = None) -> None:
        self._columns.add(entry.id)
        if entry.attributes is not None:
            self._attributes(Digest(entry.attributes))
        schema = self._schema(Digest(entry.schema))
        root = entry.tree
        if schema is None or root is None:
            return
        if schema.needs:
            self._unchecked[f"values of column {entry.name!r}: {schema.needs}"] = None
        elif bool(entry.layout) != schema.nested:
            self._found("commit", f"{where}: the layout is not that of the schema", schema.digest.hex(), "db/data.mdb")
        store = nodes or self._nodes
        if schema.known_form:
            verifier = self._verifiers.setdefault(schema.digest, TreeVerifier(store, schema.form))
            for problem in verifier.problems(root):
                self._found("node", f"{where}: {problem.message}", problem.digest.hex(), "db/data.mdb")
        self._leaves(store, root.digest, schema, where, reporter)

    def _leaves(self, store: NodeStore, root: Digest, schema: ColumnSchema, where: str, reporter: Reporter) -> None:
        """Check that every blob of the tree has a location."""
        walked = self._walked.setdefault(schema.digest, set())
        try:
            for _, node in walk(store, root, walked):
                reporter.advance()
                if not node.level:
                    self._present(node, schema, where)
        except NOT_DAMAGE:
            raise
        except HangarError as error:
            self._found("node", f"{where}: {error}", root.hex(), "db/data.mdb")

    def _present(self, leaf: Node, schema: ColumnSchema, where: str) -> None:
        digests = leaf.blobs()
        if not len(digests):
            return
        self._blobs += len(digests)
        known = np.asarray(self._stores.blobs.known(digests))
        if schema.inline_bytes >= 0 and not schema.needs:
            self._try("node", lambda: self._long_enough(digests[known], schema.inline_bytes, where))
        # If a run is damaged, missing locations are a consequence of that.
        file = self._damaged_runs[0] if len(self._damaged_runs) == 1 else ""
        for lost in self._not_purged(digests[~known]):
            detail = f"{where}: it has no known location, and no remote has promised it"
            self._found("blob", detail, lost.hex(), file)

    def _not_purged(self, absent: Digests) -> list[Digest]:
        """Those of some blobs without a location that were not purged."""
        names = digest_list(absent)
        if names:
            with self._stores.db.read() as transaction:
                self._purged.update(find_tombstones(transaction, names))
        return [digest for digest in names if digest not in self._purged]

    def _long_enough(self, digests: Digests, inline_bytes: int, where: str) -> None:
        """Check that no blob is short enough to be inline: otherwise equal content could have two different roots."""
        if not len(digests):
            return
        locations = Locations(self._stores.blobs.locate(digests).words)
        # For uncompressed blobs the stored length is the length of the value.
        for short in digests[(locations.codec == 0) & (locations.length <= inline_bytes)]:
            self._found("node", f"{where}: a value of this length must be inline in the tree", short.tobytes().hex())

    # ------------------------------------------------------------------ staging and files

    def _staging(self, staging: StagedColumns | None, reporter: Reporter) -> None:
        entries = None if staging is None else self._try("staging", staging.entries)
        if staging is None or entries is None:
            return
        for column in staging.columns.values():
            # The schemas of staged columns are already stored.
            self._schemas.setdefault(column.schema.digest, column.schema)
        self._verifiers.clear()
        if staging.attributes is not None:
            self._attributes(staging.attributes)
        for entry in entries:
            self._column(entry, f"staging area, column {entry.name!r}", reporter, staging.nodes)

    def _files(self, reporter: Reporter) -> None:
        for damage in verify_files(self._stores.blobs):
            reporter.advance()
            self._damage("file", damage)
            if damage.file.startswith(RUN_DIRECTORY):
                self._damaged_runs.append(damage.file)
        for tag, why in missing_backends(self._stores.blobs).items():
            self._unchecked[f"data of backend {tag!r}: {why}"] = None
        for detail in self._try("location", lambda: list(verify_locations(self._stores.blobs))) or []:
            self._found("location", detail, file="db/data.mdb")

    def _locks(self) -> None:
        """Check that the lock files exist and are intact."""
        problem = self._try("lock", lambda: lock_problem(self._stores.db))
        if problem is not None:
            self._found("lock", problem)
        if not _fs.exists(self._stores.directory / DATABASE_LOCK):
            detail = "it is missing: create an empty file of this name, otherwise the database cannot be compacted"
            self._found("lock", detail, file=DATABASE_LOCK)

    def _notes(self) -> tuple[Problem, ...]:
        bytes_left = tuple(Problem("surplus", "", found.file, found.detail) for found in surplus(self._stores.blobs))
        purged = (Problem("purged", digest.hex(), "", str(self._purged[digest])) for digest in sorted(self._purged))
        return (*self._rollback(), *bytes_left, *purged)

    def _rollback(self) -> Iterator[Problem]:
        """That the database is older than its files, or once was."""
        with self._stores.db.read() as transaction:
            found, kept = find_rollback(self._stores.directory, transaction), kept_files(transaction)
        if found is not None:
            detail = f"{found}. If that was not meant, put the newer data.mdb back; it finds all its bytes"
            yield Problem("rollback", "", "db/data.mdb", detail)
        if kept:
            detail = (
                "writing went on in a database that was older than its files: no file up to the id "
                f"{kept:08x} is changed or removed, so that the newer data.mdb can still be put back"
            )
            yield Problem("kept", "", "db/data.mdb", detail)

    def _data(self, progress: Progress) -> None:
        for damage in verify_blobs(self._stores.blobs, progress):
            if damage.unchecked:
                self._unchecked[damage.detail] = None
            else:
                self._damage("blob", damage)

    def _damage(self, kind: str, damage: Damage) -> None:
        self._found(kind, damage.detail, "" if damage.digest is None else damage.digest.hex(), damage.file)
