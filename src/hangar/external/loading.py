"""From files to values: which plugin reads which file, and reading ahead on threads.

Values come in the order of the files, and so does the first error, whatever the threads do. A plugin of others may raise or give anything:
what comes out of here is a value and a name, or an error that names the file.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from hangar.errors import HangarError, InvalidInputError
from hangar.external.base import BasePlugin
from hangar.external.manager import manager
from hangar.external.naming import Source

__all__ = ["Job", "load_values", "plan_import"]

CHUNK_BYTES: Final = 2**20
"""Bytes of files that one task of a thread decodes."""
CHUNK_FILES: Final = 32
MAX_THREADS: Final = 8
THREAD_BYTES: Final = 32 * 1024
"""Files smaller than this on average are decoded faster than threads can be told to."""


@dataclass(frozen=True, slots=True)
class Job:
    """A file, and the plugin that reads it."""

    source: Source
    plugin: BasePlugin


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
