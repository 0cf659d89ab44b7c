"""Checkouts of commits and of the staging area."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar, overload

from hangar import history
from hangar.errors import InvalidInputError, warn_caller
from hangar.flags import check_flag
from hangar.names import plain_text
from hangar.repository.base import RepositoryBase

if TYPE_CHECKING:
    from hangar.checkout import ReaderCheckout, WriterCheckout
    from hangar.columns.base import ResolveColumn
    from hangar.stores import Stores

__all__ = ["CheckoutMethods"]


class CheckoutMethods(RepositoryBase):
    """Methods of :class:`hangar.Repository` that open a commit or the staging area."""

    @overload
    def checkout(
        self, write: Literal[False] = False, *, branch: str = "", commit: str = "", fetch_on_read: bool = False
    ) -> ReaderCheckout: ...
    @overload
    def checkout(
        self, write: Literal[True], *, branch: str = "", commit: str = "", fetch_on_read: bool = False
    ) -> WriterCheckout: ...
    @overload
    def checkout(
        self, write: bool, *, branch: str = "", commit: str = "", fetch_on_read: bool = False
    ) -> ReaderCheckout | WriterCheckout: ...
    def checkout(
        self, write: bool = False, *, branch: str = "", commit: str = "", fetch_on_read: bool = False
    ) -> ReaderCheckout | WriterCheckout:
        """Open a commit to read, or the staging area of a branch to write.

        Parameters
        ----------
        write
            Whether to write.
        branch
            A branch (remote-tracking ones too, to read). Neither branch nor commit: the branch last written.
        commit
            To read: any revision, such as a digest, short digest, tag, ``name~2``.
        fetch_on_read
            Fetch data that only a remote has when it is read, a batch at a time, and keep it. Otherwise reading it
            raises ``NotLocalError``, and each column with such data warns (``UserWarning``) once here.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch or commit.
        LockedError
            (a ``PermissionError``) another writer holds the lock.
        InvalidInputError
            (a ``ValueError``) ``commit`` with ``write``, a ``write`` that is no bool, or changes staged on another
            branch.
        """
        from hangar.checkout import ReaderCheckout, open_writer

        stores = self._open()
        given: object = write
        if isinstance(given, str):
            raise InvalidInputError(
                f"write must be True or False, not {write!r}: name a branch as checkout(branch={write!r})"
            )
        write = check_flag(write, "write")
        resolve = _fetcher(stores) if check_flag(fetch_on_read, "fetch_on_read") else None
        if commit and branch:
            raise InvalidInputError("give a branch or a commit, not both")
        if not write:
            found = history.named_commit(stores.db, stores.refs, branch, commit)
            reader = ReaderCheckout(stores, found, resolve)
            self._sessions.add(reader.session)
            return _warned(stores, reader)
        if commit:
            raise InvalidInputError(
                "only a branch can be written to: create one there with `create_branch(name, commit)`"
            )
        name = plain_text(branch) if branch else stores.refs.head().last_written
        if not stores.refs.exists(f"heads/{name}"):
            raise history.unknown_branch(stores.refs, name)
        writer = None
        try:
            writer = open_writer(stores, self._config(), name, self._sessions, resolve=resolve)
            return _warned(stores, writer)
        except BaseException:
            # A warning may be an error, and the caller does not get the checkout: the traceback would keep the lock.
            if writer is not None:
                writer.close()
            raise


def _fetcher(stores: Stores) -> ResolveColumn:
    from hangar.remote.on_read import FetchOnRead

    return FetchOnRead(str(stores.directory), stores)


_C = TypeVar("_C", "ReaderCheckout", "WriterCheckout")


def _warned(stores: Stores, checkout: _C) -> _C:
    """Warn for each column with data that only a remote has, unless it is fetched when it is read."""
    if checkout.session.resolve is None and stores.blobs.promises.possible():
        for name, remote in checkout.columns.contains_remote_references.items():
            if remote:
                warn_caller(
                    f"column {name!r} contains reference-only samples: their data is at a remote, and not on this disk. Fetch "
                    f"it with `hangar fetch-data REMOTE REV -d {name}`, or open the checkout with fetch_on_read=True",
                    UserWarning,
                )
    return checkout
