"""From files to values: which plugin reads which file, and reading ahead on threads.

Values come in the order of the files, and so does the first error, whatever the threads do. A plugin of others may raise or give anything:
what comes out of here is a value that fits the column, and a name, or an error that names the file.
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
from hangar.external.fit import Needs, value_bytes
from hangar.external.manager import manager
from hangar.external.naming import Source
from hangar.external.plugins._files import FilePlugin, Room
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
"""Bytes of values, about, that one task of a thread decodes."""
CHUNK_FILES: Final = 32
AHEAD_BYTES: Final = 64 * 2**20
"""Of values that are decoded before they are asked for."""
EXPANSION: Final = 16
"""How much larger than its file a value is taken to be, at most, until it is known."""

Rows: TypeAlias = "np.ndarray[Any, Any]"
Pairs: TypeAlias = "Iterable[tuple[Any, str]]"


@dataclass(frozen=True, slots=True)
class Job:
    """A file, and the plugin that reads it."""

    source: Source
    plugin: BasePlugin


@dataclass(slots=True)
class Loaded:
    """What was in some files.

    Attributes
    ----------
    pairs
        For each file, values and names. Those of a file with one value were compared with what the column holds.
    error
        Why there are no more.
    estimate, weight
        Bytes of memory as they were guessed before, and as they are.
    """

    jobs: Sequence[Job]
    pairs: list[Pairs]
    error: HangarError | None
    estimate: int
    weight: int


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


class Loader:
    """Reads files ahead on threads.

    Parameters
    ----------
    jobs
        The files.
    options
        Go to each plugin's ``load``.
    needs
        What the column holds.
    rows
        Memory for values of one shape: shape (samples, *shape). The value of file i is put into row ``i % samples``, for which each
        file must hold one value. None: values stay where they are.
    batch
        How many files are written together; no task goes beyond one batch.
    """

    def __init__(
        self, jobs: Sequence[Job], options: Mapping[str, Any], needs: Needs, rows: Rows | None, batch: int, threads: int
    ) -> None:
        self._jobs = jobs
        self._options = {id(plugin): plugin.check_options("load", options) for plugin in _plugins(jobs)}
        self._room = Room(prod(needs.shape), needs.holds) if needs.kind == "ndarray" else None
        self._needs = needs
        self._rows = rows
        self._batch = batch
        self._ahead: Pipeline[Loaded] = Pipeline(threads, AHEAD_BYTES if rows is None else rows.nbytes, "hangar-import")
        self._unfreed = 0

    def __iter__(self) -> Iterator[Loaded]:
        """What is in the files, in order; the last has an error, or none has."""
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
                if loaded.error is not None:
                    return
                self._unfreed += loaded.weight

    def written(self) -> None:
        """What was given is written: its memory may be used again."""
        self._ahead.free(self._unfreed)
        self._unfreed = 0

    def _chunk(self, start: int) -> tuple[int, int]:
        """Where the task that begins with the file ``start`` ends, and the bytes it may hold."""
        last = min(start + CHUNK_FILES, len(self._jobs), start - start % self._batch + self._batch)
        held = 0
        for at in range(start, last):
            weight = self._weight(self._jobs[at])
            if held and held + weight > CHUNK_BYTES:
                return at, held
            held += weight
        return last, held

    def _weight(self, job: Job) -> int:
        needs = self._needs
        if self._rows is not None:
            return needs.nbytes
        try:
            size = os.stat(job.source.path).st_size  # noqa: PTH116  once a file
        except OSError:
            return 1  # the plugin will tell
        return size if needs.kind != "ndarray" else max(1, min(needs.nbytes, EXPANSION * size))

    def _task(self, start: int, stop: int, weight: int) -> Any:
        jobs = self._jobs[start:stop]
        rows = None
        if self._rows is not None:
            at = start % len(self._rows)
            rows = self._rows[at : at + len(jobs)]
        return lambda: self._load_chunk(jobs, rows, weight)

    def _load_chunk(self, jobs: Sequence[Job], rows: Rows | None, estimate: int) -> Loaded:
        """What the files hold, up to the first that is no good. The error is handed on, so that what precedes it is looked at first."""
        loaded: list[Pairs] = []
        problem: HangarError | None = None
        held = 0
        try:
            for at, job in enumerate(jobs):
                pairs = _load(job, self._options[id(job.plugin)], self._room)
                if isinstance(pairs, list):
                    value, name = self._needs.typed(pairs[0][0]), pairs[0][1]
                    check_fit(value, self._needs, job)
                    held += value_bytes(value)
                    if rows is not None:
                        rows[at] = value
                        value = rows[at, ...]  # an array, of no dimensions too
                    pairs = [(value, name)]
                elif rows is not None:
                    raise InvalidInputError(f"{job.source.path}: plugin {_name(job)} gave several values")
                loaded.append(pairs)
        except HangarError as error:
            problem = error
        return Loaded(jobs, loaded, problem, estimate, estimate if rows is not None else held)


def check_fit(value: Any, needs: Needs, job: Job) -> None:
    """Refuse a value that the column does not hold; the message names the option that would make it fit.

    Raises
    ------
    InvalidInputError
        It is one.
    """
    problem = needs.mismatch(value)
    if problem is not None:
        raise InvalidInputError(f"{job.source.path} {problem}{job.plugin.advice(value, needs.shape, needs.dtype)}")


def _plugins(jobs: Sequence[Job]) -> list[BasePlugin]:
    """The plugins of some jobs, each once."""
    return list({id(job.plugin): job.plugin for job in jobs}.values())


def _name(job: Job) -> str:
    return type(job.plugin).__name__


def loader_threads(jobs: Sequence[Job], task_bytes: int) -> int:
    """How many threads to read files with."""
    if len(jobs) < 2 or not all(plugin.thread_safe for plugin in _plugins(jobs)):
        return 0
    return threads_for(task_bytes)


def no_memory(path: str) -> ResourceLimitError:
    """The error for a file that does not fit in memory."""
    return ResourceLimitError(f"there is not enough memory to read {path}")


def first_value(job: Job) -> Any:
    """The first value in a file; raises as :class:`Loader` reports, and ``StopIteration`` where there is none."""
    return next(iter(_load(job, {}, None)))[0]


def _load(job: Job, options: Mapping[str, Any], room: Room | None) -> Pairs:
    """The values and names in a file: a list of one pair, or the iterator that the plugin made."""
    path = job.source.path
    try:
        plugin = job.plugin
        if isinstance(plugin, FilePlugin):
            loaded = plugin.read(path, room=room, **options)
        else:
            loaded = plugin.load(path, **options)
    except HangarError:
        raise
    except MemoryError as error:
        raise no_memory(path) from error
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
        except MemoryError as error:
            raise no_memory(job.source.path) from error
        except Exception as error:
            raise InvalidInputError(f"{job.source.path} cannot be read: {error!r}") from error
        yield _pair(pair, job)


def _pair(loaded: Any, job: Job) -> tuple[Any, str]:
    if isinstance(loaded, tuple) and len(loaded) == 2 and isinstance(loaded[1], str):
        return loaded
    raise InvalidInputError(
        f"{job.source.path}: plugin {_name(job)} gave {type(loaded).__name__}, not a value and a name"
    )
