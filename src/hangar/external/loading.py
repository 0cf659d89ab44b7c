"""Read files into values: select the plugin for each file, and read ahead on threads.

Values and the first error come in the order of the files, although threads finish in any order. A third-party plugin
may raise any exception and return any object. The loader checks both: its results are values that fit the column, with
a name, or an error that names the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, TypeAlias

import numpy as np

from hangar.errors import HangarError, InvalidInputError, ResourceLimitError
from hangar.external.base import BasePlugin
from hangar.external.fit import ColumnRequirements, value_bytes
from hangar.external.manager import manager
from hangar.external.naming import Source
from hangar.external.plugins._files import FilePlugin, SizeLimit
from hangar.threads import Pipeline, threads_for

__all__ = [
    "Job",
    "Loaded",
    "Loader",
    "Pairs",
    "Rows",
    "check_fit",
    "first_value",
    "loader_threads",
    "no_memory",
    "plan_import",
]

CHUNK_BYTES: Final = 2 * 2**20
"""Approximate bytes of values that one task decodes."""
CHUNK_FILES: Final = 32
AHEAD_BYTES: Final = 64 * 2**20
"""Maximum bytes of values that are decoded ahead."""
EXPANSION: Final = 16
"""Assumed maximum ratio of decoded size to file size, until the file is decoded."""

Rows: TypeAlias = "np.ndarray[Any, Any]"
Pairs: TypeAlias = "Iterable[tuple[Any, str]]"


@dataclass(frozen=True, slots=True)
class Job:
    """A file, and the plugin that reads it."""

    source: Source
    plugin: BasePlugin


@dataclass(slots=True)
class Loaded:
    """Result of one task: the content of some files.

    Attributes
    ----------
    pairs
        Values and names of each file, or the error about it. Values in a list have been checked with
        :func:`check_fit`; values of an iterator have not.
    estimate, weight
        Bytes of memory: the estimate before reading, and the actual size.
    """

    jobs: Sequence[Job]
    pairs: list[Pairs | HangarError]
    estimate: int
    weight: int


def plan_import(
    sources: Sequence[Source], column_type: str, plugin: str | None = None
) -> tuple[list[Job], list[Source]]:
    """Select a plugin for each file, for a column of ``column_type``. Also returns the files that no plugin reads.

    Raises
    ------
    InvalidInputError
        The plugin ``plugin`` does not exist.
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
    if not all(job.plugin.describes_others for job in jobs):
        skipped += [job.source for job in jobs if job.plugin.describes_others]
        jobs = [job for job in jobs if not job.plugin.describes_others]
    return jobs, skipped


class Loader:
    """Reads files ahead on threads.

    Parameters
    ----------
    jobs
        The files.
    options
        Options of ``load``, for every plugin.
    requirements
        Snapshot of the schema of the column.
    rows
        Ring buffer of shape (samples, *shape) for values of one shape. The value of file i is copied to row
        ``i % samples``, so each file must hold exactly one value. None: values are not copied.
    batch
        Number of files in a batch write. The files of a task always belong to one batch.
    threads
        Number of threads; see :func:`loader_threads`.
    keep_going
        Whether files after one that cannot be read are read too.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        options: Mapping[str, Any],
        requirements: ColumnRequirements,
        rows: Rows | None,
        batch: int,
        threads: int,
        keep_going: bool = False,
    ) -> None:
        self._jobs = jobs
        self._keep_going = keep_going
        self._options = {id(plugin): plugin.check_options("load", options) for plugin in _plugins(jobs)}
        self._size_limit = (
            SizeLimit(prod(requirements.shape), requirements.holds) if requirements.kind == "ndarray" else None
        )
        self._requirements = requirements
        self._rows = rows
        self._batch = batch
        self._ahead: Pipeline[Loaded] = Pipeline(threads, AHEAD_BYTES if rows is None else rows.nbytes, "hangar-import")
        self._unfreed = 0

    def __iter__(self) -> Iterator[Loaded]:
        """Yield results in the order of the files. Unless it keeps going, it ends with the first error."""
        start, total = 0, len(self._jobs)
        with self._ahead as ahead:
            while start < total or len(ahead):
                while start < total:
                    stop, weight = self._chunk(start)
                    if not ahead.room(weight):
                        break
                    ahead.offer(self._task(start, stop, weight), weight)
                    start = stop
                loaded = ahead.take()
                ahead.free(loaded.estimate - loaded.weight)
                yield loaded
                if not self._keep_going and any(isinstance(pairs, HangarError) for pairs in loaded.pairs):
                    return
                self._unfreed += loaded.weight

    def written(self) -> None:
        """Release the memory of all results yielded so far: the caller has written them."""
        self._ahead.free(self._unfreed)
        self._unfreed = 0

    def _chunk(self, start: int) -> tuple[int, int]:
        """End of the task that begins with the file ``start``, and its estimated bytes."""
        last = min(start + CHUNK_FILES, len(self._jobs), start - start % self._batch + self._batch)
        held = 0
        for at in range(start, last):
            weight = self._weight(self._jobs[at])
            if held and held + weight > CHUNK_BYTES:
                return at, held
            held += weight
        return last, held

    def _weight(self, job: Job) -> int:
        requirements = self._requirements
        if self._rows is not None:
            return requirements.nbytes
        try:
            size = os.stat(job.source.path).st_size  # noqa: PTH116  faster, called for each file
        except OSError:
            return 1  # the plugin reports the error
        return size if requirements.kind != "ndarray" else max(1, min(requirements.nbytes, EXPANSION * size))

    def _task(self, start: int, stop: int, weight: int) -> Any:
        jobs = self._jobs[start:stop]
        rows = None
        if self._rows is not None:
            at = start % len(self._rows)
            rows = self._rows[at : at + len(jobs)]
        return lambda: self._load_chunk(jobs, rows, weight)

    def _load_chunk(self, jobs: Sequence[Job], rows: Rows | None, estimate: int) -> Loaded:
        """Load files; unless it keeps going, up to the first error.

        Errors are part of the result, so that the values before them are imported first.
        """
        loaded: list[Pairs | HangarError] = []
        held = 0
        for at, job in enumerate(jobs):
            try:
                pairs = self._load_one(job, None if rows is None else rows[at : at + 1])
            except HangarError as error:
                loaded.append(error)
                if not self._keep_going:
                    break
                continue
            held += value_bytes(pairs[0][0]) if isinstance(pairs, list) else 0
            loaded.append(pairs)
        return Loaded(jobs, loaded, estimate, estimate if rows is not None else held)

    def _load_one(self, job: Job, row: Rows | None) -> Pairs:
        """The values of a file; a single value is checked, and copied to ``row`` if there is one."""
        pairs = _load(job, self._options[id(job.plugin)], self._size_limit)
        if isinstance(pairs, list):
            value, name = self._requirements.typed(pairs[0][0]), pairs[0][1]
            check_fit(value, self._requirements, job)
            if row is not None:
                row[0] = value
                value = row[0, ...]  # the ellipsis keeps a 0-dimensional value an array
            return [(value, name)]
        if row is not None:
            raise InvalidInputError(f"{job.source.path}: plugin {_name(job)} returned several values")
        return pairs


def check_fit(value: Any, requirements: ColumnRequirements, job: Job) -> None:
    """Refuse a value that does not fit the column. The message names the option that converts it, if there is one.

    Raises
    ------
    InvalidInputError
        The value does not fit.
    """
    problem = requirements.mismatch(value)
    if problem is not None:
        raise InvalidInputError(
            f"{job.source.path} {problem}{job.plugin.advice(value, requirements.shape, requirements.dtype)}"
        )


def _plugins(jobs: Sequence[Job]) -> list[BasePlugin]:
    """The distinct plugins of some jobs."""
    return list({id(job.plugin): job.plugin for job in jobs}.values())


def _name(job: Job) -> str:
    return type(job.plugin).__name__


def loader_threads(jobs: Sequence[Job], task_bytes: int) -> int:
    """Number of threads for reading files; 0 if a plugin is not thread-safe."""
    if len(jobs) < 2 or not all(plugin.thread_safe for plugin in _plugins(jobs)):
        return 0
    return threads_for(task_bytes)


def no_memory(path: str) -> ResourceLimitError:
    """The error for a file that does not fit in memory."""
    return ResourceLimitError(f"there is not enough memory to read {path}")


def first_value(job: Job) -> Any:
    """The first value in a file.

    Raises the errors that :class:`Loader` reports, and ``StopIteration`` if the file has none.
    """
    return next(iter(_load(job, {}, None)))[0]


def _load(job: Job, options: Mapping[str, Any], size_limit: SizeLimit | None) -> Pairs:
    """The values and names in a file: a list of one pair, or a checked iterator over the pairs of the plugin."""
    path = job.source.path
    try:
        plugin = job.plugin
        if isinstance(plugin, FilePlugin):
            loaded = plugin.read(path, size_limit=size_limit, **options)
        else:
            loaded = plugin.load(path, **options)
    except HangarError:
        raise
    except MemoryError as error:
        raise no_memory(path) from error
    except Exception as error:  # a third-party plugin may raise anything
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
        except MemoryError as error:
            raise no_memory(job.source.path) from error
        except Exception as error:
            raise InvalidInputError(f"{job.source.path} cannot be read: {error!r}") from error
        yield _pair(pair, job)


def _pair(loaded: Any, job: Job) -> tuple[Any, str]:
    if isinstance(loaded, tuple) and len(loaded) == 2 and isinstance(loaded[1], str):
        return loaded
    raise InvalidInputError(
        f"{job.source.path}: plugin {_name(job)} returned {type(loaded).__name__}, not a value and a name"
    )
