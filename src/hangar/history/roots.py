"""Live roots: the commits and staged columns from which all data that must be kept can be reached.

Every traversal of the whole repository (fsck and conversion; later garbage collection and sync) must use this list,
because a missing root would destroy data. If another table refers to commits or trees, add it here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from hangar.digest import Digest
from hangar.errors import CorruptionError, HangarError, ResourceLimitError
from hangar.history.bisect import read_search
from hangar.history.leases import LiveLease, live_leases
from hangar.refs import BRANCHES, Refs
from hangar.staging import StagedColumns, read_staged
from hangar.stores import Stores

__all__ = ["LiveRoots", "live_roots"]

T = TypeVar("T")
Failed = Callable[[str, HangarError], None]


@dataclass(frozen=True, slots=True)
class LiveRoots:
    """The roots of all live data.

    Attributes
    ----------
    commits
        Commits of all branches, tags and remote-tracking branches; commits in any reflog entry (also of deleted
        branches, because ``NAME@{1}`` still resolves); the parents of the next commit (those being merged too), and
        the commit being picked or reverted with the one it is compared with;
        those of a bisection in progress, and those that living processes have a lease on. Each once.
    staged
        The staging area, whose columns have trees that belong to no commit yet; None if nothing is staged.
    """

    commits: tuple[Digest, ...]
    staged: StagedColumns | None


def live_roots(stores: Stores, failed: Failed | None = None, *, without: Collection[bytes] = ()) -> LiveRoots:
    """Collect all live roots.

    Parameters
    ----------
    stores
        Stores of the repository.
    failed
        Called with ``'ref'``, ``'reflog'``, ``'staging'`` or ``'bisection'`` and the error if one of these cannot be read, so that a
        check can continue; None: the error is raised.
    without
        Keys of reflog entries that do not count, because they are about to expire.

    Raises
    ------
    CorruptionError
        A root cannot be read.
    """

    def attempt(what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except ResourceLimitError:
            raise
        except HangarError as error:
            if failed is None:
                raise
            failed(what, error)
            return None

    refs = stores.refs
    items = attempt("ref", lambda: refs.items("")) or []
    commits = {digest: None for _, digest in items if digest is not None}
    moved = attempt("reflog", partial(refs.reflog_commits, without=without))
    if moved is None:
        # One entry is damaged. Fall back to the readable reflogs of the existing refs.
        for name, _ in items:
            moved = attempt("reflog", partial(_moves, refs, name))
            commits.update(dict.fromkeys(moved or []))
    else:
        commits.update(dict.fromkeys(moved))
    staged = attempt("staging", lambda: _staged(stores))
    if staged is not None:
        commits.update(dict.fromkeys(staged.sources))
    search = attempt("bisection", lambda: read_search(stores.db))
    if search is not None:
        commits.update(dict.fromkeys(commit for _, commit in search.verdicts))
    for lease in attempt("lease", lambda: _leases(stores)) or []:
        commits.update(dict.fromkeys(lease.commits))
    return LiveRoots(tuple(commits), staged)


def _leases(stores: Stores) -> list[LiveLease]:
    with stores.db.read() as transaction:
        return live_leases(stores.db, transaction)


def _staged(stores: Stores) -> StagedColumns | None:
    """The staging area; CorruptionError if its base is not the head of its branch."""
    with stores.db.read() as transaction:
        staged = read_staged(stores.db, transaction)
        if staged is not None and stores.refs.get(BRANCHES + staged.branch, transaction) != staged.base:
            raise CorruptionError(f"the staging area is not based on the head of its branch {staged.branch!r}")
        return staged


def _moves(refs: Refs, name: str) -> list[Digest]:
    entries = refs.reflog(name)
    return [Digest(digest) for entry in entries for digest in (entry.old, entry.new) if digest is not None]
