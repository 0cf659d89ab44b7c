"""Read-only views for commands: of a commit or, without a revision, of the staging area of the current branch.

A view of the staging area has the last durable state. It needs neither the writer lock nor a writer, so reading
commands work beside a writer, and on a read-only file system.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hangar.cli.output import SHORT_DIGEST
from hangar.errors import ColumnNotFoundError

if TYPE_CHECKING:
    from hangar.cli.state import State
    from hangar.columns.opening import ColumnReader
    from hangar.diff import Snapshot
    from hangar.digest import Digest
    from hangar.objects.commit import ColumnEntry
    from hangar.objects.store import NodeStore
    from hangar.stores import Stores

__all__ = ["View", "open_commit", "open_nothing", "open_view"]


class View(Mapping[str, "ColumnReader"]):
    """Columns to read, by name.

    Attributes
    ----------
    label
        Text for messages, such as ``'commit 0123456789ab'``.
    commit
        Digest of the commit, or of the base of the staging area, in hex; ``''`` before the first commit.
    branch
        The branch of a staging area, else ``''``.
    snapshot
        The same state, to compare it.
    nodes
        Store to read their trees from.
    attributes
        Attributes of the commit as a whole.
    """

    def __init__(
        self,
        label: str,
        commit: str,
        branch: str,
        columns: dict[str, ColumnReader],
        snapshot: Snapshot,
        nodes: NodeStore,
        attributes: Mapping[str, Any],
    ) -> None:
        self.label = label
        self.commit = commit
        self.branch = branch
        self.snapshot = snapshot
        self.nodes = nodes
        self.attributes = attributes
        self._columns = columns

    def __getitem__(self, name: str) -> ColumnReader:
        """The column ``name``; ColumnNotFoundError where there is none."""
        if name not in self._columns:
            there = f"there are {', '.join(self._columns)}" if self._columns else "there are none"
            raise ColumnNotFoundError(f"there is no column {name!r} in {self.label}: {there}")
        return self._columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def only(self, names: Iterable[str]) -> View:
        """The same view with some of the columns."""
        columns = {name: self._columns[name] for name in names}
        snapshot = replace(self.snapshot, columns=[entry for entry in self.entries if entry.name in columns])
        return View(self.label, self.commit, self.branch, columns, snapshot, self.nodes, self.attributes)

    @property
    def entries(self) -> Sequence[ColumnEntry]:
        """The columns as a commit lists them, sorted by name."""
        return self.snapshot.columns

    def entry(self, name: str) -> ColumnEntry:
        """The record of the column ``name``."""
        self[name]
        return next(entry for entry in self.entries if entry.name == name)


def open_view(state: State, revision: str | None) -> View:
    """A view of the commit ``revision``; of the staging area of the current branch if it is None.

    Raises
    ------
    RevisionNotFoundError
        There is no such commit.
    """
    return _open_branch(state.stores) if revision is None else open_commit(state, revision)


def open_nothing(state: State) -> View:
    """The empty state before the first commit."""
    return _view(state.stores, None, "no commit")


def open_commit(state: State, revision: str) -> View:
    """A view of the commit ``revision``. Raises the same errors as :func:`open_view`."""
    from hangar.refs import describe
    from hangar.revisions import resolve

    stores = state.stores
    digest, name = resolve(stores.db, stores.refs, revision)
    if digest is None:
        return _view(stores, None, f"{describe(name) if name else revision}, which has no commit yet")
    return _view(stores, digest, f"commit {digest.hex()[:SHORT_DIGEST]}")


def _view(stores: Stores, digest: Digest | None, label: str, branch: str = "") -> View:
    from hangar.checkout import ReaderCheckout
    from hangar.diff import commit_snapshot

    snapshot = commit_snapshot(stores, digest)
    if digest is None:
        return View(label, "", branch, {}, snapshot, stores.nodes, {})
    checkout = ReaderCheckout(stores, digest)
    return View(
        label, digest.hex(), branch, dict(checkout.columns.items()), snapshot, stores.nodes, checkout.attributes
    )


def _open_branch(stores: Stores) -> View:
    """The staging area of the current branch, or its last commit if nothing is staged on it."""
    from hangar.checkout.session import ReaderSession
    from hangar.columns.base import StagedSource
    from hangar.columns.opening import open_reader
    from hangar.diff import staged_snapshot
    from hangar.staging import read_staged

    with stores.db.read() as transaction:
        branch = stores.refs.head(transaction).write_branch
        head = stores.refs.get(f"heads/{branch}", transaction)
        staging = read_staged(stores.db, transaction)
    if staging is None or staging.branch != branch:
        return _view(stores, head, f"branch {branch}", branch)
    session = ReaderSession(stores)
    session.nodes = staging.nodes
    columns = {
        name: open_reader(session, StagedSource(staging, staging.columns[name])) for name in sorted(staging.columns)
    }
    commit = "" if staging.base is None else staging.base.hex()
    attributes = {} if staging.attributes is None else staging.load_attributes(staging.attributes)
    return View(f"branch {branch}", commit, branch, columns, staged_snapshot(staging), staging.nodes, attributes)
