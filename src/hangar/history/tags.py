"""Create, list and delete tags.

A tag names a commit and does not move by itself. A *light* tag is only a name; an *annotated* one has a message, its
author and a time as well. Branches and tags may have the same name; the branch wins, and ``tags/NAME`` names the tag.
Tags are made and deleted beside a writer: they need no writer lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hangar.digest import Digest
from hangar.errors import InvalidInputError, RevisionNotFoundError
from hangar.history.log import iso_time
from hangar.names import check_name, plain_text
from hangar.objects.commit import check_message
from hangar.refs import BRANCHES, TAGS, Refs
from hangar.revisions import did_you_mean, resolve_commit

if TYPE_CHECKING:
    from hangar.db.environment import Database
    from hangar.db.transaction import ReadTransaction, WriteTransaction

__all__ = ["TagInfo", "create_tag", "list_tags", "remove_tag", "tag_info", "tags_by_commit"]


class TagInfo(NamedTuple):
    """A tag.

    Attributes
    ----------
    name
        Name of the tag, such as ``'v1'``.
    digest
        Digest of its commit in hex.
    message
        The annotation; None for a light tag.
    author, email, time
        Who annotated it, and when (ISO 8601); ``''`` for a light tag.
    """

    name: str
    digest: str
    message: str | None = None
    author: str = ""
    email: str = ""
    time: str = ""


def create_tag(
    db: Database,
    refs: Refs,
    name: str,
    rev: str | None = None,
    *,
    message: str | None = None,
    force: bool = False,
    who: tuple[str, str],
) -> TagInfo:
    """Make a tag.

    Parameters
    ----------
    rev
        The revision it names; by default the head of the branch last written.
    message
        Annotation; None makes a light tag.
    force
        Replace a tag of this name.

    Raises
    ------
    InvalidInputError, NameTakenError, RevisionNotFoundError
        A bad or taken name, a blank message, an unknown revision.
    InvalidStateError
        There is no commit yet.
    """
    ref = TAGS + check_name(name, "tag")
    if message is not None:
        check_message(message, "tag message")
    start = BRANCHES + refs.head().last_written if rev is None else plain_text(rev)
    digest = resolve_commit(db, refs, start)
    note = f"at {start.removeprefix(BRANCHES)}"

    def create(transaction: WriteTransaction) -> None:
        old = refs.get(ref, transaction)
        if force and old is not None:
            refs.delete(transaction, ref, old, who=who, operation="tag (replace)")
        refs.create(transaction, ref, digest, who=who, operation="tag", message=message or note, annotation=message)

    db.update(create)
    return tag_info(refs, name)


def list_tags(refs: Refs, transaction: ReadTransaction | None = None) -> list[str]:
    """Names of all tags, sorted."""
    return sorted(name.removeprefix(TAGS) for name in refs.names(TAGS, transaction))


def tags_by_commit(refs: Refs) -> dict[str, list[str]]:
    """Map from commit (hex) to the tags that name it, sorted."""
    found: dict[str, list[str]] = {}
    for name, digest in sorted(refs.items(TAGS)):
        if digest is not None:
            found.setdefault(digest.hex(), []).append(name.removeprefix(TAGS))
    return found


def tag_info(refs: Refs, name: str) -> TagInfo:
    """The commit and the annotation of a tag.

    Raises
    ------
    RevisionNotFoundError
        There is no such tag.
    """
    ref = TAGS + plain_text(name)
    digest = refs.get(ref)
    if digest is None:
        raise _unknown_tag(refs, name)
    note = refs.annotation(ref)
    if note is None:
        return TagInfo(ref.removeprefix(TAGS), digest.hex())
    when = iso_time(note.time_ns, note.tz)
    return TagInfo(ref.removeprefix(TAGS), digest.hex(), note.message, note.name, note.email, when)


def remove_tag(db: Database, refs: Refs, name: str, *, who: tuple[str, str]) -> TagInfo:
    """Delete a tag; the reflog keeps its commit.

    Returns
    -------
    TagInfo
        The deleted tag.

    Raises
    ------
    RevisionNotFoundError
        There is no such tag.
    StaleRefError
        It was moved at the same time.
    """
    found = tag_info(refs, name)
    digest = Digest(bytes.fromhex(found.digest))
    db.update(
        lambda transaction: refs.delete(transaction, TAGS + found.name, digest, who=who, operation="tag (delete)")
    )
    return found


def _unknown_tag(refs: Refs, name: object) -> RevisionNotFoundError:
    text = plain_text(name)
    if text.startswith(TAGS) and refs.exists(text):
        raise InvalidInputError(f"give the name of the tag without {TAGS!r}: {text.removeprefix(TAGS)}")
    return RevisionNotFoundError(f"no tag {text!r}{did_you_mean(text, list_tags(refs), '`hangar tag`')}")
