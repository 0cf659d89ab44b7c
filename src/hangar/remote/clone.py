"""Cloning: a new repository with the history of a remote, put in place when it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hangar.db import WriteTransaction
from hangar.digest import Digest
from hangar.errors import RevisionNotFoundError
from hangar.initialize import DEFAULT_BRANCH, initialize
from hangar.lock import WriterLock, under_lock
from hangar.names import check_name
from hangar.progress import Progress
from hangar.publishing import publish_rows
from hangar.refs import BRANCHES, REMOTES
from hangar.refs.remotes import RemoteRow, check_address
from hangar.remote.connect import check_settings, connected, full_address
from hangar.remote.fetching import fetch_branches
from hangar.remote.peer import Reader
from hangar.revisions import did_you_mean, resolve_commit
from hangar.stores import Stores

__all__ = ["ORIGIN", "begin_branch", "clone"]

ORIGIN = "origin"
"""Name of the remote that a repository was cloned from."""


def clone(
    directory: Path,
    user_name: str,
    user_email: str,
    address: str,
    settings: Mapping[str, str | bool],
    *,
    remove_old: bool = False,
    branch: str = "",
    progress: Progress = None,
) -> str:
    """Clone into ``directory`` (the ``.hangar``); see :meth:`hangar.Repository.clone`. Nothing is there until all is."""
    stored = check_settings(settings)
    address = full_address(address)
    chosen = branch
    # It has no number yet; only the new repository gives one.
    with connected(ORIGIN, RemoteRow(0, check_address(address), stored)) as reader:

        def fill(fresh: Path) -> None:
            nonlocal chosen
            stores = Stores(fresh)
            try:
                chosen = _fill(stores, reader, address, stored, (user_name, user_email), branch, progress)
            finally:
                stores.close()

        initialize(directory, user_name, user_email, remove_old=remove_old, fill=fill)
    return chosen


def _fill(
    stores: Stores,
    reader: Reader,
    address: str,
    settings: dict[str, str],
    who: tuple[str, str],
    branch: str,
    progress: Progress,
) -> str:
    """Fetch everything into a new repository; return the branch to begin with."""
    row = stores.db.update(lambda transaction: stores.refs.add_remote(transaction, ORIGIN, address, settings))
    found = fetch_branches(stores, reader, ORIGIN, row.number, None, who, progress=progress)
    there = [name.removeprefix(f"{REMOTES}{ORIGIN}/") for name in stores.refs.names(f"{REMOTES}{ORIGIN}/")]
    if branch and branch not in there:
        raise RevisionNotFoundError(f"{address} has no branch {branch!r}{did_you_mean(branch, there, '`--branch`')}")
    first = branch or found.head or DEFAULT_BRANCH
    if first not in there:
        first = next(iter(there), DEFAULT_BRANCH)
    check_name(first, "branch")
    if first in there:
        begin_branch(stores, first, f"{ORIGIN}/{first}", who, operation="clone", switch=True)
    if first != DEFAULT_BRANCH and stores.refs.exists(BRANCHES + DEFAULT_BRANCH):
        stores.db.update(lambda transaction: _drop_default(stores, transaction, who))
    return first


def _drop_default(stores: Stores, transaction: WriteTransaction, who: tuple[str, str]) -> None:
    """Remove the empty branch that every new repository begins with."""
    if stores.refs.get(BRANCHES + DEFAULT_BRANCH, transaction) is None:
        stores.refs.delete(transaction, BRANCHES + DEFAULT_BRANCH, None, who=who, operation="clone")


def begin_branch(
    stores: Stores, branch: str, rev: str, who: tuple[str, str], *, operation: str = "pull", switch: bool = False
) -> Digest:
    """Make a local branch at a revision, or move one without a commit there; ``switch``: make it the current branch."""
    target = resolve_commit(stores.db, stores.refs, rev)
    ref = BRANCHES + branch

    def write(transaction: WriteTransaction) -> None:
        if stores.refs.exists(ref, transaction):
            stores.refs.update(transaction, ref, None, target, who=who, operation=operation, message=f"from {rev}")
        else:
            stores.refs.create(transaction, ref, target, who=who, operation=operation, message=f"from {rev}")
        if switch:
            stores.refs.set_head(transaction, write_branch=branch, last_written=branch)

    def begin(lock: WriterLock) -> Digest:
        publish_rows(stores.db, lock, write)
        return target

    return under_lock(stores.db, begin)
