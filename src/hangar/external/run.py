"""Import files of all kinds into a column: those that hold one sample, and those that hold many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hangar.errors import HangarError
from hangar.external.batches import WritableColumn
from hangar.external.blocks import BlockImport
from hangar.external.importer import Failure, FolderImport, ImportOptions, ImportReport
from hangar.external.loading import Job
from hangar.external.plugins._blocks import BlockPlugin
from hangar.progress import Progress

__all__ = ["FilesImport"]


class FilesImport:
    """An import of many files into a column.

    Files of one sample come first, then those that hold many (tables, archives, HDF5). ``how`` has
    fields of :class:`hangar.external.importer.ImportOptions`.
    """

    def __init__(self, column: WritableColumn, jobs: Sequence[Job], **how: Any) -> None:
        options = ImportOptions(**how)
        single = [job for job in jobs if not isinstance(job.plugin, BlockPlugin)]
        many = [job for job in jobs if isinstance(job.plugin, BlockPlugin)]
        self._column = column
        self._many = many
        self._keep_going = options.keep_going
        self._parts: list[FolderImport | BlockImport] = []
        if single or not many:
            self._parts.append(FolderImport(column, single, options))
        if many:
            self._parts.append(BlockImport(column, many, options))

    @property
    def report(self) -> ImportReport:
        """Counts of the samples that are durable so far."""
        total = ImportReport()
        for part in self._parts:
            one = part.report
            total = ImportReport(
                total.samples + one.samples,
                total.overwritten + one.overwritten,
                total.unchanged + one.unchanged,
                total.files + one.files,
                total.nbytes + one.nbytes,
                one.last or total.last,
                (*total.failures, *part.failures),
            )
        return total

    def run(self, progress: Progress = None) -> ImportReport:
        """Import the files. Raises the errors of :meth:`hangar.external.importer.FolderImport.run`."""
        for part in self._parts:
            part.run(progress)
        for job in self._many:
            self._restore_attributes(job)
        return self.report

    def _restore_attributes(self, job: Job) -> None:
        """Set the attributes that an export stored in a file, where the column has none of that name."""
        assert isinstance(job.plugin, BlockPlugin)
        try:
            header = job.plugin.header(job.source.path)
        except HangarError as error:
            if not self._keep_going:
                raise
            known = {failure.path for part in self._parts for failure in part.failures}
            if job.source.path not in known:
                self._parts[-1].failures.append(Failure(job.source.path, error))
            return
        attributes = getattr(self._column, "attributes", None)
        if header is None or attributes is None:
            return
        fresh = {name: value for name, value in header.attributes.items() if name not in attributes}
        if fresh:
            attributes.update(fresh)
