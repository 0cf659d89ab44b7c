"""The repository itself: path, opening and closing, creation, size."""

from __future__ import annotations

import contextlib
import os
import weakref
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hangar import _fs, describe
from hangar._version import __version__
from hangar.config import Config
from hangar.db.format import FILE_NAME, lost_format, require_format
from hangar.errors import (
    AccessError,
    HangarError,
    InvalidTypeError,
    PathNotDirectoryError,
    PathNotFoundError,
    RepositoryNotFoundError,
)
from hangar.flags import check_flag
from hangar.initialize import check_request, initialize
from hangar.lock import holder
from hangar.progress import format_bytes
from hangar.stores import Stores

if TYPE_CHECKING:
    from typing_extensions import Self

    from hangar.checkout.session import ReaderSession, WriterSession

__all__ = ["RepositoryBase"]

DIRECTORY = ".hangar"


class RepositoryBase:
    """Path, stores and open checkouts of a repository; see :class:`hangar.Repository`."""

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
            if exists and not lost_format(self._directory):
                describe.warn_missing(self._path)

    @classmethod
    def open(cls, path: str | os.PathLike[str] = ".") -> Self:
        """The repository of ``path``, or of the nearest parent directory that has one.

        Raises
        ------
        RepositoryNotFoundError
            There is none.
        """
        start = Path(path).expanduser().resolve()
        for place in (start, *start.parents):
            if _fs.exists(place / DIRECTORY / FILE_NAME) or lost_format(place / DIRECTORY):
                return cls(place)
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
        return self._settled(self._stores)

    @staticmethod
    def _settled(stores: Stores) -> Stores:
        """What reads have fetched is published, before a command looks at what is published."""
        with contextlib.suppress(HangarError):  # told by the next fetch, or when the checkout is closed
            stores.settle()
        return stores

    def _open_leniently(self) -> Stores:
        """The open stores, also where the format file is lost or damaged, to check and repair."""
        if self._stores is None:
            if not self.initialized and not lost_format(self._directory):
                return self._open()
            self._stores = Stores(self._directory, lenient=True)
        return self._settled(self._stores)

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
            try:
                stores.settle()
            finally:
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
