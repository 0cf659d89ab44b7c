"""``hangar import``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.output import echo, json_option, note, visible, write_json
from hangar.cli.plugin_command import PluginCommand, check_options
from hangar.cli.state import State, pass_state
from hangar.errors import ColumnNotFoundError, HangarError, InvalidInputError
from hangar.progress import format_bytes
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout
    from hangar.external.importer import FolderImport, ImportReport
    from hangar.external.naming import Source

__all__ = ["command"]


@click.command("import", cls=PluginCommand, options_metavar="[OPTIONS] [--KEY VALUE]...")
@click.argument("column", shell_complete=complete.columns)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--branch",
    metavar="NAME",
    shell_complete=complete.branches,
    help="The branch to import into. Default: the current branch.",
)
@click.option("--plugin", metavar="NAME", help="The plugin that reads the files. Default: chosen by suffix.")
@click.option("--overwrite", is_flag=True, help="Replace existing samples.")
@click.option("--int-keys", is_flag=True, help="Use a numeric file name as an integer key.")
@click.option("--keep-names", is_flag=True, help="Store the path of each file in the text column COLUMN_path.")
@json_option
@click.pass_context
@pass_state
def command(
    state: State,
    ctx: click.Context,
    column: str,
    path: Path,
    branch: str | None,
    plugin: str | None,
    overwrite: bool,
    int_keys: bool,
    keep_names: bool,
    as_json: bool,
    plugin_options: dict[str, Any],
) -> None:
    """Import the file PATH, or all files of the folder PATH, into COLUMN.

    The sample key of a file is its path below PATH, without suffix. Characters that are not allowed in keys become _.
    Two files with the same key are an error. In a column with subsamples a folder is a sample, and each file in it a
    subsample. Hidden files are skipped. So are files that no plugin can read for this kind of column, and a message
    lists them.

    Files are imported in sorted order. A file that cannot be read or does not fit the column, or Ctrl-C, ends the
    import. The samples imported so far stay staged. The same command continues from there (after you repaired the
    file): existing samples with equal content are skipped, and different content is an error unless --overwrite is
    given. To drop all staged changes, run: hangar restore . (with the dot).

    Array columns take images (png, jpg, bmp, tif, webp, ppm ...), .npy, and .npz, whose arrays become PATH/NAME. Text
    columns take .txt in UTF-8. Bytes columns take any file. Other options are passed to the plugin, and are checked
    before any file is read.

    Pixel values of images are imported as stored (of a palette image, the indices); images that cannot be decoded
    exactly are refused. Options convert them: --mode RGB (or L, RGBA ..., in any case), --bits 8 keeps the 8 highest
    bits of deeper samples, --upright true applies the orientation that the camera recorded, --frame 0 selects one image
    of several.

    For example:
      hangar import images ../pictures
      hangar import masks scans/mask.png --mode L --overwrite

    JSON: column, branch, samples, overwritten, unchanged, files, nbytes, skipped (paths).
    """
    from hangar.external.importer import FolderImport
    from hangar.external.loading import plan_import
    from hangar.external.naming import find_files

    path = state.resolve(path)
    sources = find_files(path)
    with state.writer(branch) as checkout:
        if column not in checkout.columns:
            raise _no_column(checkout, column, sources)
        target: Any = checkout.columns[column]
        jobs, skipped = plan_import(sources, target.column_type, plugin)
        for found in {id(job.plugin): job.plugin for job in jobs}.values():
            check_options(ctx, found, "load", plugin_options)
        if not jobs:
            raise InvalidInputError(_nothing_found(path, target.column_type, skipped))
        with _paths_column(checkout, target, keep_names) as paths:
            work = FolderImport(
                target,
                jobs,
                options=plugin_options,
                overwrite=overwrite,
                integers=int_keys,
                paths=paths,
                batch_context=lambda: checkout,
            )
            with _where_it_stopped(work, len(jobs)):
                report = work.run()
        branch_name = checkout.branch_name
    if as_json:
        write_json(_as_json(column, branch_name, report, skipped))
    else:
        _tell(column, report, skipped)


def _as_json(column: str, branch: str, report: ImportReport, skipped: Sequence[Source]) -> dict[str, Any]:
    return {
        "column": column,
        "branch": branch,
        "samples": report.samples,
        "overwritten": report.overwritten,
        "unchanged": report.unchanged,
        "files": report.files,
        "nbytes": report.nbytes,
        "skipped": [source.path for source in skipped],
    }


def _tell(column: str, report: ImportReport, skipped: Sequence[Source]) -> None:
    if skipped:
        note(
            f"Skipped {plural(len(skipped), 'file')} that no plugin reads for this kind of column: {_suffixes(skipped)}"
        )
    replaced = f" ({report.overwritten:,} replaced)" if report.overwritten else ""
    there = f"; {report.unchanged:,} existed already" if report.unchanged else ""
    echo(
        f"Imported {plural(report.samples, 'sample')}{replaced} into {column} from {plural(report.files, 'file')}, "
        f"{format_bytes(report.nbytes)}{there}"
    )


@contextmanager
def _where_it_stopped(work: FolderImport, files: int) -> Iterator[None]:
    """When an import ends early, print how much of it is staged."""
    try:
        yield
    except (KeyboardInterrupt, HangarError) as error:
        done = work.report
        if done.files:
            after = "The" if isinstance(error, KeyboardInterrupt) else "Once the next file is repaired, the"
            note(
                f"Stopped: {done.files:,} of {plural(files, 'file')} are staged, the last {done.last}. "
                f"{after} same command continues from there"
            )
        else:
            note(f"Stopped: none of {plural(files, 'file')} is staged")
        raise


@contextmanager
def _paths_column(checkout: WriterCheckout, column: Any, wanted: bool) -> Iterator[Any]:
    """The column for the paths of files. If it was created here and the import stores nothing, it is removed again."""
    if not wanted:
        yield None
        return
    name = f"{column.column}_path"
    nested: bool = column.contains_subsamples
    made = name not in checkout.columns
    paths: Any = checkout.add_str_column(name, contains_subsamples=nested) if made else checkout.columns[name]
    if paths.column_type != "str" or paths.contains_subsamples != nested:
        raise InvalidInputError(
            f"column {name!r} holds {paths.column_type} and is {paths.column_layout}, "
            "so it cannot store the paths of these files; rename it"
        )
    try:
        yield paths
    finally:
        if made and not len(paths):
            checkout.columns.delete(name)


def _no_column(checkout: WriterCheckout, name: str, sources: Sequence[Source]) -> ColumnNotFoundError:
    """The error for a missing column, with a command that creates it for the first readable file."""
    from hangar.external.fit import create_command
    from hangar.external.loading import first_value, plan_import

    text = f"there is no column {name!r} on branch {checkout.branch_name}"
    for kind in ("ndarray", "str"):
        jobs, _ = plan_import(sources, kind)
        for job in jobs[:1]:
            try:
                value = first_value(job)
            except (HangarError, StopIteration):
                continue
            return ColumnNotFoundError(
                f"{text}: to create one for files like {job.source.path}, run `{create_command(name, value)}`"
            )
    return ColumnNotFoundError(f"{text}: run `hangar column create {name} DTYPE [SHAPE]...`")


def _suffixes(skipped: Sequence[Source]) -> str:
    """The skipped suffixes, the most frequent first."""
    counts = Counter(Path(source.relative).suffix or "no suffix" for source in skipped)
    return visible(", ".join(f"{suffix} ({number:,})" for suffix, number in counts.most_common(5)))


def _nothing_found(path: Path, kind: str, skipped: Sequence[Source]) -> str:
    if not skipped:
        return f"there is no file in {path}"
    return f"no plugin reads the files in {path} as {kind} samples: {_suffixes(skipped)}"
