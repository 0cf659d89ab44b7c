"""The reflog of a branch or tag for users, and restoring deleted branches.

The reflog outlives its ref, so the last commit of a deleted branch is found in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangar.errors import NameTakenError, RevisionNotFoundError
from hangar.history.branches import BranchHead, create_branch
from hangar.history.log import iso_time
from hangar.names import plain_text
from hangar.refs import BRANCHES, Refs, describe
from hangar.revisions import did_you_mean, find_ref

if TYPE_CHECKING:
    from hangar.db.environment import Database

__all__ = ["Move", "deleted_branches", "moves", "restore_branch"]


@dataclass(frozen=True, slots=True)
class Move:
    """One move of a branch or tag. Digests are in hex.

    Attributes
    ----------
    rev
        A revision of the commit after the move, such as ``'master@{1}'``.
    old, new
        Commit before and after the move; ``''`` for none.
    operation, message
        The operation, such as ``'commit'`` or ``'reset'``, and the first line of its message.
    author, email, time
        Who moved it, and when (ISO 8601).
    """

    rev: str
    old: str
    new: str
    operation: str
    message: str
    author: str
    email: str
    time: str


def moves(db: Database, refs: Refs, name: str | None = None, *, limit: int | None = None) -> list[Move]:
    """The moves of a branch or tag, deleted ones too, newest first.

    Parameters
    ----------
    name
        A branch, tag or remote-tracking branch; by default the branch last written.
    limit
        Maximum number of moves.

    Raises
    ------
    RevisionNotFoundError
        There never was such a ref.
    """
    short = refs.head().last_written if name is None else plain_text(name)
    with db.read() as transaction:
        ref = find_ref(refs, BRANCHES + short if name is None else short, transaction, deleted=True)
        entries = [] if ref is None else refs.reflog(ref, transaction, limit=limit)
        shown = "" if ref is None else ref.partition("/")[2]
        if ref is not None and find_ref(refs, shown, transaction, deleted=True) != ref:
            shown = ref
    if ref is None:
        known = [one.partition("/")[2] for one in {*refs.names(""), *refs.reflog_names()}]
        raise RevisionNotFoundError(f"no branch or tag {short!r}{did_you_mean(short, known, '`hangar branch list`')}")
    return [
        Move(
            f"{shown}@{{{number}}}",
            entry.old.hex() if entry.old else "",
            entry.new.hex() if entry.new else "",
            entry.operation,
            entry.message,
            entry.name,
            entry.email,
            iso_time(entry.time_ns, entry.tz),
        )
        for number, entry in enumerate(entries)
    ]


def deleted_branches(refs: Refs) -> dict[str, str]:
    """Map from the name of each deleted branch to its last commit in hex, as far as the reflog has it; sorted by name."""
    present = set(refs.names(BRANCHES))
    found = {}
    for ref in sorted(refs.reflog_names()):
        if ref.startswith(BRANCHES) and ref not in present:
            for last in refs.reflog(ref, limit=1):
                if last.old is not None:
                    found[ref.removeprefix(BRANCHES)] = last.old.hex()
    return found


def restore_branch(db: Database, refs: Refs, name: str, *, who: tuple[str, str]) -> BranchHead:
    """Bring back a deleted branch at its last commit.

    Raises
    ------
    NameTakenError
        The branch exists.
    RevisionNotFoundError
        No branch of this name was deleted.
    """
    name = plain_text(name)
    ref = BRANCHES + name
    if refs.exists(ref):
        raise NameTakenError(f"{describe(ref)} exists: it does not need to be restored")
    gone = deleted_branches(refs)
    if name not in gone:
        hint = did_you_mean(name, gone, "`hangar branch list --deleted`")
        raise RevisionNotFoundError(f"no deleted branch {name!r}{hint}")
    return create_branch(db, refs, name, f"{ref}@{{1}}", who=who)
