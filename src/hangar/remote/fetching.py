"""Fetching, as a user asks for it: branches of a remote, the data of commits and samples.

``transfer`` moves objects and blobs; here names become commits and blobs, and remote-tracking refs move.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests
from hangar.db import WriteTransaction
from hangar.db.tables import COMMITS
from hangar.digest import Digest, digest_array
from hangar.errors import ColumnNotFoundError, HangarError, InvalidInputError, NotLocalError, RevisionNotFoundError
from hangar.names import check_name
from hangar.objects.records import load_commit
from hangar.progress import Progress
from hangar.refs import BRANCHES, REMOTES, TAGS
from hangar.remote.correcting import correct, learn_purged
from hangar.remote.peer import Reader, RefInfo
from hangar.remote.selection import blobs_of_columns, blobs_of_samples, column_entry, commits_of, listed_samples
from hangar.remote.transfer import ColumnBlobs, FetchedBlobs, fetch_blobs, fetch_history
from hangar.revisions import did_you_mean
from hangar.stores import Stores
from hangar.wording import plural

__all__ = [
    "Connect",
    "DataReport",
    "HistoryReport",
    "Place",
    "fetch_branches",
    "fetch_columns",
    "fetch_samples",
    "require_all",
]

Connect = Callable[[], AbstractContextManager[Reader]]


class Place(NamedTuple):
    """A remote to fetch from: its name and number, and what connects to it."""

    name: str
    number: int
    connect: Connect


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
    elsewhere
        How many of the values came from other remotes, by their names, because the remote did not have them.
    without
        Names of the other remotes that do not have the absent values either.
    silent
        Names of the other remotes that could not be asked for them.
    """

    commits: list[str]
    blobs: int
    nbytes: int
    left: int
    left_nbytes: int
    absent: int
    purged: int
    elsewhere: dict[str, int] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


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
    refs = {ref.name: ref for page in reader.refs() for ref in page.refs}
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


# ---------------------------------------------------------------------------------------------------- data


def fetch_columns(
    stores: Stores,
    places: Sequence[Place],
    head: Digest,
    names: Sequence[str] | None,
    *,
    whole_history: bool = False,
    nbytes: int | None = None,
    progress: Progress = None,
) -> DataReport:
    """Fetch the data of columns of a commit, or of it and all its ancestors.

    Parameters
    ----------
    places
        The remote to fetch from, and then the others, which are asked for what it does not have.

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
    return _fetch(stores, places, [digest.hex() for digest, _ in commits], wanted, nbytes, progress)


def fetch_samples(
    stores: Stores,
    places: Sequence[Place],
    head: Digest,
    column: str,
    samples: Any,
    *,
    nbytes: int | None = None,
    progress: Progress = None,
) -> DataReport:
    """Fetch the data of some samples of a column. Raises what :func:`hangar.remote.selection.blobs_of_samples` does."""
    entry = column_entry(load_commit(stores.db, head), column)
    named = blobs_of_samples(stores, entry, listed_samples(samples, nested=bool(entry.layout)))
    wanted = replace(named, digests=named.digests[~stores.blobs.known(named.digests)])
    return _fetch(stores, places, [head.hex()], [wanted], nbytes, progress)


def _fetch(
    stores: Stores,
    places: Sequence[Place],
    commits: list[str],
    wanted: list[ColumnBlobs],
    nbytes: int | None,
    progress: Progress,
) -> DataReport:
    limit: object = nbytes
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or limit < 0):
        raise InvalidInputError(f"nbytes is a number of bytes such as 1_000_000, or None, not {limit!r}")
    # If nothing is missing, the remote is not asked.
    if not any(len(part.digests) for part in wanted):
        return DataReport(commits, 0, 0, 0, 0, 0, 0)
    found = _fetch_from(stores, places[0], wanted, nbytes, progress)
    total = DataReport(
        commits, found.blobs, found.nbytes, found.left, found.left_nbytes, len(found.absent), found.purged
    )
    absent = found.absent
    without: list[str] = []
    silent: list[str] = []
    for place in _others(stores, places[1:], absent):
        if not len(absent) or total.left:
            break
        budget = None if nbytes is None else nbytes - total.nbytes
        try:
            found = _fetch_from(stores, place, _only(wanted, absent), budget, progress)
        except HangarError:
            silent.append(place.name)
            continue
        absent = found.absent
        if found.blobs:
            total.elsewhere[place.name] = found.blobs
        if len(absent):
            without.append(place.name)
        total = replace(
            total,
            blobs=total.blobs + found.blobs,
            nbytes=total.nbytes + found.nbytes,
            left=found.left,
            left_nbytes=found.left_nbytes,
            absent=len(absent),
        )
    return replace(total, without=tuple(without), silent=tuple(silent))


def _fetch_from(
    stores: Stores, place: Place, wanted: list[ColumnBlobs], nbytes: int | None, progress: Progress
) -> FetchedBlobs:
    """Fetch from one remote, and correct its promises by what it has and has not."""
    with place.connect() as reader:
        found = fetch_blobs(stores, reader, wanted, nbytes=nbytes, progress=progress)
        correct(stores, place.number, absent=found.absent, reader=reader)
        if len(stores.blobs.promises.denied_by(place.number)):
            asked = np.concatenate([part.digests for part in wanted])
            here = stores.blobs.known(asked) & ~DigestSet(found.absent).holds(asked)
            correct(stores, place.number, present=asked[here])
    return found


def _others(stores: Stores, places: Sequence[Place], absent: Digests) -> list[Place]:
    """Other remotes, those first that promise the most of some blobs."""
    if not len(absent):
        return []
    promised = stores.blobs.promises.by_remote(absent)
    count = {number: int(mask.sum()) for number, mask in promised.items()}
    return sorted(places, key=lambda place: -count.get(place.number, 0))


def _only(wanted: list[ColumnBlobs], digests: Digests) -> list[ColumnBlobs]:
    chosen = DigestSet(digests)
    return [replace(part, digests=part.digests[chosen.holds(part.digests)]) for part in wanted]


def require_all(report: DataReport, remote: str) -> DataReport:
    """Return a report, or raise NotLocalError if no remote has all that was asked for."""
    if report.absent and not report.left:
        neither = f", and neither has {' or '.join(map(repr, report.without))}" if report.without else ""
        unasked = f" ({', '.join(map(repr, report.silent))} could not be asked)" if report.silent else ""
        raise NotLocalError(
            f"remote {remote!r} does not have {plural(report.absent, 'value')} that history names{neither}{unasked}; "
            f"{plural(report.blobs, 'value')} {'was' if report.blobs == 1 else 'were'} fetched. `hangar fsck` says which; "
            "`hangar purge --list` shows what a remote has purged"
        )
    return report
