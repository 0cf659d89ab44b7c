"""Which blobs a user means: those of columns, samples or ranges of samples, of one commit or of a history.

Used to fetch and to evict. Trees are walked once, whatever number of commits shares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests
from hangar.columns.keybatch import NO_SUCH_KEY as _NO_KEY
from hangar.columns.keyspace import FLAT, PAIRS, lookup_prefix
from hangar.digest import DIGEST_BYTES, Digest, digest_array
from hangar.errors import ColumnNotFoundError, InvalidInputError, InvalidTypeError, SampleNotFoundError
from hangar.objects.bulk import blobs_of
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.graph import ancestors
from hangar.objects.lookup import get_many
from hangar.objects.node import ARRAYS
from hangar.objects.records import load_commit, load_record
from hangar.objects.scan import entries_below, leaves
from hangar.objects.walk import blob_leaves
from hangar.remote.transfer import ColumnBlobs
from hangar.schema import ColumnSchema, open_schema
from hangar.schema.keys import lookup_key
from hangar.stores import Stores

__all__ = ["all_blobs", "blobs_of_columns", "blobs_of_samples", "column_entry", "commits_of", "listed_samples"]

_BATCH: Final = 65_536
_NONE: Final = np.empty((0, DIGEST_BYTES), np.uint8)


def commits_of(stores: Stores, head: Digest, *, whole_history: bool) -> list[tuple[Digest, Commit]]:
    """A commit, or it and all its ancestors, the newest first."""
    if whole_history:
        return list(ancestors(stores.db, [head]))
    return [(head, load_commit(stores.db, head))]


def column_entry(commit: Commit, name: str) -> ColumnEntry:
    """The column of a name.

    Raises
    ------
    ColumnNotFoundError
        (a ``KeyError``) the commit has none.
    """
    for entry in commit.columns:
        if entry.name == name:
            return entry
    names = ", ".join(entry.name for entry in commit.columns) or "none"
    raise ColumnNotFoundError(f"there is no column {name!r} in this commit; there are: {names}")


def blobs_of_columns(
    stores: Stores, commits: Iterable[Commit], names: Sequence[str] | None = None
) -> Iterator[ColumnBlobs]:
    """The blobs of columns of commits that have no location here, in key order, each once.

    Parameters
    ----------
    names
        Names of columns; None: all. A commit without one of them is passed over.
    """
    walked: dict[Digest, set[Digest]] = {}
    met = DigestSet()
    for commit in commits:
        for entry in commit.columns:
            if entry.root is None or (names is not None and entry.name not in names):
                continue
            schema = open_schema(load_record(stores.db, "schema", Digest(entry.schema)))
            seen = walked.setdefault(Digest(entry.schema), set())
            found = [_NONE, *(_new_in(met, part) for part in _absent(stores, entry.root, schema, seen))]
            digests = np.concatenate(found)
            if len(digests):
                yield ColumnBlobs(entry.id, schema, digests)


def _new_in(met: DigestSet, part: Digests) -> Digests:
    """Add digests to a set; those that are new, each once, in their order."""
    return part[met.admit(part)]


def all_blobs(stores: Stores, entry: ColumnEntry) -> Digests:
    """All blobs of a column, stored here or not, each once."""
    found = DigestSet()
    if entry.root is not None:
        schema = open_schema(load_record(stores.db, "schema", Digest(entry.schema)))
        for part in _below(stores, entry.root, schema, set()):
            found.add(part)
    return found.digests()


def _absent(stores: Stores, root: bytes, schema: ColumnSchema, walked: set[Digest]) -> Iterator[Digests]:
    """Blobs below a root that are not stored here."""
    waiting: list[Digests] = []
    held = 0
    for part in _below(stores, root, schema, walked):
        waiting.append(part)
        held += len(part)
        if held >= _BATCH:
            yield _unknown(stores, waiting)
            waiting, held = [], 0
    if waiting:
        yield _unknown(stores, waiting)


def _below(stores: Stores, root: bytes, schema: ColumnSchema, walked: set[Digest]) -> Iterator[Digests]:
    """Blobs below a root, without those below nodes that were walked before."""
    if schema.known_form and schema.form.kind != ARRAYS:
        return blobs_of(stores.nodes, root, schema.form, walked)
    return (node.blobs() for _, node in blob_leaves(stores.nodes, root, walked))


def _unknown(stores: Stores, parts: list[Digests]) -> Digests:
    digests = np.concatenate(parts)
    return digests[~stores.blobs.known(digests)]


def listed_samples(samples: Any, *, nested: bool) -> list[Any]:
    """Several samples, or one, as a list. In a nested column a tuple names one, unless it holds tuples."""
    if isinstance(samples, tuple) and nested and not any(isinstance(one, tuple) for one in samples):
        return [samples]
    if isinstance(samples, np.ndarray):
        return list(samples.tolist())
    several = isinstance(samples, Iterable) and not isinstance(samples, (str, bytes))
    return list(samples) if several else [samples]


def blobs_of_samples(stores: Stores, entry: ColumnEntry, samples: Iterable[Any]) -> ColumnBlobs:
    """The blobs of some samples of a column, in the order given, stored here or not.

    Parameters
    ----------
    samples
        Keys. Of a nested column ``key``, ``(key,)`` and ``(key, ...)`` are whole samples, ``(key, subsample)`` one subsample.
        A slice of keys is a range in key order: from the first up to and including the last.

    Raises
    ------
    SampleNotFoundError
        (a ``KeyError``) there is no such sample or subsample.
    InvalidTypeError
        (a ``TypeError``) it can never be a key.
    InvalidInputError
        (a ``ValueError``) a tuple of another length.
    """
    schema = open_schema(load_record(stores.db, "schema", Digest(entry.schema)))
    cells: list[bytes] = []
    single: list[tuple[Any, bytes | None]] = []
    for sample in samples:
        key = _one_key(entry, schema, sample)
        if key is None:
            cells += _cells_of(stores, entry, schema, sample)
        else:
            single.append((sample, key))
    cells += _cells_at(stores, entry, schema, single)
    return ColumnBlobs(entry.id, schema, _named(stores, schema, cells))


def _named(stores: Stores, schema: ColumnSchema, cells: list[bytes]) -> Digests:
    """The blobs that cells name, each once, in order: of a chunked array its chunks."""
    if schema.form.kind == ARRAYS:
        met = DigestSet()
        seen: set[Digest] = set()
        found = [_NONE]
        for record in stores.nodes.load_arrays(list(dict.fromkeys(map(Digest, cells)))):
            if record.root is not None:
                found += [_new_in(met, node.blobs()) for _, node in blob_leaves(stores.nodes, record.root, seen)]
        return np.concatenate(found)
    digests = [] if schema.uniform and schema.inline_bytes >= 0 else map(schema.digest_of, cells)
    return digest_array(list(dict.fromkeys(digest for digest in digests if digest is not None)))


def _one_key(entry: ColumnEntry, schema: ColumnSchema, sample: Any) -> bytes | None:
    """Encoded key of a sample or subsample that is one entry; None for a whole sample of a nested column, or a range."""
    if isinstance(sample, slice):
        return None
    if not schema.nested:
        if isinstance(sample, tuple):
            raise InvalidTypeError(f"column {entry.name!r} is flat: its samples are named by one key, not {sample!r}")
        return FLAT.lookup(sample) or _NO_KEY
    if not isinstance(sample, tuple):
        return None
    if not 1 <= len(sample) <= 2:
        raise InvalidInputError(
            f"a nested column specifier sequence has one or two parts, (sample,) or (sample, subsample), not {sample!r}"
        )
    return None if len(sample) == 1 or sample[1] is Ellipsis else PAIRS.lookup(sample) or _NO_KEY


def _cells_at(
    stores: Stores, entry: ColumnEntry, schema: ColumnSchema, single: list[tuple[Any, bytes | None]]
) -> list[bytes]:
    keys = [key or _NO_KEY for _, key in single]
    root = entry.root
    found: list[bytes | None] = (
        [None] * len(keys) if root is None else get_many(stores.nodes, schema.form, Digest(root), keys) if keys else []
    )
    for (sample, _), cell in zip(single, found, strict=True):
        if cell is None:
            raise _missing(entry, sample)
    return [cell for cell in found if cell is not None]


def _cells_of(stores: Stores, entry: ColumnEntry, schema: ColumnSchema, sample: Any) -> list[bytes]:
    """Cells of a whole sample of a nested column, or of a range of samples."""
    if isinstance(sample, slice):
        return _range(stores, entry, schema, sample)
    prefix = lookup_prefix(sample[0] if isinstance(sample, tuple) else sample)
    found = [] if prefix is None or entry.root is None else entries_below(stores.nodes, entry.root, prefix)[1]
    if not found:
        raise _missing(entry, sample)
    return found


def _missing(entry: ColumnEntry, sample: Any) -> SampleNotFoundError:
    return SampleNotFoundError(f"column {entry.name!r} has no sample {sample!r}")


def _range(stores: Stores, entry: ColumnEntry, schema: ColumnSchema, wanted: slice) -> list[bytes]:
    """Cells of the samples from one key to another, both included."""
    bound = lookup_prefix if schema.nested else lookup_key
    first = b"" if wanted.start is None else bound(wanted.start)
    last = None if wanted.stop is None else bound(wanted.stop)
    if first is None or (last is None and wanted.stop is not None) or wanted.step is not None:
        raise InvalidInputError(f"{wanted!r} is not a range of keys of column {entry.name!r}")
    root = entry.tree
    if root is None:
        return []
    stop = None if last is None else last + (b"\xff" if schema.nested else b"\x00")
    cells: list[bytes] = []
    for leaf, start, end in leaves(stores.nodes, root.digest, first, stop):
        cells += leaf.cells(start, end)
    return cells
