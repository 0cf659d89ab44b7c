"""Export a column to one file that holds many samples (HDF5, npz, zarr, Parquet, CSV, tar), or to tar shards.

A file is written in a private folder beside its place and then moved, so that it is complete or not there. It carries a
header, from which an import restores keys, dtypes, shapes and the attributes of the column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from hangar.errors import ConflictError, HangarError, InvalidInputError
from hangar.external.base import normal_extension
from hangar.external.exporter import FilePlan
from hangar.external.fit import Column, ColumnRequirements, stored_values, value_bytes
from hangar.external.keysfile import Key
from hangar.external.records import FileHeader
from hangar.external.safe_io import OutputDirectory, file_error, safe_component
from hangar.external.writers.base import ManyWriter, Target
from hangar.flags import parse_flag
from hangar.progress import Progress, report

__all__ = ["FORMATS", "ManyExport", "ManyReport", "many_format"]

BATCH_BYTES: Final = 16 * 2**20
BATCH_SAMPLES: Final = 16_384
FORMATS: Final = {
    **dict.fromkeys(("h5", "hdf5", "hdf"), "hdf5"),
    "npz": "npz",
    "zarr": "zarr",
    **dict.fromkeys(("parquet", "pq"), "parquet"),
    "csv": "csv",
    **dict.fromkeys(("tsv", "tab"), "tsv"),
    **dict.fromkeys(("tar", "webdataset"), "tar"),
}
"""Formats of one file with many samples, by extension or name."""
SUFFIXES: Final = {
    "hdf5": ".h5",
    "npz": ".npz",
    "zarr": ".zarr",
    "parquet": ".parquet",
    "csv": ".csv",
    "tsv": ".tsv",
    "tar": ".tar",
}
_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "hdf5": ("compression",),
    "npz": ("compression",),
    "zarr": (),
    "parquet": ("compression",),
    "csv": ("numbers",),
    "tsv": ("numbers",),
    "tar": ("member", "shard_samples", "shard_bytes", "quality"),
}


def many_format(extension: str | None, out: Path | None) -> str | None:
    """The format of an export to one file, from ``-f`` or the name of the file; None if each sample gets a file.

    ``-f npz`` alone writes one file per sample; a file name that ends in ``.npz`` asks for one file.
    """
    named = FORMATS.get(normal_extension(out.suffix)) if out is not None and out.suffix else None
    if extension is None:
        return named
    chosen = FORMATS.get(normal_extension(extension))
    return chosen if chosen != "npz" or named == "npz" else None


@dataclass(frozen=True, slots=True)
class ManyReport:
    """Result of an export.

    Attributes
    ----------
    files
        The files written.
    samples
        Number of samples in them.
    nbytes
        Bytes of the files.
    """

    files: tuple[Path, ...]
    samples: int
    nbytes: int


class ManyExport:
    """An export of samples to one file, or to tar shards.

    Parameters
    ----------
    column
        The column.
    path
        The file; for shards, the folder.
    kind
        The format, a value of :data:`FORMATS`.
    options
        ``compression`` (HDF5: gzip, lzf; npz: deflate; Parquet: zstd, snappy, gzip, none), ``numbers`` (CSV: numbers instead
        of class names), ``member`` (tar: format of the values), ``shard_samples`` and ``shard_bytes`` (tar: several archives).
    overwrite
        Whether an existing file is replaced.

    Raises
    ------
    InvalidInputError
        There is no such option.
    ConflictError
        The file exists.
    """

    def __init__(
        self, column: Column, path: Path, kind: str, options: Mapping[str, Any] | None = None, overwrite: bool = False
    ) -> None:
        self._column, self._path, self._kind = column, path, kind
        self._options = dict(options or {})
        self._requirements = ColumnRequirements.of(column)
        if self._requirements.kind not in ("ndarray", "str", "bytes") and kind != "tar":
            raise InvalidInputError(
                f"column {column.column!r} holds {self._requirements.kind} samples, which a {kind} file does not hold: export "
                "them to a folder, or with -f tar"
            )
        unknown = sorted(set(self._options).difference(_OPTIONS[kind]))
        if unknown:
            known = ", ".join(f"--{name.replace('_', '-')}" for name in _OPTIONS[kind]) or "none"
            raise InvalidInputError(
                f"there is no option --{unknown[0].replace('_', '-')} for {kind}: there are {known}"
            )
        self._sharded = kind == "tar" and path.suffix.lower() != ".tar"
        self._overwrite = overwrite
        if not overwrite and path.exists() and not (self._sharded and path.is_dir() and not any(path.iterdir())):
            raise ConflictError(f"{path} exists already: name another file with -o, or use --overwrite")

    def run(self, keys: Sequence[Key], progress: Progress = None) -> ManyReport:
        """Write the samples ``keys``.

        Raises
        ------
        InvalidInputError
            The format cannot hold the samples.
        AccessError, DiskFullError, StorageError
            An operation of the operating system failed. No incomplete file is left.
        """
        folder = self._path if self._sharded else self._path.parent
        files: list[Path] = []
        with (
            report(progress, len(keys), "samples", f"exporting {self._requirements.column}") as reporter,
            OutputDirectory(folder) as directory,
        ):
            for number, part in enumerate(self._shards(keys)):
                name = self._path.name
                if self._sharded:
                    name = f"{safe_component(self._requirements.column)}-{number:06}.tar"
                temporary = directory.staging() / f"part-{number}{SUFFIXES[self._kind]}"
                try:
                    self._write(temporary, part, reporter.advance)
                    files.append(self._place(directory, temporary, name))
                except OSError as error:
                    if isinstance(error, HangarError):
                        raise
                    raise file_error("write", folder / name, error) from error
        return ManyReport(tuple(files), len(keys), sum(map(_size, files)))

    def _write(self, path: Path, keys: Sequence[Key], advance: Any) -> None:
        from hangar.external.writers.tables import kinds_of

        header = FileHeader.of(self._column, *kinds_of(keys, self._requirements.nested))
        writer = self._writer(Target(path, header, self._requirements))
        try:
            for some, values in _batches(self._column, keys, self._requirements):
                writer.write(some, values)
                advance(len(some), _held(values))
            writer.close()
        except BaseException:
            with suppress(Exception):
                writer.abort()
            raise

    def _writer(self, target: Target) -> ManyWriter:
        """The writer for the format, whose package is imported only now."""
        from hangar.external.writers import tables, tars, trees

        kind, options = self._kind, self._options
        compression = options.get("compression")
        if kind == "hdf5":
            return trees.TreeWriter(target, trees.HDF5Store(target, compression))
        if kind == "npz":
            return trees.TreeWriter(target, trees.NpzStore(target, compression))
        if kind == "zarr":
            return trees.TreeWriter(target, trees.ZarrStore(target))
        if kind == "parquet":
            return tables.ParquetWriter(target, str(compression or "zstd"))
        if kind in ("csv", "tsv"):
            numbers = bool(parse_flag(str(options.get("numbers", False))))
            return tables.CsvWriter(target, "," if kind == "csv" else "\t", numbers)
        member = options.get("member")
        extras = {"quality": options["quality"]} if "quality" in options else {}
        return tars.TarWriter(target, FilePlan(self._column, None if member is None else str(member), None, extras))

    def _shards(self, keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
        if not self._sharded:
            yield keys
            return
        size = self._count("shard_samples", 10_000)
        if "shard_bytes" in self._options and self._requirements.nbytes:
            size = max(1, min(size, self._count("shard_bytes", 0) // self._requirements.nbytes))
        for start in range(0, max(1, len(keys)), size):
            yield keys[start : start + size]

    def _count(self, name: str, default: int) -> int:
        value = self._options.get(name, default)
        if type(value) is not int or value < 1:
            raise InvalidInputError(f"--{name.replace('_', '-')} is a whole number from 1 on, not {value!r}")
        return value

    def _place(self, directory: OutputDirectory, temporary: Path, name: str) -> Path:
        if self._kind != "zarr":
            return directory.place(temporary, (name,))
        target = self._path
        if target.is_symlink() or target.exists():
            raise ConflictError(f"{target} exists already: a zarr store is not replaced; remove it first")
        temporary.rename(target)
        return target


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size


def _held(values: Any) -> int:
    return values.nbytes if isinstance(values, np.ndarray) else sum(map(value_bytes, values))


def _batches(column: Any, keys: Sequence[Key], requirements: ColumnRequirements) -> Iterator[tuple[Sequence[Key], Any]]:
    """The values of ``keys`` in batches: a stacked array for a fixed shape, else a list."""
    fixed = requirements.kind == "ndarray" and not requirements.variable
    if fixed:
        row = prod(requirements.shape) * (requirements.dtype.itemsize if requirements.dtype is not None else 1)
        step = max(1, min(BATCH_SAMPLES, BATCH_BYTES // max(1, row)))
    else:
        step = 256 if requirements.kind == "ndarray" else 4096
    in_order = not requirements.nested and (fixed or requirements.kind != "ndarray")
    in_order = in_order and len(keys) == len(column) and list(keys) == list(column)  # reading by position is faster
    for start in range(0, len(keys), step):
        some = list(keys[start : start + step])
        if requirements.kind not in ("ndarray", "str", "bytes"):
            yield some, stored_values(column, some)
        elif in_order:
            yield some, column.read(slice(start, start + len(some)))
        else:
            yield some, column.read(some) if fixed else column[some]
