"""Fetching of data, as a user asks for it: that of commits and samples, from one remote and what it lacks from others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests, Mask, Sought
from hangar.blobs.intact import logical_sizes
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import ColumnNotFoundError, CorruptionError, HangarError, InvalidInputError, NotLocalError
from hangar.objects.records import load_commit
from hangar.progress import Progress
from hangar.remote.asking import asked
from hangar.remote.correcting import correct
from hangar.remote.peer import Reader
from hangar.remote.selection import blobs_of_columns, blobs_of_samples, column_entry, commits_of, listed_samples
from hangar.remote.states import BlobState
from hangar.remote.transfer import ColumnBlobs, FetchedBlobs, fetch_blobs
from hangar.stores import Stores
from hangar.wording import plural

__all__ = ["Connect", "DataReport", "Place", "fetch_columns", "fetch_samples", "require_all"]

Connect = Callable[[], AbstractContextManager[Reader]]


class Place(NamedTuple):
    """A remote to fetch from: its name and number, and what connects to it."""

    name: str
    number: int
    connect: Connect


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
    damaged
        How many values are damaged at remotes, and came from none.
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
    damaged: int = 0


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
    found, damaged = _fetch_from(stores, places[0], wanted, nbytes, progress)
    total = DataReport(
        commits, found.blobs, found.nbytes, found.left, found.left_nbytes, len(found.absent), found.purged
    )
    absent, broken = found.absent, DigestSet(damaged)
    without: list[str] = []
    silent: list[str] = []
    for place in _others(stores, places[1:], absent):
        if not len(absent) or total.left:
            break
        budget = None if nbytes is None else nbytes - total.nbytes
        try:
            found, damaged = _fetch_from(stores, place, _where(wanted, DigestSet(absent).holds), budget, progress)
        except HangarError:
            silent.append(place.name)
            continue
        absent = found.absent
        broken.add(damaged)
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
    hurt = int(broken.holds(absent).sum())
    return replace(total, without=tuple(without), silent=tuple(silent), damaged=hurt)


def _fetch_from(
    stores: Stores, place: Place, wanted: list[ColumnBlobs], nbytes: int | None, progress: Progress
) -> tuple[FetchedBlobs, Digests]:
    """Fetch from one remote, and correct its promises by what it has and has not.

    Returns
    -------
    tuple
        What was fetched, and which of the absent blobs are damaged there.
    """
    damaged = np.empty((0, DIGEST_BYTES), np.uint8)
    with place.connect() as reader:
        try:
            found = fetch_blobs(stores, reader, wanted, nbytes=nbytes, progress=progress)
        except CorruptionError:
            # One damaged blob must not keep the others away. What came before it is here.
            missing = np.concatenate([part.digests[~stores.blobs.known(part.digests)] for part in wanted])
            damaged = missing[asked(reader, missing, read=True).mask(BlobState.DAMAGED)]
            if not len(damaged):
                raise
            came = _count_of(stores, wanted)
            broken = DigestSet(damaged)
            left = None if nbytes is None else max(0, nbytes - came[1])
            rest = fetch_blobs(
                stores, reader, _where(wanted, lambda digests: ~broken.holds(digests)), nbytes=left, progress=progress
            )
            found = replace(rest, blobs=came[0] + rest.blobs, nbytes=came[1] + rest.nbytes)
        correct(stores, place.number, absent=found.absent, reader=reader)
        if len(stores.blobs.promises.denied_by(place.number)):
            every = np.concatenate([part.digests for part in wanted])
            here = stores.blobs.known(every) & ~DigestSet(found.absent).holds(every)
            correct(stores, place.number, present=every[here])
    return replace(found, absent=np.concatenate([found.absent, damaged])), damaged


def _count_of(stores: Stores, wanted: list[ColumnBlobs]) -> tuple[int, int]:
    """Number and bytes of those of some blobs that are here."""
    digests = np.unique(np.concatenate([part.digests for part in wanted]), axis=0)
    located = stores.blobs.locator.locate_published(Sought.of(digests))
    return int(located.stored.sum()), int(logical_sizes(stores.blobs, located.words[located.stored]).sum())


def _where(wanted: list[ColumnBlobs], chosen: Callable[[Digests], Mask]) -> list[ColumnBlobs]:
    """Those of some blobs that a mask chooses."""
    return [replace(part, digests=part.digests[chosen(part.digests)]) for part in wanted]


def _others(stores: Stores, places: Sequence[Place], absent: Digests) -> list[Place]:
    """Other remotes, those first that promise the most of some blobs."""
    if not len(absent):
        return []
    promised = stores.blobs.promises.by_remote(absent)
    count = {number: int(mask.sum()) for number, mask in promised.items()}
    return sorted(places, key=lambda place: -count.get(place.number, 0))


def require_all(report: DataReport, remote: str) -> DataReport:
    """Return a report, or raise NotLocalError if no remote has all that was asked for."""
    if report.absent and not report.left:
        neither = f", and neither has {' or '.join(map(repr, report.without))}" if report.without else ""
        unasked = f" ({', '.join(map(repr, report.silent))} could not be asked)" if report.silent else ""
        hurt = f", {report.damaged:,} of them damaged there: run `hangar fsck --data` there" if report.damaged else ""
        raise NotLocalError(
            f"remote {remote!r} does not have {plural(report.absent, 'value')} that history names{neither}{unasked}{hurt}; "
            f"{plural(report.blobs, 'value')} {'was' if report.blobs == 1 else 'were'} fetched. `hangar fsck` says which; "
            "`hangar purge --list` shows what a remote has purged"
        )
    return report
