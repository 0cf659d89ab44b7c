"""What is alive: the commits and the staged columns from which everything that must be kept is reached.

Whoever walks all that a repository holds (fsck, conversion; garbage collection and sync when they come) begins here and nowhere else: a
list of roots that misses one destroys data. A table that comes to name commits or trees is added here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from hangar.digest import Digest
from hangar.errors import CorruptionError, HangarError, ResourceLimitError
from hangar.refs import BRANCHES, Refs
from hangar.staging import StagedColumns, read_staged
from hangar.stores import Stores

__all__ = ["LiveRoots", "live_roots"]

T = TypeVar("T")
Failed = Callable[[str, HangarError], None]


@dataclass(frozen=True, slots=True)
class LiveRoots:
    """Where everything that is alive is reached from.

    Attributes
    ----------
    commits
        Those that a branch, tag or remote-tracking branch stands on, those that any entry of any reflog names (of branches
        that were deleted too: ``NAME@{1}`` still resolves), and the parents of the next commit (what is being merged in, too). None twice.
    staged
        The staging area, whose columns hold trees that no commit names yet; None where nothing is staged.
    """

    commits: tuple[Digest, ...]
    staged: StagedColumns | None


def live_roots(stores: Stores, failed: Failed | None = None) -> LiveRoots:
    """All roots.

    Parameters
    ----------
    stores
        Of the repository.
    failed
        Called with ``'ref'``, ``'reflog'`` or ``'staging'`` and the error where these cannot be read, for a check that goes on;
        None: such an error is raised.

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
    moved = attempt("reflog", refs.moved)
    if moved is None:
        # One entry is damaged. What can be read of the reflogs of the refs that are there is better than nothing.
        for name, _ in items:
            moved = attempt("reflog", partial(_moves, refs, name))
            commits.update(dict.fromkeys(moved or []))
    else:
        commits.update(dict.fromkeys(moved))
    staged = attempt("staging", lambda: _staged(stores))
    if staged is not None:
        commits.update(dict.fromkeys(staged.parents))
    return LiveRoots(tuple(commits), staged)


def _staged(stores: Stores) -> StagedColumns | None:
    """The staging area; CorruptionError where it does not stand on its branch."""
    with stores.db.read() as transaction:
        staged = read_staged(stores.db, transaction)
        if staged is not None and stores.refs.get(BRANCHES + staged.branch, transaction) != staged.base:
            raise CorruptionError(f"the staging area does not stand where its branch {staged.branch!r} does")
        return staged


def _moves(refs: Refs, name: str) -> list[Digest]:
    entries = refs.reflog(name)
    return [Digest(digest) for entry in entries for digest in (entry.old, entry.new) if digest is not None]
