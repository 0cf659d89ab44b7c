"""The write checkout: the one place where a repository's content changes.

It holds the writer lock from opening to ``close()`` (or the end of its process). What it stages is durable as it goes and survives both; ``commit``
makes it history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from hangar.checkout.base import CheckoutBase
from hangar.checkout.commit import commit_staging
from hangar.checkout.restore import restore_column, restore_samples
from hangar.checkout.session import WriterSession
from hangar.columns.attributes import AttributesWriter, Changing
from hangar.columns.base import StagedSource
from hangar.columns.collection import Columns
from hangar.columns.evolve import change_attributes
from hangar.columns.preference import check_preference
from hangar.columns.write import FlatSampleWriter
from hangar.config import Config
from hangar.db import WriteTransaction
from hangar.diff import WriterUserDiff
from hangar.errors import (
    AccessError,
    ColumnExistsError,
    ColumnNotFoundError,
    InvalidInputError,
    InvalidStateError,
    NothingToDoError,
)
from hangar.lock import WriterLock
from hangar.names import check_name
from hangar.objects.attributes import AttributeMap
from hangar.objects.commit import column_id
from hangar.objects.store import NodeStore
from hangar.revisions import resolve_commit
from hangar.schema import BytesSchema, ColumnSchema, NdarraySchema, StrSchema, as_shape
from hangar.schema.ndarray import as_array
from hangar.staging import Staging, clear_staging, staged_on
from hangar.stores import Stores

__all__ = ["WriterCheckout"]


class _Owner:
    """The columns of the staging area."""

    writable = True

    def __init__(self, session: WriterSession) -> None:
        self._session = session
        self._open: dict[bytes, FlatSampleWriter] = {}

    def names(self) -> list[str]:
        return sorted(self._session.staging.columns)

    def column(self, name: str) -> FlatSampleWriter | None:
        working = self._session.staging.columns.get(name)
        if working is None:
            return None
        found = self._open.get(working.id)
        if found is None:
            found = self._open[working.id] = FlatSampleWriter(
                self._session, StagedSource(self._session.staging, working)
            )
        return found

    def remove(self, name: str) -> None:
        if self._session.in_batch:
            raise AccessError("a column cannot be deleted inside a `with` block")
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

    def batch(self) -> AbstractContextManager[None]:
        return self._session.batch()

    def check(self) -> None:
        self._session.check()


class WriterCheckout(CheckoutBase[FlatSampleWriter]):
    """Write access to the staging area of one branch. Made by ``Repository.checkout(write=True)``."""

    def __init__(self, stores: Stores, config: Config, branch: str) -> None:
        lock = WriterLock(stores.db)
        try:
            lock.acquire()
            _stand_on(stores, lock, branch)
            self.session: WriterSession = WriterSession(stores, lock, branch, stores.refs.get(f"heads/{branch}"))
        except BaseException:
            lock.release()
            raise
        self._config = config
        self._owner = _Owner(self.session)
        self._columns = Columns(self._owner)

    @property
    def branch_name(self) -> str:
        """Branch that commits go to."""
        self.session.check()
        return self.session.staging.branch

    @property
    def diff(self) -> WriterUserDiff:
        """What is staged."""
        self.session.check()
        return WriterUserDiff(self.session)

    @property
    def commit_hash(self) -> str:
        """Digest in hex of the commit the staging area stands on; ``''`` before the first."""
        self.session.check()
        base = self.session.staging.base
        return "" if base is None else base.hex()

    # ------------------------------------------------------------------ columns

    def add_ndarray_column(
        self,
        name: str,
        shape: int | tuple[int, ...] | list[int] | None = None,
        dtype: npt.DTypeLike | None = None,
        prototype: np.ndarray[Any, Any] | None = None,
        variable_shape: bool = False,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> FlatSampleWriter:
        """Add a column of arrays.

        Parameters
        ----------
        name
            1 to 64 of ``A-Z a-z 0-9 _ . -``.
        shape
            Shape of every sample; with ``variable_shape`` the largest size of each dimension. An int is one dimension, ``()`` a scalar.
        dtype
            Element type, by default float64; bool, ints, float16/32/64, complex64/128 (bfloat16, float8 of ml_dtypes).
        prototype
            An array with the shape and dtype of the samples, instead of ``shape``.
        variable_shape
            Whether samples may differ in shape.
        contains_subsamples
            Whether samples hold subsamples.
        backend, backend_options
            Where new blobs go on this machine; None lets the schema decide.
        inline
            Whether values lie in the bookkeeping: None where they are of fixed shape and at most 32 bytes, False never.

        Returns
        -------
        FlatSampleWriter
            The new column.

        Raises
        ------
        InvalidInputError
            (``ValueError``) a bad name, shape, dtype or backend, or both ``shape`` and ``prototype``.
        ColumnExistsError
            (``LookupError``) the name is taken.
        AccessError
            (``PermissionError``) inside a ``with`` block.
        """
        self._check_new(name)
        if prototype is not None:
            if shape is not None:
                raise InvalidInputError("give a shape or a prototype, not both")
            model = as_array(prototype)
            wanted, found = model.shape, model.dtype if dtype is None else _dtype(dtype)
        elif shape is None:
            raise InvalidInputError("give the shape of the samples, or a prototype")
        else:
            wanted, found = as_shape(shape), _dtype(np.float64 if dtype is None else dtype)
        schema = NdarraySchema(found, wanted, variable=variable_shape, nested=contains_subsamples, inline=inline)
        return self._add(name, schema, backend, backend_options)

    def add_str_column(
        self,
        name: str,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> FlatSampleWriter:
        """Add a column of ``str``; parameters and errors as :meth:`add_ndarray_column`."""
        self._check_new(name)
        return self._add(name, StrSchema(nested=contains_subsamples, inline=inline), backend, backend_options)

    def add_bytes_column(
        self,
        name: str,
        contains_subsamples: bool = False,
        *,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        inline: bool | None = None,
    ) -> FlatSampleWriter:
        """Add a column of ``bytes``; parameters and errors as :meth:`add_ndarray_column`."""
        self._check_new(name)
        return self._add(name, BytesSchema(nested=contains_subsamples, inline=inline), backend, backend_options)

    def _check_new(self, name: str) -> None:
        self.session.check()
        if self.session.in_batch:
            raise AccessError("a column cannot be added inside a `with` block")
        self._check_free(name)

    def _check_free(self, name: str) -> None:
        check_name(name, "column")
        if name in self.session.staging.columns:
            raise ColumnExistsError(f"there is a column {name!r} already")

    def _add(self, name: str, schema: ColumnSchema, backend: object, options: object) -> FlatSampleWriter:
        if schema.nested:
            raise InvalidInputError("columns with subsamples are not implemented yet")
        preference = check_preference(schema, backend, options)
        staging = self.session.staging
        number = 0
        while (identity := column_id(name, schema.digest, number)) in staging.by_id:
            number += 1
        with self.session.writing():
            staging.add(name, identity, schema)
            if preference is not None:
                self.session.set_preference(identity, preference)
        return self._columns[name]

    def rename_column(self, old: str, new: str) -> None:
        """Give a column another name. It stays the same column: history has it under the old one, and diffs say that it was renamed.

        Columns obtained before stay valid, under the new name.

        Raises
        ------
        ColumnNotFoundError
            (a ``KeyError``) there is no column ``old``.
        InvalidInputError
            (a ``ValueError``) ``new`` is no name for a column.
        ColumnExistsError
            (a ``LookupError``) there is a column ``new`` already.
        AccessError
            (a ``PermissionError``) inside a ``with`` block.
        """
        self.session.check()
        if self.session.in_batch:
            raise AccessError("a column cannot be renamed inside a `with` block")
        staging = self.session.staging
        if old not in staging.columns:
            raise ColumnNotFoundError(f"there is no column {old!r} to rename")
        self._check_free(new)
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

    # ------------------------------------------------------------------ commit, reset, close

    def commit(self, message: str, *, amend: bool = False, meta: Mapping[str, Any] | None = None) -> str:
        """Make the staging area a commit on the branch.

        Parameters
        ----------
        message
            What was done.
        amend
            Replace the last commit of the branch instead of following it.
        meta
            Further facts to store with the commit: str to str, int, float, bool, bytes, or lists and maps of these.

        Returns
        -------
        str
            Digest of the commit in hex.

        Raises
        ------
        NothingToDoError
            (a ``RuntimeError``) nothing was changed.
        StaleRefError
            The branch moved beneath the staging area.
        """
        self.session.check()
        return commit_staging(self.session, self._config, message, amend=amend, meta=meta).hex()

    def reset_staging_area(self, *, force: bool = False) -> str:
        """Drop every change that is not committed; returns the commit, in hex, that the staging area stands on.

        Columns obtained before refuse everything afterwards.

        Raises
        ------
        NothingToDoError
            (a ``RuntimeError``) there is no change, and ``force`` is not given.
        """
        self.session.check()
        if self.session.in_batch:
            raise InvalidStateError("the staging area cannot be reset inside a `with` block")
        staging = self.session.staging
        if not force and not staging.changed():
            raise NothingToDoError("No changes made in staging area. No reset necessary.")

        def clear(transaction: WriteTransaction) -> None:
            self.session.lock.check(transaction)
            clear_staging(transaction)

        with self.session.writing():
            self.session.stores.db.update(clear)
            self._owner.retire_all()
            staging.rebase(staging.base)
        return self.commit_hash

    def restore(self, column: str, samples: Sequence[int | str] | None = None, *, commit: str) -> None:
        """Stage a column, or some of its samples, as a commit has them. Bytes are neither read nor written.

        Parameters
        ----------
        column
            Its name in the commit. A column of that name here that is another one is replaced.
        samples
            Keys; a sample that the commit does not have is removed. None: the whole column.
        commit
            A revision.

        Raises
        ------
        RevisionNotFoundError, ColumnNotFoundError, SampleNotFoundError
            There is no such commit, column or sample.
        InvalidInputError
            (a ``ValueError``) samples of a column that is another one in the commit.
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
        """Free the writer lock; refuse everything from now on. What is staged stays staged."""
        self.session.close()
        self._owner.retire_all()

    def __repr__(self) -> str:
        self.session.check()
        where = self.commit_hash[:12] or "no commit yet"
        return f"<WriterCheckout of branch {self.branch_name!r} at {where}: {len(self)} columns>"

    def __reduce__(self) -> Any:
        raise AccessError(
            "a checkout that writes cannot be pickled: it belongs to the process that holds the writer lock"
        )


def _stand_on(stores: Stores, lock: WriterLock, branch: str) -> None:
    """Make sure that nothing is staged elsewhere, and note that ``branch`` is the one written last."""
    staged = staged_on(stores.db)
    elsewhere = staged is not None and staged[0] != branch
    if staged is not None and elsewhere and Staging(stores.db, NodeStore(stores.db), *staged).changed():
        raise InvalidInputError(
            f"there are uncommitted changes on branch {staged[0]!r}: commit or reset them before writing to {branch!r}"
        )
    if elsewhere or stores.refs.head().last_written != branch:

        def move(transaction: WriteTransaction) -> None:
            lock.check(transaction)
            if elsewhere:
                clear_staging(transaction)
            stores.refs.set_head(transaction, last_written=branch)

        stores.db.update(move)


def _dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        return np.dtype(dtype)
    except TypeError as error:
        raise InvalidInputError(f"{dtype!r} is no dtype: {error}") from None
