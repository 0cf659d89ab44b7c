"""The stores of one repository, opened together.

A checkout is handed one of these and owns none of them. They close when told to, or when nobody holds them any more. Nothing
here has logic of its own; it is the argument list that every upper room would otherwise repeat. That of blobs is made when it is first
asked for: what concerns history and staging alone never imports it.
"""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hangar import limits
from hangar.bounded import BoundedCache
from hangar.db import Database
from hangar.objects.store import NodeStore
from hangar.refs import Refs

if TYPE_CHECKING:
    from hangar.blobs import BlobStore

__all__ = ["Stores"]


class Stores:
    """Where a repository keeps what.

    Attributes
    ----------
    directory
        The repository's ``.hangar``.
    db, nodes, refs
        The database, and what reads and writes it.
    tables
        Offset tables of columns, by the digest of their tree.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._made: dict[str, BlobStore] = {}
        self.db = Database.open(directory)
        try:
            self.nodes = NodeStore(self.db)
            self.refs = Refs(self.db)
            self.tables: BoundedCache[bytes, Any] = BoundedCache(limits.TABLE_CACHE_BYTES)
            self._finalizer = weakref.finalize(self, _close, self._made, self.db)
        except BaseException:
            self.db.close()
            raise

    @classmethod
    def shared(cls, directory: Path) -> Stores:
        """The stores that everything unpickled in this process has in common: its caches, open files and tables.

        They close when nobody holds them any more. A directory that another one has replaced is opened anew.
        """
        status = directory.stat() if directory.is_dir() else None
        key = str(directory), 0 if status is None else status.st_dev, 0 if status is None else status.st_ino
        found = _shared.get(key)
        if found is None:
            # Of two threads one wins; what the other opened closes.
            found = _shared.setdefault(key, cls(directory))
        return found

    @property
    def blobs(self) -> BlobStore:
        """Where the blobs are: one store for all that share these."""
        found = self._made.get("blobs")
        if found is None:
            from hangar.blobs import BlobStore

            # Of two threads one wins. There is no lock that another thread could hold while this process forks.
            found = self._made.setdefault("blobs", BlobStore(self.db, self.directory))
        return found

    def close(self) -> None:
        """Let go of files and of the database; what others opened stays open."""
        self._finalizer()


def _close(made: dict[str, BlobStore], db: Database) -> None:
    for store in made.values():
        store.close()
    db.close()


_shared: Final[weakref.WeakValueDictionary[tuple[str, int, int], Stores]] = weakref.WeakValueDictionary()
