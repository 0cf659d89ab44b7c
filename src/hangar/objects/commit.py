"""Commits: snapshots of all columns, with author, time, message and parents.

A commit holds the root digest of each column's tree, so a checkout needs only a few digests. Its *tree digest* covers
columns and attributes alone: equal content has an equal tree digest, whoever committed it and when. A column keeps
its id when it is renamed. Decoding checks that a commit is canonical and within the limits; it does not check that
the records it names exist.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from operator import lt
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from hangar import limits
from hangar.digest import DIGEST_BYTES, Digest, record_digest
from hangar.errors import CorruptionError, InvalidInputError, InvalidTypeError, UnsupportedVersionError
from hangar.objects.attributes import canonical_map, encode_attributes
from hangar.objects.node import Root
from hangar.wording import plural

__all__ = [
    "COMMIT_VERSION",
    "FLAT",
    "NESTED",
    "ColumnEntry",
    "Commit",
    "check_message",
    "column_id",
    "decode_commit",
    "tree_digest",
]

COMMIT_VERSION: Final = 0
FLAT: Final = 0
NESTED: Final = 1
"""Layouts of a column."""
COLUMN_ID_BYTES: Final = 16

_TEXT_BYTES: Final = 1_024
"""Maximum bytes of a column name, an author and an e-mail address on decoding; rules for new names are stricter."""
_MOST_ENTRIES: Final = 2**61
_MOST_TIME: Final = 2**63 - 1
_MOST_ZONE: Final = 24 * 60


class ColumnEntry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One column of a commit.

    Attributes
    ----------
    name
        Name of the column.
    id
        16 bytes that stay the same when the column is renamed (see :func:`column_id`).
    schema, attributes
        Digests of these records; ``attributes`` is None if there are none.
    layout
        :data:`FLAT` or :data:`NESTED`.
    root
        Digest of the tree's root, None for an empty column.
    entries, samples
        Number of keys in the tree, and of distinct samples among them; equal in a flat column.
    """

    name: str
    id: bytes
    schema: Digest
    attributes: Digest | None
    layout: int
    root: Digest | None
    entries: int
    samples: int

    @classmethod
    def empty(cls, name: str, identity: bytes, schema: Digest, *, nested: bool) -> ColumnEntry:
        """A new column, without attributes and without samples."""
        return cls(name, identity, schema, None, NESTED if nested else FLAT, None, 0, 0)

    @property
    def tree(self) -> Root | None:
        """The column's tree, None for an empty column."""
        return None if self.root is None else Root(self.root, self.entries, self.samples)

    def with_tree(self, tree: Root | None) -> ColumnEntry:
        """The column with another tree."""
        if tree is None:
            return replace(self, root=None, entries=0, samples=0)
        return replace(self, root=tree.digest, entries=tree.entries, samples=tree.samples)


class Commit(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A commit.

    Attributes
    ----------
    parents
        Digests: none for a first commit, two for a merge. The branch that was merged into comes first.
    columns
        Sorted by name.
    attributes
        Digest of the attributes of the commit, None if there are none.
    author, email
        Name and e-mail address of the committer.
    time_ns, tz
        Time of the commit in nanoseconds since 1970 (UTC), and its zone in minutes east of UTC. For display only; no
        logic depends on it.
    message
        Commit message.
    meta
        Metadata of programs: a map with the same rules as attributes.
    """

    version: int = COMMIT_VERSION
    parents: list[Digest]
    columns: list[ColumnEntry]
    attributes: Digest | None
    author: str
    email: str
    time_ns: int
    tz: int
    message: str
    meta: dict[str, Any]

    @classmethod
    def now(
        cls,
        parents: Iterable[Digest],
        columns: Iterable[ColumnEntry],
        attributes: Digest | None,
        *,
        message: str,
        meta: Mapping[str, Any],
        who: tuple[str, str],
    ) -> Commit:
        """A commit of this moment, made by ``who`` (name and e-mail address)."""
        return cls(
            parents=list(parents),
            columns=sorted(columns, key=lambda entry: entry.name),
            attributes=attributes,
            author=who[0],
            email=who[1],
            time_ns=time.time_ns(),
            tz=time.localtime().tm_gmtoff // 60,
            message=message,
            meta=dict(meta),
        )

    def encode(self) -> bytes:
        """Canonical encoding of the commit.

        Raises
        ------
        InvalidInputError
            A field is invalid or exceeds a limit.
        """
        problem = _problem(self)
        if problem:
            raise InvalidInputError(f"the commit is not valid: {problem}")
        meta = canonical_map(self.meta)
        encode_attributes(meta)
        return msgspec.msgpack.encode(replace(self, meta=meta))

    def digest(self) -> Digest:
        """Digest of the commit's encoding, which identifies the commit."""
        return record_digest("commit", self.encode())


_decode: Final = msgspec.msgpack.Decoder(Commit).decode


def decode_commit(data: bytes) -> Commit:
    """The commit that ``data`` encodes.

    Raises
    ------
    UnsupportedVersionError
        A newer Hangar wrote it.
    CorruptionError
        ``data`` is not a canonical encoding of a commit, or exceeds a limit.
    """
    try:
        commit = _decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        _check_version(data)
        raise CorruptionError(f"a commit cannot be read: {error}") from None
    if commit.version != COMMIT_VERSION:
        _check_version(data)
    try:
        same = commit.encode() == data
    except InvalidInputError as error:
        raise CorruptionError(f"a commit is not valid: {error}") from None
    if not same:
        raise CorruptionError("a commit is not in canonical form")
    return commit


def _check_version(data: bytes) -> None:
    """Raise UnsupportedVersionError if ``data`` looks like a commit of a newer version."""
    try:
        parts = msgspec.msgpack.decode(data)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return
    if isinstance(parts, list) and parts and type(parts[0]) is int and parts[0] > COMMIT_VERSION:
        raise UnsupportedVersionError(f"a commit of version {parts[0]} needs a newer Hangar: install a newer version")


def _problem(commit: Commit) -> str | None:
    """Description of the first invalid field of a commit, or None."""
    if commit.version != COMMIT_VERSION:
        return f"version {commit.version}"
    if len(commit.parents) > limits.MAX_PARENTS or len(set(commit.parents)) != len(commit.parents):
        return f"it has {len(commit.parents)} parents, too many or with a duplicate"
    if not all(map(_is_digest, commit.parents)) or not (commit.attributes is None or _is_digest(commit.attributes)):
        return "a digest is not 32 bytes long"
    if max(map(_encoded_length, (commit.author, commit.email))) > _TEXT_BYTES:
        return "the name or e-mail address of the author is too long"
    if _encoded_length(commit.message) > limits.MAX_MESSAGE_BYTES:
        return f"a message of more than {limits.MAX_MESSAGE_BYTES} bytes"
    if abs(commit.time_ns) > _MOST_TIME or abs(commit.tz) > _MOST_ZONE:
        return "the time or its zone is out of range"
    names = [column.name for column in commit.columns]
    if len(names) > limits.MAX_COLUMNS or not all(map(lt, names, names[1:])):
        return "its columns are too many or not sorted by name"
    if len({column.id for column in commit.columns}) != len(names):
        return "two columns have the same id"
    return next(filter(None, map(_column_problem, commit.columns)), None)


def _column_problem(column: ColumnEntry) -> str | None:
    digests = [digest for digest in (column.schema, column.attributes, column.root) if digest is not None]
    if not all(map(_is_digest, digests)) or len(column.id) != COLUMN_ID_BYTES:
        return f"a digest or id of column {column.name!r} is of the wrong length"
    if not 0 < _encoded_length(column.name) <= _TEXT_BYTES:
        return "the name of a column is empty or too long"
    if column.layout not in (FLAT, NESTED):
        return f"column {column.name!r} has the unknown layout {column.layout}"
    if not (column.root is not None) <= column.samples <= column.entries <= _MOST_ENTRIES:
        return f"column {column.name!r} cannot have {plural(column.entries, 'entry')} and {plural(column.samples, 'sample')}"
    if (column.root is None and column.entries) or (column.layout == FLAT and column.samples != column.entries):
        return f"column {column.name!r} cannot have {plural(column.entries, 'entry')} and {plural(column.samples, 'sample')}"
    return None


def _is_digest(data: bytes) -> bool:
    return len(data) == DIGEST_BYTES


def _encoded_length(text: str) -> int:
    """Length of ``text`` in UTF-8; a number beyond every limit if it cannot be encoded."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 2**31


def check_message(message: object, kind: str = "commit message") -> str:
    """Return ``message`` if it can be the message of a commit, tag or stash (``kind`` says which).

    Raises
    ------
    InvalidTypeError, InvalidInputError
        It is not a str; it is blank, too long or does not encode as UTF-8.
    """
    if not isinstance(message, str):
        raise InvalidTypeError(f"a {kind} is a str, not {type(message).__name__}")
    try:
        size = len(message.encode())
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"the {kind} does not encode as UTF-8: {error}") from None
    if not message.strip():
        raise InvalidInputError(f"the {kind} is empty: say what was done")
    if size > limits.MAX_MESSAGE_BYTES:
        raise InvalidInputError(f"a {kind} of {size:,} bytes exceeds {limits.MAX_MESSAGE_BYTES:,}")
    return str.__str__(message)


def column_id(name: str, schema: Digest, number: int) -> bytes:
    """Id of a new column: the first 16 bytes of the hash of its name, its first schema, and ``number``.

    ``number`` is the smallest (from 0) whose id the commit does not use yet. So the same column added on two branches
    has the same id.
    """
    return record_digest("column", msgspec.msgpack.encode((name, schema, number)))[:COLUMN_ID_BYTES]


def tree_digest(commit: Commit) -> Digest:
    """Digest of the content: columns (without their ids) and attributes, not parents, author, time or message."""
    columns = [
        (column.name, column.schema, column.attributes, column.layout, column.root, column.entries, column.samples)
        for column in commit.columns
    ]
    return record_digest("tree", msgspec.msgpack.encode((columns, commit.attributes)))
