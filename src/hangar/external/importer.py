"""Files into a column: many files, in sorted order, in batches of bounded size.

Every file is checked against the column before anything of its batch is written, and every error names its file. The caller makes
the whole import one batch (``with checkout:``), so that an error leaves the column as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Protocol

import numpy as np

from hangar.errors import ConflictError, InvalidInputError
from hangar.external.fit import Column, Needs, Value
from hangar.external.loading import Job, load_values
from hangar.external.naming import Source, key_text
from hangar.progress import Progress, report

__all__ = ["ImportReport", "import_files"]

BATCH_BYTES: Final = 64 * 2**20
BATCH_SAMPLES: Final = 65_536


class WritableColumn(Column, Protocol):
    """A column that samples are written to."""

    def write(self, keys: Any, values: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did."""

    samples: int
    overwritten: int
    files: int
    nbytes: int
    """Bytes of the values, as they are in memory."""


def import_files(
    column: WritableColumn,
    jobs: Sequence[Job],
    *,
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    paths: WritableColumn | None = None,
    progress: Progress = None,
) -> ImportReport:
    """Write the samples of all files into ``column``.

    Parameters
    ----------
    column
        A flat writer column.
    jobs
        The files, from :func:`hangar.external.loading.plan_import`.
    options
        Go to each plugin's ``load``.
    overwrite
        Whether samples that exist are replaced.
    paths
        A str column that remembers, for each sample, the path of its file below the folder.
    progress
        As :mod:`hangar.progress` says, counting files.

    Raises
    ------
    InvalidInputError
        A file cannot be understood, does not fit the column, or cannot name a sample.
    ConflictError
        Two files would be one sample, or a sample exists and ``overwrite`` is false.
    """
    keys = _Keys(column, overwrite)
    for job in jobs:
        name = job.plugin.single_name(job.source.path)
        if name is not None:
            keys.reserve(name, job.source)
    needs = Needs.of(column)
    batch = _Batch(column, needs, paths, len(jobs))
    with report(progress, len(jobs), "files", f"importing {column.column}") as reporter:
        for job, pairs in load_values(jobs, options or {}):
            for value, name in pairs:
                problem = needs.mismatch(value)
                if problem is not None:
                    raise InvalidInputError(f"{job.source.path} {problem}")
                batch.add(keys.take(name, job.source), value, job.source)
            reporter.advance()
        batch.flush()
    return ImportReport(batch.samples, keys.overwritten, len(jobs), batch.nbytes)


class _Keys:
    """The key of each sample, unique in the import and, unless overwriting, new to the column."""

    def __init__(self, column: Column, overwrite: bool) -> None:
        self._column = column
        self._overwrite = overwrite
        self._owners: dict[str, tuple[Source, str]] = {}
        self._taken: set[str] = set()
        self.overwritten = 0

    def reserve(self, name: str, source: Source) -> str:
        """The key of the sample that a plugin calls ``name``, kept for it. Reserving it again for the same file is fine."""
        key = key_text(source.folder + name, source.path)
        owner = self._owners.get(key)
        if owner is None:
            self._owners[key] = (source, name)
            self._check_new(key, source)
        elif owner != (source, name):
            raise ConflictError(f"{owner[0].path} and {source.path} would both be the sample {key!r}: rename one")
        return key

    def take(self, name: str, source: Source) -> str:
        """As :meth:`reserve`, but once only."""
        key = self.reserve(name, source)
        if key in self._taken:
            raise ConflictError(f"{source.path} holds the sample {key!r} twice")
        self._taken.add(key)
        return key

    def _check_new(self, key: str, source: Source) -> None:
        if key not in self._column:
            return
        if not self._overwrite:
            raise ConflictError(
                f"{source.path}: column {self._column.column!r} has a sample {key!r} already: --overwrite replaces it"
            )
        self.overwritten += 1


class _Batch:
    """Values that are written together."""

    def __init__(self, column: WritableColumn, needs: Needs, paths: WritableColumn | None, expected: int) -> None:
        self._column = column
        self._needs = needs
        self._paths = paths
        self._expected = expected
        self._stacked = needs.kind == "ndarray" and not needs.variable
        self._rows: np.ndarray[Any, Any] | None = None
        self._capacity = BATCH_SAMPLES
        self._keys: list[str] = []
        self._values: list[Value] = []
        self._relative: list[str] = []
        self._held = 0
        self.samples = 0
        self.nbytes = 0

    def add(self, key: str, value: Value, source: Source) -> None:
        """Gather one sample; write those gathered when they are many."""
        if self._paths is not None and not _is_text(source.relative):
            raise InvalidInputError(f"{source.path!a} cannot be remembered: its name is no UTF-8; rename it")
        if self._stacked:
            if self._rows is None:
                self._rows = self._allocate()
            self._rows[len(self._keys)] = value
        else:
            self._values.append(value)
        self._keys.append(key)
        self._relative.append(source.relative)
        self._held += value.nbytes if isinstance(value, np.ndarray) else len(value)
        if self._held >= BATCH_BYTES or len(self._keys) >= self._capacity:
            self.flush()

    def flush(self) -> None:
        """Write what has been gathered."""
        if self._keys:
            self._column.write(self._keys, self._values if self._rows is None else self._rows[: len(self._keys)])
            if self._paths is not None:
                self._paths.write(self._keys, self._relative)
        self.samples += len(self._keys)
        self.nbytes += self._held
        self._keys, self._values, self._relative, self._rows, self._held = [], [], [], None, 0

    def _allocate(self) -> np.ndarray[Any, Any]:
        """Room for one batch of equal shapes: decoded straight into it, they are not copied again."""
        shape = self._needs.shape
        nbytes = max(1, prod(shape) * np.dtype(self._needs.dtype).itemsize)
        expected = max(1, self._expected - self.samples)
        self._capacity = max(1, min(BATCH_BYTES // nbytes, BATCH_SAMPLES, expected))
        return np.empty((self._capacity, *shape), self._needs.dtype)


def _is_text(path: str) -> bool:
    """Whether a str value can hold ``path``: a name that is no UTF-8 reaches Python with lone surrogates in it."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
