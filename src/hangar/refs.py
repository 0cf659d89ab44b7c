"""Branches, tags, remote-tracking refs, HEAD, and the reflog that remembers where each of them stood.

A ref is a name (``heads/NAME``, ``tags/NAME``, ``remotes/REMOTE/NAME``) and the digest of a commit; a branch without a commit has none.
A ref moves only by compare-and-swap inside a write transaction of the caller, who publishes in it whatever the new commit
needs; each move leaves one entry in the reflog in the same transaction. Entries are never rewritten; they outlive their ref,
and are expired oldest first, so that their numbers have no gaps. HEAD is two facts: the branch to write, and the branch
last written. Whether a commit exists is for the caller to know. A row that cannot be right is a ``CorruptionError``.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from hangar import limits
from hangar.db.tables import REFLOG, REFS
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError, InvalidInputError, NameTakenError, StaleRefError
from hangar.names import check_name

if TYPE_CHECKING:
    from hangar.db.environment import Database
    from hangar.db.transaction import ReadTransaction, WriteTransaction

__all__ = ["BRANCHES", "REMOTES", "TAGS", "Annotation", "Head", "ReflogEntry", "Refs", "check_ref", "describe"]

BRANCHES: Final = "heads/"
TAGS: Final = "tags/"
REMOTES: Final = "remotes/"
HEAD_KEY: Final = b"HEAD"
MESSAGE_CHARACTERS: Final = 200
"""Of a message, the reflog keeps the first line, at most so long."""
_SEQUENCE: Final = struct.Struct(">Q")
_SEPARATOR: Final = b"\x00"


class Head(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Which branch is meant when none is named.

    Attributes
    ----------
    write_branch
        The branch that the next writer stands on.
    last_written
        The branch that was written last; readers start here.
    """

    write_branch: str
    last_written: str


class Annotation(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What somebody said about a tag, when (nanoseconds since 1970, UTC) and in which zone (minutes east of UTC)."""

    message: str
    name: str
    email: str
    time_ns: int
    tz: int


class _Ref(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The stored form of a ref."""

    digest: bytes | None
    annotation: Annotation | None = None


class ReflogEntry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One move of one ref.

    Attributes
    ----------
    old, new
        Where the ref stood before and after; None for a branch without a commit, and for a ref that was not there.
    name, email
        Who moved it.
    time_ns, tz
        When, in nanoseconds since 1970 (UTC), and in which zone, in minutes east of UTC. For display only.
    operation, message
        What was done, such as ``'commit'``, and the first line of what was said about it.
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
    """Return ``name`` when it is the full name of a ref that may be made.

    Raises
    ------
    InvalidInputError
        It is not ``heads/NAME``, ``tags/NAME`` or ``remotes/REMOTE/NAME`` with good names.
    """
    kind, _, rest = name.partition("/")
    if kind == "heads":
        check_name(rest, "branch")
    elif kind == "tags":
        check_name(rest, "tag")
    elif kind == "remotes":
        remote, _, branch = rest.partition("/")
        check_name(remote, "remote")
        check_name(branch, "branch")
    else:
        raise InvalidInputError(f"{name!r} names no ref: use heads/NAME, tags/NAME or remotes/REMOTE/NAME")
    return name


def describe(name: str) -> str:
    """A ref for people: ``"branch 'master'"``."""
    for prefix, kind in ((BRANCHES, "branch"), (TAGS, "tag"), (REMOTES, "remote-tracking branch")):
        if name.startswith(prefix):
            return f"{kind} {name.removeprefix(prefix)!r}"
    return f"ref {name!r}"


def now() -> tuple[int, int]:
    """The time, in nanoseconds since 1970 (UTC), and the zone of this machine, in minutes east of UTC."""
    nanoseconds = time.time_ns()
    return nanoseconds, time.localtime(nanoseconds // 10**9).tm_gmtoff // 60


class Refs:
    """The refs of one repository.

    Every method takes a transaction to be part of; those that only read open one of their own when none is given.

    Parameters
    ----------
    db
        The repository's database.
    """

    __slots__ = ("_db",)

    def __init__(self, db: Database) -> None:
        self._db = db

    # HEAD

    def head(self, transaction: ReadTransaction | None = None) -> Head:
        """The branches that HEAD names.

        Raises
        ------
        CorruptionError
            The row is damaged or gone.
        """
        data = self._get(HEAD_KEY, transaction)
        if data is None:
            raise CorruptionError("HEAD is gone: run `hangar fsck`")
        return _decode(data, Head, "HEAD")

    def set_head(
        self, transaction: WriteTransaction, *, write_branch: str | None = None, last_written: str | None = None
    ) -> None:
        """Point HEAD at other branches; what is not given stays (both are needed the first time)."""
        if write_branch is None or last_written is None:
            head = self.head(transaction)
            write_branch = head.write_branch if write_branch is None else write_branch
            last_written = head.last_written if last_written is None else last_written
        transaction.put(REFS, HEAD_KEY, _encode(Head(write_branch, last_written)))

    # Reading

    def get(self, name: str, transaction: ReadTransaction | None = None) -> Digest | None:
        """Digest of the commit that ``name`` stands on; None for a branch without a commit, and where there is no such ref."""
        data = self._get(_key(name), transaction)
        return None if data is None else _digest(data, name)

    def exists(self, name: str, transaction: ReadTransaction | None = None) -> bool:
        """Whether there is a ref of this name, with or without a commit."""
        return self._get(_key(name), transaction) is not None

    def items(self, prefix: str, transaction: ReadTransaction | None = None) -> list[tuple[str, Digest | None]]:
        """Full names that begin with ``prefix`` (such as :data:`BRANCHES`), sorted, and where each stands."""
        return [(name, _digest(data, name)) for name, data in self._scan(prefix, transaction)]

    def names(self, prefix: str, transaction: ReadTransaction | None = None) -> list[str]:
        """Full names that begin with ``prefix``, sorted."""
        return [name for name, _ in self._scan(prefix, transaction)]

    def annotation(self, name: str, transaction: ReadTransaction | None = None) -> Annotation | None:
        """What was said when the tag was made; None for a light tag, and for what is no tag."""
        data = self._get(_key(name), transaction)
        return None if data is None else _decode(data, _Ref, name).annotation

    # Writing

    def create(
        self,
        transaction: WriteTransaction,
        name: str,
        digest: Digest | None,
        *,
        who: tuple[str, str],
        operation: str,
        message: str = "",
        annotation: str | None = None,
    ) -> None:
        """Make a ref.

        Parameters
        ----------
        digest
            Where it stands; None for a branch without a commit.
        who
            Name and email.
        annotation
            Kept with a tag, whole, with who made it and when.

        Raises
        ------
        NameTakenError
            There is one of this name.
        InvalidInputError
            ``name`` may not be made.
        """
        key = _key(check_ref(name))
        if transaction.get(REFS, key) is not None:
            raise NameTakenError(f"{describe(name)} exists: choose another name, or delete it first")
        note = None if annotation is None else Annotation(annotation, *who, *now())
        transaction.put(REFS, key, _encode(_Ref(digest, note)))
        _log(transaction, name, None, digest, who, operation, message)

    def update(
        self,
        transaction: WriteTransaction,
        name: str,
        expected: Digest | None,
        new: Digest,
        *,
        who: tuple[str, str],
        operation: str,
        message: str = "",
    ) -> None:
        """Move a ref from ``expected`` (None: a branch without a commit) to ``new``.

        Raises
        ------
        StaleRefError
            It does not stand at ``expected``, or is gone. Nothing was changed.
        """
        _expect(transaction, name, expected)
        transaction.put(REFS, _key(name), _encode(_Ref(new)))
        _log(transaction, name, expected, new, who, operation, message)

    def delete(
        self,
        transaction: WriteTransaction,
        name: str,
        expected: Digest | None,
        *,
        who: tuple[str, str],
        operation: str,
        message: str = "",
    ) -> None:
        """Remove a ref that stands at ``expected``; its reflog stays.

        Raises
        ------
        StaleRefError
            It does not stand at ``expected``, or is gone. Nothing was changed.
        """
        _expect(transaction, name, expected)
        transaction.delete(REFS, _key(name))
        _log(transaction, name, expected, None, who, operation, message)

    # The reflog

    def reflog(
        self, name: str, transaction: ReadTransaction | None = None, *, limit: int | None = None
    ) -> list[ReflogEntry]:
        """The moves of ``name``, newest first; at most ``limit`` of them. Empty where there never was such a ref."""
        if transaction is None:
            with self._db.read() as reading:
                return self.reflog(name, reading, limit=limit)
        start = prefix = _log_prefix(name)
        if len(prefix) + _SEQUENCE.size > limits.DATABASE_MAX_KEY_BYTES:
            return []
        transaction.check_count(REFLOG)
        if limit is not None:
            start = prefix + _SEQUENCE.pack(max(0, _next_sequence(transaction, prefix) - limit))
        rows = [data for _, data in transaction.scan(REFLOG, prefix=prefix, start=start)]
        return [_check_entry(_decode(data, ReflogEntry, f"the reflog of {name}"), name) for data in reversed(rows)]

    def _get(self, key: bytes, transaction: ReadTransaction | None) -> bytes | None:
        if transaction is None:
            with self._db.read() as reading:
                return self._get(key, reading)
        data = transaction.get(REFS, key) if 0 < len(key) <= limits.DATABASE_MAX_KEY_BYTES else None
        if data is None:
            transaction.check_count(REFS)  # a ref that was lost must not read as one that never was
        return data

    def _scan(self, prefix: str, transaction: ReadTransaction | None) -> list[tuple[str, bytes]]:
        if transaction is None:
            with self._db.read() as reading:
                return self._scan(prefix, reading)
        transaction.check_count(REFS)
        rows = transaction.scan(REFS, prefix=_key(prefix))
        return [(_name(key), data) for key, data in rows if key != HEAD_KEY]


_Row = TypeVar("_Row", Head, _Ref, ReflogEntry)


def _key(name: str) -> bytes:
    # Any text may be looked for; what cannot be encoded is the name of nothing.
    return name.encode("utf-8", "replace")


def _name(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise CorruptionError(f"the name of a ref is no text: {key[:80]!r}") from None


def _encode(row: Head | _Ref | ReflogEntry) -> bytes:
    try:
        return msgspec.msgpack.encode(row)
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"text that cannot be encoded as UTF-8: {error.object[:80]!r}") from None


def _decode(data: bytes, row: type[_Row], what: str) -> _Row:
    try:
        return msgspec.msgpack.decode(data, type=row)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CorruptionError(f"the row of {what} is damaged ({error}): run `hangar fsck`") from None


def _check_digest(digest: bytes | None, what: str) -> Digest | None:
    if digest is None:
        return None
    if len(digest) != DIGEST_BYTES:
        raise CorruptionError(f"the row of {what} is damaged (a digest of {len(digest)} bytes): run `hangar fsck`")
    return Digest(digest)


def _digest(data: bytes, name: str) -> Digest | None:
    return _check_digest(_decode(data, _Ref, name).digest, name)


def _check_entry(entry: ReflogEntry, name: str) -> ReflogEntry:
    _check_digest(entry.old, f"the reflog of {name}")
    _check_digest(entry.new, f"the reflog of {name}")
    return entry


def _expect(transaction: WriteTransaction, name: str, expected: Digest | None) -> None:
    data = transaction.get(REFS, _key(name))
    if data is None:
        raise StaleRefError(f"{describe(name)} is gone: it was deleted since it was read")
    found = _digest(data, name)
    if found != expected:
        was, stands = (digest.hex()[:12] if digest else "no commit" for digest in (expected, found))
        raise StaleRefError(
            f"{describe(name)} moved since it was read (from {was} to {stands}): "
            f"look at it with `hangar log {name.partition('/')[2]}` and try again"
        )


def _log_prefix(name: str) -> bytes:
    return _key(name) + _SEPARATOR


def _next_sequence(transaction: ReadTransaction, prefix: bytes) -> int:
    last = transaction.last(REFLOG, prefix)
    if last is None:
        return 0
    number = last[0][len(prefix) :]
    if len(number) != _SEQUENCE.size:
        raise CorruptionError(f"the key of a reflog entry is damaged: {last[0][:80]!r}")
    return int.from_bytes(number, "big") + 1


def _log(
    transaction: WriteTransaction,
    name: str,
    old: Digest | None,
    new: Digest | None,
    who: tuple[str, str],
    operation: str,
    message: str,
) -> None:
    first_line = message.strip().partition("\n")[0][:MESSAGE_CHARACTERS]
    prefix = _log_prefix(name)
    key = prefix + _SEQUENCE.pack(_next_sequence(transaction, prefix))
    transaction.put(REFLOG, key, _encode(ReflogEntry(old, new, *who, *now(), operation, first_line)))
