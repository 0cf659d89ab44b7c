"""Random histories with deleted branches: afterwards everything named reads the same, and nothing else is stored."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hangar import Repository
from hangar.blobs.recorded import scan_recorded
from hangar.db.tables import ATTRIBUTES, COMMITS, GRAPH, HEADERS, NODES, SCHEMAS
from hangar.digest import digest_list
from hangar.gc import policy
from hangar.history.roots import live_roots
from hangar.objects.graph import ancestors
from hangar.objects.walk import walk
from hangar.stores import Stores
from tests.gc.content import everything, require_sound, staged

BACKENDS = ("10", "00", "01")


def value(number: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(number).integers(0, 256, (6, 9), np.uint8)


def change(repo: Repository, source: random.Random, branch: str, *, commit: bool) -> None:
    """Some changes on a branch, committed or staged."""
    writer = repo.checkout(write=True, branch=branch)
    _change_columns(writer, source)
    with writer:
        for name in writer:
            _change_samples(writer[name], source)
        writer.attributes["n"] = source.randrange(5)
        if commit and writer.diff.status() == "DIRTY":
            writer.commit(f"{source.random()}")
    writer.close()


def _change_columns(writer: Any, source: random.Random) -> None:
    for name in list(writer):
        if name != "x" and source.random() < 0.1:
            writer.columns.delete(name)
    name = f"c{source.randrange(3)}"
    if name not in writer:
        kind = source.randrange(3)
        if kind == 0:
            writer.add_ndarray_column(name, (6, 9), np.uint8, backend=source.choice(BACKENDS))
        elif kind == 1:
            writer.add_str_column(name, contains_subsamples=source.random() < 0.5)
        else:
            writer.add_ndarray_column(name, (), np.int32)


def _change_samples(column: Any, source: random.Random) -> None:
    for _ in range(source.randrange(1, 12)):
        number = source.randrange(60)
        if column.column_type == "str":
            item: Any = f"{number} " * source.choice((1, 50))
        else:
            item = value(number) if column.shape else np.int32(number)
        if column.contains_subsamples:
            column[number % 7] = {number: item}
        else:
            column[number] = item
    keys = list(column.keys())
    if len(keys) > 3 and source.random() < 0.5:
        del column[source.choice(keys)]


def named(stores: Stores) -> dict[str, set[bytes]]:
    """All that the live roots name, found one by one."""
    roots = live_roots(stores)
    found: dict[str, set[bytes]] = {name: set() for name in ("commits", "nodes", "schemas", "attributes", "blobs")}
    places: list[tuple[Any, Any, Any]] = []
    for digest, commit in ancestors(stores.db, roots.commits):
        found["commits"].add(digest)
        places.append((stores.nodes, commit.columns, commit.attributes))
    if roots.staged is not None:
        records = [column.record for column in roots.staged.columns.values()]
        places.append((stores.nodes, records, roots.staged.attributes))
        places.append((roots.staged.nodes, roots.staged.entries(), None))
    for nodes, entries, attributes in places:
        found["attributes"].add(attributes)
        for entry in entries:
            found["schemas"].add(entry.schema)
            found["attributes"].add(entry.attributes)
            for digest, node in walk(nodes, entry.root) if entry.root is not None else ():
                if digest not in nodes.pending:  # nodes of staged changes that only the next commit will store
                    found["nodes"].add(digest)
                if not node.level:
                    found["blobs"].update(digest_list(node.blobs()))
    found["attributes"].discard(None)
    return found


def stored(stores: Stores) -> dict[str, set[bytes]]:
    tables = {"commits": COMMITS, "nodes": NODES, "schemas": SCHEMAS, "attributes": ATTRIBUTES}
    with stores.db.read() as transaction:
        found = {name: set(transaction.keys(table)) for name, table in tables.items()}
        assert set(transaction.keys(GRAPH)) == found["commits"]
    stores.blobs.refresh()
    indexes = scan_recorded(stores.blobs).indexes
    found["blobs"] = {digest for index in indexes for digest in digest_list(index.digests())}
    return found


@settings(max_examples=4 if settings().max_examples < 100 else 200)
@given(st.integers(0, 2**32), st.integers(4, 12), st.booleans())
def test_what_is_named_stays_and_the_rest_goes(seed: int, steps: int, everything_expires: bool) -> None:
    before_least, policy._LEAST_FREE = policy._LEAST_FREE, 1  # type: ignore[misc]
    try:
        with tempfile.TemporaryDirectory() as directory:
            run(Path(directory), random.Random(seed), steps, "all" if everything_expires else None)
    finally:
        policy._LEAST_FREE = before_least  # type: ignore[misc]


def run(directory: Path, source: random.Random, steps: int, expiry: str | None) -> None:
    repo = Repository(directory, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("x", (6, 9), np.uint8)[0] = value(0)
    writer.commit("first")
    writer.close()
    number = 0
    for _ in range(steps):
        branches = repo.list_branches()
        step = source.random()
        if step < 0.25:
            number += 1
            repo.create_branch(f"b{number}", source.choice(branches))
        elif step < 0.4 and len(branches) > 1:
            repo.checkout(write=True, branch="master").close()
            repo.remove_branch(source.choice([name for name in branches if name != "master"]), force_delete=True)
        elif step < 0.5:
            repo.tag(f"t{number}-{source.random()}", source.choice(branches))
        elif step < 0.6:
            repo.gc(expire_reflog=source.choice([None, "all"]))
        else:
            change(repo, source, source.choice(branches), commit=True)
    change(repo, source, "master", commit=False)
    before = everything(repo), staged(repo)
    dry = repo.gc(dry_run=True, expire_reflog=expiry)
    done = repo.gc(expire_reflog=expiry)
    assert (dry.commits, dry.nodes, dry.blobs) == (done.commits, done.nodes, done.blobs)
    repo.close()
    repo = Repository(directory)
    assert (everything(repo), staged(repo)) == before
    stores = repo._open()
    assert stored(stores) == named(stores)
    with stores.db.read() as transaction:
        headers = set(transaction.keys(HEADERS))
    used = {
        int(header).to_bytes(8, "big")
        for index in scan_recorded(stores.blobs).indexes
        for header in np.unique(index.locations().header).tolist()
    }
    assert headers == used
    require_sound(repo)
    repo.close()
