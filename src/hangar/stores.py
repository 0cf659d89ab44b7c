"""The stores of one repository, as one object.

A checkout gets this object and does not own it. The stores close on ``close()``, or when nothing refers to them any
more. This module has no logic; it replaces an argument list that all higher layers would repeat. The blob store is
opened lazily, so code that needs only history or staging never imports it.
"""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from hangar import limits
from hangar.bounded import BoundedCache
from hangar.db import Database
from hangar.db.epoch import gc_epoch
from hangar.errors import CorruptionError
from hangar.objects.store import NodeStore
from hangar.refs import Refs

if TYPE_CHECKING:
    from hangar.blobs import BlobStore

__all__ = ["Stores"]


class Unsettled(Protocol):
    """Something that was stored, and that other processes do not see yet."""

    def publish(self) -> None:
        """Make it durable and visible."""


class Stores:
    """The stores of a repository.

    Parameters
    ----------
    directory
        The ``.hangar`` directory.
    lenient
        Open it although the format file is lost or damaged, for fsck.

    Attributes
    ----------
    directory
        The ``.hangar`` directory.
    db, nodes, refs
        The database, the node store and the refs in it.
    tables
        Offset tables of columns, by the digest of their tree.
    unsettled
        What reads have fetched and other processes do not see yet; see :meth:`settle`.
    """

    def __init__(self, directory: Path, *, lenient: bool = False) -> None:
        self.directory = directory
        self._made: dict[str, BlobStore] = {}
        self.unsettled: weakref.WeakValueDictionary[int, Unsettled] = weakref.WeakValueDictionary()
        self.db = Database.open(directory, lenient=lenient)
        try:
            try:
                with self.db.read() as transaction:
                    self.db.opened_epoch = gc_epoch(transaction)
            except CorruptionError:
                if not lenient:
                    raise
            self.nodes = NodeStore(self.db)
            self.refs = Refs(self.db)
            self.tables: BoundedCache[bytes, Any] = BoundedCache(limits.TABLE_CACHE_BYTES)
            self._finalizer = weakref.finalize(self, _close, self._made, self.db)
        except BaseException:
            self.db.close()
            raise

    @classmethod
    def shared(cls, directory: Path) -> Stores:
        """The stores shared by all unpickled objects of this process, with common caches, open files and tables.

        They close when nothing refers to them any more. If the directory was replaced by another one, it is opened
        again.
        """
        status = directory.stat() if directory.is_dir() else None
        key = str(directory), 0 if status is None else status.st_dev, 0 if status is None else status.st_ino
        found = _shared.get(key)
        if found is None:
            # If two threads race, one wins, and the stores of the other close.
            found = _shared.setdefault(key, cls(directory))
        return found

    @property
    def blobs(self) -> BlobStore:
        """The blob store, opened on first use."""
        found = self._made.get("blobs")
        if found is None:
            from hangar.blobs import BlobStore

            # If two threads race, one wins. There is no lock, as another thread could hold it while this process forks.
            found = self._made.setdefault("blobs", BlobStore(self.db, self.directory))
        return found

    def settle(self) -> None:
        """Publish what reads have fetched a moment ago, before something is decided by what is published."""
        for reference in self.unsettled.valuerefs():  # a list that other threads do not change
            one = reference()
            if one is not None:
                one.publish()

    def close(self) -> None:
        """Close the files and the database; other ``Stores`` objects are not affected."""
        self._finalizer()


def _close(made: dict[str, BlobStore], db: Database) -> None:
    for store in made.values():
        store.close()
    db.close()


_shared: Final[weakref.WeakValueDictionary[tuple[str, int, int], Stores]] = weakref.WeakValueDictionary()
