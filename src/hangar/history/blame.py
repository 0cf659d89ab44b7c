"""Find the commit that last changed each sample of a column.

A sample is followed from commit to parent as long as a parent has the same value for it, through renames of the column, and
at a merge to the parent that has the value (the first one, if several have). A few samples are looked up in each tree;
for many the trees are compared, so that the cost follows the changes. Trees with equal roots are not read. Values are
compared by their content, and no array is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice
from typing import Any, Final, TypeAlias

from hangar.columns.keyspace import FLAT, PAIRS, lookup_prefix
from hangar.digest import Digest
from hangar.errors import ColumnNotFoundError, SampleNotFoundError
from hangar.history.log import iso_time
from hangar.names import SampleKey
from hangar.objects.commit import NESTED, ColumnEntry, Commit
from hangar.objects.diff import diff
from hangar.objects.graph import generation
from hangar.objects.lookup import get, get_many
from hangar.objects.records import load_commit, load_record
from hangar.objects.scan import entries_below, scan
from hangar.objects.store import NodeStore
from hangar.revisions import did_you_mean
from hangar.schema import ColumnSchema, open_schema
from hangar.stores import Stores

__all__ = ["Blame", "blame", "blame_all", "sample_cells", "value_of"]

_FEW: Final = 256
"""Up to this many samples are looked up in each tree one by one."""
_Values: TypeAlias = "Callable[[ColumnEntry, Sequence[bytes]], list[Any]]"
"""The values of some keys (or prefixes of samples) in a column, None for a missing one."""


@dataclass(frozen=True, slots=True)
class Blame:
    """The commit that last changed a sample.

    Attributes
    ----------
    column
        Name of the column in that commit.
    sample, subsample
        Key of the sample. ``subsample`` is None in a flat column, and for a sample of a nested column as a whole.
    commit
        Digest of the commit in hex.
    author, email, time, message
        Author, time (ISO 8601) and message of the commit.
    """

    column: str
    sample: SampleKey
    subsample: SampleKey | None
    commit: str
    author: str
    email: str
    time: str
    message: str


def blame(stores: Stores, head: Digest | None, column: str, key: Any) -> Blame:
    """The commit that last changed one sample.

    Parameters
    ----------
    head
        The commit to begin with.
    column
        Name of the column in that commit.
    key
        Sample key; in a nested column that of a sample as a whole, or a pair of sample and subsample key.

    Raises
    ------
    ColumnNotFoundError, SampleNotFoundError
        The commit has no such column or sample.
    InvalidTypeError
        The type of ``key`` can never be a key.
    """
    walk = _Walk(stores, head, column)
    whole = walk.entry.layout == NESTED and not isinstance(key, (tuple, list))
    encoded = lookup_prefix(key) if whole else (PAIRS if walk.entry.layout == NESTED else FLAT).lookup(key)
    values = walk.samples if whole else walk.cells
    if encoded is None or walk.entry.root is None or values(walk.entry, [encoded])[0] is None:
        raise SampleNotFoundError(
            f"column {column!r} has no sample {key!r} in commit {walk.head.hex()[:12]}: "
            f"`hangar log --column {column} --sample SAMPLE` shows commits that removed a sample"
        )
    (found,) = walk.run([encoded], values)
    if whole:
        return walk.record(found[1], key, None)
    return walk.record(found[1], *(key if isinstance(key, (tuple, list)) else (key, None)))


def blame_all(stores: Stores, head: Digest | None, column: str, *, limit: int | None = None) -> list[Blame]:
    """The commits that last changed the samples of a column, in key order; in a nested column for each subsample.

    Parameters
    ----------
    limit
        Maximum number of samples, the first ones.

    Raises
    ------
    ColumnNotFoundError
        The commit has no such column.
    """
    walk = _Walk(stores, head, column)
    if walk.entry.root is None:
        return []
    keys = [key for key, _ in islice(scan(stores.nodes, walk.entry.root), limit)]
    commits = dict(walk.run(keys, walk.cells))
    nested = walk.entry.layout == NESTED
    names = (PAIRS if nested else FLAT).decode(keys)
    return [
        walk.record(commits[key], *(name if nested else (name, None))) for key, name in zip(keys, names, strict=True)
    ]


def value_of(stores: Stores, commit: Digest, column: bytes, key: Any) -> object:
    """The content of a sample in a commit, as a value to compare; None if the commit does not have it.

    Parameters
    ----------
    column
        Id of the column, which it keeps when it is renamed.
    key
        As in :func:`blame`.
    """
    entry = next((entry for entry in load_commit(stores.db, commit).columns if entry.id == column), None)
    return None if entry is None else sample_cells(stores.nodes, entry, key)


def sample_cells(nodes: NodeStore, entry: ColumnEntry, key: Any) -> object:
    """The cell of a sample, or keys and cells of a sample of a nested column, in one state of it; None if it is missing."""
    nested = entry.layout == NESTED
    if entry.root is None:
        return None
    if nested and not isinstance(key, (tuple, list)):
        prefix = lookup_prefix(key)
        keys, cells = ([], []) if prefix is None else entries_below(nodes, entry.root, prefix)
        return (keys, cells) if keys else None
    encoded = (PAIRS if nested else FLAT).lookup(key)
    return None if encoded is None else get(nodes, entry.root, encoded)


class _Walk:
    """A walk from one commit back to those that changed keys of one column."""

    def __init__(self, stores: Stores, head: Digest | None, column: str) -> None:
        if head is None:
            raise ColumnNotFoundError(f"there is no column {column!r}: the branch has no commit yet")
        self._stores = stores
        self._nodes: NodeStore = stores.nodes
        self._commits: dict[Digest, Commit] = {}
        self.head = head
        columns = self._load(head).columns
        found = [entry for entry in columns if entry.name == column]
        if not found:
            hint = did_you_mean(str(column), [entry.name for entry in columns], "`hangar ls`")
            raise ColumnNotFoundError(f"there is no column {column!r} in commit {head.hex()[:12]}{hint}")
        self.entry = found[0]
        self._schema: ColumnSchema = open_schema(load_record(stores.db, "schema", Digest(self.entry.schema)))

    def _load(self, digest: Digest) -> Commit:
        found = self._commits.get(digest)
        if found is None:
            found = self._commits[digest] = load_commit(self._stores.db, digest)
        return found

    def _column(self, digest: Digest) -> ColumnEntry | None:
        return next((entry for entry in self._load(digest).columns if entry.id == self.entry.id), None)

    # ------------------------------------------------------------------ values

    def cells(self, entry: ColumnEntry, keys: Sequence[bytes]) -> list[Any]:
        """The cells of entries."""
        if entry.root is None:
            return [None] * len(keys)
        return list(get_many(self._nodes, self._schema.form, entry.root, list(keys)))

    def samples(self, entry: ColumnEntry, prefixes: Sequence[bytes]) -> list[Any]:
        """The content of whole samples of a nested column."""
        if entry.root is None:
            return [None] * len(prefixes)
        found = [entries_below(self._nodes, entry.root, prefix) for prefix in prefixes]
        return [one if one[0] else None for one in found]

    # ------------------------------------------------------------------ the walk

    def run(self, keys: Iterable[bytes], values: _Values) -> Iterator[tuple[bytes, Digest]]:
        """Yield each key with the commit that last changed it."""
        pending: dict[Digest, set[bytes]] = {self.head: set(keys)}
        heap: list[tuple[int, Digest]] = []
        self._push(heap, self.head)
        while heap:
            # A commit comes after all of its children, so all keys that lead to it are known.
            _, commit = heappop(heap)
            left = pending.pop(commit)
            here = self._column(commit)
            assert here is not None
            for parent in map(Digest, self._load(commit).parents):
                if not left:
                    break
                there = self._column(parent)
                changed = left if there is None else self._changed(here, there, left, values)
                if len(changed) == len(left):
                    continue
                same, left = (left, set[bytes]()) if not changed else (left - changed, set(changed))
                if parent in pending:
                    pending[parent] |= same
                else:
                    pending[parent] = same
                    self._push(heap, parent)
            yield from ((key, commit) for key in left)

    def _push(self, heap: list[tuple[int, Digest]], digest: Digest) -> None:
        with self._stores.db.read() as transaction:
            heappush(heap, (-generation(transaction, digest), digest))

    def _changed(self, here: ColumnEntry, there: ColumnEntry, keys: set[bytes], values: _Values) -> set[bytes]:
        """Those of ``keys`` that differ between a commit and its parent."""
        if here.root == there.root:
            return set()
        if len(keys) > _FEW:
            return {key for key, _, _ in diff(self._nodes, there.root, here.root) if key in keys}
        ordered = sorted(keys)
        pairs = zip(ordered, values(here, ordered), values(there, ordered), strict=True)
        return {key for key, one, other in pairs if one != other}

    def record(self, digest: Digest, sample: SampleKey, subsample: SampleKey | None) -> Blame:
        """The result for a sample and the commit that changed it."""
        commit, entry = self._load(digest), self._column(digest)
        return Blame(
            column=self.entry.name if entry is None else entry.name,
            sample=sample,
            subsample=subsample,
            commit=digest.hex(),
            author=commit.author,
            email=commit.email,
            time=iso_time(commit.time_ns, commit.tz),
            message=commit.message,
        )
