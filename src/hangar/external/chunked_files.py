"""Import of many files into a chunked column, and export of one to files: each array block by block."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hangar.errors import ConflictError, HangarError, InvalidInputError
from hangar.external.chunked import PartArray, copy_to_column, equals, has_sample, open_arrays, write_npy, write_zarr
from hangar.external.exporter import Exported, ExportReport, file_name
from hangar.external.importer import Failure, ImportReport
from hangar.external.keysfile import Key, read_keys, write_keys
from hangar.external.naming import Source, key_of, named_by
from hangar.external.safe_io import FileNames, OutputDirectory, safe_suffix
from hangar.progress import Progress, report

__all__ = ["ChunkedExport", "ChunkedImport"]

_WRITERS: Final[dict[str, Callable[[Any, Path], int]]] = {"npy": write_npy, "zarr": write_zarr}


class ChunkedImport:
    """An import of files into a chunked column. Each array is one write.

    Parameters
    ----------
    column
        The column of a writer.
    sources
        The files.
    dataset
        Read only the array of this name of each file.
    overwrite
        Whether to replace samples of other content. Equal ones are skipped.
    integers
        Whether a name of digits alone becomes an integer key.
    keep_going
        Whether a file that cannot be read ends the import; otherwise it is listed.

    Attributes
    ----------
    report
        What was imported so far.
    """

    def __init__(
        self,
        column: Any,
        sources: Sequence[Source],
        *,
        dataset: str = "",
        overwrite: bool = False,
        integers: bool = False,
        keep_going: bool = False,
    ) -> None:
        self._column, self._sources, self._dataset = column, sources, dataset
        self._overwrite, self._integers, self._keep_going = overwrite, integers, keep_going
        self.report = ImportReport()

    def run(self, progress: Progress = None) -> ImportReport:
        """Import all files.

        Raises
        ------
        InvalidInputError, ConflictError
            A file cannot be read or does not fit, or a sample exists with other content; unless the import keeps going.
        """
        with report(progress, len(self._sources), "files", f"importing {self._column.column}") as reporter:
            for source in self._sources:
                before = len(self.report.failures)
                with self._failing(source.path), open_arrays(source.path, self._dataset) as arrays:
                    for name, array in arrays.items():
                        with self._failing(source.path, None if len(arrays) == 1 else name):
                            self._import(source, name, array)
                if len(self.report.failures) == before:
                    self.report = replace(self.report, files=self.report.files + 1, last=source.path)
                reporter.advance(1)
        return self.report

    @contextmanager
    def _failing(self, path: str, sample: str | None = None) -> Iterator[None]:
        try:
            yield
        except HangarError as error:
            if not self._keep_going:
                raise
            self.report = replace(self.report, failures=(*self.report.failures, Failure(path, error, sample)))

    def _import(self, source: Source, name: str, array: PartArray) -> None:
        column, done = self._column, self.report
        key: Any = source.key
        if key is None:
            key = key_of(source.folder + name, source.path, nested=column.contains_subsamples, integers=self._integers)
        there = has_sample(column, key)
        if there and equals(column[key], array):
            self.report = replace(done, unchanged=done.unchanged + 1)
            return
        if there and not self._overwrite:
            raise ConflictError(f"sample {key!r} exists with other content than {source.path}: --overwrite replaces it")
        try:
            copy_to_column(column, key, array)
        except InvalidInputError as error:
            raise InvalidInputError(f"{source.path} ({name}) {error}") from None
        size = array.dtype.itemsize
        for extent in array.shape:
            size *= extent
        self.report = replace(
            done, samples=done.samples + 1, overwritten=done.overwritten + there, nbytes=done.nbytes + size
        )


class ChunkedExport:
    """An export of chunked arrays to ``.npy`` files or zarr stores in a folder.

    Attributes
    ----------
    report
        What was written so far.
    """

    def __init__(self, column: Any, directory: OutputDirectory, extension: str | None = None) -> None:
        self._column, self._directory = column, directory
        self._suffix = "npy" if extension is None else extension.lower().lstrip(".")
        if self._suffix not in _WRITERS:
            raise InvalidInputError(
                f"chunked arrays are written as .npy or .zarr, not as .{self._suffix}: use -f npy or -f zarr"
            )
        self.report = ExportReport((), 0, False)

    def run(self, keys: Sequence[Key], progress: Progress = None) -> ExportReport:
        """Write the samples ``keys``, each completely or not at all.

        Raises
        ------
        InvalidInputError
            A path is taken, or the format cannot hold an array.
        MissingPackageError
            zarr is not installed.
        AccessError, DiskFullError, StorageError
            An operation of the operating system failed.
        """
        write, names = _WRITERS[self._suffix], FileNames()
        stored_keys = read_keys(str(self._directory.path))
        named: dict[str, Key | None] = {}
        staging = self._directory.staging()
        try:
            with report(progress, len(keys), "samples", f"exporting {self._column.column}") as reporter:
                for number, key in enumerate(keys):
                    parts = names.take(file_name(key), safe_suffix(self._suffix))
                    made = staging / f"array-{number}"
                    try:
                        nbytes = write(self._column[key], made)
                        path = (self._directory.place_tree if made.is_dir() else self._directory.place)(made, parts)
                    except BaseException:
                        shutil.rmtree(made, ignore_errors=True)
                        made.unlink(missing_ok=True)
                        raise
                    relative = path.relative_to(self._directory.path).as_posix()
                    named[relative] = None if named_by(relative, nested=isinstance(key, tuple)) == key else key
                    files = (*self.report.files, Exported(key, path))
                    self.report = ExportReport(files, self.report.nbytes + nbytes, False)
                    reporter.advance(1, nbytes)
        finally:
            write_keys(self._directory, stored_keys, named)
        return self.report
