"""Files into a column: many files, in sorted order, read ahead on several cores while those before them are stored.

Values are stored in batches of bounded size, and a few batches at a time are made durable batch_context: acknowledged. Whatever ends an
import early, what was acknowledged stays, and :attr:`FolderImport.report` tells how far that is. A file that cannot be read or does not fit
ends it with an error that names the file; all files before it are in, none after it. The same import goes on from there when it is run
again, as what is there already with the same content is passed over. Inside a ``with`` block of the checkout the whole import is one batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from hangar.errors import ConflictError, HangarError
from hangar.external.batches import Batch, ImportKeys, WritableColumn, check_name
from hangar.external.fit import ColumnRequirements, value_bytes
from hangar.external.keysfile import Key
from hangar.external.loading import Job, Loader, Rows, check_fit, loader_threads, no_memory
from hangar.external.naming import Source
from hangar.progress import Progress, Reporter, report
from hangar.threads import HELD_BYTES

__all__ = ["FolderImport", "ImportReport", "import_files"]

BATCH_BYTES: Final = 16 * 2**20
"""Values that are stored batch_context: small enough that storing and decoding overlap, large enough that a call costs nothing."""
BATCH_SAMPLES: Final = 16_384
ACKNOWLEDGED_BYTES: Final = 256 * 2**20
ACKNOWLEDGED_SECONDS: Final = 2.0
"""What is stored is made durable when it is this much, or has waited this long."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, as far as it is durable.

    Attributes
    ----------
    samples
        Samples that were written; of a nested column, subsamples, here and below.
    overwritten
        Those of them that the column had before.
    unchanged
        Samples that were passed over, as the column has them with the same content.
    files
        Files that were brought in.
    nbytes
        Bytes of the values, as they are in memory.
    last
        The last of the files, ``''`` before the first.
    """

    samples: int = 0
    overwritten: int = 0
    unchanged: int = 0
    files: int = 0
    nbytes: int = 0
    last: str = ""


def import_files(column: WritableColumn, jobs: Sequence[Job], *, progress: Progress = None, **how: Any) -> ImportReport:
    """Write the samples of all files into ``column``: :class:`FolderImport`, made and run."""
    return FolderImport(column, jobs, **how).run(progress)


class FolderImport:
    """One import of many files.

    Parameters
    ----------
    column
        A writer column. In a nested one each folder is a sample, and the files in it are its subsamples.
    jobs
        The files, from :func:`hangar.external.loading.plan_import`.
    options
        Go to each plugin's ``load``.
    overwrite
        Whether samples that exist with another content are replaced.
    integers
        Whether a file named by a plain number becomes that integer key.
    paths
        A str column that remembers, for each sample, the path of its file below the folder.
    batch_context
        Gives the context in which several writes are one batch, such as ``lambda: checkout``.

    Attributes
    ----------
    report
        What is durable so far.
    """

    def __init__(
        self,
        column: WritableColumn,
        jobs: Sequence[Job],
        *,
        options: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        integers: bool = False,
        paths: WritableColumn | None = None,
        batch_context: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.report = ImportReport()
        self._jobs = jobs
        self._requirements = requirements = ColumnRequirements.of(column)
        self._keys = ImportKeys(requirements.nested, integers)
        self._named = paths is not None
        self._batch_context = batch_context
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
            and _single(jobs)
        ):
            # One batch is gathered, and each thread fills at most one other: two threads are never in one row.
            rows = _memory_for((capacity * (threads + 2 if threads else 1), *requirements.shape), requirements)
        self._loader = Loader(jobs, options or {}, requirements, rows, capacity, threads)
        self._batch = Batch(column, paths, overwrite, rows, capacity, BATCH_BYTES)

    def run(self, progress: Progress = None) -> ImportReport:
        """Import.

        Parameters
        ----------
        progress
            As :mod:`hangar.progress` says, counting files.

        Raises
        ------
        InvalidInputError
            A file cannot be understood, does not fit the column, or cannot name a sample.
        ConflictError
            Two files would be one sample, or a sample exists with another content and is not to be replaced.
        AccessError, DiskFullError, StorageError
            The operating system refuses, or there is not enough memory.
        """
        if self._named:
            for job in self._jobs:
                check_name(job.source)
        self._keys.reserve_all(self._jobs)
        try:
            return self._run(progress)
        except MemoryError as error:
            raise no_memory(f"the files for column {self._requirements.column!r}") from error

    def _run(self, progress: Progress) -> ImportReport:
        """Read the files, and store what is in them."""
        with report(progress, len(self._jobs), "files", f"importing {self._requirements.column}") as reporter:
            samples = self._samples(reporter)
            try:
                while self._import_some(samples):
                    pass
            finally:
                samples.close()
        return self.report

    def _import_some(self, samples: Iterator[tuple[Key, Any, Source]]) -> bool:
        """Import until it is time to acknowledge; whether there is more."""
        begun = time.monotonic()
        more = True
        fault: HangarError | None = None
        with self._batch_context():
            while more and fault is None and not self._due(begun):
                try:
                    key, value, source = next(samples)
                except StopIteration:
                    more = False
                except HangarError as error:
                    # A file is to blame: those before it are whole.
                    fault = error
                else:
                    self._batch.add(key, value, source)
                if self._batch.full or not more or fault is not None:
                    fault = self._store() or fault
        # The batch ended, so that everything stored in it is durable.
        self.report = self._done
        if fault is not None:
            raise fault
        return more

    def _due(self, begun: float) -> bool:
        """Whether enough was stored, or time went by, to acknowledge it."""
        if self._done is self.report:
            return False
        waited = time.monotonic() - begun
        return waited >= ACKNOWLEDGED_SECONDS or self._done.nbytes - self.report.nbytes >= ACKNOWLEDGED_BYTES

    def _samples(self, reporter: Reporter) -> Generator[tuple[Key, Any, Source], None, None]:
        """Every sample, in the order of the files. Whatever this raises is the fault of a file."""
        requirements = self._requirements
        for loaded in self._loader:
            nbytes = 0
            for job, pairs in zip(loaded.jobs, loaded.pairs, strict=False):
                checked = isinstance(pairs, list)
                self._batch.files += checked
                for value, name in pairs:
                    value = requirements.typed(value)
                    if not checked:
                        check_fit(value, requirements, job)
                    nbytes += value_bytes(value)
                    yield self._keys.take(name, job.source), value, job.source
                self._batch.files += not checked  # whole only now
            reporter.advance(len(loaded.pairs), nbytes)
            if loaded.error is not None:
                raise loaded.error

    def _store(self) -> ConflictError | None:
        """Write what has been gathered; what is there with another content ends the import."""
        batch = self._batch
        if not batch.files and not batch.samples:
            return None
        conflict = batch.write()
        done = self._done
        self._done = replace(
            done,
            samples=done.samples + batch.written,
            overwritten=done.overwritten + batch.overwritten,
            unchanged=done.unchanged + batch.unchanged,
            files=done.files + batch.files,
            nbytes=done.nbytes + batch.nbytes,
            last=batch.last or done.last,
        )
        batch.clear()
        self._loader.written()
        return conflict


def _memory_for(shape: tuple[int, ...], requirements: ColumnRequirements) -> Rows:
    try:
        return np.empty(shape, requirements.dtype)
    except MemoryError as error:
        raise no_memory(f"the files for column {requirements.column!r}") from error


def _single(jobs: Sequence[Job]) -> bool:
    """Whether every file is known to hold one value."""
    return all(job.plugin.single_name(job.source.path) is not None for job in jobs)
