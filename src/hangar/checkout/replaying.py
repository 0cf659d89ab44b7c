"""Applies the changes of one commit to the branch of a writer, or takes them back: cherry-pick and revert.

Both are a three-way comparison (see :mod:`hangar.diff.threeway`). To undo a commit, the base is that commit and theirs its parent; to pick
one, the base is its parent and theirs the commit. No array is read. What happens with conflicts is in :mod:`hangar.checkout.operations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from hangar.checkout.operations import Applied, apply_changes, require_unchanged
from hangar.diff.merge_base import records_of
from hangar.diff.threeway import Side, ThreeWay
from hangar.digest import Digest
from hangar.errors import InvalidInputError, InvalidStateError
from hangar.objects.records import load_commit
from hangar.revisions import resolve_commit
from hangar.staging import Operation

if TYPE_CHECKING:
    from hangar.checkout.session import WriterSession
    from hangar.config import Config
    from hangar.history.combine import SideChoice
    from hangar.objects.commit import Commit

__all__ = ["ReplayKind", "replay_commit"]

ReplayKind: TypeAlias = Literal["cherry-pick", "revert"]


def replay_commit(
    session: WriterSession,
    config: Config,
    kind: ReplayKind,
    rev: str,
    message: str | None = None,
    *,
    mainline: int | None = None,
    strategy: SideChoice | None = None,
    keep_conflicts: bool = False,
    commit: bool = True,
) -> Applied:
    """Apply what a commit changed to the branch of ``session``, or with ``kind`` ``'revert'`` the opposite.

    Parameters
    ----------
    message
        Message of the new commit. By default that of the picked commit, or a text that names the reverted one.
    mainline
        Of a merge commit: the number of the parent (from 1) that it is compared with.
    strategy
        Which side counts where there are conflicts.
    keep_conflicts
        Keep conflicts, with the cherry-pick or revert in progress; else they are an error and nothing changes.
    commit
        False: stage the changes, and do not commit them.

    Raises
    ------
    MergeConflictError
        There are conflicts that ``strategy`` does not resolve, and they are not to be kept.
    InvalidStateError
        There are uncommitted changes, something is in progress, or a ``with`` block is open; the branch has no commit; or the commit to revert
        is the first one.
    InvalidInputError
        ``mainline`` is missing, or does not fit the commit.
    NothingToDoError
        The branch would not change.
    RevisionNotFoundError
        There is no such revision.
    """
    stores, staging = session.stores, session.staging
    digest = resolve_commit(stores.db, stores.refs, rev)
    require_unchanged(session, kind)
    chosen = load_commit(stores.db, digest)
    if not chosen.parents and kind == "revert":
        raise InvalidStateError(
            f"commit {digest.hex()[:12]} is the first one, and there is nothing before it to return to: "
            "remove its columns with `hangar column remove COLUMN`"
        )
    parent = _parent(chosen, digest, mainline) if chosen.parents else None
    if staging.base_commit is None:
        raise InvalidStateError(f"branch {staging.branch!r} has no commit yet, so there is nothing to apply it to")
    below, there = (digest, parent) if kind == "revert" else (parent, digest)
    base, theirs = (None if one is None else load_commit(stores.db, one) for one in (below, there))
    named = [one for one in (there, below) if one is not None]
    bases = [one for one in (below,) if one is not None]
    if parent is not None and kind == "revert":
        operation = Operation(kind, str(rev), message or _revert_message(chosen, digest, parent), {}, named)
    else:
        meta = {**chosen.meta, "cherry-picked-from": digest.hex()}
        operation = Operation(kind, str(rev), message or chosen.message, meta, named)
    sides = (Side.of(one) for one in (base, staging.base_commit, theirs))
    comparison = ThreeWay(records_of(stores.db, session.nodes), *sides)
    return apply_changes(
        session,
        config,
        comparison,
        operation,
        bases,
        keep_conflicts=keep_conflicts,
        commit=commit,
        strategy=strategy,
    )


def _parent(commit: Commit, digest: Digest, mainline: int | None) -> Digest:
    """The parent that a commit is compared with."""
    count, short = len(commit.parents), digest.hex()[:12]
    if count == 1 and mainline in (None, 1):
        return Digest(commit.parents[0])
    if count == 1:
        raise InvalidInputError(f"commit {short} is no merge: it has only one parent, so there is no parent {mainline}")
    listed = ", ".join(f"{number} is {parent.hex()[:12]}" for number, parent in enumerate(commit.parents, 1))
    if mainline is None:
        raise InvalidInputError(
            f"commit {short} is a merge: choose the parent to compare it with by mainline=1 (`--mainline 1`); {listed}"
        )
    if not 1 <= mainline <= count:
        raise InvalidInputError(f"commit {short} has no parent {mainline}: {listed}")
    return Digest(commit.parents[mainline - 1])


def _revert_message(commit: Commit, digest: Digest, parent: Digest) -> str:
    """Message of a revert, in the words of git."""
    subject = commit.message.strip("\n").partition("\n")[0]
    merged = f", reversing\nchanges made to {parent.hex()}" if len(commit.parents) > 1 else ""
    return f'Revert "{subject}"\n\nThis reverts commit {digest.hex()}{merged}.'
