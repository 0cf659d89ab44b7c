"""Binary search in history: which commit turned good into bad.

Suspects are the ancestors of the bad commit that are not ancestors of a good one; ancestors of a good commit count as
good. Each step tests the suspect that halves them best. Commits that cannot be tested are skipped. The command line keeps
the state of a search in the database, as the list of verdicts so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from hangar.db.tables import META
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError, InvalidInputError, InvalidStateError, InvalidTypeError
from hangar.objects.commit import Commit
from hangar.objects.graph import ancestors

if TYPE_CHECKING:
    from hangar.db.environment import Database
    from hangar.db.transaction import ReadTransaction, WriteTransaction

__all__ = [
    "Search",
    "Step",
    "Verdict",
    "bisect",
    "end_search",
    "is_searching",
    "next_step",
    "read_search",
    "rewrite_search",
    "write_search",
]

Verdict: TypeAlias = Literal["good", "bad", "skip"]
_VERDICTS: Final = frozenset(("good", "bad", "skip"))
_KEY: Final = b"bisect"


@dataclass(slots=True)
class Search:
    """The state of a search.

    Attributes
    ----------
    verdicts
        The verdicts on commits, in the order in which they were given; the last one on a commit counts.
    """

    verdicts: list[tuple[Verdict, Digest]] = field(default_factory=list)

    @property
    def bad(self) -> Digest | None:
        """The commit last called bad."""
        return next(reversed(self._of("bad")), None)

    def _of(self, verdict: Verdict) -> list[Digest]:
        """The commits whose last verdict is this one, in the order of the verdicts."""
        latest: dict[Digest, Verdict] = {}
        for said, commit in self.verdicts:
            latest.pop(commit, None)
            latest[commit] = said
        return [commit for commit, said in latest.items() if said == verdict]

    @property
    def good(self) -> list[Digest]:
        """The commits called good."""
        return self._of("good")

    @property
    def skipped(self) -> list[Digest]:
        """The commits that could not be tested."""
        return self._of("skip")


@dataclass(frozen=True, slots=True)
class Step:
    """State of a search: the next commit to test, and the remaining suspects.

    Attributes
    ----------
    test
        The commit to test next; None if there is nothing left to test.
    suspects
        The commits that may be the first bad one, the newest first; exactly one when the search is done.
    left
        Approximate number of tests that are left.
    """

    test: Digest | None
    suspects: tuple[Digest, ...]
    left: int

    @property
    def found(self) -> Digest | None:
        """The first bad commit, None as long as it is not known."""
        return self.suspects[0] if len(self.suspects) == 1 else None


def next_step(db: Database, search: Search) -> Step | None:
    """Find the commit to test next; None until a good and a bad commit are given.

    Raises
    ------
    InvalidInputError
        The bad commit is an ancestor of a good one.
    CorruptionError
        A commit cannot be read.
    """
    bad, good = search.bad, search.good
    if bad is None or not good:
        return None
    suspects = list(ancestors(db, [bad], good))
    if not suspects:
        raise _swapped(bad)
    skipped = set(search.skipped)
    names = tuple(digest for digest, _ in suspects)
    test = _halving(suspects, skipped)
    left = max(0, (len(suspects) - len(skipped.intersection(names)) - 1).bit_length())
    return Step(test, names, left if test is not None else 0)


def _swapped(bad: Digest) -> InvalidInputError:
    return InvalidInputError(
        f"the bad commit {bad.hex()[:12]} is an ancestor of a good one, or the same: were good and bad swapped?"
    )


def _halving(suspects: Sequence[tuple[Digest, Commit]], skipped: set[Digest]) -> Digest | None:
    """The suspect that divides the others best, as in git; None if all but the newest (the bad one) are skipped."""
    parents = {digest: [Digest(parent) for parent in commit.parents] for digest, commit in suspects}
    best, most = None, 0
    weights: dict[Digest, int] = {}
    for digest, _ in reversed(suspects):
        below = [parent for parent in parents[digest] if parent in parents]
        weights[digest] = 1 + weights[below[0]] if len(below) == 1 else _reachable(parents, digest) if below else 1
        share = min(weights[digest], len(suspects) - weights[digest])
        if share > most and digest not in skipped:
            best, most = digest, share
    return best


def _reachable(parents: dict[Digest, list[Digest]], start: Digest) -> int:
    """Number of suspects that ``start`` reaches, itself included."""
    seen, stack = {start}, [start]
    while stack:
        for parent in parents[stack.pop()]:
            if parent in parents and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return len(seen)


def bisect(db: Database, good: Sequence[Digest], bad: Digest, test: Callable[[Digest], bool | None]) -> Digest:
    """Search for the first bad commit.

    Parameters
    ----------
    good, bad
        Commits known to be good, and one known to be bad.
    test
        Says of a commit whether it is good; None if it cannot be tested.

    Raises
    ------
    InvalidInputError
        The bad commit is an ancestor of a good one.
    InvalidTypeError
        ``test`` returned something else.
    InvalidStateError
        Too many commits could not be tested; the message lists the suspects.
    """
    if bad in good:
        raise _swapped(bad)
    search = Search([*(("good", commit) for commit in good), ("bad", bad)])
    while True:
        step = next_step(db, search)
        assert step is not None
        if step.test is None:
            return _only(step)
        said = test(step.test)
        if said is not None and type(said).__name__ not in ("bool", "bool_"):
            raise InvalidTypeError(f"the test must return True (good), False (bad) or None (skip), not {said!r}")
        search.verdicts.append(("skip" if said is None else "good" if said else "bad", step.test))


def _only(step: Step) -> Digest:
    if step.found is None:
        listed = ", ".join(digest.hex()[:12] for digest in step.suspects[:10])
        more = " and more" if len(step.suspects) > 10 else ""
        raise InvalidStateError(f"only skipped commits are left: the first bad commit is one of {listed}{more}")
    return step.found


# ---------------------------------------------------------------------- the stored state


class _Row(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: int
    verdicts: list[tuple[str, bytes]]


def is_searching(db: Database) -> bool:
    """Whether a search is in progress on the command line; its row is not read, so that a damaged one can be ended."""
    with db.read() as transaction:
        return transaction.get(META, _KEY) is not None


def read_search(db: Database, transaction: ReadTransaction | None = None) -> Search | None:
    """The search in progress on the command line; None if there is none.

    Raises
    ------
    CorruptionError
        Its row is damaged.
    """
    if transaction is None:
        with db.read() as reading:
            return read_search(db, reading)
    data = transaction.get(META, _KEY)
    if data is None:
        return None
    try:
        row = msgspec.msgpack.decode(data, type=_Row)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CorruptionError(f"the row of the bisection is damaged ({error}): run `hangar fsck`") from None
    if row.version != 0 or not all(said in _VERDICTS and len(one) == DIGEST_BYTES for said, one in row.verdicts):
        raise CorruptionError("the row of the bisection is damaged: run `hangar fsck`")
    return Search([(said, Digest(one)) for said, one in row.verdicts])  # type: ignore[misc]


def write_search(db: Database, search: Search) -> None:
    """Store the search in progress; it survives the process."""
    data = msgspec.msgpack.encode(_Row(0, [(said, bytes(commit)) for said, commit in search.verdicts]))
    db.update(lambda transaction: transaction.put(META, _KEY, data))


def rewrite_search(db: Database, transaction: WriteTransaction, replaced: Mapping[bytes, Digest]) -> None:
    """Replace commits in the verdicts of the search in progress; ``replaced`` has the new digest by old digest."""
    search = read_search(db, transaction)
    if search is not None:
        verdicts: list[tuple[str, bytes]] = [(said, replaced.get(commit, commit)) for said, commit in search.verdicts]
        transaction.put(META, _KEY, msgspec.msgpack.encode(_Row(0, verdicts)))


def end_search(db: Database) -> None:
    """Forget the search in progress."""

    def delete(transaction: WriteTransaction) -> None:
        if transaction.get(META, _KEY) is not None:
            transaction.delete(META, _KEY)

    db.update(delete)
