"""``checkout.diff``: a checkout compared with branches and commits, and the staged changes of a writer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from hangar.diff.comparison import Comparison, Snapshot, chosen_columns, commit_snapshot, staged_snapshot
from hangar.diff.conflicts import find_conflicts
from hangar.diff.results import Conflicts, DiffAndConflicts
from hangar.diff.stream import ValueChange, value_changes
from hangar.digest import Digest
from hangar.names import plain_text
from hangar.refs import BRANCHES, REMOTES
from hangar.revisions import resolve, unknown_branch

if TYPE_CHECKING:
    from hangar.columns.base import Session, WriteSession
    from hangar.stores import Stores

__all__ = ["ReaderUserDiff", "WriterUserDiff", "changes_of_revisions", "diff_revisions"]


def revision_snapshot(stores: Stores, rev: str) -> Snapshot:
    """The commit of a revision; the empty state for a branch without a commit. RevisionNotFoundError if there is none."""
    return commit_snapshot(stores, resolve(stores.db, stores.refs, rev).digest)


def diff_of(stores: Stores, before: Snapshot, after: Snapshot) -> DiffAndConflicts:
    """The differences of two states, and the conflicts that a merge of the second into the first would have."""
    return DiffAndConflicts(Comparison(stores, before, after).result(), find_conflicts(stores, before, after))


def diff_revisions(stores: Stores, before: str, after: str) -> DiffAndConflicts:
    """The differences of two revisions, and the conflicts between them."""
    return diff_of(stores, revision_snapshot(stores, before), revision_snapshot(stores, after))


def changes_of_revisions(
    stores: Stores, before: str, after: str, columns: Sequence[str] | None
) -> Iterator[ValueChange]:
    """Stream the changes from one revision to another with their values."""
    first, second = revision_snapshot(stores, before), revision_snapshot(stores, after)
    return value_changes(Comparison(stores, first, second, chosen_columns(first, second, columns)))


class ReaderUserDiff:
    """Differences between the commit of a checkout and other commits, from this one to the other."""

    def __init__(self, session: Session, commit: Digest | None) -> None:
        self._session = session
        self._commit = commit

    def _snapshot(self) -> Snapshot:
        self._session.check()
        return commit_snapshot(self._session.stores, self._commit)

    def branch(self, dev_branch: str) -> DiffAndConflicts:
        """What changed from this checkout to the head of a branch, and what would conflict if it were merged here.

        Parameters
        ----------
        dev_branch
            A branch, remote-tracking ones too.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch.
        """
        mine, stores = self._snapshot(), self._session.stores
        name = plain_text(dev_branch)
        for prefix in (BRANCHES, REMOTES):
            if stores.refs.exists(prefix + name):
                return diff_of(stores, mine, commit_snapshot(stores, stores.refs.get(prefix + name)))
        raise unknown_branch(stores.refs, name)

    def commit(self, dev_commit_hash: str) -> DiffAndConflicts:
        """What changed from this checkout to another commit, and what would conflict if it were merged here.

        Parameters
        ----------
        dev_commit_hash
            A digest or any other revision.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such commit.
        """
        mine, stores = self._snapshot(), self._session.stores
        return diff_of(stores, mine, revision_snapshot(stores, dev_commit_hash))

    def changes(self, rev: str, *, columns: Sequence[str] | None = None) -> Iterator[ValueChange]:
        """Stream the samples that changed from this checkout to a revision, with their values, in bounded memory.

        Parameters
        ----------
        rev
            A branch, tag or commit.
        columns
            Names of columns, before or after the change; None: all.

        Yields
        ------
        ValueChange
            By column, in key order.

        Raises
        ------
        RevisionNotFoundError, ColumnNotFoundError
            There is no such revision; there is no such column on either side.
        CorruptionError
            A value is damaged.
        """
        mine, stores = self._snapshot(), self._session.stores
        return self._stream(mine, revision_snapshot(stores, rev), columns)

    def _stream(self, before: Snapshot, after: Snapshot, columns: Sequence[str] | None) -> Iterator[ValueChange]:
        chosen = chosen_columns(before, after, columns)  # before the first value is asked for
        return map(self._checked, value_changes(Comparison(self._session.stores, before, after, chosen)))

    def _checked(self, change: ValueChange) -> ValueChange:
        self._session.check()
        return change


class WriterUserDiff(ReaderUserDiff):
    """Differences between the staging area and its base commit, or any other commit."""

    _session: WriteSession

    def __init__(self, session: WriteSession) -> None:
        super().__init__(session, session.staging.base)

    def _snapshot(self) -> Snapshot:
        self._session.check()
        return staged_snapshot(self._session.staging)

    def _base(self) -> Snapshot:
        self._session.check()
        return commit_snapshot(self._session.stores, self._session.staging.base)

    def status(self) -> Literal["CLEAN", "DIRTY"]:
        """Whether there is something to commit."""
        self._session.check()
        return "DIRTY" if self._session.staging.changed() else "CLEAN"

    def staged(self) -> DiffAndConflicts:
        """The staged changes; before the first commit everything is added. There are never conflicts."""
        comparison = Comparison(self._session.stores, self._base(), self._snapshot())
        return DiffAndConflicts(comparison.result(), Conflicts.none())

    def staged_changes(self, *, columns: Sequence[str] | None = None) -> Iterator[ValueChange]:
        """Stream what is staged now with its values, as :meth:`changes` does; later writes do not affect the stream.

        Parameters
        ----------
        columns
            Names of columns, before or after the change; None: all.
        """
        return self._stream(self._base(), self._snapshot(), columns)
