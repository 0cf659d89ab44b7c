"""Repositories that fetch from and push to each other in one process, and what must be equal afterwards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hangar import Repository
from hangar.blobs.orphans import drop_push
from hangar.blobs.unfinished import unfinished_pushes
from hangar.columns.chunked.array import ChunkedArray
from hangar.db.tables import TABLES, Table
from hangar.digest import Digest
from hangar.objects.commit import tree_digest
from hangar.objects.graph import ancestors
from hangar.objects.records import load_commit
from hangar.refs import BRANCHES
from hangar.remote.peer import Limits, Peer, Reader, RefUpdate
from hangar.remote.selection import blobs_of_columns
from hangar.remote.service import Service
from hangar.remote.transfer import FetchedBlobs, FetchedHistory, Pushed, fetch_blobs, fetch_history, push
from hangar.stores import Stores

WHO = ("Ada", "ada@example.org")
TRACKED = "remotes/origin/"


class Place:
    """A repository, its stores, and its service."""

    def __init__(self, path: Path, **how: Any) -> None:
        path.mkdir(parents=True)
        self.path = path
        self.repo = Repository(path, exists=False)
        self.repo.init(*WHO)
        self._open(**how)

    @classmethod
    def opened(cls, path: Path, limits: Limits) -> Place:
        """A repository that exists."""
        place = cls.__new__(cls)
        place.path = path
        place.repo = Repository(path)
        place._open(limits=limits)
        return place

    def _open(self, **how: Any) -> None:
        self.stores = Stores(self.path / ".hangar")
        self.service = Service(self.stores, **how)

    def close(self) -> None:
        self.service.close()
        self.stores.close()
        self.repo.close()

    # ------------------------------------------------------------------ content

    def head(self, branch: str = "master") -> Digest | None:
        return self.stores.refs.get(BRANCHES + branch)

    def commit(self, change: Callable[[Any], object], branch: str = "master", message: str = "change") -> Digest:
        """Change the branch with a writer, and commit."""
        with_writer = self.repo.checkout(write=True, branch=branch)
        try:
            change(with_writer)
            return Digest(bytes.fromhex(with_writer.commit(message)))
        finally:
            with_writer.close()

    def content(self, digest: Digest) -> dict[str, dict[Any, Any]]:
        """Everything that a reader of a commit sees."""
        reader = self.repo.checkout(commit=digest.hex())
        try:
            return {name: {key: plain(value) for key, value in flat(column)} for name, column in reader.columns.items()}
        finally:
            reader.close()

    def trees(self, digest: Digest) -> list[tuple[bytes, bytes]]:
        """Commits and tree digests of a whole history."""
        return [(name, tree_digest(commit)) for name, commit in ancestors(self.stores.db, [digest])]

    def forget_pushes(self) -> None:
        """Delete what unfinished pushes left."""
        for one in unfinished_pushes(self.stores.directory):
            assert drop_push(self.stores.db, self.stores.directory, one)

    def check(self) -> None:
        """Nothing is damaged, and nothing is left over."""
        report = self.repo.fsck(data=True)
        assert not report.problems, report.problems
        assert not list((self.path / ".hangar" / "leases").glob("*"))
        assert not list((self.path / ".hangar" / "quarantine").glob("push-*"))


def flat(column: Any) -> Iterator[tuple[Any, Any]]:
    for key in column:
        value = column[key]
        if hasattr(value, "items"):
            for below, inner in value.items():
                yield (key, below), inner
        else:
            yield key, value


def plain(value: Any) -> Any:
    if isinstance(value, ChunkedArray):
        value = np.asarray(value[...])
    if hasattr(value, "tocsr"):
        value = value.toarray()
    return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


# ---------------------------------------------------------------------------------------------------- what users do


def fetch(place: Place, reader: Reader, branches: Sequence[str] | None = None) -> FetchedHistory:
    """Fetch the history of all branches, and move the remote-tracking refs."""
    refs = [ref for page in reader.refs(("heads/",)) for ref in page.refs if ref.digest is not None]
    chosen = {ref.name.removeprefix(BRANCHES): Digest(ref.digest or b"") for ref in refs}
    if branches is not None:
        chosen = {name: chosen[name] for name in branches}

    def record(transaction: Any) -> None:
        for name, new in chosen.items():
            _track(place, transaction, name, new)

    return fetch_history(place.stores, reader, chosen.values(), remote_id=1, record=record)


def _track(place: Place, transaction: Any, name: str, new: Digest) -> None:
    refs = place.stores.refs
    if not refs.exists(TRACKED + name, transaction):
        refs.create(transaction, TRACKED + name, new, who=WHO, operation="fetch")
    elif refs.get(TRACKED + name, transaction) != new:
        refs.update(transaction, TRACKED + name, refs.get(TRACKED + name, transaction), new, who=WHO, operation="fetch")


def fetch_data(place: Place, reader: Reader, head: Digest, **how: Any) -> FetchedBlobs:
    """Fetch the data of a commit and all its ancestors."""
    commits = [commit for _, commit in ancestors(place.stores.db, [head])]
    return fetch_blobs(place.stores, reader, list(blobs_of_columns(place.stores, commits)), **how)


def update(name: str, old: Digest | None, new: Digest | None, **how: Any) -> RefUpdate:
    return RefUpdate(name, old, new, os.urandom(16), **how)


def push_branch(place: Place, peer: Peer, branch: str = "master", *, to: str | None = None, **how: Any) -> Pushed:
    """Push a branch from where the peer's is now."""
    name = BRANCHES + (to or branch)
    old = next((ref.digest for page in peer.refs() for ref in page.refs if ref.name == name), None)
    wanted = update(name, None if old is None else Digest(old), place.head(branch), **how)
    return push(place.stores, peer, [wanted], who=WHO)


# ---------------------------------------------------------------------------------------------------- the whole state


def state(place: Place) -> dict[str, Any]:
    """All rows of all tables, and the bytes of all files, of a repository."""
    found: dict[str, Any] = {}
    with place.stores.db.read() as transaction:
        for table in every_table():
            found[table.name] = list(transaction.raw_rows(table))
    for path in sorted((place.path / ".hangar").rglob("*")):
        relative = path.relative_to(place.path / ".hangar").as_posix()
        if path.is_file() and not relative.startswith("db"):
            found[relative] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def every_table() -> Sequence[Table]:
    return TABLES


@contextmanager
def places(root: Path, *names: str, **how: Any) -> Iterator[list[Place]]:
    found = [Place(root / name, **how) for name in names]
    try:
        yield found
    finally:
        for place in found:
            place.close()


def commits_of(place: Place, head: Digest) -> set[Digest]:
    return {digest for digest, _ in ancestors(place.stores.db, [head])}


def parents_of(place: Place, digest: Digest) -> list[Digest]:
    return list(load_commit(place.stores.db, digest).parents)
