"""Bringing a column, or some of its samples, back as a commit has them.

Tree entries are copied, and the bytes they name are in the repository already: a whole column costs one row, however large it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from hangar.checkout.session import WriterSession
from hangar.columns.lookup import KeyBatch
from hangar.digest import Digest
from hangar.errors import ColumnNotFoundError, InvalidInputError, SampleNotFoundError
from hangar.names import SampleKey
from hangar.objects.commit import ColumnEntry
from hangar.objects.lookup import get_many
from hangar.objects.records import load_commit, load_record
from hangar.schema import load_schema
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
    samples = list(dict.fromkeys(samples))
    keys = KeyBatch.of(samples).encoded()
    root = tree_of(entry)
    cells = [None] * len(keys) if root is None else get_many(session.nodes, schema.form, root.digest, keys)
    for key, cell, sample in zip(keys, cells, samples, strict=True):
        if cell is None and (column is None or column.cell(key) is None):
            raise SampleNotFoundError(
                f"column {name!r} has no sample {sample!r}, neither here nor in {commit.hex()[:12]}"
            )
    with session.writing():
        if column is None:
            column = session.staging.add(name, entry.id, schema)
            column.attributes = None if entry.attributes is None else Digest(entry.attributes)
        column.set_many(keys, cells)
        session.grown()
