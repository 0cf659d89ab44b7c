"""Bringing a column, or some of its samples, back as a commit has them.

Tree entries are copied, and the bytes they name are in the repository already: a whole column costs one row, however large it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from hangar.checkout.session import WriterSession
from hangar.columns.keyspace import lookup_prefix, range_end
from hangar.digest import Digest
from hangar.errors import ColumnNotFoundError, InvalidInputError, SampleNotFoundError
from hangar.names import SampleKey
from hangar.objects.commit import ColumnEntry
from hangar.objects.lookup import get
from hangar.objects.node import Root
from hangar.objects.records import load_commit, load_record
from hangar.objects.scan import leaves
from hangar.schema import load_schema
from hangar.schema.keys import lookup_key
from hangar.staging import tree_of

__all__ = ["restore_column", "restore_samples"]


def _entry_of(session: WriterSession, name: str, commit: Digest) -> ColumnEntry:
    for entry in load_commit(session.stores.db, commit).columns:
        if entry.name == name:
            return entry
    raise ColumnNotFoundError(f"there is no column {name!r} in commit {commit.hex()[:12]}")


def restore_column(session: WriterSession, name: str, commit: Digest) -> None:
    """Stage the whole column ``name`` as ``commit`` has it; one of that name that is another column is removed."""
    entry = _entry_of(session, name, commit)
    schema = load_schema(load_record(session.stores.db, "schema", Digest(entry.schema)))
    with session.writing():
        session.staging.restore(entry, schema)


def restore_samples(session: WriterSession, name: str, samples: Sequence[SampleKey], commit: Digest) -> None:
    """Stage samples of the column ``name`` as ``commit`` has them; those that it does not have are removed.

    A column that is not here is made anew, with these samples alone; one that was renamed since is found by its id.
    """
    entry = _entry_of(session, name, commit)
    schema = load_schema(load_record(session.stores.db, "schema", Digest(entry.schema)))
    column = session.staging.by_id.get(entry.id, session.staging.columns.get(name))
    if column is not None and not (column.id == entry.id and column.schema.covers(schema)):
        raise InvalidInputError(
            f"column {name!r} is another one in commit {commit.hex()[:12]}, or had another schema: restore all of it"
        )
    root, here = tree_of(entry), None if column is None else column.fold()
    changes: dict[bytes, bytes | None] = {}
    for sample in dict.fromkeys(samples):
        found: dict[bytes, bytes | None] = dict.fromkeys(_entries(session, here, sample, schema.nested))
        found |= _entries(session, root, sample, schema.nested)
        if not found:
            raise SampleNotFoundError(
                f"column {name!r} has no sample {sample!r}, neither here nor in {commit.hex()[:12]}"
            )
        changes |= found
    keys = sorted(changes)
    with session.writing():
        if column is None:
            column = session.staging.add(name, entry.id, schema)
            column.attributes = None if entry.attributes is None else Digest(entry.attributes)
        column.set_many(keys, [changes[key] for key in keys])
        session.grown()


def _entries(session: WriterSession, root: Root | None, sample: SampleKey, nested: bool) -> dict[bytes, bytes]:
    """Encoded keys and cells of one sample in a tree: of all its subsamples in a nested one."""
    prefix = lookup_prefix(sample) if nested else lookup_key(sample)
    if root is None or prefix is None:
        return {}
    if not nested:
        cell = get(session.nodes, root.digest, prefix)
        return {} if cell is None else {prefix: cell}
    found: dict[bytes, bytes] = {}
    for leaf, first, last in leaves(session.nodes, root.digest, prefix, range_end(prefix)):
        found.update(zip(leaf.keys[first:last], leaf.cells(first, last), strict=True))
    return found
