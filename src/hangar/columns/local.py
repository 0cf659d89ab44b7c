"""Which samples of a column are on this disk, and which are only promised by a remote.

Entries are examined in batches: one look-up in the blob store for some thousand of them. In a repository where nothing is
promised, nothing is looked at. A column whose blobs are all here is remembered by its root (the table ``complete``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hangar.blobs.absence import not_local, not_there
from hangar.blobs.index import Mask
from hangar.blobs.promises import is_complete, mark_complete
from hangar.db.epoch import gc_epoch
from hangar.digest import digest_array
from hangar.errors import HangarError, NotLocalError
from hangar.objects.node import ARRAYS
from hangar.objects.samples import sample_of
from hangar.objects.scan import leaves
from hangar.schema.keys import decode_prefixes

if TYPE_CHECKING:
    from hangar.schema import ColumnSchema

__all__ = [
    "LocalEntries",
    "LocalSamples",
    "has_promised",
    "local_mask",
    "may_have_promised",
    "named",
    "promised_keys",
    "promised_samples",
]

_AT_ONCE: Final = 8_192
"""Entries that are looked up together; the first batches are smaller, so that a column without data is found at once."""
_FIRST: Final = 256

Reads = Any
"""A column, or a sample of a nested column: an ``EntryReader``, which imports this module."""
Batch = tuple[list[bytes], list[bytes], Mask]
"""Encoded keys, cells, and the mask of the entries whose data has no location."""


def _batches(reader: Reads) -> Iterator[Batch]:
    """The entries of a column or sample in key order."""
    nodes, root = reader._snapshot()
    if root is None:
        return
    space = reader._space
    keys: list[bytes] = []
    cells: list[bytes] = []
    most = _FIRST
    for leaf, first, last in leaves(nodes, root.digest, space.start, space.stop):
        keys += leaf.keys[first:last]
        cells += leaf.cells(first, last)
        if len(keys) >= most:
            yield keys, cells, _absent(reader, cells)
            keys, cells, most = [], [], min(2 * most, _AT_ONCE)
            reader._session.check()
    if keys:
        yield keys, cells, _absent(reader, cells)


def _absent(reader: Reads, cells: list[bytes]) -> Mask:
    """Mask of the cells whose blob, or a chunk of whose array, has no location."""
    blobs, schema = reader._session.stores.blobs, reader._schema
    if _is_chunked(schema):
        return np.fromiter((len(reader._values.reader.absent(cell)) > 0 for cell in cells), np.bool_, len(cells))
    absent = np.zeros(len(cells), np.bool_)
    digests = _digests(schema, cells)
    places = [at for at, digest in enumerate(digests) if digest is not None]
    if places:
        missing = blobs.locate(digest_array([digests[at] for at in places])).missing
        absent[np.array(places)[missing]] = True
    return absent


def _digests(schema: ColumnSchema, cells: list[bytes]) -> list[Any]:
    """The blob that each cell names, or None."""
    return [None] * len(cells) if _never(schema) else list(map(schema.digest_of, cells))


def _is_chunked(schema: ColumnSchema) -> bool:
    """Whether a cell names an array, whose chunks may be absent one by one."""
    return schema.known_form and schema.form.kind == ARRAYS


def _never(schema: ColumnSchema) -> bool:
    """Whether all values are in the tree, so that nothing can be absent."""
    return schema.uniform and schema.inline_bytes >= 0


def _promised_batches(reader: Reads) -> Iterator[Batch]:
    """As :func:`_batches`, with the mask of the entries that are promised; only batches that have such."""
    for keys, cells, absent in _batches(reader):
        if absent.any():
            promised = _promised(reader, cells, absent)
            if promised.any():
                yield keys, cells, promised


def _promised(reader: Reads, cells: list[bytes], absent: Mask) -> Mask:
    """Mask of the absent cells whose data, or a chunk of it, a remote has promised."""
    promises = reader._session.stores.blobs.promises
    gone = list(compress(cells, absent))
    promised = np.zeros(len(cells), np.bool_)
    if _is_chunked(reader._schema):
        promised[absent] = [promises.promised(reader._values.reader.absent(cell)).any() for cell in gone]
    else:
        promised[absent] = promises.promised(digest_array(_digests(reader._schema, gone)))
    return promised


def may_have_promised(reader: Reads) -> bool:
    """Whether the column has to be looked at: its data is not all in the tree, and something is promised."""
    return not _never(reader._schema) and reader._session.stores.blobs.promises.possible()


def has_promised(reader: Reads) -> bool:
    """Whether some data of a column or sample is promised and not here."""
    reader._session.check()
    root = reader._source.root()
    if root is None or not may_have_promised(reader):
        return False
    db = reader._session.stores.db
    with db.read() as transaction:
        if is_complete(transaction, root.digest):
            return False
        epoch = gc_epoch(transaction)
    complete = True
    for _, cells, absent in _batches(reader):
        if absent.any():
            if _promised(reader, cells, absent).any():
                return True
            complete = False  # lost or purged
    if complete and reader._space.stop is None and not reader._session.writable:
        # Not where the repository cannot be written to.
        with contextlib.suppress(HangarError):
            reader._session.stores.settle()
            mark_complete(db, root.digest, epoch)
    return False


def promised_keys(reader: Reads) -> Iterator[Any]:
    """Keys of the entries whose data is promised and not here, in key order."""
    if may_have_promised(reader):
        for keys, _, promised in _promised_batches(reader):
            yield from reader._space.decode(list(compress(keys, promised)))


def promised_samples(column: Reads) -> Iterator[Any]:
    """Keys of the samples of a nested column of which a subsample is promised and not here, in key order."""
    last = b""
    if may_have_promised(column):
        for keys, _, promised in _promised_batches(column):
            prefixes = dict.fromkeys(map(sample_of, compress(keys, promised)))
            prefixes.pop(last, None)
            yield from decode_prefixes(list(prefixes))
            last = next(reversed(prefixes), last)


def local_mask(column: Reads) -> Mask | None:
    """Mask of the samples of a column, in key order, whose data is all on this disk; None if that is all of them."""
    if not has_promised(column):
        return None
    if not column._schema.nested:
        return ~np.concatenate([absent for _, _, absent in _batches(column)])
    whole: dict[bytes, bool] = {}
    for keys, _, absent in _batches(column):
        for prefix, gone in zip(map(sample_of, keys), absent.tolist(), strict=True):
            whole[prefix] = whole.get(prefix, True) and not gone
    return np.fromiter(whole.values(), np.bool_, len(whole))


class LocalEntries:
    """The entries of a flat column, or of a sample, whose data is on this disk; what ``keys(local=True)`` shows."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def _batches(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        for keys, cells, absent in _batches(self._reader):
            here = ~absent
            yield list(compress(keys, here)), list(compress(cells, here))

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self._batches())

    def __contains__(self, key: object) -> bool:
        if key not in self._reader:
            return False
        reader = self._reader
        return not _absent(reader, [reader._cell(key)]).any()

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key, if it is here."""
        return self._reader.get(key, default) if key in self else default

    def _iterate_keys(self, *, backwards: bool = False) -> Iterator[Any]:
        found = (key for keys, _ in self._batches() for key in self._reader._live(self._reader._space.decode(keys)))
        return reversed(list(found)) if backwards else found

    def _iterate_items(self, *, backwards: bool = False) -> Iterator[tuple[Any, Any]]:
        reader = self._reader
        if backwards:
            yield from reversed(list(self._iterate_items()))
            return
        for keys, cells in self._batches():
            for start in range(0, len(keys), _FIRST):
                stop = start + _FIRST
                values = reader._values.many(cells[start:stop])
                yield from reader._live(zip(reader._space.decode(keys[start:stop]), values, strict=True))

    def _iterate_values(self, *, backwards: bool = False) -> Iterator[Any]:
        return (value for _, value in self._iterate_items(backwards=backwards))

    def __repr__(self) -> str:
        return f"{self._reader!r}, what is on this disk"


class LocalSamples:
    """The samples of a nested column whose data is all on this disk."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def _prefixes(self) -> Iterator[list[bytes]]:
        """Key prefixes of the samples; a sample is known to be whole when the next one begins."""
        current, whole = b"", True
        for keys, _, absent in _batches(self._column):
            done: list[bytes] = []
            for prefix, gone in zip(map(sample_of, keys), absent.tolist(), strict=True):
                if prefix != current:
                    if current and whole:
                        done.append(current)
                    current, whole = prefix, True
                whole = whole and not gone
            yield done
        if current and whole:
            yield [current]

    def __len__(self) -> int:
        return sum(map(len, self._prefixes()))

    def __contains__(self, key: object) -> bool:
        return key in self._column and not has_promised(self._column[key])

    def get(self, key: Any, default: Any = None) -> Any:
        """The sample of a key, if all of it is here."""
        return self._column[key] if key in self else default

    def _iterate_keys(self, *, backwards: bool = False) -> Iterator[Any]:
        found = (key for prefixes in self._prefixes() for key in self._column._live(decode_prefixes(prefixes)))
        return reversed(list(found)) if backwards else found

    def _iterate_values(self, *, backwards: bool = False) -> Iterator[Any]:
        return (self._column[key] for key in self._iterate_keys(backwards=backwards))

    def _iterate_items(self, *, backwards: bool = False) -> Iterator[tuple[Any, Any]]:
        return ((key, self._column[key]) for key in self._iterate_keys(backwards=backwards))

    def __repr__(self) -> str:
        return f"{self._column!r}, what is on this disk"


def named(error: NotLocalError, column: str, rev: str, key: Any = None) -> NotLocalError:
    """The error of a read, with the column, the sample and the command that fetches it."""
    remote = error.remotes[0] if error.remotes else "REMOTE"
    sample = "" if key is None else f" -s {_sample_text(key)}"
    if error.gone:
        remote = "NAME"
    command = f"hangar fetch-data {remote} {rev or 'REV'} -d {column}{sample}"
    where = f"of column {column!r} " if key is None else f"(sample {key!r} of column {column!r}) "
    if error.gone:
        return not_there(error.count, error.remotes, where, command)
    return not_local(error.count, error.remotes, where, command)


def _sample_text(key: Any) -> str:
    """A sample as the command line takes it: a text that looks like a number, or has a slash after one, says that it is text."""
    parts = key if isinstance(key, (tuple, list)) else (key,)
    return "/".join(_part_text(part, first=not at) for at, part in enumerate(parts))


def _part_text(part: Any, *, first: bool) -> str:
    if not isinstance(part, str):
        return f"int:{part}"
    return f"str:{part}" if part.isdecimal() or (not first and "/" in part) else part
