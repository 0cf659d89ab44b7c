"""Write checkout: changes the staging area of a branch and commits it.

It holds the writer lock until ``close()`` or the end of its process. Staged changes are durable when a write returns,
and survive both; ``commit`` makes them history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hangar.checkout.adding import ColumnAdding
from hangar.checkout.adding_media import MediaAdding
from hangar.checkout.adding_sparse import SparseAdding
from hangar.checkout.base import CheckoutBase
from hangar.checkout.commit import commit_staging
from hangar.checkout.merging import MergeResult, merge_revision
from hangar.checkout.operations import Applied, Strategy, conclude, give_up, resolve_open
from hangar.checkout.replaying import ReplayKind, replay_commit
from hangar.checkout.restore import Sample, restore_column, restore_samples
from hangar.checkout.session import WriterSession
from hangar.columns.attributes import AttributesWriter, Changing
from hangar.columns.base import ResolveColumn, StagedSource
from hangar.columns.block import OpenBlock
from hangar.columns.collection import Columns
from hangar.columns.evolve import change_attributes
from hangar.columns.opening import ColumnToWrite, open_writer
from hangar.config import Config
from hangar.db import WriteTransaction
from hangar.diff import WriterUserDiff
from hangar.errors import (
    AccessError,
    ColumnNotFoundError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    NothingToDoError,
)
from hangar.flags import check_flag
from hangar.lock import WriterLock
from hangar.merge.resolve import Value, choice_of
from hangar.objects.attributes import AttributeMap
from hangar.publishing import publish_rows
from hangar.revisions import resolve_commit
from hangar.staging import clear_staging, read_staged, staged_branch, ways_out
from hangar.stores import Stores

__all__ = ["WriterCheckout"]


class _Owner:
    """Columns of the staging area."""

    writable = True

    def __init__(self, session: WriterSession) -> None:
        self._session = session
        self._open: dict[bytes, ColumnToWrite] = {}

    def names(self) -> list[str]:
        return sorted(self._session.staging.columns)

    def column(self, name: str) -> ColumnToWrite | None:
        working = self._session.staging.columns.get(name)
        if working is None:
            return None
        found = self._open.get(working.id)
        if found is None:
            found = self._open[working.id] = open_writer(
                self._session, StagedSource(self._session.staging, working, self._session.arrays.settle)
            )
        return found

    def check_removal(self) -> None:
        if self._session.in_batch:
            raise AccessError("a column cannot be deleted inside a `with` block")

    def remove(self, name: str) -> None:
        with self._session.writing():
            staging = self._session.staging
            column = self._open.pop(staging.columns[name].id, None)
            if column is not None:
                column.retire()
            staging.remove(name)

    def retire_all(self) -> None:
        for column in self._open.values():
            column.retire()
        self._open.clear()

    def batch(self) -> OpenBlock:
        return self._session.batch()

    def check(self) -> None:
        self._session.check()

    def reduce(self) -> tuple[Any, ...]:
        raise AccessError("a writer's columns cannot be pickled: they belong to the process that holds the writer lock")


class WriterCheckout(ColumnAdding, SparseAdding, MediaAdding, CheckoutBase[ColumnToWrite]):
    """Write access to the staging area of one branch; ``Repository.checkout(write=True)`` returns it."""

    def __init__(
        self,
        stores: Stores,
        config: Config,
        branch: str,
        *,
        move_head: bool = True,
        resolve: ResolveColumn | None = None,
    ) -> None:
        lock = WriterLock(stores.db)
        try:
            lock.acquire()
            _switch_to(stores, lock, branch, move_head=move_head)
            self.session: WriterSession = WriterSession(
                stores, lock, branch, stores.refs.get(f"heads/{branch}"), resolve
            )
            self._config = config
            self._owner = _Owner(self.session)
            self._columns = Columns(self._owner)
        except BaseException:
            lock.release()
            raise

    @property
    def branch_name(self) -> str:
        """Branch that commits are added to."""
        self.session.check()
        return self.session.staging.branch

    @property
    def diff(self) -> WriterUserDiff:
        """The staged changes, and the differences of the staging area to branches and commits."""
        self.session.check()
        return WriterUserDiff(self.session)

    @property
    def commit_hash(self) -> str:
        """Digest in hex of the base commit of the staging area; ``''`` before the first."""
        self.session.check()
        base = self.session.staging.base
        return "" if base is None else base.hex()

    # ------------------------------------------------------------------ columns and attributes

    def rename_column(self, old: str, new: str) -> None:
        """Rename a column. It stays the same column: earlier commits show the old name, and diffs show a rename.

        Column objects obtained before stay valid, under the new name.

        Raises
        ------
        ColumnNotFoundError
            (a ``KeyError``) there is no column ``old``.
        InvalidInputError
            (a ``ValueError``) ``new`` is not a valid column name.
        ColumnExistsError
            (a ``LookupError``) there is a column ``new`` already.
        AccessError
            (a ``PermissionError``) inside a ``with`` block.
        """
        self.session.check()
        if self.session.in_batch:
            raise AccessError("a column cannot be renamed inside a `with` block")
        staging = self.session.staging
        if old not in self.columns:
            raise ColumnNotFoundError(f"there is no column {old!r} to rename")
        new = self._check_free(new)
        with self.session.writing():
            staging.rename(old, new)

    @property
    def attributes(self) -> AttributesWriter:
        """What people say about the next commit as a whole: a mapping that can be changed. A commit inherits that of its parent."""
        self.session.check()
        return AttributesWriter(self._load_attributes, self._change_attributes)

    def _load_attributes(self) -> AttributeMap:
        self.session.check()
        digest = self.session.staging.attributes
        return {} if digest is None else self.session.load_attributes(digest)

    def _change_attributes(self, change: Changing[Any]) -> None:
        self.session.check()
        change_attributes(self.session, None, change)

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write one value: ``co['column', key] = value``, and in a nested column ``co['column', sample, subsample] = value``.

        Raises
        ------
        ColumnNotFoundError
            (a ``KeyError``) there is no such column.
        InvalidInputError
            (a ``ValueError``) the key is not suitable, or the value is not what the column holds.
        InvalidTypeError
            (a ``TypeError``) the brackets name no sample.
        """
        self.session.check()
        if not isinstance(index, tuple) or len(index) not in (2, 3) or not isinstance(index[0], str):
            raise InvalidTypeError(f"{index!r} names no sample to write to: use co['column', key] = value")
        column: Any = self.columns[index[0]]
        if len(index) == 3 and not column.contains_subsamples:
            raise InvalidTypeError(f"column {index[0]!r} is flat: its samples have no subsamples")
        column[index[1] if len(index) == 2 else tuple(index[1:])] = value

    # ------------------------------------------------------------------ commit, reset, close

    def commit(self, message: str | None = None, *, amend: bool = False, meta: Mapping[str, Any] | None = None) -> str:
        """Make the staging area a commit on the branch.

        Parameters
        ----------
        message
            What was done; not blank. Needed, but for ``amend``, which keeps the message of the replaced commit without it.
        amend
            Replace the last commit of the branch instead of following it. The reflog has the replaced commit.
        meta
            Further facts to store with the commit: str to str, int, float, bool, bytes, or lists and maps of these. With
            ``amend``, None keeps those of the replaced commit.

        Returns
        -------
        str
            Digest of the commit in hex.

        Raises
        ------
        NothingToDoError
            (a ``RuntimeError``) nothing was changed.
        InvalidInputError
            (a ``ValueError``) the message is blank or too long, or ``meta`` cannot be stored.
        StaleRefError
            The branch moved beneath the staging area.
        """
        self.session.check()
        amend = check_flag(amend, "amend")
        return commit_staging(self.session, self._config, message, amend=amend, meta=meta).hex()

    def reset_staging_area(self, *, force: bool = False) -> str:
        """Drop all uncommitted changes; returns the base commit of the staging area, in hex.

        Column objects obtained before cannot be used afterwards.

        Raises
        ------
        NothingToDoError
            (a ``RuntimeError``) there are no changes, and ``force`` is False.
        """
        self.session.check()
        force = check_flag(force, "force")
        if self.session.in_batch:
            raise InvalidStateError("the staging area cannot be reset inside a `with` block")
        staging = self.session.staging
        if not force and not staging.changed():
            raise NothingToDoError("No changes made in staging area. No reset necessary.")

        with self.session.writing():
            publish_rows(self.session.stores.db, self.session.lock, clear_staging)
            self._owner.retire_all()
            staging.rebase(staging.base)
        return self.commit_hash

    def merge(self, message: str, dev_branch: str, keep_conflicts: bool = False, *, strategy: Strategy = None) -> str:
        """Merge a branch, or another revision, into the branch of this checkout; see :meth:`hangar.Repository.merge`.

        Column objects obtained before cannot be used afterwards.

        Raises
        ------
        InvalidStateError
            (a ``RuntimeError``) there are uncommitted changes, or a merge is in progress; or inside a ``with`` block.
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch.
        MergeConflictError
            (a ``ValueError``) there are conflicts, and ``keep_conflicts`` is not given. Nothing was changed.
        """
        self.session.check()
        keep = check_flag(keep_conflicts, "keep_conflicts")
        self.merge_revision(dev_branch, message, keep_conflicts=keep, strategy=strategy)
        return self.commit_hash

    def merge_revision(self, rev: str, message: str | None = None, **options: Any) -> MergeResult:
        """Merge a revision; see :func:`hangar.checkout.merging.merge_revision`."""
        self.session.check()
        result = merge_revision(self.session, self._config, rev, message, **options)
        if result.kind != "up-to-date":
            self._owner.retire_all()
        return result

    def resolve(self, keys: Any, with_: Any, *, literal: bool = False) -> int:
        """ResolveColumn conflicts of the operation in progress; see :meth:`hangar.Repository.resolve`."""
        self.session.check()
        return resolve_open(self.session, keys, Value(with_) if literal else choice_of(with_))

    def merge_continue(self, message: str | None = None) -> str:
        """Commit the merge in progress; see :meth:`hangar.Repository.merge_continue`."""
        return self.conclude("merge", message)

    def merge_abort(self) -> str:
        """Give up the merge in progress; see :meth:`hangar.Repository.merge_abort`."""
        return self.give_up("merge")

    def replay_commit(self, kind: ReplayKind, rev: str, message: str | None = None, **options: Any) -> Applied:
        """Cherry-pick or revert a commit; see :func:`hangar.checkout.replaying.replay_commit`."""
        self.session.check()
        result = replay_commit(self.session, self._config, kind, rev, message, **options)
        self._owner.retire_all()
        return result

    def conclude(self, kind: str, message: str | None = None) -> str:
        """Commit the merge, cherry-pick or revert (``kind``) in progress; returns the commit in hex."""
        self.session.check()
        return conclude(self.session, self._config, kind, message).hex()

    def give_up(self, kind: str) -> str:
        """Give up the merge, cherry-pick or revert (``kind``) in progress; returns the commit of the branch in hex."""
        self.session.check()
        give_up(self.session, kind)
        self._owner.retire_all()
        return self.commit_hash

    def restore(self, column: str, samples: Sequence[Sample] | None = None, *, commit: str) -> None:
        """Stage a column, or some of its samples, from a commit. No blobs are read or written.

        Parameters
        ----------
        column
            Name of the column in the commit. A different staged column with that name is replaced.
        samples
            Keys; in a nested column those of samples, or pairs of sample and subsample key. Samples that the commit
            does not have are removed. None: the whole column.
        commit
            A revision.

        Raises
        ------
        RevisionNotFoundError, ColumnNotFoundError, SampleNotFoundError
            There is no such commit, column or sample.
        InvalidInputError
            (a ``ValueError``) samples were given, and the column in the commit is a different one.
        """
        self.session.check()
        stores = self.session.stores
        digest = resolve_commit(stores.db, stores.refs, commit)
        if samples is not None:
            restore_samples(self.session, column, samples, digest)
            return
        if self.session.in_batch:
            raise InvalidStateError("a whole column cannot be restored inside a `with` block")
        restore_column(self.session, column, digest)
        self._owner.retire_all()

    def close(self) -> None:
        """Release the writer lock and refuse all further use. Staged changes stay staged."""
        self.session.close()
        self._owner.retire_all()

    def _title(self) -> str:
        return f"WriterCheckout of branch {self.branch_name!r} at {self.commit_hash[:12] or 'no commit yet'}"

    def __reduce__(self) -> Any:
        raise AccessError(
            "a checkout that writes cannot be pickled: it belongs to the process that holds the writer lock"
        )


def _switch_to(stores: Stores, lock: WriterLock, branch: str, *, move_head: bool) -> None:
    """Check that no other branch has staged changes, and with ``move_head`` record that ``branch`` was written last.

    Without, the first write records it.
    """
    with stores.db.read() as transaction:
        elsewhere = staged_branch(transaction) not in (None, branch)
        staged = read_staged(stores.db, transaction) if elsewhere else None
    if staged is not None and staged.changed():
        raise InvalidInputError(
            f"branch {branch!r} cannot be written to now, because there are uncommitted changes on branch {staged.branch!r}: "
            f"{ways_out(staged, stores.refs.head().write_branch)}"
        )
    move_head = move_head and stores.refs.head().last_written != branch
    if elsewhere or move_head:

        def move(transaction: WriteTransaction) -> None:
            if elsewhere:
                clear_staging(transaction)
            if move_head:
                stores.refs.set_head(transaction, last_written=branch)

        publish_rows(stores.db, lock, move)
