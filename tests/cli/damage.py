"""Damages of a repository, one of each sort that messages tell of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import lmdb

from hangar import Repository
from hangar.db.tables import COMMITS, LOCATIONS, META, NODES, REFS, SCHEMAS
from tests.cli.shell import Shell

__all__ = ["DAMAGE", "LOOKS"]


def delete_rows(shell: Shell, table: object, key: bytes = b"") -> None:
    with Repository(shell.path) as repository:
        repository.stores.db.update(lambda transaction: transaction.delete_prefix(table, key))  # type: ignore[arg-type]


def nodes(shell: Shell) -> None:
    delete_rows(shell, NODES)


def commits(shell: Shell) -> None:
    delete_rows(shell, COMMITS)


def schemas(shell: Shell) -> None:
    delete_rows(shell, SCHEMAS)


def epoch(shell: Shell) -> None:
    delete_rows(shell, META, b"writer epoch")


def head(shell: Shell) -> None:
    with Repository(shell.path) as repository:
        key = next(key for key, _ in rows(repository) if b"/" not in key)
        repository.stores.db.update(lambda transaction: transaction.delete(REFS, key))


def rows(repository: Repository) -> list[tuple[bytes, bytes]]:
    with repository.stores.db.read() as transaction:
        return list(transaction.scan(REFS))


def ref(shell: Shell) -> None:
    with Repository(shell.path) as repository:
        key = next(key for key, _ in rows(repository) if b"master" in key)
        repository.stores.db.update(lambda transaction: transaction.put(REFS, key, b"\xc1"))


def row(shell: Shell) -> None:
    """Change a row below the checksum that every row has."""
    with lmdb.open(str(shell.path / ".hangar" / "db"), max_dbs=64) as environment:
        table = environment.open_db(b"refs", create=False)
        with environment.begin(table, write=True) as transaction:
            key = next(key for key, _ in transaction.cursor() if b"master" in key)
            transaction.put(key, (transaction.get(key) or b"") + b"x")


def locations(shell: Shell) -> None:
    delete_rows(shell, LOCATIONS)
    for path in (shell.path / ".hangar" / "runs").iterdir():
        path.unlink()


DAMAGE: Final[dict[str, Callable[[Shell], None]]] = {
    "blobs/": locations,
    "db/": row,
    "lock.py": epoch,
    "objects/content.py": schemas,
    "objects/": nodes,
    "columns/": nodes,
    "refs/rows.py": ref,
    "refs/store.py": head,
    "revisions.py": commits,
    "": nodes,
}
"""The damage of which the messages of a room speak; of rooms that are not listed: that of a tree."""

LOOKS: Final = (
    ["status"],
    ["ls", "labels"],
    ["show", "master:images/a"],
    ["export", "images", "master", "-o", "out"],
    ["log"],
    ["commit", "-m", "x"],
    ["writer-lock"],
)
