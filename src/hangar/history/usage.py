"""Find the commits, columns and samples that name a digest, over all live roots (see :mod:`hangar.history.roots`).

Used by garbage collection ("why is this kept"), purge ("which other samples share these bytes") and fsck ("what is
affected"). Each subtree that commits share is walked once, and results are streamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeAlias

from hangar.digest import Digest
from hangar.errors import CorruptionError
from hangar.history.roots import LiveRoots, live_roots
from hangar.names import SampleKey
from hangar.objects.commit import NESTED, ColumnEntry, Commit
from hangar.objects.digest_finder import DigestFinder, Failed, Hit
from hangar.objects.graph import ancestors
from hangar.objects.store import NodeStore
from hangar.schema.keys import decode_key, split_nested_key
from hangar.staging import StagedColumns
from hangar.stores import Stores

__all__ = ["CommitUse", "Commits", "Key", "Usage", "Use"]

Key: TypeAlias = "tuple[SampleKey, SampleKey | None]"
"""Sample and subsample key; the latter is None in a flat column."""
Commits: TypeAlias = Callable[[], Iterable[tuple[Digest, Commit]]]
_RECORDS: Final = ("schema", "attributes")


@dataclass(frozen=True, slots=True)
class Use:
    """One place that names a digest.

    Attributes
    ----------
    digest
        The digest.
    kind
        What it is: a ``'blob'``, a tree ``'node'``, or the ``'schema'`` or ``'attributes'`` of a column or commit.
    commit
        The commit; None for the staging area.
    column
        Name of the column in that commit; ``''`` for the attributes of the commit itself.
    column_id
        Its id, which renaming does not change; ``b''`` if there is no column.
    sample, subsample
        Key of the sample (and of the subsample in a nested column). For a node the last one below it. None for the root
        of a column and for records.
    after
        For a node, the last key before it; None if there is none.
    entries
        Number of keys concerned: 1 for a blob, those below a node.
    """

    digest: Digest
    kind: Literal["blob", "node", "schema", "attributes"]
    commit: Digest | None
    column: str
    column_id: bytes
    sample: SampleKey | None = None
    subsample: SampleKey | None = None
    after: Key | None = None
    entries: int = 1


@dataclass(frozen=True, slots=True)
class CommitUse:
    """A commit that names some of the wanted digests, and the columns that do; ``commit`` is None for the staging area."""

    commit: Digest | None
    columns: tuple[str, ...]


class Usage:
    """Where wanted digests are named.

    Parameters
    ----------
    stores
        Stores of the repository.
    digests
        Wanted digests: of blobs, tree nodes, schemas and attributes.
    roots
        Live roots; by default all.
    commits
        Makes an iterator over all commits to look at; by default the ancestors of the roots, children before parents.
    failed
        Called for a node that cannot be loaded and is not wanted itself; None: the error is raised.

    Raises
    ------
    CorruptionError
        A commit or a tree cannot be read.
    """

    def __init__(
        self,
        stores: Stores,
        digests: Iterable[bytes],
        *,
        roots: LiveRoots | None = None,
        commits: Commits | None = None,
        failed: Failed | None = None,
    ) -> None:
        found = live_roots(stores) if roots is None else roots
        self._nodes = stores.nodes
        self._staged = found.staged
        self._commits: Commits = commits or partial(ancestors, stores.db, found.commits)
        self._finder = DigestFinder(digests, failed)
        self.wanted: Final = self._finder.wanted
        self._times: Counter[Digest] = Counter()
        for _, store, entries, _ in self._places():
            for entry in entries:
                if entry.root is not None:
                    self._finder.add(store, entry.root)
                    self._times[entry.root] += 1

    def commits(self) -> Iterator[CommitUse]:
        """The commits that name a wanted digest, the staging area first, then children before parents."""
        for commit, _, entries, attributes in self._places():
            names = tuple(entry.name for entry in entries if self._concerns(entry))
            if names or attributes in self.wanted:
                yield CommitUse(commit, names)

    def uses(self, *, most: int | None = None) -> Iterator[Use]:
        """Every place, commit by commit, in the order of keys in each column.

        Parameters
        ----------
        most
            At most so many places of each digest, the newest commits first.
        """
        found: Counter[Digest] = Counter()
        finished: set[Digest] = set()
        dead: set[Digest] = set()
        for use in self._uses(finished, lambda _: dead, once=False):
            found[use.digest] += 1
            if found[use.digest] == most:
                finished.add(use.digest)
            yield use
            if len(finished) == len(self.wanted):
                return

    def samples(self) -> Iterator[Use]:
        """Each sample of a column that ever named a wanted digest, with the newest commit in which it does.

        A sample may come again, if an unrelated part of its tree node was changed in between.
        """
        dead: dict[bytes, set[Digest]] = {}
        yield from self._uses(set(), lambda entry: dead.setdefault(entry.id, set()), once=True)

    def counts(self) -> dict[Digest, int]:
        """Number of places that name each digest: pairs of commit and sample (or node). Digests without a place are left out."""
        counts = Counter(
            self._finder.count_uses(self._nodes if self._staged is None else self._staged.nodes, self._times)
        )
        for _, _, entries, attributes in self._places():
            named = [digest for entry in entries for digest in (entry.schema, entry.attributes)]
            counts.update(digest for digest in (attributes, *named) if digest in self.wanted)
        return dict(counts)

    # ------------------------------------------------------------------ details

    def _places(self) -> Iterator[tuple[Digest | None, NodeStore, Iterable[ColumnEntry], Digest | None]]:
        """The staging area and all commits: digest, node store, columns, attributes."""
        if self._staged is not None:
            yield None, self._staged.nodes, _staged_entries(self._staged), self._staged.attributes
        for digest, commit in self._commits():
            yield digest, self._nodes, commit.columns, commit.attributes

    def _concerns(self, entry: ColumnEntry) -> bool:
        named = (entry.schema, entry.attributes, entry.root)
        return entry.root in self._finder.marked or not self.wanted.isdisjoint(filter(None, named))

    def _uses(self, finished: set[Digest], dead: Callable[[ColumnEntry], set[Digest]], *, once: bool) -> Iterator[Use]:
        for commit, store, entries, attributes in self._places():
            if attributes in self.wanted and attributes not in finished:
                yield Use(attributes, "attributes", commit, "", b"")
            for entry in entries:
                if self._concerns(entry):
                    yield from self._of_column(commit, entry, finished)
                    if entry.root is not None:
                        for hit in self._finder.hits(store, entry.root, finished, dead(entry), once=once):
                            yield _use(hit, commit, entry)

    def _of_column(self, commit: Digest | None, entry: ColumnEntry, finished: set[Digest]) -> Iterator[Use]:
        """The uses of records and of the root."""
        for kind, digest in zip(_RECORDS, (entry.schema, entry.attributes), strict=True):
            if digest in self.wanted and digest not in finished:
                yield Use(digest, kind, commit, entry.name, entry.id)  # type: ignore[arg-type]
        if entry.root in self.wanted and entry.root not in finished:
            yield Use(entry.root, "node", commit, entry.name, entry.id, entries=entry.entries)


def _staged_entries(staged: StagedColumns) -> Iterator[ColumnEntry]:
    for name in sorted(staged.columns):
        column = staged.columns[name]
        try:
            yield column.entry()
        except CorruptionError:
            # The walk of the tree that the changes apply to meets the damaged node, and raises unless it is wanted.
            yield column.record


def _use(hit: Hit, commit: Digest | None, entry: ColumnEntry) -> Use:
    nested = entry.layout == NESTED
    sample, subsample = _key(hit.key, nested) or (None, None)
    after = None if hit.after is None else _key(hit.after, nested)
    kind: Literal["blob", "node"] = "node" if hit.node else "blob"
    return Use(hit.digest, kind, commit, entry.name, entry.id, sample, subsample, after, hit.entries)


def _key(encoded: bytes, nested: bool) -> Key | None:
    """The key; None if it cannot be decoded, in a damaged tree."""
    try:
        return split_nested_key(encoded) if nested else (decode_key(encoded), None)
    except CorruptionError:
        return None
