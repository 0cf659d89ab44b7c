"""Repair of commits, schemas, attributes and tree nodes, and of the derived table ``graph``.

The digest proves that a record is correct. It is found under another key, by correcting a flipped bit, or in another
repository. An inner node is also rebuilt from its children, which are stored on their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from hangar.db import WriteTransaction
from hangar.db.tables import ATTRIBUTES, COMMITS, GRAPH, NODES, SCHEMAS, Table
from hangar.digest import Digest, RecordClass, record_digest, record_digests
from hangar.errors import HangarError
from hangar.fsck.context import Changes, RepairContext
from hangar.fsck.report import Repair
from hangar.history.roots import live_roots
from hangar.objects.arrays import decode_array
from hangar.objects.children import is_array
from hangar.objects.graph import GraphRow
from hangar.objects.rebuild import rebuild_nodes
from hangar.objects.records import load_commit
from hangar.publishing import publish_rows
from hangar.wording import plural

__all__ = ["repair_graph", "repair_records"]

_RECORDS: Final[tuple[tuple[RecordClass, Table], ...]] = (
    ("commit", COMMITS),
    ("schema", SCHEMAS),
    ("attributes", ATTRIBUTES),
    ("node", NODES),
    ("array", NODES),
)
_BATCH: Final = 1_000


def repair_records(context: RepairContext) -> Iterator[Repair]:
    """Repair those damaged and missing records whose content can be recovered."""
    for name, table in _RECORDS:
        wanted = [Digest(digest) for digest in context.digests(name)]
        if not wanted:
            continue
        with context.stores.db.read() as transaction:
            rows = dict(zip(wanted, transaction.get_many(table, wanted), strict=True))
        wrong = {digest: row for digest, row in rows.items() if row is None or record_digest(name, row) != digest}
        found = dict(_corrected(context, name, wrong))
        lost = wrong.keys() - found.keys()
        if lost:
            found.update(_elsewhere(context, name, table, lost))
            lost = wrong.keys() - found.keys()
        if lost and context.source is not None:
            found.update(_matching(name, list(context.source.records(name, sorted(lost))), lost))
            lost = wrong.keys() - found.keys()
        yield from _store(context, name, table, {digest: rows[digest] for digest in found}, found)
        if name == "node" and lost:
            yield from _rebuilt(context, {digest: rows[digest] for digest in lost})


def _corrected(
    context: RepairContext, name: RecordClass, rows: dict[Digest, bytes | None]
) -> Iterator[tuple[Digest, bytes]]:
    for digest, row in rows.items():
        if row is None:
            continue
        right = context.bit_flips.correct(row, lambda data: record_digest(name, data) == digest)  # noqa: B023
        if right is not None:
            yield digest, right


def _elsewhere(
    context: RepairContext, name: RecordClass, table: Table, wanted: Iterable[Digest]
) -> Iterator[tuple[Digest, bytes]]:
    """Records that are stored under a wrong key."""
    left = set(wanted)
    with context.stores.db.read() as transaction:
        batch: list[bytes] = []
        for _, row in transaction.scan(table):
            batch.append(row)
            if len(batch) == _BATCH:
                yield from _matching(name, batch, left)
                batch = []
        yield from _matching(name, batch, left)


def _matching(name: RecordClass, rows: Sequence[bytes], wanted: Collection[Digest]) -> Iterator[tuple[Digest, bytes]]:
    for digest, row in zip(record_digests(name, rows), rows, strict=True):
        if digest in wanted:
            yield digest, row


def _store(
    context: RepairContext, name: str, table: Table, old: dict[Digest, bytes | None], new: dict[Digest, bytes]
) -> Iterator[Repair]:
    if not new:
        return
    changes = Changes()
    for digest, data in new.items():
        before = old[digest]
        if before is not None:
            changes.drop(table, digest, before, "its bytes do not match its digest")
        changes.put.append((table, digest, data))
    kept = changes.keep(context.lost)

    def write(transaction: WriteTransaction) -> None:
        changes.make(transaction)

    publish_rows(context.stores.db, context.lock, write)
    yield Repair(name, f"restored {plural(len(new), f'{name} record')}, verified by digest", kept)


def _rebuilt(context: RepairContext, rows: dict[Digest, bytes | None]) -> Iterator[Repair]:
    """Inner nodes that are built again from their children."""
    roots = list(_roots(context))
    found = rebuild_nodes(context.stores.db, rows.keys(), roots)
    yield from _store(context, "node", NODES, {digest: rows[digest] for digest in found}, found)


def _roots(context: RepairContext) -> Iterator[tuple[Digest, int]]:
    """The roots of all columns that commits name, and their numbers of entries."""
    for digest in _commits(context):
        try:
            columns = load_commit(context.stores.db, digest).columns
        except HangarError:
            continue
        for entry in columns:
            if entry.root is not None:
                yield Digest(entry.root), entry.entries
    yield from _chunk_maps(context)


def _chunk_maps(context: RepairContext) -> Iterator[tuple[Digest, int]]:
    """The roots of the chunk maps of all array records that can be read, and their numbers of chunks."""
    with context.stores.db.read() as transaction:
        for digest, data in transaction.scan(NODES):
            if is_array(data) and record_digest("array", data) == digest:
                try:
                    record = decode_array(data)
                except HangarError:
                    continue
                if record.root is not None:
                    yield Digest(record.root), record.chunks


def _commits(context: RepairContext) -> Iterator[Digest]:
    """All commits, parents after their children."""
    seen: set[Digest] = set()
    stack = list(live_roots(context.stores, lambda kind, error: None).commits)
    while stack:
        digest = stack.pop()
        if digest in seen:
            continue
        seen.add(digest)
        yield digest
        try:
            stack += [Digest(parent) for parent in load_commit(context.stores.db, digest).parents]
        except HangarError:
            continue


def repair_graph(context: RepairContext) -> Iterator[Repair]:
    """Compute the generations of all commits again, and write those that are wrong."""
    parents: dict[Digest, list[Digest] | None] = {}
    for digest in _commits(context):
        try:
            parents[digest] = [Digest(parent) for parent in load_commit(context.stores.db, digest).parents]
        except HangarError:
            parents[digest] = None
    generations = _generations(parents)
    encoded = {digest: msgspec.msgpack.encode(GraphRow(number)) for digest, number in generations.items()}
    with context.stores.db.read() as transaction:
        stored = dict(transaction.scan(GRAPH))
    wrong = [(digest, row) for digest, row in encoded.items() if stored.get(digest) not in (row, None)]
    if any(problem.kind in ("table", "graph") for problem in context.found.problems):
        wrong += [(digest, row) for digest, row in encoded.items() if digest not in stored]
    if not wrong:
        return

    def write(transaction: WriteTransaction) -> None:
        for digest, row in wrong:
            transaction.put(GRAPH, digest, row)

    publish_rows(context.stores.db, context.lock, write)
    yield Repair("graph", f"computed the generations of {plural(len(wrong), 'commit')} again")


def _generations(parents: dict[Digest, list[Digest] | None]) -> dict[Digest, int]:
    """One more than the highest of the parents; left out for a commit with an ancestor that cannot be read."""
    found: dict[Digest, int] = {}
    unknown = {digest for digest, above in parents.items() if above is None}
    for start in parents:
        stack = [start]
        while stack:
            top = stack[-1]
            above = parents.get(top)
            if top in found or top in unknown or above is None:
                stack.pop()
                continue
            if any(parent in unknown for parent in above):
                unknown.add(top)
                continue
            waiting = [parent for parent in above if parent not in found]
            if waiting:
                stack += waiting
            else:
                found[top] = 1 + max((found[parent] for parent in above), default=0)
                stack.pop()
    return found
