"""The graph of commits: generations, ancestors, merge bases.

The generation number of a commit is one more than the highest of its parents, and 1 for a first commit (as in the
commit-graph file of git). A walk in descending generation meets every child before its parents, and does not depend
on clocks. Generations are derived data: they are stored when a commit is published and computed again if missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

import msgspec

from hangar.db.tables import GRAPH
from hangar.digest import Digest
from hangar.errors import CorruptionError
from hangar.objects.commit import Commit
from hangar.objects.records import read_commit, store_commit

if TYPE_CHECKING:
    from hangar.db import Database, ReadTransaction, WriteTransaction

__all__ = [
    "add_commit",
    "ancestors",
    "generation",
    "is_ancestor",
    "joint_merge_bases",
    "merge_bases",
    "reached",
    "record_generation",
]

_OURS: Final = 1
_THEIRS: Final = 2
_COMMON: Final = _OURS | _THEIRS
_BELOW_A_BASE: Final = _COMMON | 4
"""Bit flags: from which sides a commit was reached."""


class GraphRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Derived data of a commit: its generation, and the number of samples that it added, removed and changed."""

    generation: int
    changes: tuple[int, int, int] | None = None


_decode: Final = msgspec.msgpack.Decoder(GraphRow).decode


def add_commit(transaction: WriteTransaction, commit: Commit) -> Digest:
    """Store a commit and its generation in the transaction that publishes it, and return its digest."""
    digest = store_commit(transaction, commit)
    record_generation(transaction, digest, commit.parents)
    return digest


def record_generation(transaction: WriteTransaction, digest: Digest, parents: Iterable[bytes]) -> int:
    """Store the generation of a commit in the transaction that publishes it, and return it."""
    number = 1 + max((generation(transaction, Digest(parent)) for parent in parents), default=0)
    transaction.put(GRAPH, digest, msgspec.msgpack.encode(GraphRow(number)))
    return number


def generation(transaction: ReadTransaction, digest: Digest) -> int:
    """Generation of a stored commit.

    Raises
    ------
    CorruptionError
        The commit, or an ancestor whose generation is not stored, is missing or damaged.
    """
    found = _stored(transaction, digest)
    return found or _compute(transaction, digest)


def _stored(transaction: ReadTransaction, digest: bytes) -> int | None:
    data = transaction.get(GRAPH, digest)
    if data is None:
        return None
    try:
        row = _decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptionError(f"the generation of commit {digest.hex()} cannot be read: {error}") from None
    return row.generation


def _compute(transaction: ReadTransaction, digest: Digest) -> int:
    known: dict[bytes, int] = {}
    parents: dict[bytes, list[Digest]] = {}
    stack: list[bytes] = [digest]
    while stack:
        top = stack[-1]
        if top not in parents:
            stored = _stored(transaction, top)
            if stored is not None:
                known[top] = stored
                stack.pop()
                continue
            parents[top] = read_commit(transaction, Digest(top)).parents
        unknown = [parent for parent in parents[top] if parent not in known]
        if unknown:
            stack += unknown
        else:
            known[top] = 1 + max((known[parent] for parent in parents[top]), default=0)
            stack.pop()
    return known[digest]


class _Frontier:
    """Priority queue of commits to visit, the highest generation first."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._heap: list[tuple[int, int, Digest, Commit]] = []
        self.seen: set[Digest] = set()

    def __bool__(self) -> bool:
        return bool(self._heap)

    def push(self, digests: Iterable[bytes]) -> None:
        """Add commits that were not added before."""
        fresh = [Digest(digest) for digest in dict.fromkeys(digests) if digest not in self.seen]
        if not fresh:
            return
        self.seen.update(fresh)
        with self._db.read() as transaction:
            for digest in fresh:
                commit = read_commit(transaction, digest)
                # Commits of one generation: the newer one comes first, for display.
                heappush(self._heap, (-generation(transaction, digest), -commit.time_ns, digest, commit))

    def any_other_than(self, marks: dict[bytes, int], mark: int) -> bool:
        """Whether some commit in the queue has another mark."""
        return any(marks[digest] != mark for _, _, digest, _ in self._heap)

    def pop(self) -> tuple[int, Digest, Commit]:
        """Take the next commit, and its generation."""
        negative, _, digest, commit = heappop(self._heap)
        return -negative, digest, commit


def ancestors(db: Database, heads: Iterable[bytes], without: Iterable[bytes] = ()) -> Iterator[tuple[Digest, Commit]]:
    """The commits ``heads`` and their ancestors: children before parents, and newest first within one generation.

    The commits ``without`` and their ancestors are excluded.

    Raises
    ------
    CorruptionError
        A commit is missing or damaged.
    """
    frontier = _Frontier(db)
    hidden: set[bytes] = set(without)
    # Commits in the queue that will be yielded: once it is empty, everything that follows is hidden.
    wanted: set[bytes] = set(heads) - hidden
    frontier.push([*wanted, *hidden])
    while wanted:
        _, digest, commit = frontier.pop()
        if digest in hidden:
            hidden.update(commit.parents)
            wanted.difference_update(commit.parents)
        else:
            wanted.discard(digest)
            wanted.update(parent for parent in commit.parents if parent not in hidden)
        frontier.push(commit.parents)
        if digest not in hidden:
            yield digest, commit


def is_ancestor(db: Database, ancestor: Digest, descendant: Digest) -> bool:
    """Whether ``ancestor`` is ``descendant`` itself or one of its ancestors."""
    with db.read() as transaction:
        least = generation(transaction, ancestor)
    frontier = _Frontier(db)
    frontier.push([descendant])
    while frontier:
        number, digest, commit = frontier.pop()
        if digest == ancestor:
            return True
        if number > least:
            frontier.push(commit.parents)
    return False


def reached(db: Database, heads: Iterable[bytes], sought: Iterable[Digest]) -> set[Digest]:
    """Those of some stored commits that are among ``heads`` and their ancestors."""
    left = set(sought)
    with db.read() as transaction:
        least = min((generation(transaction, digest) for digest in left), default=0)
    found: set[Digest] = set()
    frontier = _Frontier(db)
    frontier.push(heads if left else ())
    while frontier and left:
        number, digest, commit = frontier.pop()
        if digest in left:
            left.discard(digest)
            found.add(digest)
        if number > least:
            frontier.push(commit.parents)
    return found


def merge_bases(db: Database, ours: Digest, theirs: Digest) -> list[Digest]:
    """The best common ancestors, as in git: those that are not an ancestor of another common ancestor.

    There are several in a criss-cross history, and none between unrelated commits.
    """
    return joint_merge_bases(db, (ours,), (theirs,))


def joint_merge_bases(db: Database, ours: Iterable[Digest], theirs: Iterable[Digest]) -> list[Digest]:
    """Like :func:`merge_bases`, where each side is one merge of several commits, which need not exist."""
    frontier = _Frontier(db)
    sides: dict[bytes, int] = dict.fromkeys(ours, _OURS)
    for digest in theirs:
        sides[digest] = sides.get(digest, 0) | _THEIRS
    frontier.push(sides)
    bases: list[Digest] = []
    while frontier.any_other_than(sides, _BELOW_A_BASE):
        _, digest, commit = frontier.pop()
        reached = sides[digest]
        if reached == _COMMON:
            bases.append(digest)
            reached = _BELOW_A_BASE
        for parent in commit.parents:
            sides[parent] = sides.get(parent, 0) | reached
        frontier.push(commit.parents)
    return bases
