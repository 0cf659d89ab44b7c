"""Import files that hold many samples, block by block, with a cost per block and not per sample.

The same promises as :mod:`hangar.external.importer`: existing samples with equal content are skipped, different content
is an error unless it may be replaced, what cannot be imported is collected or ends the import, and groups of blocks are
made durable together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hangar.errors import ConflictError, HangarError, InvalidInputError
from hangar.external.batches import WritableColumn, equal_values, exact_bytes
from hangar.external.classes import ClassNames
from hangar.external.fit import ColumnRequirements, value_bytes
from hangar.external.importer import ACKNOWLEDGED_BYTES, ACKNOWLEDGED_SECONDS, Failure, ImportOptions, ImportReport
from hangar.external.keysfile import Key
from hangar.external.loading import Job, no_memory
from hangar.external.naming import Source, integer_key, key_of
from hangar.external.plugins._blocks import BlockPlugin
from hangar.external.records import Block, SampleName
from hangar.progress import Progress, report

__all__ = ["BlockImport"]


class BlockImport:
    """An import of files that hold many samples.

    The parameters are those of :class:`hangar.external.importer.FolderImport`.
    """

    def __init__(self, column: WritableColumn, jobs: Sequence[Job], how: ImportOptions) -> None:
        self.report = ImportReport()
        self.failures: list[Failure] = []
        self._column, self._jobs, self._how = column, jobs, how
        self._requirements = ColumnRequirements.of(column)
        self._existing: set[Key] | None = None
        self._seen: set[Key] = set()
        self._classes = ClassNames(column)
        self._done = self.report

    def run(self, progress: Progress = None) -> ImportReport:
        """Import the files. Raises the errors of :meth:`hangar.external.importer.FolderImport.run`."""
        with report(progress, None, "samples", f"importing {self._requirements.column}") as reporter:
            for job in self._jobs:
                failed, before = len(self.failures), self._done
                blocks = self._blocks(job)
                while self._import_some(job.source, blocks, reporter.advance):
                    pass
                took = len(self.failures) == failed or self._done != before
                self._done = replace(self._done, files=self._done.files + took, last=job.source.path)
                self.report = self._done
        return replace(self.report, failures=tuple(self.failures))

    def _blocks(self, job: Job) -> Iterator[Block]:
        """The blocks of a file. What a plugin raises becomes an error that names the file, and ends this file."""
        plugin, path = job.plugin, job.source.path
        assert isinstance(plugin, BlockPlugin)
        try:
            options = plugin.check_options("load", dict(self._how.options or {}))
            yield from plugin.blocks(path, self._requirements, **options)
        except HangarError as error:
            self._fail(path, error)
        except MemoryError as error:
            self._fail(path, no_memory(path), error)
        except Exception as error:  # noqa: BLE001  decoders raise anything on garbage
            self._fail(path, InvalidInputError(f"{path} cannot be read: {error!r}"), error)

    def _fail(
        self, path: str, error: HangarError, cause: BaseException | None = None, sample: str | None = None
    ) -> None:
        if not self._how.keep_going:
            raise error from cause
        self.failures.append(Failure(path, error, sample))

    def _import_some(self, source: Source, blocks: Iterator[Block], advance: Callable[[int, int], object]) -> bool:
        """Import and acknowledge one group of blocks. Returns whether blocks are left."""
        begun = time.monotonic()
        more, fault = True, None
        with self._how.batch_context():
            while more and fault is None and not self._due(begun):
                try:
                    block = next(blocks, None)
                    if block is None:
                        more = False
                        continue
                    before = self._done
                    self._import_block(block, source)
                    advance(len(block.names), self._done.nbytes - before.nbytes)
                except HangarError as error:
                    fault = error
        self.report = self._done
        if fault is not None:
            raise fault
        return more

    def _due(self, begun: float) -> bool:
        if self._done is self.report:
            return False
        waited = time.monotonic() - begun
        return waited >= ACKNOWLEDGED_SECONDS or self._done.nbytes - self.report.nbytes >= ACKNOWLEDGED_BYTES

    def _import_block(self, block: Block, source: Source) -> None:
        for name, error in block.failures:
            self._fail(source.path, error, sample=name)
        keys, values = self._keyed(block, source)
        if block.classes is not None:
            try:
                values = self._classes.numbers(values, block.classes, source.path)
            except InvalidInputError as error:
                if not any(failure.path == source.path for failure in self.failures):
                    self._fail(source.path, error)
                return
        keys, values = self._fitting(keys, values, source)
        keys, values = self._new(keys, values, source)
        if keys:
            self._write(keys, values, source)

    # ------------------------------------------------------------------------------------------------------------ keys

    def _keyed(self, block: Block, source: Source) -> tuple[list[Key], Any]:
        """The keys of a block, without those that are invalid or occurred before."""
        nested = self._requirements.nested
        if block.exact:
            keys: list[Any] = list(block.names)
            if self._how.integers and not nested:
                keys = [integer_key(key) if type(key) is str else key for key in keys]
        else:
            keys = [self._derived(name, source) for name in block.names]
        keep = self._unique(keys, source)
        return self._chosen(keys, block.values, keep)

    def _derived(self, name: str, source: Source) -> Key | None:
        if isinstance(name, SampleName):
            return name.key
        try:
            return key_of(
                source.folder + name, source.path, nested=self._requirements.nested, integers=self._how.integers
            )
        except HangarError as error:
            self._fail(source.path, error, sample=name)
            return None

    def _unique(self, keys: list[Any], source: Source) -> list[int] | None:
        """Positions of the keys that are new in this import; None: all."""
        fresh = set(keys)
        if len(fresh) == len(keys) and None not in fresh and self._seen.isdisjoint(fresh):
            self._seen |= fresh
            return None
        keep = []
        for at, key in enumerate(keys):
            if key is None:
                continue
            if key in self._seen:
                self._fail(source.path, ConflictError(f"the key {key!r} occurs twice in this import"), sample=str(key))
                continue
            self._seen.add(key)
            keep.append(at)
        return keep

    @staticmethod
    def _chosen(keys: list[Any], values: Any, keep: list[int] | None) -> tuple[list[Any], Any]:
        if keep is None:
            return keys, values
        chosen = values[keep] if isinstance(values, np.ndarray) else [values[at] for at in keep]
        return [keys[at] for at in keep], chosen

    # ---------------------------------------------------------------------------------------------------------- values

    def _fitting(self, keys: list[Any], values: Any, source: Source) -> tuple[list[Any], Any]:
        """The samples whose values fit the column."""
        requirements = self._requirements
        if isinstance(values, np.ndarray):
            values = requirements.typed(values)
            problem = requirements.mismatch(values[0, ...]) if len(values) else None
            if problem is not None:
                self._fail(source.path, InvalidInputError(f"{source.path}: each sample in it {problem}"))
                return [], []
            return keys, values
        values = [requirements.typed(value) for value in values]
        keep = []
        for at, value in enumerate(values):
            problem = requirements.mismatch(value)
            if problem is None:
                keep.append(at)
            else:
                self._fail(source.path, InvalidInputError(f"the sample {problem}"), sample=str(keys[at]))
        return self._chosen(keys, values, None if len(keep) == len(values) else keep)

    def _new(self, keys: list[Any], values: Any, source: Source) -> tuple[list[Any], Any]:
        """The samples to write: those that do not exist with equal content."""
        if not keys:
            return keys, values
        if self._existing is None:
            self._existing = set(_all_keys(self._column)) if len(self._column) else set()
        there = [at for at, key in enumerate(keys) if key in self._existing] if self._existing else []
        if self._how.overwrite or not there:
            self._done = replace(self._done, overwritten=self._done.overwritten + len(there))
            return keys, values
        differ = _differing(self._column, keys, values, there)
        for at in differ:
            self._fail(
                source.path,
                ConflictError(
                    f"{source.path}: column {self._requirements.column!r} has a sample {keys[at]!r} already, with "
                    "different content: --overwrite replaces it"
                ),
                sample=str(keys[at]),
            )
        self._done = replace(self._done, unchanged=self._done.unchanged + len(there) - len(differ))
        if len(there) == len(keys):
            return [], []
        rejected = set(there)
        return self._chosen(keys, values, [at for at in range(len(keys)) if at not in rejected])

    def _write(self, keys: list[Any], values: Any, source: Source) -> None:
        """Write samples. If one of them is refused, the others are written."""
        try:
            self._column.write(keys, values)
        except InvalidInputError as error:
            if len(keys) == 1:
                self._fail(source.path, error, sample=str(keys[0]))
                return
            half = len(keys) // 2
            self._write(keys[:half], values[:half], source)
            self._write(keys[half:], values[half:], source)
            return
        if self._how.paths is not None:
            self._how.paths.write(keys, [source.relative] * len(keys))
        nbytes = values.nbytes if isinstance(values, np.ndarray) else sum(map(value_bytes, values))
        done = self._done
        self._done = replace(done, samples=done.samples + len(keys), nbytes=done.nbytes + nbytes)


def _differing(column: Any, keys: Sequence[Any], values: Any, there: list[int]) -> list[int]:
    """Positions, among ``there``, of the samples whose stored value differs."""
    some = [keys[at] for at in there]
    if not isinstance(values, np.ndarray):
        return [at for at, old in zip(there, column[some], strict=True) if not equal_values(values[at], old)]
    stored = column.read(some)
    chosen = np.ascontiguousarray(values if len(there) == len(keys) else values[there], stored.dtype)
    if not chosen.size:
        return []
    equal = (_bytes_of(chosen) == _bytes_of(stored)).all(axis=1)
    return [there[at] for at in np.flatnonzero(~equal)]


def _bytes_of(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    flat = np.frombuffer(exact_bytes(rows, rows.dtype), np.uint8)
    return flat.reshape(len(rows), -1)


def _all_keys(column: Any) -> Iterator[Key]:
    """All keys of a column; in a nested one, pairs of sample and subsample."""
    if not column.contains_subsamples:
        yield from column
        return
    for sample in column:
        for subsample in column[sample]:
            yield sample, subsample
