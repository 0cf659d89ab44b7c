"""Fetching, as a user asks for it: branches of a remote, the data of commits and samples.

``transfer`` moves objects and blobs; here names become commits and blobs, and remote-tracking refs move.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from hangar.blobs.tombstones import FOREIGN, Tombstone, put_tombstones, scan_tombstones
from hangar.db import WriteTransaction
from hangar.db.tables import COMMITS
from hangar.digest import Digest
from hangar.errors import ColumnNotFoundError, HangarError, InvalidInputError, NotLocalError, RevisionNotFoundError
from hangar.names import check_name
from hangar.objects.records import load_commit
from hangar.progress import Progress
from hangar.refs import BRANCHES, REMOTES, TAGS
from hangar.remote.peer import Reader, RefInfo
from hangar.remote.selection import blobs_of_columns, blobs_of_samples, column_entry, commits_of
from hangar.remote.transfer import ColumnBlobs, FetchedBlobs, fetch_blobs, fetch_history
from hangar.revisions import did_you_mean
from hangar.stores import Stores
from hangar.wording import plural

__all__ = ["Connect", "DataReport", "HistoryReport", "fetch_branches", "fetch_columns", "fetch_samples", "require_all"]

Connect = Callable[[], AbstractContextManager[Reader]]
_NOTHING = FetchedBlobs(0, 0, 0, 0, np.empty((0, 32), np.uint8), 0)


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
    """

    branches: dict[str, str]
    moved: tuple[str, ...]
    tags: tuple[str, ...]
    commits: int
    objects: int
    nbytes: int
    tombstones: int


@dataclass(frozen=True, slots=True)
class DataReport:
    """What a fetch of data did.

    Attributes
    ----------
    commits
        The commits in hex, the newest first.
    blobs, nbytes
        Number and bytes of the values that were fetched.
    left, left_nbytes
        Those that the limit of bytes did not allow.
    absent
        Number of values that the remote does not have.
    purged
        Number of values that were not fetched, because they were purged here.
    """

    commits: list[str]
    blobs: int
    nbytes: int
    left: int
    left_nbytes: int
    absent: int
    purged: int


def fetch_branches(
    stores: Stores,
    reader: Reader,
    remote: str,
    number: int,
    branches: Sequence[str] | None,
    who: tuple[str, str],
    *,
    progress: Progress = None,
) -> HistoryReport:
    """Fetch the history of branches, move their remote-tracking refs, and take over new tags on that history.

    Of all branches (None) means of all tags too, also of those that are on no branch any more.
    """
    refs = {ref.name: ref for page in reader.refs() for ref in page.refs}
    chosen = _chosen(reader, refs, remote, branches)
    foreign = [item for page in reader.tombstones() for item in page.items]
    moved: list[str] = []
    new_tags: list[str] = []
    met = 0

    def record(transaction: WriteTransaction) -> None:
        nonlocal met
        moved[:] = [name for name, ref in chosen.items() if _track(stores, transaction, remote, name, ref, who)]
        new_tags[:] = _take_tags(stores, transaction, remote, refs, who)
        met = _put_foreign(transaction, foreign)

    wanted = list(chosen.values())
    if branches is None:
        wanted += [ref for name, ref in refs.items() if name.startswith(TAGS) and not stores.refs.exists(name)]
    heads = [Digest(ref.digest) for ref in wanted if ref.digest is not None]
    found = fetch_history(stores, reader, heads, remote_id=number, record=record, progress=progress)
    return HistoryReport(
        {f"{remote}/{name}": "" if ref.digest is None else ref.digest.hex() for name, ref in chosen.items()},
        tuple(f"{remote}/{name}" for name in moved),
        tuple(new_tags),
        len(found.commits),
        found.objects,
        found.nbytes,
        met,
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


def _put_foreign(transaction: WriteTransaction, found: list[tuple[bytes, Tombstone]]) -> int:
    """Record tombstones of the remote, without effect. Those that are known here stay as they are."""
    if not found:
        return 0
    known = {bytes(digest) for digest, _ in scan_tombstones(transaction)}
    fresh = {
        digest: msgspec.structs.replace(tombstone, state=FOREIGN) for digest, tombstone in found if digest not in known
    }
    put_tombstones(transaction, fresh)
    return len(fresh)


# ---------------------------------------------------------------------------------------------------- data


def fetch_columns(
    stores: Stores,
    connect: Connect,
    head: Digest,
    names: Sequence[str] | None,
    *,
    whole_history: bool = False,
    nbytes: int | None = None,
    progress: Progress = None,
) -> DataReport:
    """Fetch the data of columns of a commit, or of it and all its ancestors.

    Raises
    ------
    ColumnNotFoundError
        (a ``KeyError``) no commit has such a column.
    """
    commits = commits_of(stores, head, whole_history=whole_history)
    known = {entry.name for _, commit in commits for entry in commit.columns}
    for name in names or ():
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise ColumnNotFoundError(f"there is no column {name!r} in this history; there are: {listed}")
    wanted = list(blobs_of_columns(stores, [commit for _, commit in commits], names))
    return _fetch(stores, connect, [digest.hex() for digest, _ in commits], wanted, nbytes, progress)


def fetch_samples(
    stores: Stores,
    connect: Connect,
    head: Digest,
    column: str,
    samples: Any,
    *,
    nbytes: int | None = None,
    progress: Progress = None,
) -> DataReport:
    """Fetch the data of some samples of a column. Raises what :func:`hangar.remote.selection.blobs_of_samples` does."""
    entry = column_entry(load_commit(stores.db, head), column)
    named = blobs_of_samples(stores, entry, _listed(samples, nested=bool(entry.layout)))
    wanted = replace(named, digests=named.digests[~stores.blobs.known(named.digests)])
    return _fetch(stores, connect, [head.hex()], [wanted], nbytes, progress)


def _listed(samples: Any, *, nested: bool) -> Sequence[Any]:
    """Several samples, or one, as a sequence. In a nested column a tuple names one, unless it holds tuples."""
    if isinstance(samples, tuple) and nested and not any(isinstance(one, tuple) for one in samples):
        return [samples]
    if isinstance(samples, np.ndarray):
        return list(samples.tolist())
    several = isinstance(samples, Iterable) and not isinstance(samples, (str, bytes))
    return list(samples) if several else [samples]


def _fetch(
    stores: Stores,
    connect: Connect,
    commits: list[str],
    wanted: list[ColumnBlobs],
    nbytes: int | None,
    progress: Progress,
) -> DataReport:
    limit: object = nbytes
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or limit < 0):
        raise InvalidInputError(f"nbytes is a number of bytes such as 1_000_000, or None, not {limit!r}")
    found = _NOTHING
    # If nothing is missing, the remote is not asked.
    if any(len(part.digests) for part in wanted):
        with connect() as reader:
            found = fetch_blobs(stores, reader, wanted, nbytes=nbytes, progress=progress)
    return DataReport(
        commits, found.blobs, found.nbytes, found.left, found.left_nbytes, len(found.absent), found.purged
    )


def require_all(report: DataReport, remote: str) -> DataReport:
    """Return a report, or raise NotLocalError if the remote does not have all that was asked for."""
    if report.absent:
        raise NotLocalError(
            f"remote {remote!r} does not have {plural(report.absent, 'value')} that history names; "
            f"{plural(report.blobs, 'value')} {'was' if report.blobs == 1 else 'were'} fetched. Fetch from another "
            "remote; `hangar purge --list` shows what a remote has purged"
        )
    return report
