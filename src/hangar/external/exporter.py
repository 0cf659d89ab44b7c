"""Export samples to files: one file for each sample, inside one directory, encoded and written on several threads.

A file is named after the key of its sample, or after the path that the import stored. :mod:`hangar.external.safe_io`
makes the name safe. The format is the requested one, or that of the stored path, or a lossless one. Existing files are
replaced atomically. After an error or interrupt the files written so far stay. Keys that file names cannot represent
are stored in a separate file, see :mod:`hangar.external.keysfile`, so that importing the folder gives the same samples.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from hangar.errors import HangarError, InvalidInputError, PurgedError
from hangar.external.base import BasePlugin, normal_extension
from hangar.external.fit import Column, ColumnRequirements, stored_values, value_bytes
from hangar.external.keysfile import Key, read_keys, write_keys
from hangar.external.manager import manager
from hangar.external.naming import named_by
from hangar.external.plugins._files import FilePlugin
from hangar.external.plugins.images import lossless_format, lossy
from hangar.external.safe_io import FileNames, OutputDirectory, safe_component, safe_suffix
from hangar.progress import Progress, Reporter, report
from hangar.schema import MediaSchema
from hangar.threads import Pipeline, threads_for

__all__ = ["ExportReport", "Exported", "FilePlan", "FolderExport", "PlannedFile", "export_samples", "file_name"]

BATCH_BYTES: Final = 16 * 2**20
BATCH_SAMPLES: Final = 1024
CHUNK_BYTES: Final = 2 * 2**20
"""Bytes of values that one task encodes."""
CHUNK_SAMPLES: Final = 32
AHEAD_BYTES: Final = 64 * 2**20
"""Maximum bytes of values that wait to be written."""
_DEFAULTS: Final = {"str": "txt", "bytes": "bin", "sparse": "npz"}


@dataclass(frozen=True, slots=True)
class Exported:
    """A sample and a file that it was written to."""

    sample: Key
    path: Path


@dataclass(frozen=True, slots=True)
class ExportReport:
    """Result of an export."""

    files: tuple[Exported, ...]
    nbytes: int
    """Bytes of the files."""
    lossy: bool
    """Whether some file has a format with lossy compression."""


def export_samples(
    column: Column,
    keys: Sequence[Key],
    directory: OutputDirectory,
    *,
    extension: str | None = None,
    plugin: str | None = None,
    options: Mapping[str, Any] | None = None,
    paths: Column | None = None,
    progress: Progress = None,
) -> ExportReport:
    """Write samples to files.

    Parameters
    ----------
    column
        The column.
    keys
        Keys of existing samples; in a nested column, pairs of sample and subsample.
    directory
        The output directory.
    extension
        Format of the files. Default: that of the stored path; without one, PNG for arrays that PNG holds without loss,
        ``.npy`` for other arrays, ``.txt`` for text and ``.bin`` for bytes.
    plugin
        Name of the plugin that writes them; default: by extension.
    options
        Options of the plugin.
    paths
        A str column with the paths from which samples were imported.
    progress
        Progress display, see :mod:`hangar.progress`. It counts samples.

    Raises
    ------
    InvalidInputError
        The format cannot hold a sample, or the path of a file is taken by something other than a regular file.
    AccessError, DiskFullError, StorageError
        An operation of the operating system failed.
    """
    return FolderExport(column, directory, extension, plugin, options, paths).run(keys, progress)


class FolderExport:
    """An export of many samples. The parameters are those of :func:`export_samples`.

    Attributes
    ----------
    report
        The files written so far.
    """

    def __init__(
        self,
        column: Column,
        directory: OutputDirectory,
        extension: str | None = None,
        plugin: str | None = None,
        options: Mapping[str, Any] | None = None,
        paths: Column | None = None,
    ) -> None:
        self._column = column
        self._directory = directory
        self._paths = paths
        self._plan = FilePlan(column, extension, plugin, dict(options or {}))
        self._written: list[Exported] = []
        self._nbytes = 0
        self._keys: dict[str, Key | None] = {}
        self._running: deque[_Chunk] = deque()

    @property
    def report(self) -> ExportReport:
        return ExportReport(tuple(self._written), self._nbytes, self._plan.lossy)

    def run(self, keys: Sequence[Key], progress: Progress = None) -> ExportReport:
        """Write the samples ``keys``. Raises the errors of :func:`export_samples`."""
        self._directory.staging()  # created here, because creation is not thread-safe
        stored_keys = read_keys(str(self._directory.path))
        threads = threads_for(ColumnRequirements.of(self._column).nbytes) if len(keys) > 1 else 0
        ahead: Pipeline[None] = Pipeline(threads, AHEAD_BYTES, "hangar-export")
        try:
            with report(progress, len(keys), "samples", f"exporting {self._column.column}") as reporter, ahead:
                for files, weight in self._chunks(keys):
                    while not ahead.room(weight):
                        self._take(ahead, reporter)
                    chunk = _Chunk(files, weight)
                    self._running.append(chunk)
                    ahead.offer(partial(self._write_chunk, chunk), weight)
                while len(ahead):
                    self._take(ahead, reporter)
        finally:
            # After an error or interrupt, unfinished tasks may have written files that are not recorded yet.
            for chunk in self._running:
                self._note_all(chunk)
            write_keys(self._directory, stored_keys, self._keys)
        return self.report

    def _write_chunk(self, chunk: _Chunk) -> None:
        """Encode and write files up to the first error. Runs on a thread."""
        try:
            for file in chunk.files:
                data = self._encode(file)
                chunk.written.append((file, self._directory.write(file.parts, data), len(data)))
        except HangarError as error:
            chunk.error = error

    def _encode(self, file: PlannedFile) -> bytes | memoryview:
        assert isinstance(file.plugin, FilePlugin)  # other plugins do not run on threads
        try:
            options = file.plugin.check_options("save", self._plan.options)
            return file.plugin.encode(file.value, file.extension, **options)
        except InvalidInputError as error:
            raise InvalidInputError(f"sample {file.key!r} of {self._column.column!r}: {error}") from None

    def _take(self, ahead: Pipeline[None], reporter: Reporter) -> None:
        """Wait for the oldest task, record its files and raise its error."""
        ahead.take()
        chunk = self._running.popleft()
        ahead.free(chunk.weight)
        self._note_all(chunk)
        reporter.advance(len(chunk.written), sum(size for _, _, size in chunk.written))
        if chunk.error is not None:
            raise chunk.error

    def _note_all(self, chunk: _Chunk) -> None:
        for file, path, size in chunk.written:
            self._note(file.key, path, size)

    def _note(self, key: Key, path: Path, size: int) -> None:
        self._written.append(Exported(key, path))
        self._nbytes += size
        relative = path.relative_to(self._directory.path).as_posix()
        self._keys[relative] = None if named_by(relative, nested=isinstance(key, tuple)) == key else key

    def _stored_path(self, key: Key) -> str | None:
        """The path that a sample was imported from, if it is known and was not purged."""
        try:
            return self._paths[key] if self._paths is not None and key in self._paths else None
        except PurgedError:
            return None

    def _chunks(self, keys: Sequence[Key]) -> Iterator[tuple[list[PlannedFile], int]]:
        """Yield the files of each task and the bytes of their values.

        Files of third-party plugins are written here instead.
        """
        chunk: list[PlannedFile] = []
        held = 0
        for key, value in _values(self._column, keys):
            file = self._plan.file(key, value, self._stored_path(key))
            if not isinstance(file.plugin, FilePlugin):
                for path, size in self._plan.run(self._directory, file):
                    self._note(key, path, size)
                continue
            chunk.append(file)
            held += value_bytes(value)
            if held >= CHUNK_BYTES or len(chunk) >= CHUNK_SAMPLES:
                yield chunk, held
                chunk, held = [], 0
        if chunk:
            yield chunk, held


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A sample and its planned file."""

    key: Key
    value: Any
    plugin: BasePlugin
    name: str
    extension: str
    parts: tuple[str, ...]


@dataclass(slots=True)
class _Chunk:
    """Files of one task, and its results."""

    files: list[PlannedFile]
    weight: int
    written: list[tuple[PlannedFile, Path, int]] = field(default_factory=list)
    error: HangarError | None = None


def _values(column: Column, keys: Sequence[Key]) -> Iterator[tuple[Key, Any]]:
    """Yield each key with its value.

    Samples of fixed shape are read in batches, others one at a time, as they may be large.
    """
    size = 1
    if column.column_type == "ndarray" and column.schema_type == "fixed_shape":
        nbytes = prod(column.shape) * np.dtype(column.dtype).itemsize
        size = max(1, min(BATCH_SAMPLES, BATCH_BYTES // max(1, nbytes)))
    for start in range(0, len(keys), size):
        some = list(keys[start : start + size])
        yield from zip(some, stored_values(column, some), strict=True)


class FilePlan:
    """Selects the path, format and plugin for each sample."""

    def __init__(self, column: Column, extension: str | None, plugin: str | None, options: dict[str, Any]) -> None:
        self._kind = column.column_type
        self._schema = getattr(column, "schema", None)
        self._extension = None if extension is None else safe_suffix(extension).removeprefix(".")
        self._plugin = None if plugin is None else manager.find("save", plugin)
        self._names = FileNames()
        self.options = options
        self.lossy = False

    def file(self, key: Key, value: Any, stored_path: str | None, name: str | None = None) -> PlannedFile:
        """Plan the file of one sample, named ``name`` or after its key or the path that it came from."""
        stem, extension = (name or file_name(key), None) if stored_path is None else _split(stored_path)
        wanted = self._extension or self._default(value)
        if isinstance(self._schema, MediaSchema) and self._extension not in (None, self._schema.extension(value)):
            raise InvalidInputError(
                f"sample {key!r} is a .{self._schema.extension(value)} file, which is exported as it is: leave out the format"
            )
        if self._extension is None and extension is not None and self._can_encode(value, extension):
            # The original format, unless it can only be read or cannot hold this value.
            wanted = extension
        plugin = self._find(wanted)
        parts: tuple[str, ...] = ()
        if isinstance(plugin, FilePlugin):
            parts = self._names.take(stem, safe_suffix(wanted))
            self.lossy |= lossy(wanted) and not isinstance(self._schema, MediaSchema)
        return PlannedFile(key, value, plugin, stem, wanted, parts)

    def _can_encode(self, value: Any, extension: str) -> bool:
        try:
            plugin = self._find(extension)
        except InvalidInputError:
            return False
        return not isinstance(plugin, FilePlugin) or plugin.can_encode(value, extension)

    def _default(self, value: Any) -> str:
        if isinstance(value, np.ndarray):
            image = lossless_format(value)
            return image if image is not None and find_spec("PIL") is not None else "npy"
        return self._schema.extension(value) if isinstance(self._schema, MediaSchema) else _DEFAULTS[self._kind]

    def _find(self, extension: str) -> BasePlugin:
        kind = self._kind
        found = self._plugin or manager.for_file("save", f"x.{extension}", kind)
        if found is None:
            raise InvalidInputError(f"no plugin writes {kind} samples as .{normal_extension(extension)} files")
        return found

    def run(self, directory: OutputDirectory, file: PlannedFile) -> list[tuple[Path, int]]:
        """Let a third-party plugin write to a staging directory, and move its files to their places."""
        staging = Path(tempfile.mkdtemp(dir=directory.staging()))
        plugin = type(file.plugin).__name__
        detail = f"{_kind_of(file.key)}:{safe_component(file.name)}"
        try:
            options = file.plugin.check_options("save", self.options)
            file.plugin.save(file.value, str(staging), detail, file.extension, **options)
        except HangarError:
            raise
        except Exception as error:
            raise InvalidInputError(f"sample {file.key!r}: plugin {plugin} failed: {error!r}") from error
        found = sorted(staging.iterdir())
        if not found:
            raise InvalidInputError(f"sample {file.key!r}: plugin {plugin} wrote no file")
        written = []
        for one in found:
            suffix = safe_suffix("".join(one.suffixes)) if len(found) == 1 else ""
            parts = self._names.take(file.name if len(found) == 1 else f"{file.name}/{one.name}", suffix)
            size = one.lstat().st_size
            written.append((directory.place(one, parts), size))
        staging.rmdir()
        return written


def file_name(key: Key) -> str:
    """The path of the file of a sample. A subsample is in a directory named after its sample."""
    return f"{key[0]}/{key[1]}" if isinstance(key, tuple) else str(key)


def _kind_of(key: Key) -> str:
    return type(key[1] if isinstance(key, tuple) else key).__name__


def _split(path: str) -> tuple[str, str | None]:
    """Split a stored path into the path without suffix and the extension; None if it has no valid extension."""
    folder, slash, last = path.rpartition("/")
    stem, _, extension = last.rpartition(".")
    try:
        safe_suffix(extension)
    except InvalidInputError:
        return path, None
    return (f"{folder}{slash}{stem}", extension) if stem else (path, None)
