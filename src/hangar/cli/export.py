"""``hangar export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hangar.cli import complete
from hangar.cli.output import count, echo, json_option, note, visible, write_json
from hangar.cli.plugin_command import PluginCommand, check_options
from hangar.cli.samples import existing_samples
from hangar.cli.state import State, pass_state
from hangar.cli.views import open_view
from hangar.errors import ConflictError, HangarError
from hangar.progress import format_bytes

__all__ = ["command"]


@click.command("export", cls=PluginCommand, options_metavar="[OPTIONS] [--KEY VALUE]...")
@click.argument("column", shell_complete=complete.columns)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@click.option(
    "-o",
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder to write to; default: one named like the column.",
)
@click.option(
    "-s",
    "--sample",
    "samples",
    multiple=True,
    metavar="SAMPLE",
    shell_complete=complete.samples,
    help="Only this sample, or those that match a pattern such as 'cat_*'; may be repeated.",
)
@click.option("-f", "--format", "extension", metavar="SUFFIX", help="Format of the files: png, tif, npy, txt ...")
@click.option("--plugin", metavar="NAME", help="What writes the files; default: chosen by format.")
@click.option(
    "--overwrite", is_flag=True, help="Write into a folder that is not empty; files of the same name are replaced."
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
    """Write the samples of COLUMN into files, as the commit REV has them or as they are staged.

    A file is named by its sample, or by the path it was imported from when that was remembered (--keep-names). In a column with subsamples a
    sample becomes a folder, and each of its subsamples a file in it. Names that would lead out of the
    folder, or that no file can have, are changed. Keys that the names cannot give back, such as integers, are told in the file .hangar-keys beside
    them: importing the folder gives the samples as they were. The folder must be new or empty, or --overwrite given. Without -f the format is one that
    loses nothing: png where it holds the array, else npy; txt; bin. Further options go to the plugin: jpg takes --quality 90.

    Each file appears whole or not at all. An error, or Ctrl-C, leaves those that were written, and tells how many.

    For example:
      hangar export images master~1 -o ../out
      hangar export images -s cat_17 -s int:5 -f png

    JSON: column, commit, directory, nbytes, files (sample, path).
    """
    from hangar.external.exporter import FolderExport
    from hangar.external.manager import manager
    from hangar.external.safe_io import OutputDirectory, safe_component

    view = open_view(state, rev)
    found: Any = view[column]
    if plugin_options:
        chosen = manager.find("save", plugin, extension) if plugin or extension else None
        if chosen is None:
            raise click.UsageError(
                f"--{next(iter(plugin_options))} is an option of a plugin: choose one with -f or --plugin"
            )
        check_options(ctx, chosen, "save", plugin_options)
    keys = _subsamples(found, samples) if found.contains_subsamples else _samples(found, samples)
    remembered = f"{column}_path"
    paths: Any = view.get(remembered)
    if paths is not None and (paths.column_type, paths.column_layout) != ("str", found.column_layout):
        paths = None
    directory = state.resolve(Path(safe_component(column)) if out is None else out)
    if not overwrite and directory.is_dir() and any(directory.iterdir()):
        raise ConflictError(
            f"{directory} is not empty: name another folder with -o, or use --overwrite to replace files of the same name"
        )
    with OutputDirectory(directory) as folder:
        work = FolderExport(found, folder, extension, plugin, plugin_options, paths)
        try:
            report = work.run(keys)
        except (KeyboardInterrupt, HangarError):
            note(f"Stopped: {len(work.report.files):,} of {count(len(keys), 'sample')} are written to {directory}")
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
            }
        )
        return
    if report.lossy:
        note("jpg files hold the samples only nearly: use -f png for all of it")
    echo(f"Wrote {count(len(keys), 'sample')} of {column} to {visible(str(directory))}, {format_bytes(report.nbytes)}")


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
