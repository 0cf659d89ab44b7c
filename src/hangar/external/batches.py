"""Buffering of an import: unique sample keys, and batches of samples that are written in one call."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from hangar.errors import ConflictError, CorruptionError, InvalidInputError
from hangar.external.base import BasePlugin
from hangar.external.fit import Column, Value, stored_values, value_bytes
from hangar.external.keysfile import Key
from hangar.external.loading import Job, Rows
from hangar.external.naming import Source, key_of
from hangar.external.records import SampleName
from hangar.schema.coordinates import pack
from hangar.schema.sparse import coordinates_of_scipy

__all__ = ["Batch", "ImportKeys", "WritableColumn", "equal_values", "exact_bytes"]


class WritableColumn(Column, Protocol):
    """A column that can be written."""

    def write(self, keys: Any, values: Any, /) -> Any: ...


class ImportKeys:
    """Assigns the key of each sample, and rejects duplicates within the import.

    Parameters
    ----------
    nested
        Whether the column is nested: keys are pairs of sample and subsample.
    integers
        Whether a name of digits alone becomes an integer key.
    """

    def __init__(self, nested: bool, integers: bool) -> None:
        self._nested = nested
        self._integers = integers
        self._owners: dict[Key, tuple[Source, str]] = {}
        self._taken: set[Key] = set()

    def reserve(self, job: Job) -> None:
        """Reserve the key of a file if it is known without reading the file, to find duplicates before any file is read.

        Raises the errors of :meth:`take`.
        """
        name = job.plugin.single_name(job.source.path)
        if name is not None:
            self._reserve(name, job.source)

    def take(self, name: str, source: Source) -> Key:
        """The key of the sample to which a plugin gave the name ``name``.

        Raises
        ------
        ConflictError
            The key belongs to another file, or occurs twice in this one.
        InvalidInputError
            The name cannot be a key.
        """
        key = self._reserve(name, source)
        if key in self._taken:
            raise ConflictError(f"{source.path} holds the sample {key!r} twice")
        self._taken.add(key)
        return key

    def _reserve(self, name: str, source: Source) -> Key:
        key = name.key if isinstance(name, SampleName) else source.key
        if (
            key is None
            or isinstance(key, tuple) != self._nested
            or (name != BasePlugin.sample_name(source.path) and not isinstance(name, SampleName))
        ):
            key = key_of(source.folder + name, source.path, nested=self._nested, integers=self._integers)
        owner = self._owners.get(key)
        if owner is None:
            self._owners[key] = (source, name)
        elif owner != (source, name):
            raise ConflictError(f"{owner[0].path} and {source.path} would both be the sample {key!r}: rename one")
        return key


class Batch:
    """Samples buffered for one batch write.

    Parameters
    ----------
    column, paths
        The columns for the values, and for the paths of their files.
    overwrite
        Whether existing samples with different content are replaced.
    rows
        Ring buffer into which the loader has already decoded the values (fixed shapes only). None: :meth:`add` keeps
        the values.
    capacity, limit
        The batch is full at this number of samples or bytes. With ``rows`` only the number of rows counts.
    keep_going
        Whether samples are written after one that exists with different content.

    Attributes
    ----------
    complete
        Paths of the files that are complete with this batch.
    written, overwritten, unchanged, nbytes, last
        Counts of the last :meth:`write`; see :class:`hangar.external.importer.ImportReport`.
    """

    def __init__(
        self,
        column: WritableColumn,
        paths: WritableColumn | None,
        overwrite: bool,
        rows: Rows | None,
        capacity: int,
        limit: int,
        keep_going: bool = False,
    ) -> None:
        self._keep_going = keep_going
        self._column = column
        self._paths = paths
        self._overwrite = overwrite
        self._rows = rows
        self._capacity = capacity
        self._limit = limit
        self._first = 0
        self._held = 0
        self._keys: list[Key] = []
        self._values: list[Value] = []
        self._sources: list[Source] = []
        self._slots: list[int] = []
        self._used = 0
        self.complete: list[str] = []
        self.written = self.overwritten = self.unchanged = self.nbytes = 0
        self.last = ""

    @property
    def samples(self) -> int:
        """Number of buffered samples."""
        return len(self._keys)

    @property
    def full(self) -> bool:
        """Whether the batch must be written before the next sample is added."""
        return self._used >= self._capacity or (self._rows is None and self._held >= self._limit)

    def add(self, key: Key, value: Value, source: Source) -> None:
        """Buffer one sample."""
        if self._rows is None:
            self._values.append(value)
        self._keys.append(key)
        self._sources.append(source)
        self._slots.append(self._used)
        self._used += 1
        self._held += value_bytes(value)

    def skip(self) -> None:
        """Leave out the row of a file that could not be read."""
        self._used += self._rows is not None

    def write(self) -> list[tuple[Source, ConflictError]]:
        """Write the buffered samples.

        Returns the errors about samples that exist with different content and may not be overwritten. Unless it keeps
        going, it stops at the first one.
        """
        keys, column = self._keys, self._column
        existing = [at for at, key in enumerate(keys) if key in column] if len(column) else []
        to_write = list(range(len(keys)))
        same: set[int] = set()
        self.overwritten = len(existing)
        differ: list[int] = []
        if existing and not self._overwrite:
            self.overwritten = 0
            same, differ = self._compare(existing)
            if differ and not self._keep_going:
                self.complete = list(dict.fromkeys(source.path for source in self._sources[: differ[0]]))
                to_write = to_write[: differ[0]]
            left_out = same.union(differ)
            to_write = [at for at in to_write if at not in left_out]
            self.unchanged = len(same)
        self.written, self.nbytes = len(to_write), 0
        if to_write:
            chosen = self._chosen(to_write)
            self.nbytes = chosen.nbytes if isinstance(chosen, np.ndarray) else sum(map(value_bytes, chosen))
            column.write([keys[at] for at in to_write], chosen)
        if self._paths is not None:
            # An earlier import may have stored the sample without its path.
            named = [*to_write, *(at for at in sorted(same) if keys[at] not in self._paths)]
            if named:
                self._paths.write([keys[at] for at in named], [self._sources[at].relative for at in named])
        done = [at for at in (*to_write[-1:], max(same, default=-1)) if at >= 0]
        self.last = self._sources[max(done)].path if done else ""
        return [(self._sources[at], self._conflict(at)) for at in differ]

    def clear(self) -> None:
        """Empty the buffer for the next batch."""
        if self._rows is not None:
            self._first = (self._first + self._used) % len(self._rows)
        self._keys, self._values, self._sources, self._slots, self.complete = [], [], [], [], []
        self._held = self._used = 0
        self.written = self.overwritten = self.unchanged = self.nbytes = 0
        self.last = ""

    def _chosen(self, places: list[int]) -> Any:
        if self._rows is None:
            return self._values if len(places) == len(self._values) else [self._values[at] for at in places]
        rows = self._rows[self._first : self._first + self._used]
        return rows if len(places) == len(rows) else rows[[self._slots[at] for at in places]]

    def _conflict(self, at: int) -> ConflictError:
        return ConflictError(
            f"{self._sources[at].path}: column {self._column.column!r} has a sample {self._keys[at]!r} "
            "already, with different content: --overwrite replaces it"
        )

    def _compare(self, existing: list[int]) -> tuple[set[int], list[int]]:
        """Positions of the samples that equal the existing ones, and of those that differ.

        Unless it keeps going, up to the first one that differs.
        """
        same: set[int] = set()
        differ: list[int] = []
        values = self._chosen(existing)
        try:
            stored = stored_values(self._column, [self._keys[at] for at in existing])
        except CorruptionError as error:
            raise CorruptionError(
                f"an existing sample cannot be compared with its file: {error}. "
                "--overwrite stores the content of the files again"
            ) from error
        for at, value, stored_value in zip(existing, values, stored, strict=True):
            if equal_values(value, stored_value):
                same.add(at)
                continue
            differ.append(at)
            if not self._keep_going:
                break
        return same, differ


def equal_values(one: Value, other: Value) -> bool:
    """Whether two values of the same column are equal, bit for bit."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and exact_bytes(one, other.dtype) == exact_bytes(other, other.dtype)
    first, second = coordinates_of_scipy(one), coordinates_of_scipy(other)
    if first is not None and second is not None:
        dtype = second.values.dtype
        packed = [pack(each.coordinates, each.values, each.shape, dtype) for each in (first, second)]
        return first.shape == second.shape and packed[0] == packed[1]
    return one == other


def exact_bytes(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> bytes:
    """The bytes of ``array`` in C order, as ``dtype``. Decoders give bools whose bytes are 0 and 255, not 0 and 1."""
    if dtype == np.bool_:
        return bytes((np.ascontiguousarray(array).view(np.uint8) != 0).tobytes())
    return array.astype(dtype, copy=False).tobytes()


def check_name(source: Source) -> None:
    """Refuse a path that is not UTF-8.

    Python represents such a path with lone surrogates, which a str value cannot hold.

    Raises
    ------
    InvalidInputError
        The path is not UTF-8.
    """
    try:
        source.relative.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError(
            f"{source.path!a} cannot be stored as a path: its name is not UTF-8; rename it, "
            "or import without --keep-names"
        ) from None
