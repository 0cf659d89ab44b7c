"""Histories made of words: commits without content on a bare database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hangar.config import Person
from hangar.db import Database, WriteTransaction
from hangar.digest import Digest
from hangar.lock import create_lock
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.graph import record_generation
from hangar.objects.records import store_commit
from hangar.refs import BRANCHES, Refs

ANN = Person("Ann", "ann@example.com")


class History:
    """A repository's bookkeeping, with commits that are called by a letter or a word."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.refs = Refs(db)
        self.digests: dict[str, Digest] = {}

    def commit(
        self,
        name: str,
        *parents: str,
        branch: str | None = "master",
        time_ns: int = 0,
        tz: int = 0,
        message: str = "",
        columns: Sequence[ColumnEntry] = (),
    ) -> Digest:
        """Make the commit ``name`` and, if ``branch`` is given, move the branch there (it is made when missing)."""
        record = Commit(
            parents=[self.digests[parent] for parent in parents],
            columns=list(columns),
            attributes=None,
            author=ANN.name,
            email=ANN.email,
            time_ns=time_ns,
            tz=tz,
            message=message or f"message {name}",
            meta={"name": name},
        )

        def publish(transaction: WriteTransaction) -> Digest:
            digest = store_commit(transaction, record)
            record_generation(transaction, digest, record.parents)
            if branch is not None:
                self.move(transaction, BRANCHES + branch, digest)
            return digest

        self.digests[name] = self.db.update(publish)
        return self.digests[name]

    def move(self, transaction: WriteTransaction, ref: str, digest: Digest) -> None:
        """Let ``ref`` stand on ``digest``."""
        if self.refs.exists(ref, transaction):
            self.refs.update(transaction, ref, self.refs.get(ref, transaction), digest, who=ANN, operation="commit")
        else:
            self.refs.create(transaction, ref, digest, who=ANN, operation="create")

    def point(self, ref: str, name: str | None) -> None:
        """Make or move ``ref`` (a full name) to the commit ``name``."""
        digest = None if name is None else self.digests[name]
        if digest is None:
            self.db.update(lambda t: self.refs.create(t, ref, None, who=ANN, operation="create"))
        else:
            self.db.update(lambda t: self.move(t, ref, digest))

    def name(self, digest: bytes | None) -> str | None:
        """What the commit ``digest`` is called."""
        return next((name for name, known in self.digests.items() if known == digest), None)


@contextmanager
def new_history(directory: Path) -> Iterator[History]:
    """An empty history on the branch ``master``."""
    db = Database.create(directory)
    try:
        create_lock(db)
        history = History(db)
        db.update(lambda transaction: history.refs.set_up(transaction, "master"))
        yield history
    finally:
        db.close()
