"""Purging: plan, one transaction that makes it take effect, and the removal of the bytes.

After the transaction the data counts as purged. The removal of its bytes can be repeated. :func:`continue_purge` does so
after a crash, an interrupt or a full disk, or if a file or the database was open in another process (see
:mod:`hangar.pending_purge`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from hangar import _fs, describe
from hangar.blobs.tombstones import MOST_NAMED, Tombstone, put_tombstones
from hangar.db import WriteTransaction
from hangar.errors import ConflictError, InvalidInputError, InvalidStateError
from hangar.lock import WriterLock, under_lock
from hangar.pending_purge import add_pending_purge, read_pending_purge
from hangar.progress import Progress
from hangar.publishing import publish_rows
from hangar.purge.plan import Plan, make_plan
from hangar.purge.removal import remove_bytes
from hangar.purge.report import PurgeReport
from hangar.purge.rewrite import Rewriting
from hangar.refs.rows import now
from hangar.stores import Stores
from hangar.wording import plural

__all__ = ["Request", "continue_purge", "purge"]

_EFFECTIVE = _fs.register_point("purge.effective")
_MOST_REASON = 1_000
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Request:
    """What to purge, and how.

    Attributes
    ----------
    column, keys, branch, rev, only_this
        See :func:`~hangar.purge.plan.make_plan`.
    reason
        Why, for the tombstones.
    who
        Name and email.
    shared
        Purge data that other samples share.
    rewrite_history
        Rewrite the commits that hold values inline in the tree.
    """

    column: str
    keys: object
    reason: str
    who: tuple[str, str]
    branch: str = ""
    rev: str = ""
    only_this: bool = False
    shared: bool = False
    rewrite_history: bool = False


def purge(stores: Stores, request: Request, *, dry_run: bool = False, progress: Progress = None) -> PurgeReport:
    """Purge samples.

    Parameters
    ----------
    dry_run
        Only make the plan; needs no lock. Problems that would refuse the purge are in the report.

    Raises
    ------
    ConflictError
        Other samples share the data, and ``shared`` is not given.
    InvalidStateError
        Values lie inline in the tree, and ``rewrite_history`` is not given; or a merge with conflicts is in progress.
    NothingToDoError
        Everything was purged before.
    LockedError
        A writer holds the writer lock.
    DiskFullError, StorageError
        Nothing was purged; or it was, and the removal of the bytes can be continued.
    """
    _check_reason(request.reason)
    plan = partial(
        make_plan,
        stores,
        request.column,
        request.keys,
        branch=request.branch,
        rev=request.rev,
        only_this=request.only_this,
    )
    if dry_run:
        return _dry(stores, plan())
    before = describe.directory_bytes(stores.directory)

    def purge_locked(lock: WriterLock) -> PurgeReport:
        made = plan()
        _check(made, request)
        rewriting = Rewriting(stores, made)
        publish_rows(stores.db, lock, lambda transaction: _record(transaction, made, rewriting, request))
        _fs.crash_point(_EFFECTIVE)
        left = remove_bytes(stores, lock, progress)
        return made.report(
            rewritten={old.hex(): new.hex() for old, new in rewriting.replaced.items()},
            refs=tuple(rewriting.refs),
            unfinished=left,
        )

    done = under_lock(stores.db, purge_locked)
    return replace(done, size_before=before, size_after=describe.directory_bytes(stores.directory))


def continue_purge(stores: Stores, *, progress: Progress = None) -> tuple[str, ...] | None:
    """Continue to remove the bytes of an unfinished purge.

    Returns
    -------
    tuple or None
        Reasons why bytes are still on disk, empty if they are gone; None if no purge was unfinished.
    """
    with stores.db.read() as transaction:
        if read_pending_purge(transaction) is None:
            return None
    return under_lock(stores.db, lambda lock: remove_bytes(stores, lock, progress))


def _check_reason(reason: object) -> None:
    if not isinstance(reason, str) or len(reason) > _MOST_REASON:
        raise InvalidInputError(f"the reason is a text of at most {_MOST_REASON:,} characters")


def _dry(stores: Stores, plan: Plan) -> PurgeReport:
    rewriting = Rewriting(stores, plan)
    moving = set(rewriting.replaced)
    refs = tuple(name for name, digest in stores.refs.items("") if digest in moving)
    size = describe.directory_bytes(stores.directory)
    rewritten = {old.hex(): new.hex() for old, new in rewriting.replaced.items()}
    return plan.report(rewritten=rewritten, refs=refs, dry_run=True, size_before=size, size_after=size)


def _check(plan: Plan, request: Request) -> None:
    """Refuse to purge shared data or to rewrite history unless the caller asked for it."""
    if plan.shared_count and not request.shared:
        named = "; ".join(
            f"{'/'.join(map(str, one.key))} of {one.column} ({f'commit {one.commit[:12]}' if one.commit else 'staged'})"
            for one in plan.shared[:_SHOWN]
        )
        more = plan.shared_count - min(plan.shared_count, _SHOWN)
        raise ConflictError(
            f"{plural(plan.shared_count, 'other sample')} {'has' if plan.shared_count == 1 else 'have'} the same data, "
            f"which would be gone too: {named}{f'; and {more:,} more' if more else ''}. Nothing was purged: use --shared "
            "(shared=True) to purge the data of all of them"
        )
    if plan.inline_commits and not request.rewrite_history:
        key = plan.name(min(plan.cells))
        raise InvalidStateError(
            f"{plural(len(plan.cells), 'value')} (of {'/'.join(map(str, key))} and so on) of column {plan.column!r} "
            f"{'lies' if len(plan.cells) == 1 else 'lie'} inline in the trees of "
            f"{plural(len(plan.inline_commits), 'commit')}, and no digest of its own names it: these commits and all later "
            "ones must be replaced by new ones. Nothing was purged: look at the plan with --dry-run, and use "
            "--rewrite-history (rewrite_history=True); clones must be made again after that"
        )


def _record(transaction: WriteTransaction, plan: Plan, rewriting: Rewriting, request: Request) -> None:
    """Make the purge take effect."""
    time_ns, zone = now()

    def tombstone(digest: bytes) -> Tombstone:
        own = [[plan.column, *plan.name(key)] for key in sorted(plan.blobs[digest])]
        others = [[one.column, *one.key] for one in plan.shared if one.digest == digest.hex()]
        return Tombstone(*request.who, time_ns, zone, request.reason, (own + others)[:MOST_NAMED])

    put_tombstones(transaction, {digest: tombstone(digest) for digest in plan.blobs})
    rewriting.record(transaction, request.who, request.reason or f"samples of {plan.column}")
    add_pending_purge(transaction, plan.blobs, records=bool(plan.cells))
