"""Samples into files: one file a sample, below one directory.

A sample is written to the file that its key, or the path it was imported from, names, made safe by :mod:`hangar.external.safe_io`. The
format is the one asked for, else that of the remembered path, else one that loses nothing. Files that are there are replaced, each
whole; an error leaves those that were written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from hangar.errors import HangarError, InvalidInputError
from hangar.external.base import BasePlugin, normal_extension
from hangar.external.fit import Column
from hangar.external.manager import manager
from hangar.external.plugins._files import FilePlugin
from hangar.external.plugins.images import lossless_format, lossy
from hangar.external.safe_io import FileNames, OutputDirectory, safe_component, safe_suffix
from hangar.names import SampleKey
from hangar.progress import Progress, report

__all__ = ["ExportReport", "Exported", "export_samples"]

BATCH_BYTES: Final = 16 * 2**20
BATCH_SAMPLES: Final = 1024
_DEFAULTS: Final = {"str": "txt", "bytes": "bin"}


@dataclass(frozen=True, slots=True)
class Exported:
    """One sample and a file it was written to."""

    sample: SampleKey
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
    keys: Sequence[SampleKey],
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
        The samples, all of which it has.
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
    writer = _Writer(column, directory, extension, plugin, dict(options or {}))
    with report(progress, len(keys), "samples", f"exporting {column.column}") as reporter:
        for key, value in _values(column, keys):
            remembered = paths[key] if paths is not None and key in paths else None
            writer.write(key, value, remembered)
            reporter.advance()
    return ExportReport(tuple(writer.written), writer.nbytes, writer.lossy)


def _values(column: Column, keys: Sequence[SampleKey]) -> Iterator[tuple[SampleKey, Any]]:
    """Each key with its value; samples of one size are read in batches, others one at a time, as they may be large."""
    size = 1
    if column.column_type == "ndarray" and column.schema_type == "fixed_shape":
        nbytes = prod(column.shape) * np.dtype(column.dtype).itemsize
        size = max(1, min(BATCH_SAMPLES, BATCH_BYTES // max(1, nbytes)))
    for start in range(0, len(keys), size):
        some = list(keys[start : start + size])
        yield from zip(some, column[some], strict=True)


class _Writer:
    """Writes one sample after the other."""

    def __init__(
        self,
        column: Column,
        directory: OutputDirectory,
        extension: str | None,
        plugin: str | None,
        options: dict[str, Any],
    ) -> None:
        self._column = column
        self._directory = directory
        self._extension = None if extension is None else safe_suffix(extension).removeprefix(".")
        self._plugin = None if plugin is None else manager.find("save", plugin)
        self._options = options
        self._names = FileNames()
        self.written: list[Exported] = []
        self.nbytes = 0
        self.lossy = False

    def write(self, key: SampleKey, value: Any, remembered: str | None) -> None:
        """Write one sample."""
        name, extension = (str(key), None) if remembered is None else _split(remembered)
        wanted = self._extension or self._default(value)
        if self._extension is None and extension is not None and self._can_encode(value, extension):
            wanted = (
                extension  # the format it came in; one that can only be read, or not hold this value, is passed over
            )
        plugin = self._find(wanted)
        if isinstance(plugin, FilePlugin):
            data = self._encode(plugin, key, value, wanted)
            self._wrote(key, self._directory.write(self._names.take(name, safe_suffix(wanted)), data), len(data))
            self.lossy |= lossy(wanted)
        else:
            self._run(plugin, key, name, value, wanted)

    def _can_encode(self, value: Any, extension: str) -> bool:
        try:
            plugin = self._find(extension)
        except InvalidInputError:
            return False
        return not isinstance(plugin, FilePlugin) or plugin.can_encode(value, extension)

    def _encode(self, plugin: FilePlugin, key: SampleKey, value: Any, extension: str) -> bytes | memoryview:
        try:
            return plugin.encode(value, extension, **self._options)
        except InvalidInputError as error:
            raise InvalidInputError(f"sample {key!r} of {self._column.column!r}: {error}") from None

    def _default(self, value: Any) -> str:
        if isinstance(value, np.ndarray):
            image = lossless_format(value)
            return image if image is not None and find_spec("PIL") is not None else "npy"
        return _DEFAULTS[self._column.column_type]

    def _find(self, extension: str) -> BasePlugin:
        kind = self._column.column_type
        found = self._plugin or manager.for_file("save", f"x.{extension}", kind)
        if found is None:
            raise InvalidInputError(f"no plugin writes {kind} samples as .{normal_extension(extension)} files")
        return found

    def _run(self, plugin: BasePlugin, key: SampleKey, name: str, value: Any, extension: str) -> None:
        """Let a plugin of others write where it can do no harm, and put in place what it wrote."""
        staging = self._directory.staging()
        detail = f"{type(key).__name__}:{safe_component(name)}"
        try:
            plugin.save(value, str(staging), detail, extension, **self._options)
        except HangarError:
            raise
        except Exception as error:
            raise InvalidInputError(f"sample {key!r}: plugin {type(plugin).__name__} failed: {error!r}") from error
        files = sorted(staging.iterdir())
        if not files:
            raise InvalidInputError(f"sample {key!r}: plugin {type(plugin).__name__} wrote no file")
        for file in files:
            suffix = safe_suffix("".join(file.suffixes)) if len(files) == 1 else ""
            parts = self._names.take(name if len(files) == 1 else f"{name}/{file.name}", suffix)
            size = file.lstat().st_size
            self._wrote(key, self._directory.place(file, parts), size)

    def _wrote(self, key: SampleKey, path: Path, size: int) -> None:
        self.written.append(Exported(key, path))
        self.nbytes += size


def _split(path: str) -> tuple[str, str | None]:
    """A remembered path without its suffix, and the suffix as an extension, None when it has none that could be written."""
    folder, slash, last = path.rpartition("/")
    stem, _, extension = last.rpartition(".")
    try:
        safe_suffix(extension)
    except InvalidInputError:
        return path, None
    return (f"{folder}{slash}{stem}", extension) if stem else (path, None)
