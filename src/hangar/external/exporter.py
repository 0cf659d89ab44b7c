"""Samples into files: one file a sample, below one directory, encoded and written on several cores.

A sample is written to the file that its key, or the path it was imported from, names, made safe by :mod:`hangar.external.safe_io`. The
format is the one asked for, else that of the remembered path, else one that loses nothing. Files that are there are replaced, each
whole; an error or interrupt leaves those that were written. Keys that the names cannot give back are told in a file of their own, see
:mod:`hangar.external.keysfile`, so that importing the folder gives the samples as they were.
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

from hangar.errors import HangarError, InvalidInputError
from hangar.external.base import BasePlugin, normal_extension
from hangar.external.fit import Column, ColumnRequirements, value_bytes
from hangar.external.keysfile import Key, read_keys, write_keys
from hangar.external.manager import manager
from hangar.external.naming import named_by
from hangar.external.plugins._files import FilePlugin
from hangar.external.plugins.images import lossless_format, lossy
from hangar.external.safe_io import FileNames, OutputDirectory, safe_component, safe_suffix
from hangar.progress import Progress, Reporter, report
from hangar.threads import Pipeline, threads_for

__all__ = ["ExportReport", "Exported", "FolderExport", "export_samples"]

BATCH_BYTES: Final = 16 * 2**20
BATCH_SAMPLES: Final = 1024
CHUNK_BYTES: Final = 2 * 2**20
"""Bytes of values that one task of a thread encodes."""
CHUNK_SAMPLES: Final = 32
AHEAD_BYTES: Final = 64 * 2**20
"""Of values that wait for being written."""
_DEFAULTS: Final = {"str": "txt", "bytes": "bin"}


@dataclass(frozen=True, slots=True)
class Exported:
    """One sample and a file it was written to."""

    sample: Key
    path: Path


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export did."""

    files: tuple[Exported, ...]
    nbytes: int
    """Bytes of the files."""
    lossy: bool
    """Whether some file holds less than its sample."""


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
    """Write samples into files.

    Parameters
    ----------
    column
        The column.
    keys
        The samples, all of which it has; of a nested column pairs of sample and subsample.
    directory
        Where the files go.
    extension
        Format of the files; default: that of the remembered path, else PNG for what PNG holds without loss, ``.npy`` for other
        arrays, ``.txt``, ``.bin``.
    plugin
        Name of the plugin that writes them; default: by extension.
    options
        Go to the plugin.
    paths
        A str column of the paths that samples were imported from.
    progress
        As :mod:`hangar.progress` says, counting samples.

    Raises
    ------
    InvalidInputError
        The format cannot hold a sample, or something other than a regular file is in the way of one.
    AccessError, DiskFullError, StorageError
        The operating system refuses.
    """
    return FolderExport(column, directory, extension, plugin, options, paths).run(keys, progress)


class FolderExport:
    """One export of many samples; the parameters are those of :func:`export_samples`.

    Attributes
    ----------
    report
        What is written so far.
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
        self._plan = _Plan(column, extension, plugin, dict(options or {}))
        self._written: list[Exported] = []
        self._nbytes = 0
        self._keys: dict[str, Key | None] = {}
        self._running: deque[_Chunk] = deque()

    @property
    def report(self) -> ExportReport:
        return ExportReport(tuple(self._written), self._nbytes, self._plan.lossy)

    def run(self, keys: Sequence[Key], progress: Progress = None) -> ExportReport:
        """Write ``keys``; raises what :func:`export_samples` does."""
        self._directory.staging()  # made before any thread asks for it
        told = read_keys(str(self._directory.path))
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
            # After an error or interrupt there are files of tasks that nobody waited for.
            for chunk in self._running:
                self._note_all(chunk)
            write_keys(self._directory, told, self._keys)
        return self.report

    def _write_chunk(self, chunk: _Chunk) -> None:
        """Encode and write files, up to the first that cannot be; on a thread."""
        try:
            for file in chunk.files:
                data = self._encode(file)
                chunk.written.append((file, self._directory.write(file.parts, data), len(data)))
        except HangarError as error:
            chunk.error = error

    def _encode(self, file: _File) -> bytes | memoryview:
        assert isinstance(file.plugin, FilePlugin)  # the others are not handed to threads
        try:
            options = file.plugin.check_options("save", self._plan.options)
            return file.plugin.encode(file.value, file.extension, **options)
        except InvalidInputError as error:
            raise InvalidInputError(f"sample {file.key!r} of {self._column.column!r}: {error}") from None

    def _take(self, ahead: Pipeline[None], reporter: Reporter) -> None:
        """Wait for the oldest task; raise what it met."""
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

    def _chunks(self, keys: Sequence[Key]) -> Iterator[tuple[list[_File], int]]:
        """What the threads are to do, and the bytes of the values in it. What a plugin of others writes is written here."""
        chunk: list[_File] = []
        held = 0
        for key, value in _values(self._column, keys):
            paths = self._paths
            file = self._plan.file(key, value, paths[key] if paths is not None and key in paths else None)
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
class _File:
    """A sample that becomes a file."""

    key: Key
    value: Any
    plugin: BasePlugin
    name: str
    extension: str
    parts: tuple[str, ...]


@dataclass(slots=True)
class _Chunk:
    """Files that one task writes, and what it did."""

    files: list[_File]
    weight: int
    written: list[tuple[_File, Path, int]] = field(default_factory=list)
    error: HangarError | None = None


def _values(column: Column, keys: Sequence[Key]) -> Iterator[tuple[Key, Any]]:
    """Each key with its value; samples of one size are read in batches, others one at a time, as they may be large."""
    size = 1
    if column.column_type == "ndarray" and column.schema_type == "fixed_shape":
        nbytes = prod(column.shape) * np.dtype(column.dtype).itemsize
        size = max(1, min(BATCH_SAMPLES, BATCH_BYTES // max(1, nbytes)))
    for start in range(0, len(keys), size):
        some = list(keys[start : start + size])
        yield from zip(some, column[some], strict=True)


class _Plan:
    """Which file a sample goes to, and what writes it."""

    def __init__(self, column: Column, extension: str | None, plugin: str | None, options: dict[str, Any]) -> None:
        self._kind = column.column_type
        self._extension = None if extension is None else safe_suffix(extension).removeprefix(".")
        self._plugin = None if plugin is None else manager.find("save", plugin)
        self._names = FileNames()
        self.options = options
        self.lossy = False

    def file(self, key: Key, value: Any, remembered: str | None) -> _File:
        """The file of one sample."""
        name, extension = (_file_name(key), None) if remembered is None else _split(remembered)
        wanted = self._extension or self._default(value)
        if self._extension is None and extension is not None and self._can_encode(value, extension):
            # The format it came in; one that can only be read, or not hold this value, is passed over.
            wanted = extension
        plugin = self._find(wanted)
        parts: tuple[str, ...] = ()
        if isinstance(plugin, FilePlugin):
            parts = self._names.take(name, safe_suffix(wanted))
            self.lossy |= lossy(wanted)
        return _File(key, value, plugin, name, wanted, parts)

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
        return _DEFAULTS[self._kind]

    def _find(self, extension: str) -> BasePlugin:
        kind = self._kind
        found = self._plugin or manager.for_file("save", f"x.{extension}", kind)
        if found is None:
            raise InvalidInputError(f"no plugin writes {kind} samples as .{normal_extension(extension)} files")
        return found

    def run(self, directory: OutputDirectory, file: _File) -> list[tuple[Path, int]]:
        """Let a plugin of others write where it can do no harm, and put in place what it wrote."""
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


def _file_name(key: Key) -> str:
    """What the file of a sample is called; a subsample's lies in a directory of its sample's name."""
    return f"{key[0]}/{key[1]}" if isinstance(key, tuple) else str(key)


def _kind_of(key: Key) -> str:
    return type(key[1] if isinstance(key, tuple) else key).__name__


def _split(path: str) -> tuple[str, str | None]:
    """A remembered path without its suffix, and the suffix as an extension, None when it has none that could be written."""
    folder, slash, last = path.rpartition("/")
    stem, _, extension = last.rpartition(".")
    try:
        safe_suffix(extension)
    except InvalidInputError:
        return path, None
    return (f"{folder}{slash}{stem}", extension) if stem else (path, None)
