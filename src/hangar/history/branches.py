"""Create, list, rename and delete branches.

A branch is deleted only if it is not in use and, unless forced, if another ref contains its commits. Deleting takes
the writer lock, so that no writer can open the branch at the same time. The reflog keeps the last commit of a deleted
branch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hangar.digest import Digest
from hangar.errors import AccessError, StaleRefError, UnmergedError
from hangar.lock import WriterLock, under_lock
from hangar.names import check_name, plain_text
from hangar.objects.graph import is_ancestor
from hangar.publishing import publish_rows
from hangar.refs import BRANCHES, REMOTES, TAGS, Refs
from hangar.revisions import branch_refs, resolve_commit, unknown_branch
from hangar.staging import move_staging

if TYPE_CHECKING:
    from hangar.db.environment import Database
    from hangar.db.transaction import ReadTransaction, WriteTransaction

__all__ = [
    "BranchHead",
    "branch_off",
    "branch_refs",
    "create_branch",
    "list_branches",
    "remove_branch",
    "rename_branch",
    "unknown_branch",
]


class BranchHead(NamedTuple):
    """A branch and its head commit.

    Attributes
    ----------
    name
        Name of the branch, such as ``'master'``.
    digest
        Digest of the commit in hex; ``''`` for a branch without a commit.
    """

    name: str
    digest: str


def list_branches(refs: Refs, transaction: ReadTransaction | None = None) -> list[str]:
    """Names of all branches, sorted; remote-tracking ones (``REMOTE/NAME``) included."""
    return list(branch_refs(refs, transaction))


def create_branch(db: Database, refs: Refs, name: str, base: str | None = None, *, who: tuple[str, str]) -> BranchHead:
    """Create a branch.

    Parameters
    ----------
    base
        The revision it starts from; by default the head of the branch last written.
    who
        Name and email, for the reflog.

    Raises
    ------
    InvalidInputError, NameTakenError, RevisionNotFoundError
        A bad or taken name, an unknown base.
    InvalidStateError
        There is no commit yet to start from.
    """
    name = check_name(name, "branch")
    ref = BRANCHES + name
    start = BRANCHES + refs.head().last_written if base is None else plain_text(base)
    digest = resolve_commit(db, refs, start)
    message = f"from {start.removeprefix(BRANCHES)}"
    db.update(lambda transaction: refs.create(transaction, ref, digest, who=who, operation="branch", message=message))
    return BranchHead(name, digest.hex())


def branch_off(db: Database, refs: Refs, name: str, *, who: tuple[str, str]) -> BranchHead:
    """Create a branch at the head of the branch to write, and switch to it; staged changes move along.

    Raises
    ------
    InvalidInputError, NameTakenError
        The name is invalid or taken.
    InvalidStateError
        There is no commit yet to start from.
    LockedError
        A writer holds the writer lock.
    """
    name = check_name(name, "branch")
    ref, old = BRANCHES + name, refs.head().write_branch
    digest = resolve_commit(db, refs, BRANCHES + old)

    def move(transaction: WriteTransaction) -> None:
        if refs.get(BRANCHES + old, transaction) != digest:
            raise StaleRefError(f"branch {old!r} was moved by another process: try again")
        refs.create(transaction, ref, digest, who=who, operation="branch", message=f"from {old}")
        moved = move_staging(transaction, old, name)
        refs.set_head(transaction, write_branch=name, last_written=name if moved else None)

    under_lock(db, lambda lock: publish_rows(db, lock, move))
    return BranchHead(name, digest.hex())


def rename_branch(db: Database, refs: Refs, old: str, new: str, *, who: tuple[str, str]) -> BranchHead:
    """Rename a local branch. Its reflog and staged changes are kept, and HEAD follows.

    Raises
    ------
    RevisionNotFoundError
        There is no local branch ``old``.
    InvalidInputError, NameTakenError
        ``new`` is invalid or taken.
    LockedError
        A writer holds the writer lock.
    """
    old, new = plain_text(old), check_name(new, "branch")

    def move(transaction: WriteTransaction) -> None:
        if not refs.exists(BRANCHES + old, transaction):
            raise unknown_branch(refs, old, transaction)
        refs.rename(transaction, BRANCHES + old, BRANCHES + new, who=who)
        move_staging(transaction, old, new)
        head = refs.head(transaction)
        written, last = (new if name == old else name for name in (head.write_branch, head.last_written))
        refs.set_head(transaction, write_branch=written, last_written=last)

    def rename(lock: WriterLock) -> Digest | None:
        publish_rows(db, lock, move)
        return refs.get(BRANCHES + new)

    digest = under_lock(db, rename)
    return BranchHead(new, "" if digest is None else digest.hex())


def remove_branch(db: Database, refs: Refs, name: str, *, force: bool = False, who: tuple[str, str]) -> BranchHead:
    """Delete a local branch.

    Parameters
    ----------
    force
        Delete it even if no other ref contains its commits.
    who
        Name and email, for the reflog.

    Returns
    -------
    BranchHead
        The deleted branch.

    Raises
    ------
    RevisionNotFoundError
        There is no local branch of this name.
    AccessError
        It is the last branch, the branch last written or the branch to write.
    LockedError
        A writer holds the writer lock.
    UnmergedError
        No other ref contains its commits, and ``force`` is not given.
    StaleRefError
        It was moved at the same time.
    """
    name = plain_text(name)
    ref = BRANCHES + name
    with db.read() as transaction:
        _check_removable(refs, ref, transaction)

    def remove(lock: WriterLock) -> Digest | None:
        digest = refs.get(ref)
        if digest is not None and not force:
            _check_merged(db, refs, ref, digest)

        def delete(transaction: WriteTransaction) -> None:
            _check_removable(refs, ref, transaction)
            refs.delete(transaction, ref, digest, who=who, operation="branch (delete)")

        publish_rows(db, lock, delete)
        return digest

    digest = under_lock(db, remove)
    return BranchHead(name, "" if digest is None else digest.hex())


def _check_removable(refs: Refs, ref: str, transaction: ReadTransaction) -> None:
    name, head = ref.removeprefix(BRANCHES), refs.head(transaction)
    if not refs.exists(ref, transaction):
        raise unknown_branch(refs, name, transaction)
    if len(refs.names(BRANCHES, transaction)) == 1:
        raise AccessError(f"branch {name!r} is the only branch: a repository needs at least one")
    if name == head.last_written:
        raise AccessError(
            f"branch {name!r} is the branch last written: commit on another branch first (`hangar checkout BRANCH`)"
        )
    if name == head.write_branch:
        raise AccessError(
            f"branch {name!r} is checked out for writing: run `hangar checkout BRANCH` with another branch first"
        )


def _check_merged(db: Database, refs: Refs, ref: str, digest: Digest) -> None:
    kept = (BRANCHES, TAGS, REMOTES)
    others = {other for name, other in refs.items("") if name != ref and other is not None and name.startswith(kept)}
    if digest not in others and not any(is_ancestor(db, digest, other) for other in sorted(others)):
        raise UnmergedError(
            f"the commits of branch {ref.removeprefix(BRANCHES)!r} are on no other branch or tag: merge it, or delete it anyway "
            "with force_delete=True (`-f`)"
        )
