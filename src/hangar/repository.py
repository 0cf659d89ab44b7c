"""The public class ``Repository``, which delegates to the packages that do the work.

Creating a ``Repository`` is cheap. It opens its stores at their first use and shares them with its checkouts, which
keep them open. The modules that read and write columns are imported with the first checkout, not for history alone.
"""

from __future__ import annotations

import contextlib
import os
import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from hangar import _fs, describe, history
from hangar._version import __version__
from hangar.config import Config
from hangar.db import WriteTransaction
from hangar.db.format import FILE_NAME, require_format
from hangar.errors import (
    AccessError,
    HangarError,
    InvalidInputError,
    InvalidTypeError,
    LockedError,
    PathNotDirectoryError,
    PathNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from hangar.flags import check_flag
from hangar.history import BranchHead
from hangar.initialize import check_request, initialize
from hangar.lock import force_release, holder
from hangar.names import plain_text
from hangar.progress import Progress, format_bytes
from hangar.refs import Head
from hangar.revisions import resolve
from hangar.stores import Stores

if TYPE_CHECKING:
    from typing_extensions import Self

    from hangar.checkout import ReaderCheckout, WriterCheckout
    from hangar.checkout.session import ReaderSession, WriterSession
    from hangar.convert import ConvertReport
    from hangar.fsck import FsckReport

__all__ = ["Repository"]

DIRECTORY = ".hangar"


class Repository:
    """A repository in ``path``.

    Parameters
    ----------
    path
        An existing directory (``~`` is expanded); the repository is its subdirectory ``.hangar``.
    exists
        Warn if there is no repository yet; :meth:`init` creates one.

    Raises
    ------
    PathNotFoundError, PathNotDirectoryError
        (``FileNotFoundError``, ``NotADirectoryError``) about ``path``.
    InvalidTypeError
        (``TypeError``) ``path`` is not a path.
    """

    def __init__(self, path: str | os.PathLike[str], exists: bool = True) -> None:
        try:
            self._path = Path(path).expanduser().resolve()
        except TypeError:
            raise InvalidTypeError(f"path must be a str or a Path, not {type(path).__name__}") from None
        if not self._path.exists():
            raise PathNotFoundError(f"there is no directory {self._path}")
        if not self._path.is_dir():
            raise PathNotDirectoryError(f"{self._path} is not a directory")
        self._directory = self._path / DIRECTORY
        self._stores: Stores | None = None
        self._sessions: weakref.WeakSet[ReaderSession | WriterSession] = weakref.WeakSet()
        exists = check_flag(exists, "exists")
        if not self.initialized:
            if not os.access(self._path, os.W_OK):
                raise AccessError(f"{self._path} is not writable, and holds no repository")
            if exists:
                require_format(self._directory)
                describe.warn_missing(self._path)

    @classmethod
    def open(cls, path: str | os.PathLike[str] = ".") -> Repository:
        """The repository of ``path``, or of the nearest parent directory that has one.

        Raises
        ------
        RepositoryNotFoundError
            There is none.
        """
        start = Path(path).expanduser().resolve()
        for place in (start, *start.parents):
            if _fs.exists(place / DIRECTORY / FILE_NAME):
                return cls(place)
        for place in (start, *start.parents):
            require_format(place / DIRECTORY)
        raise RepositoryNotFoundError(
            f"{start} is no Hangar repository, nor is any directory above it: run `hangar init` to make one"
        )

    # ------------------------------------------------------------------ the repository itself

    @property
    def path(self) -> str:
        """Directory of the repository (the one that holds ``.hangar``)."""
        return str(self._path)

    @property
    def initialized(self) -> bool:
        """Whether there is a repository."""
        return _fs.exists(self._directory / FILE_NAME)

    @property
    def version(self) -> str:
        """Version of Hangar."""
        self._open()
        return __version__

    @property
    def size_nbytes(self) -> int:
        """Bytes below ``.hangar``."""
        self._open()
        return describe.directory_bytes(self._directory)

    @property
    def size_human(self) -> str:
        """``size_nbytes`` as readable text, such as ``'62.44 kB'``."""
        return format_bytes(self.size_nbytes)

    @property
    def writer_lock_held(self) -> bool:
        """Whether a writer, in any process, holds the writer lock."""
        return holder(self._open().db) is not None

    def init(self, user_name: str, user_email: str, *, remove_old: bool = False) -> str:
        """Create a repository with the branch ``master`` and no commit.

        Parameters
        ----------
        user_name, user_email
            Author of commits; stored in the repository's configuration.
        remove_old
            Delete an existing repository first.

        Returns
        -------
        str
            Path of the ``.hangar`` directory.

        Raises
        ------
        RepositoryExistsError
            (an ``OSError``) a repository exists, and ``remove_old`` is not given.
        """
        remove_old = check_flag(remove_old, "remove_old")
        check_request(self._directory, user_name, user_email, remove_old=remove_old)
        self.close()
        initialize(self._directory, user_name, user_email, remove_old=remove_old)
        return str(self._directory)

    def _open(self) -> Stores:
        if self._stores is None:
            if not self.initialized:
                require_format(self._directory)
                raise RepositoryNotFoundError(
                    f"there is no repository in {self._path}: call init(), or run `hangar init`"
                )
            self._stores = Stores(self._directory)
        return self._stores

    @property
    def stores(self) -> Stores:
        """The open stores, for the command line and tools. They are not part of the public API."""
        return self._open()

    def _config(self) -> Config:
        return Config(self._directory)

    def close(self) -> None:
        """Close the repository and its checkouts. Optional; the repository opens again at its next use."""
        for session in list(self._sessions):
            with contextlib.suppress(HangarError):  # it may be closed already, or its lock taken over
                session.close()
        # Cleared first: if closing is interrupted, the repository can still be opened again.
        stores, self._stores = self._stores, None
        if stores is not None:
            stores.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Repository {self.path!r}{'' if self.initialized else ', not initialized'}>"

    def _repr_html_(self) -> str:
        from hangar.columns.present import html_table

        rows = describe.repository_rows(self._open()) if self.initialized else [("state", "not initialized")]
        return html_table(f"Repository {self.path}", (), rows)

    # ------------------------------------------------------------------ checkouts

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

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the last commit of the branch last written."""
        return describe.attributes(self._open())

    # ------------------------------------------------------------------ branches and history

    def create_branch(self, name: str, base_commit: str | None = None) -> BranchHead:
        """Create a branch; the current branch stays the same.

        Parameters
        ----------
        name
            Parts of 1 to 64 of ``A-Z a-z 0-9 _ . -`` with ``/`` between them, such as ``feature/boxes``.
        base_commit
            A revision; by default the head of the branch last written.

        Raises
        ------
        InvalidInputError, NameTakenError, RevisionNotFoundError
            (``ValueError``) a bad or taken name, an unknown base.
        InvalidStateError
            (a ``RuntimeError``) there is no commit yet.
        """
        stores = self._open()
        return history.create_branch(stores.db, stores.refs, name, base_commit, who=self._config().person())

    def branch_off(self, name: str) -> BranchHead:
        """Create a branch at the last commit of the current branch and switch to it; staged changes are kept.

        Raises what :meth:`create_branch` does, and LockedError (a ``PermissionError``) where a writer holds the lock.
        """
        stores = self._open()
        return history.branch_off(stores.db, stores.refs, name, who=self._config().person())

    def remove_branch(self, name: str, *, force_delete: bool = False) -> BranchHead:
        """Delete a branch; its commits stay in the reflog.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such local branch.
        AccessError
            (a ``PermissionError``) it is the only branch or the one last written, or a writer holds the lock.
        UnmergedError
            (a ``RuntimeError``) no other branch holds its commits, and ``force_delete`` is not given.
        """
        stores = self._open()
        force = check_flag(force_delete, "force_delete")
        return history.remove_branch(stores.db, stores.refs, name, force=force, who=self._config().person())

    def list_branches(self) -> list[str]:
        """Names of all branches, sorted, remote-tracking ones included."""
        return history.list_branches(self._open().refs)

    def head(self) -> Head:
        """The current branch of the command line, and the branch last written."""
        return self._open().refs.head()

    def set_write_branch(self, name: str) -> None:
        """Make ``name`` the current branch of the command line."""
        stores = self._open()
        name = plain_text(name)

        def move(transaction: WriteTransaction) -> None:
            if not stores.refs.exists(f"heads/{name}", transaction):
                raise history.unknown_branch(stores.refs, name)
            stores.refs.set_head(transaction, write_branch=name)

        stores.db.update(move)

    def resolve(self, rev: str) -> str:
        """Digest in hex of the commit that ``rev`` names."""
        stores = self._open()
        digest = resolve(stores.db, stores.refs, rev).digest
        if digest is None:
            raise RevisionNotFoundError(f"branch {plain_text(rev)!r} has no commit yet")
        return digest.hex()

    def log(
        self,
        branch: str | None = None,
        commit: str | None = None,
        *,
        return_contents: bool = False,
        show_time: bool = False,
        show_user: bool = False,
    ) -> history.LogContents | None:
        """Print the history as a graph, or return it.

        Parameters
        ----------
        branch, commit
            Where to begin: a branch, or a revision; by default the branch last written.
        return_contents
            Return a dict (``head``, ``ancestors``, ``specs``, ``order``, ``branch_heads``) instead of printing.
        show_time, show_user
            Print them too.

        Raises
        ------
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch or commit.
        """
        stores = self._open()
        start = history.named_commit(stores.db, stores.refs, branch, commit)
        return history.show_log(
            stores.db, stores.refs, start, return_contents=return_contents, show_time=show_time, show_user=show_user
        )

    def summary(self, *, branch: str = "", commit: str = "") -> None:
        """Print path, disk use, the commit, and each column's schema and count."""
        stores = self._open()
        describe.show(describe.summary(stores, self.path, history.named_commit(stores.db, stores.refs, branch, commit)))

    def commit_info(self, rev: str = "") -> describe.CommitInfo:
        """Metadata of a commit (by default the head of the branch last written)."""
        stores = self._open()
        return describe.commit_info(stores, history.named_commit(stores.db, stores.refs, None, rev))

    def status(self) -> describe.StatusReport:
        """The staged changes, their branch, and the holder of the writer lock."""
        return describe.status(self._open())

    # ------------------------------------------------------------------ maintenance

    def convert_backend(
        self,
        column: str,
        backend: str | None = None,
        backend_options: dict[str, Any] | None = None,
        *,
        branch: str = "",
        progress: Progress = None,
    ) -> ConvertReport:
        """Convert all stored data of ``column``, in every commit, to another backend; new data is stored there too.

        No commit changes, and readers can continue. After an interrupt or a crash the same call continues.

        Parameters
        ----------
        column
            Its name on ``branch`` (by default the branch last written).
        backend, backend_options
            A tag and its options; None: those that new data of the column goes to.
        progress
            See :mod:`hangar.progress`.

        Raises
        ------
        ColumnNotFoundError
            (a ``KeyError``) there is no such column.
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch.
        InvalidInputError, InvalidTypeError
            (``ValueError``, ``TypeError``) the backend is unknown or cannot hold such data, or the options are wrong.
        LockedError
            (a ``PermissionError``) a writer holds the lock: close its checkout first.
        """
        from hangar.convert import convert

        return convert(self._open(), column, backend, backend_options, branch=branch, progress=progress)

    def force_release_writer_lock(self) -> bool:
        """Take the writer lock from its holder, which cannot write any more. Warns (``ResourceWarning``)."""
        released = force_release(self._open().db)
        warnings.warn(
            "the writer lock was released by force: a writer that still runs is refused from now on",
            ResourceWarning,
            stacklevel=2,
        )
        return released

    def verify_repo_integrity(self) -> bool:
        """Verify everything, including the bytes of every blob.

        Raises
        ------
        CorruptionError
            (a ``RuntimeError``) something is damaged; the message lists it.
        LockedError
            (a ``PermissionError``) a writer holds the lock.
        """
        stores = self._open()
        if holder(stores.db) is not None:
            raise LockedError("a writer holds the writer lock: close it before the repository is verified")
        from hangar import fsck

        return fsck.require_sound(fsck.check(stores, data=True))

    def fsck(self, *, data: bool = False, progress: Progress = None) -> FsckReport:
        """Check the structure of all history and of the staging area.

        Parameters
        ----------
        data
            Read every blob and compare it with its digest.
        progress
            See :mod:`hangar.progress`.

        Returns
        -------
        FsckReport
            What was checked, and every problem by digest and file.
        """
        from hangar import fsck

        return fsck.check(self._open(), data=check_flag(data, "data"), progress=progress)
