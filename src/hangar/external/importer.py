"""Import many files into a column. Files are read ahead on threads, in sorted order, while earlier values are stored.

Values are stored in batches of bounded size. A group of batches is then made durable (acknowledged) together. If an
import ends early, acknowledged samples stay, and :attr:`FolderImport.report` counts them. What cannot be read or does not
fit the column is collected as a :class:`Failure`, and the rest is imported; or it ends the import with an error that
names the file: all files before it are imported, none after it. The same import, run again, continues from there,
because existing samples with equal content are skipped. Inside a ``with`` block of the checkout the whole import is one
batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from hangar.errors import HangarError
from hangar.external.batches import Batch, ImportKeys, WritableColumn, check_name
from hangar.external.fit import ColumnRequirements, value_bytes
from hangar.external.keysfile import Key
from hangar.external.loading import Job, Loader, Pairs, Rows, check_fit, loader_threads, no_memory
from hangar.external.naming import Source
from hangar.progress import Progress, Reporter, report
from hangar.threads import HELD_BYTES

__all__ = ["Failure", "FolderImport", "ImportOptions", "ImportReport", "import_files"]

Sample: TypeAlias = tuple[Key, Any, Source]

BATCH_BYTES: Final = 16 * 2**20
"""Size of a batch: small enough to overlap storing and decoding, large enough to make the overhead of a call small."""
BATCH_SAMPLES: Final = 16_384
ACKNOWLEDGED_BYTES: Final = 256 * 2**20
ACKNOWLEDGED_SECONDS: Final = 2.0
"""Stored values are made durable at this size, or after this time."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A file, or one sample in a file, that was not imported, and the reason."""

    path: str
    error: HangarError
    sample: str | None = None
    """Name of the sample in a file of several; None for the whole file."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Counts of an import. They include durable samples only.

    Attributes
    ----------
    samples
        Samples written. In a nested column all counts are of subsamples.
    overwritten
        Written samples that replaced existing ones.
    unchanged
        Samples skipped because the column has them with equal content.
    files
        Files imported completely.
    nbytes
        Bytes of the written values in memory.
    last
        Path of the last imported file; ``''`` if there is none yet.
    failures
        What was not imported, in the order of the files; empty unless the import keeps going.
    """

    samples: int = 0
    overwritten: int = 0
    unchanged: int = 0
    files: int = 0
    nbytes: int = 0
    last: str = ""
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How files are imported.

    Attributes
    ----------
    options
        Options of ``load``, for every plugin.
    overwrite
        Whether existing samples with different content are replaced.
    integers
        Whether a file name of digits alone becomes an integer key.
    paths
        A str column that stores, for each sample, the path of its file relative to the folder.
    batch_context
        Returns a context manager that makes the writes inside it one batch, such as ``lambda: checkout``.
    keep_going
        Whether what cannot be imported is collected in ``failures``. Without it, the first error ends the import.
    """

    options: Mapping[str, Any] | None = None
    overwrite: bool = False
    integers: bool = False
    paths: WritableColumn | None = None
    batch_context: Callable[[], AbstractContextManager[object]] = nullcontext
    keep_going: bool = False


DEFAULT_OPTIONS: Final = ImportOptions()


def import_files(column: WritableColumn, jobs: Sequence[Job], *, progress: Progress = None, **how: Any) -> ImportReport:
    """Write the samples of all files to ``column``: run a :class:`FolderImport` with these :class:`ImportOptions`."""
    return FolderImport(column, jobs, ImportOptions(**how)).run(progress)


class FolderImport:
    """An import of many files into a column.

    Parameters
    ----------
    column
        A writer column. If it is nested, each folder is a sample, and the files in it are its subsamples.
    jobs
        The files, from :func:`hangar.external.loading.plan_import`.
    how
        How they are imported.

    Attributes
    ----------
    report
        Counts of the samples that are durable so far.
    failures
        What could not be imported so far.
    """

    def __init__(self, column: WritableColumn, jobs: Sequence[Job], how: ImportOptions = DEFAULT_OPTIONS) -> None:
        self.report = ImportReport()
        self.failures: list[Failure] = []
        self._failed: set[str] = set()
        self._how = how
        self._requirements = requirements = ColumnRequirements.of(column)
        self._keys = ImportKeys(requirements.nested, how.integers)
        self._named = how.paths is not None
        self._jobs = jobs = self._reserved(jobs) if how.keep_going else jobs
        self._done = self.report
        capacity = BATCH_SAMPLES
        rows = None
        if requirements.kind == "ndarray" and not requirements.variable:
            capacity = max(1, min(BATCH_BYTES // max(1, requirements.nbytes), BATCH_SAMPLES, len(jobs)))
        threads = loader_threads(
            jobs, min(requirements.nbytes, BATCH_BYTES) if requirements.variable else requirements.nbytes
        )
        if (
            requirements.kind == "ndarray"
            and not requirements.variable
            and requirements.nbytes <= HELD_BYTES
            and _one_value_each(jobs)
        ):
            # One batch is being filled, and each thread decodes at most one other: no two threads write the same row.
            rows = _memory_for((capacity * (threads + 2 if threads else 1), *requirements.shape), requirements)
        self._loader = Loader(jobs, how.options or {}, requirements, rows, capacity, threads, how.keep_going)
        self._batch = Batch(column, how.paths, how.overwrite, rows, capacity, BATCH_BYTES, how.keep_going)

    def _reserved(self, jobs: Sequence[Job]) -> list[Job]:
        """The files whose names are valid and unique, before any file is read; the others fail."""
        usable = []
        for job in jobs:
            try:
                if self._named:
                    check_name(job.source)
                self._keys.reserve(job)
            except HangarError as error:
                self._fail(Failure(job.source.path, error))
            else:
                usable.append(job)
        return usable

    def _fail(self, failure: Failure) -> Failure:
        """Collect a failure, or raise its error."""
        if not self._how.keep_going:
            raise failure.error
        self.failures.append(failure)
        self._failed.add(failure.path)
        return failure

    def run(self, progress: Progress = None) -> ImportReport:
        """Import the files.

        Parameters
        ----------
        progress
            Progress display, see :mod:`hangar.progress`. It counts files.

        Raises
        ------
        InvalidInputError
            A file is invalid, does not fit the column, or its name cannot be a key.
        ConflictError
            Two files have the same key, or a sample exists with different content and ``overwrite`` is False.
        AccessError, DiskFullError, StorageError
            An operation of the operating system failed, or memory ran out.
        """
        if not self._how.keep_going:
            self._reserved(self._jobs)
        try:
            return replace(self._run(progress), failures=tuple(self.failures))
        except MemoryError as error:
            raise no_memory(f"the files for column {self._requirements.column!r}") from error

    def _run(self, progress: Progress) -> ImportReport:
        """Read the files and store their samples."""
        with report(progress, len(self._jobs), "files", f"importing {self._requirements.column}") as reporter:
            samples = self._samples(reporter)
            try:
                while self._import_some(samples):
                    pass
            finally:
                samples.close()
        return self.report

    def _import_some(self, samples: Iterator[Sample | Failure]) -> bool:
        """Import and acknowledge one group of batches. Returns whether samples are left."""
        begun = time.monotonic()
        more = True
        fault: HangarError | None = None
        with self._how.batch_context():
            while more and fault is None and not self._due(begun):
                try:
                    sample = next(samples)
                except StopIteration:
                    more = False
                except HangarError as error:
                    # The error is about one file. All files before it are complete.
                    fault = error
                else:
                    if isinstance(sample, Failure):
                        self._batch.skip()
                    else:
                        self._batch.add(*sample)
                if self._batch.full or not more or fault is not None:
                    fault = self._store() or fault
        # The batch context has ended, so everything stored in it is durable.
        self.report = self._done
        if fault is not None:
            raise fault
        return more

    def _due(self, begun: float) -> bool:
        """Whether the size or time limit for acknowledging is reached."""
        if self._done is self.report:
            return False
        waited = time.monotonic() - begun
        return waited >= ACKNOWLEDGED_SECONDS or self._done.nbytes - self.report.nbytes >= ACKNOWLEDGED_BYTES

    def _samples(self, reporter: Reporter) -> Generator[Sample | Failure, None, None]:
        """Yield all samples in the order of the files. Every error it raises is about one file."""
        for loaded in self._loader:
            nbytes = 0
            for job, pairs in zip(loaded.jobs, loaded.pairs, strict=False):
                if isinstance(pairs, HangarError):
                    yield self._fail(Failure(job.source.path, pairs))
                    continue
                checked = isinstance(pairs, list)
                if checked:
                    self._batch.complete.append(job.source.path)
                for sample in self._samples_of(job, pairs, checked):
                    nbytes += 0 if isinstance(sample, Failure) else value_bytes(sample[1])
                    yield sample
                if not checked:
                    self._batch.complete.append(job.source.path)  # only now
            reporter.advance(len(loaded.pairs), nbytes)

    def _samples_of(self, job: Job, pairs: Pairs, checked: bool) -> Iterator[Sample | Failure]:
        """Yield the samples of a file, and a failure for each that cannot be read, does not fit or has no valid key."""
        requirements, source, name = self._requirements, job.source, None
        iterator = iter(pairs)
        while True:
            try:
                value, name = next(iterator)
            except StopIteration:
                return
            except HangarError as error:
                yield self._fail(Failure(source.path, error))
                return
            try:
                if isinstance(value, HangarError):
                    raise value
                value = requirements.typed(value)
                if not checked:
                    check_fit(value, requirements, job)
                sample = (self._keys.take(name, source), value, source)
            except HangarError as error:
                yield self._fail(Failure(source.path, error, None if checked else str(name)))
            else:
                yield sample

    def _store(self) -> HangarError | None:
        """Write the batch. Returns the error about a sample that exists with different content if it ends the import."""
        batch = self._batch
        if not batch.complete and not batch.samples:
            batch.clear()
            self._loader.written()
            return None
        conflicts = batch.write()
        if self._how.keep_going:
            for source, error in conflicts:
                self._fail(Failure(source.path, error))
        done = self._done
        self._done = replace(
            done,
            samples=done.samples + batch.written,
            overwritten=done.overwritten + batch.overwritten,
            unchanged=done.unchanged + batch.unchanged,
            files=done.files + sum(path not in self._failed for path in batch.complete),
            nbytes=done.nbytes + batch.nbytes,
            last=batch.last or done.last,
        )
        batch.clear()
        self._loader.written()
        return conflicts[0][1] if conflicts and not self._how.keep_going else None


def _memory_for(shape: tuple[int, ...], requirements: ColumnRequirements) -> Rows:
    try:
        return np.empty(shape, requirements.dtype)
    except MemoryError as error:
        raise no_memory(f"the files for column {requirements.column!r}") from error


def _one_value_each(jobs: Sequence[Job]) -> bool:
    """Whether every file is known to hold exactly one value."""
    return all(job.plugin.single_name(job.source.path) is not None for job in jobs)
