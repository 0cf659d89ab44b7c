"""``hangar export``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from hangar.cli import complete
from hangar.cli.output import echo, json_option, note, visible, write_json
from hangar.cli.plugin_command import PluginCommand, check_options
from hangar.cli.samples import existing_samples, sample_text
from hangar.cli.state import State, pass_state
from hangar.cli.views import View, open_view
from hangar.errors import ConflictError, HangarError
from hangar.progress import format_bytes
from hangar.wording import plural

__all__ = ["command"]

_MOST_NOTED: Final = 10


@click.command("export", cls=PluginCommand, options_metavar="[OPTIONS] [--KEY VALUE]...")
@click.argument("column", shell_complete=complete.columns)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@click.option(
    "-o",
    "--out",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The folder or file to write to; - is stdout, for CSV. Default: the name of the column.",
)
@click.option(
    "-s",
    "--sample",
    "samples",
    multiple=True,
    metavar="SAMPLE",
    shell_complete=complete.samples,
    help="Export only this sample, or the samples that match a pattern such as 'cat_*'. May be repeated.",
)
@click.option(
    "-f", "--format", "extension", metavar="SUFFIX", help="Format: png, npy, wav, txt ...; csv, parquet, hdf5 ..."
)
@click.option("--plugin", metavar="NAME", help="The plugin that writes the files. Default: chosen by format.")
@click.option(
    "--overwrite", is_flag=True, help="Allow a folder that is not empty; files of the same name are replaced."
)
@json_option
@click.pass_context
@pass_state
def command(
    state: State,
    ctx: click.Context,
    column: str,
    rev: str | None,
    out: Path | None,
    samples: tuple[str, ...],
    extension: str | None,
    plugin: str | None,
    overwrite: bool,
    as_json: bool,
    plugin_options: dict[str, Any],
) -> None:
    """Export the samples of COLUMN to files, from the commit REV or, without REV, from the staging area.

    Each sample becomes a file in a folder, or all samples go to one file: CSV, Parquet, HDF5, npz, zarr or tar, chosen by
    the suffix of -o (labels.csv, images.h5) or by -f. -f tar with a folder writes several archives for WebDataset. An
    import of such a file restores keys, dtypes, shapes and the attributes of the column.

    A file is named by its sample key, or by the path that it was imported from if the import stored it (--keep-names).
    In a column with subsamples a sample becomes a folder, and each subsample a file in it. Names that would lead out of
    the folder, or that are invalid for files, are changed. Keys that file names cannot represent, such as integers, are
    stored in the file .hangar-keys in the folder, so that importing the folder gives the same samples. The folder must
    be new or empty, unless --overwrite is given.

    Without -f the format is lossless: png if it can hold the array, else npy; txt; bin. Other options are passed to the
    plugin: jpg takes --quality 90.

    Chunked arrays are written block by block, to .npy files or, with -f zarr, to zarr stores of the same chunks.

    Each file is written completely or not at all. After an error or Ctrl-C the files written so far stay, and their
    number is shown.

    For example:
      hangar export images master~1 -o ../out
      hangar export images -s cat_17 -s int:5 -f png
      hangar export labels -o labels.csv
      hangar export labels -o -
      hangar export images -o shards -f tar

    JSON: column, commit, directory, nbytes, files (sample, path), purged (samples that were erased, which have no file).
    JSON of one file: column, commit, format, nbytes, samples, files (paths), purged.
    """
    from hangar.cli.export_many import export_many, write_to_stdout
    from hangar.external.manager import manager
    from hangar.external.many import SUFFIXES, many_format
    from hangar.external.safe_io import safe_component

    view = open_view(state, rev)
    found: Any = view[column]
    chunked = found.column_type == "chunked"  # of which each sample is a file, also of zarr
    many = many_format(extension, out) if plugin is None and not chunked else None
    to_stdout = str(out) == "-"
    if to_stdout:
        many = "csv" if extension is None and plugin is None and not chunked else many
        if many not in ("csv", "tsv") or as_json:
            raise click.UsageError("-o - writes CSV or TSV to stdout, without --json: name a folder or a file instead")
    if plugin_options and many is None:
        chosen = manager.find("save", plugin, extension) if plugin or extension else None
        if chosen is None:
            raise click.UsageError(
                f"--{next(iter(plugin_options))} is an option of a plugin: choose one with -f or --plugin"
            )
        check_options(ctx, chosen, "save", plugin_options)
    keys = _subsamples(found, samples) if found.contains_subsamples else _samples(found, samples)
    keys, purged = _without_purged(state, view, column, keys)
    if many is not None and to_stdout:
        write_to_stdout(found, keys, many, plugin_options)
        return
    if many is not None:
        default = safe_component(column) + (SUFFIXES[many] if many != "tar" else "")
        path = state.resolve(Path(default) if out is None else out)
        export_many(found, column, view.commit, keys, purged, path, many, plugin_options, overwrite, as_json)
        return
    directory = state.resolve(Path(safe_component(column)) if out is None else out)
    _to_folder(view, column, keys, purged, directory, extension, plugin, plugin_options, overwrite, as_json)


def _to_folder(
    view: View,
    column: str,
    keys: list[Any],
    purged: list[Any],
    directory: Path,
    extension: str | None,
    plugin: str | None,
    plugin_options: dict[str, Any],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write each sample to a file in a folder."""
    from hangar.external.chunked_files import ChunkedExport
    from hangar.external.exporter import FolderExport
    from hangar.external.safe_io import OutputDirectory

    found: Any = view[column]
    remembered = f"{column}_path"
    paths: Any = view.get(remembered)
    if paths is not None and (paths.column_type, paths.column_layout) != ("str", found.column_layout):
        paths = None
    if not overwrite and directory.is_dir() and any(directory.iterdir()):
        raise ConflictError(
            f"{directory} is not empty: name another folder with -o, or use --overwrite to replace files of the same name"
        )
    with OutputDirectory(directory) as folder:
        work: Any
        if found.column_type == "chunked":
            work = ChunkedExport(found, folder, extension)
        else:
            work = FolderExport(found, folder, extension, plugin, plugin_options, paths)
        try:
            report = work.run(keys)
        except (KeyboardInterrupt, HangarError):
            note(f"Stopped: {len(work.report.files):,} of {plural(len(keys), 'sample')} are written to {directory}")
            raise
    if as_json:
        files = [{"sample": one.sample, "path": str(one.path)} for one in report.files]
        write_json(
            {
                "column": column,
                "commit": view.commit,
                "directory": str(directory),
                "nbytes": report.nbytes,
                "files": files,
                "purged": purged,
            }
        )
        return
    if report.lossy:
        note("jpg is lossy: the files differ slightly from the samples. Use -f png for exact copies")
    echo(f"Wrote {plural(len(keys), 'sample')} of {column} to {visible(str(directory))}, {format_bytes(report.nbytes)}")


def _without_purged(state: State, view: View, column: str, keys: list[Any]) -> tuple[list[Any], list[Any]]:
    """The samples that have data, and those whose data was purged, which are noted."""
    from hangar.purge.lookup import purged_samples

    tombstones = purged_samples(state.stores, view.nodes, view.entry(column))
    if not tombstones:
        return keys, []
    gone: dict[Any, Any] = {}
    for key in keys:
        tombstone = tombstones.get(key if isinstance(key, tuple) else (key,))
        if tombstone is not None:
            gone[key] = tombstone
    for key, tombstone in islice(gone.items(), _MOST_NOTED):
        note(f"Not exported: {sample_text(key, view[column])} was {visible(str(tombstone))}")
    if len(gone) > _MOST_NOTED:
        note(f"Not exported: {len(gone) - _MOST_NOTED:,} more that were purged; `hangar purge --list` lists them")
    return [key for key in keys if key not in gone], list(gone)


def _samples(column: Any, texts: tuple[str, ...]) -> list[Any]:
    """The samples to write: those named, or all."""
    return existing_samples(texts, column, column.column) if texts else list(column)


def _subsamples(column: Any, texts: tuple[str, ...]) -> list[Any]:
    """The subsamples to write, as pairs: those named, and all of the samples named, or of the column."""
    pairs: dict[tuple[Any, Any], None] = {}
    for key in _samples(column, texts):
        if isinstance(key, tuple):
            pairs[key] = None
        else:
            pairs.update(dict.fromkeys((key, subsample) for subsample in column[key]))
    return list(pairs)
