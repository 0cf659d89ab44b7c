"""Put staged changes aside, and bring them back: a stack of stashes.

A stash is a commit that is on no branch: its parent is the commit that the changes were staged on. A ref ``stash/NUMBER`` with an
annotation names it, so that everything that follows refs (gc, fsck, conversion) keeps its data, and the reflog has it after it was
dropped. The newest stash has the highest number; users call it ``stash@{0}``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from hangar.digest import Digest
from hangar.errors import InvalidStateError, NothingToDoError, RevisionNotFoundError
from hangar.history.combine import SideChoice, check_side, combine
from hangar.history.current import current_branch, require_clean, staged_on
from hangar.history.log import iso_time
from hangar.lock import WriterLock, under_lock
from hangar.names import plain_text
from hangar.objects.commit import Commit, check_message
from hangar.objects.graph import add_commit
from hangar.objects.records import load_commit
from hangar.publishing import publish_rows
from hangar.refs import STASHES, Refs
from hangar.staging import clear_staging, in_progress, stage_content
from hangar.stores import Stores

if TYPE_CHECKING:
    from hangar.db.transaction import WriteTransaction

__all__ = ["StashInfo", "apply_stash", "drop_stash", "list_stashes", "stash"]

_BRANCH: Final = "branch"
_NAME: Final = re.compile(r"(?:stash@\{)?([0-9]{1,8})\}?\Z")


class StashInfo(NamedTuple):
    """Changes that were put aside.

    Attributes
    ----------
    rev
        Its name, ``'stash@{0}'`` for the newest.
    digest
        Digest of its commit in hex.
    branch
        Branch that the changes were staged on.
    message
        Description of the changes.
    author, email, time
        Who put them aside, and when (ISO 8601).
    """

    rev: str
    digest: str
    branch: str
    message: str
    author: str
    email: str
    time: str


def stash(stores: Stores, message: str | None = None, *, who: tuple[str, str]) -> StashInfo:
    """Put all staged changes aside. Afterwards nothing is staged.

    Parameters
    ----------
    message
        Description of the changes; by default the commit that they were staged on.

    Raises
    ------
    NothingToDoError
        Nothing is staged.
    InvalidStateError
        An operation is in progress, or the branch has no commit yet.
    LockedError
        A writer holds the lock.
    """
    if message is not None:
        check_message(message, "stash message")

    def put(lock: WriterLock) -> None:
        staged = staged_on(stores)
        if staged is None:
            raise NothingToDoError("there are no staged changes to put aside")
        if staged.operation is not None:
            raise InvalidStateError(f"changes cannot be put aside, because {in_progress(staged.operation)}")
        if staged.base is None or staged.base_commit is None:
            raise InvalidStateError(
                f"branch {staged.branch!r} has no commit yet: commit something before you put changes aside"
            )
        subject = staged.base_commit.message.strip("\n").partition("\n")[0]
        text = message or f"on {staged.branch}: {staged.base.hex()[:12]} {subject}"
        meta = {_BRANCH: staged.branch}
        commit = Commit.now([staged.base], staged.entries(), staged.attributes, message=text, meta=meta, who=who)
        digest = commit.digest()

        def record(transaction: WriteTransaction) -> None:
            staged.nodes.flush(transaction, [entry.root for entry in commit.columns if entry.root is not None])
            add_commit(transaction, commit)
            name = _next_name(stores.refs, transaction)
            stores.refs.create(transaction, name, digest, who=who, operation="stash", message=text, annotation=text)
            clear_staging(transaction)

        publish_rows(stores.db, lock, record)

    under_lock(stores.db, put)
    return list_stashes(stores)[0]


def list_stashes(stores: Stores) -> list[StashInfo]:
    """All stashes, the newest first."""
    found = []
    for number, (ref, digest) in enumerate(reversed(stores.refs.items(STASHES))):
        if digest is None:
            continue
        commit, note = load_commit(stores.db, digest), stores.refs.annotation(ref)
        found.append(
            StashInfo(
                rev=f"stash@{{{number}}}",
                digest=digest.hex(),
                branch=str(commit.meta.get(_BRANCH, "")),
                message=commit.message if note is None else note.message,
                author=commit.author,
                email=commit.email,
                time=iso_time(commit.time_ns, commit.tz),
            )
        )
    return found


def apply_stash(
    stores: Stores,
    which: int | str = 0,
    *,
    drop: bool,
    strategy: SideChoice | None = None,
    branch: str = "",
    who: tuple[str, str],
) -> StashInfo:
    """Stage the changes of a stash on a branch; what changed on the branch since is kept.

    Parameters
    ----------
    which
        Number of the stash, 0 for the newest; or its name or digest.
    drop
        Remove the stash from the stack.
    strategy
        Side to take where changes of the branch are in conflict.
    branch
        By default the branch last written.

    Raises
    ------
    MergeConflictError
        There are conflicts, and no ``strategy``; nothing was changed, and the stash is kept.
    NothingToDoError, RevisionNotFoundError
        There is no stash at all, or none of this name.
    InvalidStateError
        There are staged changes, or the branch has no commit.
    LockedError
        A writer holds the lock.
    """
    check_side(strategy)

    def apply(lock: WriterLock) -> StashInfo:
        ref, digest, info = _find(stores, which)
        current = current_branch(stores, branch)
        require_clean(stores, "bringing changes back")
        head, commit = current.require_head("bring changes back to")
        saved = load_commit(stores.db, digest)
        base: Commit | None = load_commit(stores.db, Digest(saved.parents[0])) if saved.parents else None
        content = combine(stores, base, commit, saved, action=f"bringing back {info.rev}", strategy=strategy)

        def record(transaction: WriteTransaction) -> None:
            content.write(transaction)
            stage_content(transaction, current.name, (head, commit), content.columns, content.attributes)
            if drop:
                stores.refs.delete(transaction, ref, digest, who=who, operation="stash (pop)")
            stores.refs.set_head(transaction, last_written=current.name)

        publish_rows(stores.db, lock, record)
        return info

    return under_lock(stores.db, apply)


def drop_stash(stores: Stores, which: int | str = 0, *, who: tuple[str, str]) -> StashInfo:
    """Remove a stash from the stack without using it; the reflog keeps its commit.

    Raises
    ------
    NothingToDoError, RevisionNotFoundError
        There is no stash at all, or none of this name.
    LockedError
        A writer holds the lock.
    """

    def remove(lock: WriterLock) -> StashInfo:
        ref, digest, info = _find(stores, which)
        publish_rows(stores.db, lock, lambda t: stores.refs.delete(t, ref, digest, who=who, operation="stash (drop)"))
        return info

    return under_lock(stores.db, remove)


def _find(stores: Stores, which: int | str) -> tuple[str, Digest, StashInfo]:
    """Ref, commit and description of a stash."""
    refs, known = stores.refs.items(STASHES)[::-1], list_stashes(stores)
    if not known:
        raise NothingToDoError("there are no stashes: `hangar stash` puts staged changes aside")
    text = plain_text(which)
    match = _NAME.match(text)
    for position, info in enumerate(known):
        if position == int(match[1]) if match else len(text) >= 4 and info.digest.startswith(text.lower()):
            return refs[position][0], Digest(bytes.fromhex(info.digest)), info
    last = f"the last one is stash@{{{len(known) - 1}}}" if len(known) > 1 else "there is only stash@{0}"
    raise RevisionNotFoundError(f"there is no stash {text!r}: {last} (see `hangar stash list`)")


def _next_name(refs: Refs, transaction: WriteTransaction) -> str:
    names = refs.names(STASHES, transaction)
    number = int(names[-1].removeprefix(STASHES)) + 1 if names else 1
    return f"{STASHES}{number:08}"
