"""Read checkout: an immutable view of one commit. Writers do not affect it.

Opening one reads only the record of the commit. A checkout pickles as repository path and commit, its columns with
their name in addition, so that they can be opened in any process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hangar.checkout.base import CheckoutBase
from hangar.checkout.session import ReaderSession
from hangar.columns.attributes import AttributesReader
from hangar.columns.base import CommittedSource, ResolveColumn
from hangar.columns.block import OpenBlock
from hangar.columns.collection import Columns
from hangar.columns.opening import ColumnReader, open_reader
from hangar.diff import ReaderUserDiff
from hangar.digest import Digest
from hangar.errors import AccessError
from hangar.objects.attributes import AttributeMap
from hangar.objects.commit import Commit
from hangar.objects.records import load_commit, load_record
from hangar.schema import open_schema
from hangar.stores import Stores

__all__ = ["ReaderCheckout"]


class _Owner:
    """Columns of one commit, opened on first use."""

    writable = False

    def __init__(self, session: ReaderSession, commit: Commit | None) -> None:
        self._session = session
        self._entries = {} if commit is None else {entry.name: entry for entry in commit.columns}
        self._open: dict[str, ColumnReader] = {}

    def names(self) -> list[str]:
        return sorted(self._entries)

    def column(self, name: str) -> ColumnReader | None:
        found = self._open.get(name)
        if found is None and name in self._entries:
            entry = self._entries[name]
            schema = open_schema(load_record(self._session.stores.db, "schema", Digest(entry.schema)))
            source = CommittedSource(self._session.nodes, entry, schema)
            found = self._open[name] = open_reader(self._session, source)
        return found

    def check_removal(self) -> None:
        raise AccessError("columns can only be deleted in a checkout that writes: `repo.checkout(write=True)`")

    def remove(self, name: str) -> None:
        raise NotImplementedError

    def batch(self) -> OpenBlock:
        return self._session.batch()

    def check(self) -> None:
        self._session.check()

    def reduce(self) -> tuple[Any, ...]:
        return reopen_columns, (str(self._session.stores.directory), self._session.commit, self._session.resolve)


class ReaderCheckout(CheckoutBase[ColumnReader]):
    """Read access to one commit; ``Repository.checkout()`` returns it."""

    def __init__(self, stores: Stores, digest: Digest | None, resolve: ResolveColumn | None = None) -> None:
        self._digest = digest
        self._commit = None if digest is None else load_commit(stores.db, digest)
        self.session: ReaderSession = ReaderSession(
            stores, "" if digest is None else digest.hex(), reopen_column, resolve
        )
        self._columns = Columns(_Owner(self.session, self._commit))

    @property
    def commit_hash(self) -> str:
        """Digest of the commit in hex; ``''`` before the first commit."""
        self.session.check()
        return "" if self._digest is None else self._digest.hex()

    @property
    def diff(self) -> ReaderUserDiff:
        """Differences to other branches and commits."""
        self.session.check()
        return ReaderUserDiff(self.session, self._digest)

    @property
    def attributes(self) -> AttributesReader:
        """Attributes of the commit as a whole: a mapping."""
        self.session.check()
        return AttributesReader(self._load_attributes)

    def _load_attributes(self) -> AttributeMap:
        self.session.check()
        digest = None if self._commit is None else self._commit.attributes
        return {} if digest is None else self.session.load_attributes(Digest(digest))

    def close(self) -> None:
        """Close the checkout: it and its columns refuse all further use."""
        self.session.close()

    def _title(self) -> str:
        return f"ReaderCheckout at {f'commit {self.commit_hash[:12]}' if self._digest is not None else 'no commit yet'}"

    def __reduce__(self) -> tuple[Any, ...]:
        self.session.check()
        return reopen, (str(self.session.stores.directory), self.commit_hash, self.session.resolve)


def reopen(directory: str, commit: str, resolve: ResolveColumn | None = None) -> ReaderCheckout:
    """Open the checkout of ``commit`` (hex) in the repository whose ``.hangar`` is ``directory``; called when unpickling."""
    return ReaderCheckout(Stores.shared(Path(directory)), Digest(bytes.fromhex(commit)) if commit else None, resolve)


def reopen_columns(directory: str, commit: str, resolve: ResolveColumn | None = None) -> Columns[ColumnReader]:
    """The columns of that checkout."""
    return reopen(directory, commit, resolve).columns


def reopen_column(directory: str, commit: str, name: str, resolve: ResolveColumn | None = None) -> ColumnReader:
    """One column of that checkout."""
    return reopen(directory, commit, resolve).columns[name]
