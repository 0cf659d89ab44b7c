"""Checkouts of commits and of the staging area."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from hangar import history
from hangar.errors import InvalidInputError
from hangar.flags import check_flag
from hangar.names import plain_text
from hangar.repository.base import RepositoryBase

if TYPE_CHECKING:
    from hangar.checkout import ReaderCheckout, WriterCheckout

__all__ = ["CheckoutMethods"]


class CheckoutMethods(RepositoryBase):
    """Methods of :class:`hangar.Repository` that open a commit or the staging area."""

    @overload
    def checkout(self, write: Literal[False] = False, *, branch: str = "", commit: str = "") -> ReaderCheckout: ...
    @overload
    def checkout(self, write: Literal[True], *, branch: str = "", commit: str = "") -> WriterCheckout: ...
    @overload
    def checkout(self, write: bool, *, branch: str = "", commit: str = "") -> ReaderCheckout | WriterCheckout: ...
    def checkout(self, write: bool = False, *, branch: str = "", commit: str = "") -> ReaderCheckout | WriterCheckout:
        """Open a commit to read, or the staging area of a branch to write.

        Parameters
        ----------
        write
            Whether to write.
        branch
            A branch (remote-tracking ones too, to read). Neither branch nor commit: the branch last written.
        commit
            To read: any revision, such as a digest, short digest, tag, ``name~2``.

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
        if commit and branch:
            raise InvalidInputError("give a branch or a commit, not both")
        if not write:
            reader = ReaderCheckout(stores, history.named_commit(stores.db, stores.refs, branch, commit))
            self._sessions.add(reader.session)
            return reader
        if commit:
            raise InvalidInputError(
                "only a branch can be written to: create one there with `create_branch(name, commit)`"
            )
        name = plain_text(branch) if branch else stores.refs.head().last_written
        if not stores.refs.exists(f"heads/{name}"):
            raise history.unknown_branch(stores.refs, name)
        return open_writer(stores, self._config(), name, self._sessions)
