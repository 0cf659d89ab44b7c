"""Restores a column, or some of its samples, from a commit.

Only tree entries are copied; the blobs are in the repository already. Restoring a whole column writes one row, for any
size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from hangar.checkout.session import WriterSession
from hangar.columns.keyspace import FLAT, PAIRS, batch_list, lookup_prefix
from hangar.digest import Digest
from hangar.errors import ColumnNotFoundError, InvalidInputError, SampleNotFoundError
from hangar.names import SampleKey
from hangar.objects.commit import ColumnEntry
from hangar.objects.lookup import get_many
from hangar.objects.records import load_commit, load_record
from hangar.objects.scan import entries_below
from hangar.objects.store import NodeStore
from hangar.schema import ColumnSchema, open_schema
from hangar.staging import WorkingColumn

__all__ = ["Sample", "restore_column", "restore_samples"]

Sample: TypeAlias = "SampleKey | tuple[SampleKey, SampleKey]"
"""A sample or, in a nested column, a sample and one of its subsamples."""


def _entry_of(session: WriterSession, name: str, commit: Digest) -> ColumnEntry:
    for entry in load_commit(session.stores.db, commit).columns:
        if entry.name == name:
            return entry
    raise ColumnNotFoundError(f"there is no column {name!r} in commit {commit.hex()[:12]}")


def restore_column(session: WriterSession, name: str, commit: Digest) -> None:
    """Stage the whole column ``name`` of ``commit``. A different column with that name is removed."""
    entry = _entry_of(session, name, commit)
    schema = open_schema(load_record(session.stores.db, "schema", Digest(entry.schema)))
    with session.writing():
        session.staging.restore(entry, schema)


def _keys_of(nodes: NodeStore, schema: ColumnSchema, roots: Sequence[bytes], sample: Sample) -> list[bytes]:
    """Encoded keys of a sample. In a nested column: of all its subsamples in any of the trees, or of the given subsample."""
    if schema.nested and not isinstance(sample, tuple):
        prefix = lookup_prefix(sample)
        found = [] if prefix is None else [entries_below(nodes, root, prefix)[0] for root in roots]
        return list(dict.fromkeys(key for keys in found for key in keys))
    key = (PAIRS if schema.nested else FLAT).lookup(sample)
    return [] if key is None else [key]


def _has(column: WorkingColumn | None, key: bytes) -> bool:
    return column is not None and column.cell(key) is not None


def restore_samples(session: WriterSession, name: str, samples: Sequence[Sample], commit: Digest) -> None:
    """Stage samples of the column ``name`` of ``commit``. Samples that the commit does not have are removed.

    If the column does not exist, it is created with only these samples. A column that was renamed since is found by its
    id.
    """
    entry = _entry_of(session, name, commit)
    schema = open_schema(load_record(session.stores.db, "schema", Digest(entry.schema)))
    column = session.staging.by_id.get(entry.id, session.staging.columns.get(name))
    if column is not None and not (column.id == entry.id and column.schema.covers(schema)):
        raise InvalidInputError(
            f"column {name!r} is a different column in commit {commit.hex()[:12]}, or has a different schema there: restore all of it"
        )
    root = entry.tree
    roots = [one.digest for one in (root, None if column is None else column.merged_tree()) if one is not None]
    named = [tuple(one) if isinstance(one, list) else one for one in batch_list("samples", samples)]
    wanted = [(sample, _keys_of(session.nodes, schema, roots, sample)) for sample in named]
    keys = list(dict.fromkeys(key for _, found in wanted for key in found))
    cells = [None] * len(keys) if root is None else get_many(session.nodes, schema.form, root.digest, keys)
    here = {key for key, cell in zip(keys, cells, strict=True) if cell is not None or _has(column, key)}
    for sample, found in wanted:
        if not here.issuperset(found) or not found:
            raise SampleNotFoundError(
                f"column {name!r} has no sample {sample!r}, neither here nor in {commit.hex()[:12]}"
            )
    with session.writing():
        if column is None:
            column = session.staging.add(name, entry.id, schema)
            column.change_record(attributes=entry.attributes)
        column.set_many(keys, cells)
        session.spill_if_large()
