"""The stores of one repository, opened together.

A checkout is handed one of these and owns none of them. They close when told to, or when nobody holds them any more. Nothing
here has logic of its own; it is the argument list that every upper room would otherwise repeat.
"""

from __future__ import annotations

import weakref
from pathlib import Path

from hangar.blobs import BlobStore
from hangar.db import Database
from hangar.objects.store import NodeStore
from hangar.refs import Refs

__all__ = ["Stores"]


class Stores:
    """Where a repository keeps what.

    Attributes
    ----------
    directory
        The repository's ``.hangar``.
    db, nodes, blobs, refs
        The database, and what reads and writes it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.db = Database.open(directory)
        self.nodes = NodeStore(self.db)
        self.blobs = BlobStore(self.db, directory)
        self.refs = Refs(self.db)
        self._finalizer = weakref.finalize(self, _close, self.blobs, self.db)

    def close(self) -> None:
        """Let go of files and of the database; what others opened stays open."""
        self._finalizer()


def _close(blobs: BlobStore, db: Database) -> None:
    blobs.close()
    db.close()
