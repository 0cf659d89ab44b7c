"""Stored rows of refs: their records, their encoding, and their names."""

from __future__ import annotations

import re
import time
from typing import Final, TypeVar

import msgspec

from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError, InvalidInputError
from hangar.names import check_name
from hangar.wording import plural

__all__ = [
    "BRANCHES",
    "HEAD_KEY",
    "REMOTES",
    "STASHES",
    "TAGS",
    "Annotation",
    "Head",
    "RefRow",
    "ReflogEntry",
    "check_digest",
    "check_ref",
    "decode",
    "describe",
    "encode",
    "key_name",
    "name_key",
    "now",
]

BRANCHES: Final = "heads/"
TAGS: Final = "tags/"
REMOTES: Final = "remotes/"
STASHES: Final = "stash/"
"""Prefix of stashes: a commit that is on no branch, with an annotation, under a number of eight digits."""
_STASH_NUMBER: Final = re.compile(r"[0-9]{8}\Z")
HEAD_KEY: Final = b"HEAD"


class Head(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """HEAD: the default branches for writing and for reading.

    Attributes
    ----------
    write_branch
        The branch that the next writer writes to.
    last_written
        The branch that was written last; readers start here.
    """

    write_branch: str
    last_written: str


class Annotation(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Annotation of a tag or stash: message, author, time (nanoseconds since 1970, UTC) and zone (minutes east of UTC)."""

    message: str
    name: str
    email: str
    time_ns: int
    tz: int


class RefRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The stored form of a ref."""

    digest: bytes | None
    annotation: Annotation | None = None


class ReflogEntry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One move of one ref.

    Attributes
    ----------
    old, new
        Commit of the ref before and after the move; None for a branch without a commit, and for a ref that did not
        exist.
    name, email
        Name and email of the user who moved it.
    time_ns, tz
        Time in nanoseconds since 1970 (UTC), and its zone in minutes east of UTC. For display only.
    operation, message
        The operation, such as ``'commit'``, and the first line of its message.
    """

    old: bytes | None
    new: bytes | None
    name: str
    email: str
    time_ns: int
    tz: int
    operation: str
    message: str


def check_ref(name: str) -> str:
    """Return ``name`` if it is a valid full name for a new ref.

    Raises
    ------
    InvalidInputError
        It is not ``heads/NAME``, ``tags/NAME`` or ``remotes/REMOTE/NAME`` with valid names, or ``stash/NUMBER``.
    """
    kind, _, rest = name.partition("/")
    if kind == "heads":
        check_name(rest, "branch")
    elif kind == "tags":
        check_name(rest, "tag")
    elif kind == "stash" and _STASH_NUMBER.match(rest):
        pass
    elif kind == "remotes":
        remote, _, branch = rest.partition("/")
        check_name(remote, "remote")
        check_name(branch, "branch")
    else:
        raise InvalidInputError(f"{name!r} is not the name of a ref: use heads/NAME, tags/NAME or remotes/REMOTE/NAME")
    return name


def describe(name: str) -> str:
    """Description of a ref for messages: ``"branch 'master'"``."""
    for prefix, kind in ((BRANCHES, "branch"), (TAGS, "tag"), (REMOTES, "remote-tracking branch"), (STASHES, "stash")):
        if name.startswith(prefix):
            return f"{kind} {name.removeprefix(prefix)!r}"
    return f"ref {name!r}"


def now() -> tuple[int, int]:
    """Current time in nanoseconds since 1970 (UTC), and the local time zone in minutes east of UTC."""
    nanoseconds = time.time_ns()
    return nanoseconds, time.localtime(nanoseconds // 10**9).tm_gmtoff // 60


_Row = TypeVar("_Row", Head, RefRow, ReflogEntry)


def name_key(name: str) -> bytes:
    """The row key of a ref. A text that cannot be encoded gets a key that matches no ref."""
    return name.encode("utf-8", "replace")


def key_name(key: bytes) -> str:
    """The ref of a row key; a ``CorruptionError`` if the key is not UTF-8 text."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise CorruptionError(f"the name of a ref is not UTF-8 text: {key[:80]!r}") from None


def encode(row: Head | RefRow | ReflogEntry) -> bytes:
    """The stored bytes of a row; an ``InvalidInputError`` if its text cannot be encoded as UTF-8."""
    try:
        return msgspec.msgpack.encode(row)
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"text that cannot be encoded as UTF-8: {error.object[:80]!r}") from None


def decode(data: bytes, row: type[_Row], what: str) -> _Row:
    """Decode a row of the type ``row``; a ``CorruptionError`` that names ``what`` if it is damaged."""
    try:
        return msgspec.msgpack.decode(data, type=row)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CorruptionError(f"the row of {what} is damaged ({error}): run `hangar fsck`") from None


def check_digest(digest: bytes | None, what: str) -> Digest | None:
    """Return ``digest``; a ``CorruptionError`` if its length is wrong."""
    if digest is None:
        return None
    if len(digest) != DIGEST_BYTES:
        raise CorruptionError(
            f"the row of {what} is damaged (a digest of {plural(len(digest), 'byte')}): run `hangar fsck`"
        )
    return Digest(digest)
