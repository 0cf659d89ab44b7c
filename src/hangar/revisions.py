"""Resolve a revision to a commit.

A revision is a branch, a tag, a remote-tracking branch (``REMOTE/NAME``), or a full or abbreviated digest, tried in
this order; ``HEAD`` (or ``@``) is the branch to write, and ``heads/NAME``, ``tags/NAME``, ``remotes/REMOTE/NAME`` are
full names. A suffix may follow: ``@{N}`` (the commit of that ref N moves ago; alone, of the branch to write), and then any
number of ``~N`` (the N-th first-parent ancestor), ``^`` (the first parent) and ``^N`` (the N-th parent). ``stash@{N}`` is
the N-th newest stash, unless a branch or tag is called so. A name that is
also the abbreviation of a digest resolves as a name, with a warning. An ambiguous abbreviation is an error.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from itertools import islice, repeat
from typing import TYPE_CHECKING, Final, NamedTuple

from hangar.db.tables import COMMITS, GRAPH
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError, InvalidStateError, RevisionNotFoundError
from hangar.names import plain_text
from hangar.objects.records import load_commit
from hangar.refs import BRANCHES, REMOTES, STASHES, TAGS, Refs, describe

if TYPE_CHECKING:
    from hangar.db.environment import Database
    from hangar.db.transaction import ReadTransaction

__all__ = ["Revision", "did_you_mean", "find_ref", "resolve", "resolve_commit"]

HEAD: Final = "HEAD"
STASH: Final = "stash"
CANDIDATES: Final = 5
"""Maximum number of commits in the message about an ambiguous digest."""

_REVISION: Final = re.compile(
    r"(?P<base>@(?!\{)|[^~^@]*)(?:@\{(?P<moves>[0-9]{1,18})\})?(?P<steps>(?:[~^][0-9]{0,18})*)\Z"
)
_STEP: Final = re.compile(r"([~^])([0-9]*)")
_HEX: Final = re.compile(r"[0-9a-fA-F]{4,64}\Z")


class Revision(NamedTuple):
    """A resolved revision.

    Attributes
    ----------
    digest
        The commit; None for a branch without a commit.
    name
        Full name of the ref, such as ``'heads/master'``, if the revision is exactly a ref; else None.
    """

    digest: Digest | None
    name: str | None


def resolve(db: Database, refs: Refs, text: str) -> Revision:
    """Resolve the revision ``text``.

    Raises
    ------
    RevisionNotFoundError
        No commit matches, or more than one.
    CorruptionError
        It is the full digest of a lost commit, or the table of commits is damaged.

    Warns
    -----
    UserWarning
        The name of a ref is also a full or abbreviated digest of a commit.
    """
    text = plain_text(text)
    match = _REVISION.match(text)
    if match is None or not (match["base"] or match["moves"]):
        raise RevisionNotFoundError(
            f"{text!r} is not a revision: use a branch, a tag or a commit, such as master or master~2"
        )
    base, moves, steps = match["base"].strip("@") or HEAD, match["moves"], match["steps"]
    with db.read() as transaction:
        name = find_ref(refs, base, transaction, deleted=moves is not None)
        commits = _find_commits(base, transaction)
        stash = _stash(refs, base, moves, transaction) if name is None and not commits else None
        if stash is not None:
            digest: Digest | None = stash
        elif name is None and moves is None:
            if not commits:
                _refuse_damage(db, refs, base, transaction)
            digest = _only(commits, base, refs, transaction)
        elif name is None:
            raise _unknown(base, refs, transaction)
        elif moves is None:
            digest = refs.get(name, transaction)
        else:
            digest = _moves_ago(refs, name, int(moves), transaction)
    if name is not None and commits:
        warnings.warn(
            f"{base!r} is the {describe(name)}, and the beginning of the digest of commit {commits[0].hex()[:12]}: "
            "the name is used; give more characters of the digest if you mean the commit",
            UserWarning,
            stacklevel=2,
        )
    if steps:
        digest = _walk(db, digest, steps, text)
    return Revision(digest, None if moves is not None or steps else name)


def resolve_commit(db: Database, refs: Refs, text: str) -> Digest:
    """Resolve the revision ``text``, which must have a commit.

    Raises
    ------
    RevisionNotFoundError
        There is no such revision, or more than one.
    InvalidStateError
        It is a branch without a commit.
    """
    revision = resolve(db, refs, text)
    if revision.digest is None:
        raise InvalidStateError(f"{describe(revision.name or text)} has no commit yet: commit something first")
    return revision.digest


def find_ref(refs: Refs, base: str, transaction: ReadTransaction, *, deleted: bool = False) -> str | None:
    """Full name of the ref ``base``; None if there is none. With ``deleted``, a deleted ref that has a reflog is found too."""
    names = [prefix + base for prefix in (BRANCHES, TAGS, REMOTES)]
    if base.startswith((BRANCHES, TAGS, REMOTES)):
        names.insert(0, base)
    for name in names:
        if refs.exists(name, transaction):
            return name
    if base == HEAD:
        return BRANCHES + refs.head(transaction).write_branch
    return next((name for name in names if deleted and refs.reflog(name, transaction, limit=1)), None)


def _stash(refs: Refs, base: str, moves: str | None, transaction: ReadTransaction) -> Digest | None:
    """The commit of ``stash@{N}``; None if ``base`` is something else, or there is no stash at all."""
    stashes = refs.items(STASHES, transaction) if base == STASH else []
    if not stashes:
        return None
    number = int(moves or 0)
    if number >= len(stashes):
        raise RevisionNotFoundError(f"stash@{{{number}}}: the last stash is stash@{{{len(stashes) - 1}}}")
    return stashes[-1 - number][1]


def _find_commits(base: str, transaction: ReadTransaction) -> list[Digest]:
    """The first few commits whose digest begins with ``base``."""
    if not _HEX.match(base):
        return []
    text = base.lower()
    rows = transaction.scan(COMMITS, prefix=bytes.fromhex(text[: len(text) // 2 * 2]))
    return list(islice((Digest(key) for key, _ in rows if key.hex().startswith(text)), CANDIDATES + 1))


def _refuse_damage(db: Database, refs: Refs, base: str, transaction: ReadTransaction) -> None:
    """Raise CorruptionError if ``base`` is the full digest of a commit that was lost, or if the table is damaged."""
    if len(base) != 2 * DIGEST_BYTES or not _HEX.match(base):
        return
    digest = Digest(bytes.fromhex(base))
    if transaction.get(GRAPH, digest) is not None or digest in refs.reflog_commits(transaction):
        raise CorruptionError(f"commit {base} is missing from the database: run `hangar fsck`")
    problems = db.page_problems(COMMITS)
    if problems:
        raise CorruptionError(f"commit {base} cannot be looked up ({problems[0]}): run `hangar fsck`")


def _only(commits: list[Digest], base: str, refs: Refs, transaction: ReadTransaction) -> Digest:
    if not commits:
        raise _unknown(base, refs, transaction)
    if len(commits) > 1:
        listed = ", ".join(digest.hex()[: len(base) + 6] for digest in commits[:CANDIDATES])
        more = " and more" if len(commits) > CANDIDATES else ""
        raise RevisionNotFoundError(f"{base!r} matches more than one commit ({listed}{more}): give more characters")
    return commits[0]


def did_you_mean(name: str, known: Iterable[str], commands: str) -> str:
    """End of a message about an unknown ``name``: similar names among ``known``, and the commands that list them."""
    import difflib  # slow to import, and needed only for this message

    near = difflib.get_close_matches(name, known, 3)
    return f", did you mean {' or '.join(map(repr, near))}? If not, see {commands}" if near else f": see {commands}"


def branch_refs(refs: Refs, transaction: ReadTransaction | None = None) -> dict[str, str]:
    """Map from branch name to the full name of its ref, sorted; remote-tracking ones (``REMOTE/NAME``) included."""
    names = [name for prefix in (REMOTES, BRANCHES) for name in refs.names(prefix, transaction)]
    return dict(sorted({name.partition("/")[2]: name for name in names}.items()))


def unknown_branch(refs: Refs, name: object, transaction: ReadTransaction | None = None) -> RevisionNotFoundError:
    """Make the error for a branch that does not exist."""
    text = plain_text(name)
    if any(mark in text for mark in "~^@"):
        return RevisionNotFoundError(
            f"no branch {text!r}: this is a revision of a commit, which in Python is given as commit={text!r}"
        )
    known = branch_refs(refs, transaction)
    for name, full in known.items():
        local = name.partition("/")[2]
        if full.startswith(REMOTES) and text in (name, local):
            if local in known:
                return RevisionNotFoundError(f"{name!r} is a remote-tracking branch: the branch here is {local!r}")
            return RevisionNotFoundError(
                f"no branch {local!r} here, but the remote-tracking branch {name!r}: make a branch of it with "
                f"`hangar checkout -b {local} {name}`"
            )
    return RevisionNotFoundError(f"no branch {text!r}{did_you_mean(text, known, '`hangar branch list`')}")


def _unknown(base: str, refs: Refs, transaction: ReadTransaction) -> RevisionNotFoundError:
    known = [name.partition("/")[2] for prefix in (BRANCHES, TAGS, REMOTES) for name in refs.names(prefix, transaction)]
    where = "`hangar branch list`, `hangar tag` and `hangar log`"
    return RevisionNotFoundError(f"no branch, tag or commit {base!r}{did_you_mean(base, known, where)}")


def _moves_ago(refs: Refs, name: str, moves: int, transaction: ReadTransaction) -> Digest:
    entries = refs.reflog(name, transaction, limit=moves + 1)
    short = name.partition("/")[2]
    if moves > len(entries):
        raise RevisionNotFoundError(
            f"{short}@{{{moves}}}: the reflog of {describe(name)} ends at {short}@{{{len(entries)}}}"
        )
    digest = entries[moves].new if moves < len(entries) else entries[-1].old if entries else None
    if digest is None:
        raise RevisionNotFoundError(f"{short}@{{{moves}}}: {describe(name)} had no commit then")
    if transaction.get(COMMITS, digest) is None:
        raise RevisionNotFoundError(f"{short}@{{{moves}}} was commit {digest.hex()[:12]}, which no longer exists")
    return Digest(digest)


def _walk(db: Database, digest: Digest | None, steps: str, text: str) -> Digest:
    """Follow ``~N`` and ``^N`` from a commit."""
    if digest is None:
        raise RevisionNotFoundError(f"{text!r} goes beyond the history: the branch has no commit yet")
    for kind, digits in _STEP.findall(steps):
        count = int(digits) if digits else 1
        for parent in [count - 1] if kind == "^" and count else repeat(0, count if kind == "~" else 0):
            parents = load_commit(db, digest).parents
            if parent >= len(parents):
                raise RevisionNotFoundError(
                    f"{text!r} goes beyond the history: commit {digest.hex()[:12]} has "
                    f"{len(parents) or 'no'} parent{'' if len(parents) == 1 else 's'}"
                )
            digest = Digest(parents[parent])
    return digest
