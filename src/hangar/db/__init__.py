"""The LMDB database of a repository: environment, typed tables, transactions, format version."""

from __future__ import annotations

from hangar.db.environment import Database
from hangar.db.tables import Table
from hangar.db.transaction import ReadTransaction, WriteTransaction

__all__ = ["Database", "ReadTransaction", "Table", "WriteTransaction"]
