"""``Refs``: reading refs, and moving them by compare-and-swap."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from hangar import limits
from hangar.db.epoch import gc_epoch
from hangar.db.tables import COMMITS, REFS
from hangar.digest import Digest
from hangar.errors import CorruptionError, NameTakenError, RevisionNotFoundError, StaleRefError
from hangar.names import check_name
from hangar.refs import reflog
from hangar.refs.remotes import RemoteRow, add_remote, delete_remote, list_remotes
from hangar.refs.rows import (
    BRANCHES,
    HEAD_KEY,
    REMOTES,
    TAGS,
    Annotation,
    Head,
    ReflogEntry,
    RefRow,
    check_digest,
    check_ref,
    decode,
    describe,
    encode,
    key_name,
    name_key,
    now,
)

if TYPE_CHECKING:
    from hangar.db.environment import Database
    from hangar.db.transaction import ReadTransaction, WriteTransaction

__all__ = ["Refs"]


class Refs:
    """The refs of one repository.

    Every method takes the transaction to run in; methods that only read open a new one if none is given.

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
            The row is damaged or missing.
        """
        data = self._get(HEAD_KEY, transaction)
        if data is None:
            raise CorruptionError("HEAD is missing: run `hangar fsck`")
        return decode(data, Head, "HEAD")

    def set_head(
        self, transaction: WriteTransaction, *, write_branch: str | None = None, last_written: str | None = None
    ) -> None:
        """Change the branches that HEAD names. Without an argument a value is kept; the first time both are needed."""
        if write_branch is None or last_written is None:
            head = self.head(transaction)
            write_branch = head.write_branch if write_branch is None else write_branch
            last_written = head.last_written if last_written is None else last_written
        transaction.put(REFS, HEAD_KEY, encode(Head(write_branch, last_written)))

    def set_up(self, transaction: WriteTransaction, branch: str) -> None:
        """Set up a new repository: one branch without a commit, and HEAD on it. This adds no reflog entry."""
        transaction.put(REFS, name_key(BRANCHES + check_name(branch, "branch")), encode(RefRow(None)))
        self.set_head(transaction, write_branch=branch, last_written=branch)

    # Reading

    def get(self, name: str, transaction: ReadTransaction | None = None) -> Digest | None:
        """Digest of the commit of the ref ``name``; None for a branch without a commit, or if there is no such ref."""
        data = self._get(name_key(name), transaction)
        return None if data is None else _digest(data, name)

    def exists(self, name: str, transaction: ReadTransaction | None = None) -> bool:
        """Whether a ref of this name exists, with or without a commit."""
        return self._get(name_key(name), transaction) is not None

    def items(self, prefix: str, transaction: ReadTransaction | None = None) -> list[tuple[str, Digest | None]]:
        """Full names that begin with ``prefix`` (such as :data:`BRANCHES`), sorted, and the commit of each."""
        return [(name, _digest(data, name)) for name, data in self._scan(prefix, transaction)]

    def names(self, prefix: str, transaction: ReadTransaction | None = None) -> list[str]:
        """Full names that begin with ``prefix``, sorted."""
        return [name for name, _ in self._scan(prefix, transaction)]

    def annotation(self, name: str, transaction: ReadTransaction | None = None) -> Annotation | None:
        """Annotation of a tag; None for a lightweight tag, and for branches."""
        data = self._get(name_key(name), transaction)
        return None if data is None else decode(data, RefRow, name).annotation

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
        annotation: str | Annotation | None = None,
    ) -> None:
        """Make a ref.

        Parameters
        ----------
        digest
            Its commit; None for a branch without a commit.
        who
            Name and email.
        annotation
            Message stored with a tag or stash, unshortened, together with author and time; or a whole annotation of
            another repository.

        Raises
        ------
        NameTakenError
            A ref of this name exists, or a branch and a remote-tracking branch would have the same short name.
        InvalidInputError
            ``name`` is not a valid name.
        """
        key = name_key(check_ref(name))
        if transaction.get(REFS, key) is not None:
            raise _taken(name)
        self._refuse_ambiguous(transaction, name)
        _require_commit(transaction, name, digest)
        note = Annotation(annotation, *who, *now()) if isinstance(annotation, str) else annotation
        transaction.put(REFS, key, encode(RefRow(digest, note)))
        reflog.append(transaction, name, None, digest, who, operation, message)

    def _refuse_ambiguous(self, transaction: WriteTransaction, name: str) -> None:
        """Refuse a name if ``origin/x`` would then be both a local branch and a branch of the remote ``origin``."""
        kind, _, short = name.partition("/")
        first, slash, _ = short.partition("/")
        if (
            kind == "heads"
            and slash
            and (self.names(f"{REMOTES}{first}/", transaction) or first in list_remotes(transaction))
        ):
            raise NameTakenError(
                f"branch {short!r} would look like a branch of the remote {first!r}: choose a name that does not begin with {first + slash!r}"
            )
        if kind == "remotes" and self.names(f"{BRANCHES}{first}/", transaction):
            raise NameTakenError(
                f"branches of this repository begin with {first + slash!r}: give the remote {first!r} another name"
            )

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
            It is not at ``expected`` any more, or was deleted. Nothing was changed.
        """
        _expect(transaction, name, expected)
        _require_commit(transaction, name, new)
        transaction.put(REFS, name_key(name), encode(RefRow(new)))
        reflog.append(transaction, name, expected, new, who, operation, message)

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
        """Delete a ref whose commit is ``expected``; its reflog is kept.

        Raises
        ------
        StaleRefError
            It is not at ``expected`` any more, or was deleted. Nothing was changed.
        """
        _expect(transaction, name, expected)
        transaction.delete(REFS, name_key(name))
        reflog.append(transaction, name, expected, None, who, operation, message)

    def rename(self, transaction: WriteTransaction, old: str, new: str, *, who: tuple[str, str]) -> None:
        """Rename a ref together with its reflog.

        Raises
        ------
        NameTakenError
            A ref ``new`` exists.
        InvalidInputError
            ``new`` is not a valid name.
        StaleRefError
            ``old`` does not exist.
        """
        data = transaction.get(REFS, name_key(old))
        if data is None:
            raise StaleRefError(f"{describe(old)} is gone: it was deleted since it was read")
        key = name_key(check_ref(new))
        if transaction.get(REFS, key) is not None:
            raise _taken(new)
        transaction.put(REFS, key, data)
        transaction.delete(REFS, name_key(old))
        reflog.move(transaction, old, new)
        digest = _digest(data, new)
        reflog.append(transaction, new, digest, digest, who, "branch (rename)", f"from {old.partition('/')[2]}")

    # Remotes

    def add_remote(
        self, transaction: WriteTransaction, name: str, address: str, settings: dict[str, str] | None = None
    ) -> RemoteRow:
        """Add a remote; see :func:`hangar.refs.remotes.add_remote`.

        Raises
        ------
        InvalidInputError, NameTakenError
            A bad or taken name, or branches here begin with it.
        """
        row = add_remote(transaction, name, address, settings)
        self._refuse_ambiguous(transaction, f"{REMOTES}{name}/")
        return row

    def delete_remote(self, transaction: WriteTransaction, name: str, *, who: tuple[str, str]) -> RemoteRow:
        """Delete a remote and its remote-tracking refs. Its promises are the caller's."""
        row = delete_remote(transaction, name)
        for ref, digest in self.items(f"{REMOTES}{name}/", transaction):
            self.delete(transaction, ref, digest, who=who, operation="remote (remove)")
        return row

    # The reflog

    def reflog(
        self, name: str, transaction: ReadTransaction | None = None, *, limit: int | None = None
    ) -> list[ReflogEntry]:
        """Reflog entries of ``name``, newest first; at most ``limit``. Empty if there never was such a ref."""
        if transaction is None:
            with self._db.read() as reading:
                return self.reflog(name, reading, limit=limit)
        return reflog.read(transaction, name, limit)

    def reflog_names(self, transaction: ReadTransaction | None = None) -> list[str]:
        """Full names of all refs that have a reflog, deleted ones included."""
        if transaction is None:
            with self._db.read() as reading:
                return self.reflog_names(reading)
        return reflog.names(transaction)

    def reflog_commits(
        self, transaction: ReadTransaction | None = None, *, without: Collection[bytes] = ()
    ) -> list[Digest]:
        """Every commit in any reflog, those of deleted refs included; ``without`` are keys of entries that do not count."""
        if transaction is None:
            with self._db.read() as reading:
                return self.reflog_commits(reading, without=without)
        return reflog.commits(transaction, without)

    def _get(self, key: bytes, transaction: ReadTransaction | None) -> bytes | None:
        if transaction is None:
            with self._db.read() as reading:
                return self._get(key, reading)
        data = transaction.get(REFS, key) if 0 < len(key) <= limits.DATABASE_MAX_KEY_BYTES else None
        if data is None:
            transaction.check_count(REFS)  # a lost row must not look like a ref that never existed
        return data

    def _scan(self, prefix: str, transaction: ReadTransaction | None) -> list[tuple[str, bytes]]:
        if transaction is None:
            with self._db.read() as reading:
                return self._scan(prefix, reading)
        transaction.check_count(REFS)
        rows = transaction.scan(REFS, prefix=name_key(prefix))
        return [(key_name(key), data) for key, data in rows if key != HEAD_KEY]


def _taken(name: str) -> NameTakenError:
    short = name.partition("/")[2]
    if name.startswith(TAGS):
        return NameTakenError(
            f"{describe(name)} exists: choose another name, or delete it first with `hangar tag -d {short}`"
        )
    way = f", or switch to it with `hangar checkout {short}`" if name.startswith(BRANCHES) else ""
    return NameTakenError(f"{describe(name)} exists: choose another name{way}")


def _digest(data: bytes, name: str) -> Digest | None:
    return check_digest(decode(data, RefRow, name).digest, name)


def _require_commit(transaction: WriteTransaction, name: str, digest: Digest | None) -> None:
    """Refuse a commit that garbage collection has removed since the caller looked. Before the first one nothing can be gone."""
    if digest is not None and gc_epoch(transaction) and transaction.get(COMMITS, digest) is None:
        raise RevisionNotFoundError(
            f"{describe(name)} cannot be set to commit {digest.hex()[:12]}: garbage collection removed that commit, because nothing named it"
        )


def _expect(transaction: WriteTransaction, name: str, expected: Digest | None) -> None:
    data = transaction.get(REFS, name_key(name))
    if data is None:
        raise StaleRefError(f"{describe(name)} is gone: it was deleted since it was read")
    found = _digest(data, name)
    if found != expected:
        was, stands = (digest.hex()[:12] if digest else "no commit" for digest in (expected, found))
        raise StaleRefError(
            f"{describe(name)} moved since it was read (from {was} to {stands}): "
            f"look at it with `hangar log {name.partition('/')[2]}` and try again"
        )
