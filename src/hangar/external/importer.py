"""Files into a column: many files, in sorted order, in batches of bounded size.

Every file is checked against the column before anything of its batch is written, and every error names its file. The caller makes
the whole import one batch (``with checkout:``), so that an error leaves the column as it was. Decoding runs ahead of writing, on
threads where the plugin allows it; the order, and so the first error, is that of the sorted paths whatever the threads do.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from hangar.errors import ConflictError, HangarError, InvalidInputError
from hangar.external.base import BasePlugin
from hangar.external.fit import Column, Needs, Value
from hangar.external.manager import manager
from hangar.external.naming import Source, key_text
from hangar.progress import Progress, report

__all__ = ["ImportReport", "Job", "import_files", "load_values", "plan_import"]

BATCH_BYTES: Final = 64 * 2**20
BATCH_SAMPLES: Final = 65_536
CHUNK_BYTES: Final = 2**20
"""Bytes of files that one task of a thread decodes."""
CHUNK_FILES: Final = 32
MAX_THREADS: Final = 8
THREAD_BYTES: Final = 32 * 1024
"""Files smaller than this on average are decoded faster than threads can be told to."""


class WritableColumn(Column, Protocol):
    """A column that samples are written to."""

    def write(self, keys: Any, values: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Job:
    """A file, and the plugin that reads it."""

    source: Source
    plugin: BasePlugin


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did."""

    samples: int
    overwritten: int
    files: int
    nbytes: int
    """Bytes of the values, as they are in memory."""


def plan_import(
    sources: Sequence[Source], column_type: str, plugin: str | None = None
) -> tuple[list[Job], list[Source]]:
    """Which plugin reads which file into a column of ``column_type``; and the files that none reads.

    Raises
    ------
    InvalidInputError
        There is no plugin called ``plugin``.
    """
    if plugin is not None:
        chosen = manager.find("load", plugin)
        return [Job(source, chosen) for source in sources], []
    jobs, skipped = [], []
    for source in sources:
        found = manager.for_file("load", source.relative, column_type)
        if found is None:
            skipped.append(source)
        else:
            jobs.append(Job(source, found))
    return jobs, skipped


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
        The files, from :func:`plan_import`.
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


_Pairs: TypeAlias = "Iterable[tuple[Any, str]]"
_Running: TypeAlias = "tuple[list[Job], Future[tuple[list[_Pairs], HangarError | None]]]"


def load_values(jobs: Sequence[Job], options: Mapping[str, Any]) -> Iterator[tuple[Job, _Pairs]]:
    """Each job, in order, and the values and names in its file.

    Raises
    ------
    InvalidInputError
        A file cannot be understood, or a plugin gives something that is no value and name.
    """
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    if threads == 1 or not _worth_threads(jobs):
        for job in jobs:
            yield job, _load(job, options)
        return
    chunks = _chunks(jobs)
    running: deque[_Running] = deque()
    pool = ThreadPoolExecutor(threads, "hangar-import")
    try:
        for chunk in chunks:
            running.append((chunk, pool.submit(_load_chunk, chunk, options)))
            if len(running) > 2 * threads:
                yield from _finished(running)
        while running:
            yield from _finished(running)
    finally:
        pool.shutdown(cancel_futures=True)


def _worth_threads(jobs: Sequence[Job]) -> bool:
    if len(jobs) < CHUNK_FILES or not all(job.plugin.thread_safe for job in jobs):
        return False
    some = jobs[:: max(1, len(jobs) // CHUNK_FILES)]
    return sum(_size(job) for job in some) >= THREAD_BYTES * len(some)


def _size(job: Job) -> int:
    try:
        return Path(job.source.path).stat().st_size
    except OSError:
        return 0  # the plugin will tell


def _finished(running: deque[_Running]) -> Iterator[tuple[Job, _Pairs]]:
    chunk, future = running.popleft()
    loaded, error = future.result()
    yield from zip(chunk, loaded, strict=False)
    if error is not None:
        raise error


def _chunks(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    chunk: list[Job] = []
    held = 0
    for job in jobs:
        chunk.append(job)
        held += _size(job)
        if held >= CHUNK_BYTES or len(chunk) >= CHUNK_FILES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _load_chunk(chunk: list[Job], options: Mapping[str, Any]) -> tuple[list[_Pairs], HangarError | None]:
    """What the files hold, up to the first that cannot be read. The error is handed on, so that what precedes it is looked at first."""
    loaded: list[_Pairs] = []
    for job in chunk:
        try:
            loaded.append(_load(job, options))
        except HangarError as error:
            return loaded, error
    return loaded, None


def _load(job: Job, options: Mapping[str, Any]) -> _Pairs:
    """The values and names in a file: one pair, or the iterator that the plugin made."""
    path = job.source.path
    try:
        loaded = job.plugin.load(path, **options)
    except HangarError:
        raise
    except Exception as error:  # a plugin of others may raise anything
        raise InvalidInputError(f"{path} cannot be read: {error!r}") from error
    if isinstance(loaded, Iterator):
        return _checked(loaded, job)
    return [_pair(loaded, job)]


def _checked(pairs: Iterator[Any], job: Job) -> Iterator[tuple[Any, str]]:
    while True:
        try:
            pair = next(pairs)
        except StopIteration:
            return
        except HangarError:
            raise
        except Exception as error:
            raise InvalidInputError(f"{job.source.path} cannot be read: {error!r}") from error
        yield _pair(pair, job)


def _pair(loaded: Any, job: Job) -> tuple[Any, str]:
    if isinstance(loaded, tuple) and len(loaded) == 2 and isinstance(loaded[1], str):
        return loaded
    plugin = type(job.plugin).__name__
    raise InvalidInputError(f"{job.source.path}: plugin {plugin} gave {type(loaded).__name__}, not a value and a name")
