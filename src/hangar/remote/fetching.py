"""Fetching of history, as a user asks for it: branches of a remote.

``transfer`` moves objects and blobs; here names become commits and blobs, and remote-tracking refs move.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from hangar.db import WriteTransaction
from hangar.db.tables import COMMITS
from hangar.digest import Digest, digest_array
from hangar.errors import HangarError, InvalidInputError, RevisionNotFoundError
from hangar.names import check_name
from hangar.progress import Progress
from hangar.refs import BRANCHES, REMOTES, TAGS
from hangar.remote.correcting import correct, learn_purged
from hangar.remote.peer import Reader, RefInfo
from hangar.remote.transfer import fetch_history
from hangar.revisions import did_you_mean
from hangar.stores import Stores

__all__ = ["HistoryReport", "fetch_branches"]


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """What a fetch of history did.

    Attributes
    ----------
    branches
        The remote-tracking branches that were looked at, with the commit of each in hex (``''``: none yet).
    moved
        Those among them that are new or moved.
    tags
        Tags that are new here.
    commits
        Number of new commits.
    objects, nbytes
        Number and bytes of the objects received.
    tombstones
        Number of new tombstones, which have no effect until they are accepted.
    stale
        Remote-tracking branches here of branches that the remote does not have any more, if all were fetched.
    pruned
        Those that were deleted for this reason, with the commit of each in hex.
    head
        The branch that the remote stands on.
    """

    branches: dict[str, str]
    moved: tuple[str, ...]
    tags: tuple[str, ...]
    commits: int
    objects: int
    nbytes: int
    tombstones: int
    stale: tuple[str, ...] = ()
    pruned: dict[str, str] = field(default_factory=dict)
    head: str = ""


def fetch_branches(
    stores: Stores,
    reader: Reader,
    remote: str,
    number: int,
    branches: Sequence[str] | None,
    who: tuple[str, str],
    *,
    prune: bool = False,
    progress: Progress = None,
) -> HistoryReport:
    """Fetch the history of branches, move their remote-tracking refs, and take over new tags on that history.

    Of all branches (None) means of all tags too, also of those that are on no branch any more. With ``prune`` the
    remote-tracking refs of branches that the remote does not have any more are deleted; their reflogs stay.

    Raises
    ------
    InvalidInputError
        (a ``ValueError``) ``prune`` and ``branches``.
    """
    if prune and branches is not None:
        raise InvalidInputError("pruning compares all branches of the remote with those here: give no branch")
    pages = list(reader.refs())
    refs = {ref.name: ref for page in pages for ref in page.refs}
    chosen = _chosen(reader, refs, remote, branches)
    foreign = [item for page in reader.tombstones() for item in page.items]
    moved: list[str] = []
    stale: dict[str, str] = {}
    new_tags: list[str] = []

    def record(transaction: WriteTransaction) -> None:
        if branches is None:
            stale.update(_stale(stores, transaction, remote, chosen, who, prune=prune))
        moved[:] = [name for name, ref in chosen.items() if _track(stores, transaction, remote, name, ref, who)]
        new_tags[:] = _take_tags(stores, transaction, remote, refs, who)

    wanted = list(chosen.values())
    if branches is None:
        wanted += [ref for name, ref in refs.items() if name.startswith(TAGS) and not stores.refs.exists(name)]
    heads = [Digest(ref.digest) for ref in wanted if ref.digest is not None]
    found = fetch_history(stores, reader, heads, remote_id=number, record=record, progress=progress)
    met = learn_purged(stores, foreign)
    correct(stores, number, absent=digest_array([digest for digest, _ in foreign]))
    return HistoryReport(
        {f"{remote}/{name}": "" if ref.digest is None else ref.digest.hex() for name, ref in chosen.items()},
        tuple(f"{remote}/{name}" for name in moved),
        tuple(new_tags),
        len(found.commits),
        found.objects,
        found.nbytes,
        met,
        () if prune else tuple(stale),
        stale if prune else {},
        pages[0].head if pages else "",
    )


def _not_found(reader: Reader, text: str) -> HangarError:
    """The error for an unknown branch; over gRPC it is a ``grpc.RpcError`` too."""
    module: Any = sys.modules.get("hangar.remote.grpc_client")
    if module is None or not isinstance(reader, module.GrpcPeer):
        return RevisionNotFoundError(text)
    from hangar.remote.status import code_of, make_error

    return make_error(RevisionNotFoundError, text, code_of(RevisionNotFoundError(text)))


def _chosen(
    reader: Reader, refs: dict[str, RefInfo], remote: str, branches: Sequence[str] | None
) -> dict[str, RefInfo]:
    there = {name.removeprefix(BRANCHES): ref for name, ref in refs.items() if name.startswith(BRANCHES)}
    for name in there:
        check_name(name, "branch")  # a hostile name would look like something else here
    if branches is None:
        return there
    for branch in branches:
        if branch not in there:
            hint = did_you_mean(branch, there, f"`hangar fetch {remote}`, which fetches all")
            raise _not_found(reader, f"remote {remote!r} has no branch {branch!r}{hint}")
    return {branch: there[branch] for branch in branches}


def _track(
    stores: Stores, transaction: WriteTransaction, remote: str, branch: str, ref: RefInfo, who: tuple[str, str]
) -> bool:
    """Move a remote-tracking ref to where the branch of the remote is; returns whether it moved."""
    name = f"{REMOTES}{remote}/{branch}"
    exists = stores.refs.exists(name, transaction)
    old = stores.refs.get(name, transaction)
    if ref.digest is None or (exists and old == ref.digest):
        return False
    new = Digest(ref.digest)
    if exists:
        stores.refs.update(transaction, name, old, new, who=who, operation="fetch")
    else:
        stores.refs.create(transaction, name, new, who=who, operation="fetch")
    return True


def _stale(
    stores: Stores,
    transaction: WriteTransaction,
    remote: str,
    there: Collection[str],
    who: tuple[str, str],
    *,
    prune: bool,
) -> dict[str, str]:
    """The remote-tracking refs of branches that the remote does not have (any more), and their commits in hex."""
    prefix = f"{REMOTES}{remote}/"
    found = {}
    for name, digest in stores.refs.items(prefix, transaction):
        if name.removeprefix(prefix) not in there:
            found[name.removeprefix(REMOTES)] = "" if digest is None else digest.hex()
            if prune:
                stores.refs.delete(transaction, name, digest, who=who, operation="fetch (prune)")
    return found


def _take_tags(
    stores: Stores, transaction: WriteTransaction, remote: str, refs: dict[str, RefInfo], who: tuple[str, str]
) -> list[str]:
    """Make the tags of the remote whose commit is here and whose name is free."""
    made = []
    for name, ref in refs.items():
        if not name.startswith(TAGS) or ref.digest is None or stores.refs.exists(name, transaction):
            continue
        if transaction.get(COMMITS, ref.digest) is None:
            continue
        short = check_name(name.removeprefix(TAGS), "tag")
        stores.refs.create(
            transaction,
            name,
            Digest(ref.digest),
            who=who,
            operation="fetch",
            message=f"from {remote}",
            annotation=ref.annotation,
        )
        made.append(short)
    return made
