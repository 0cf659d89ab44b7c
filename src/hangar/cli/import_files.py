"""``hangar import``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.import_dataset import whole_dataset
from hangar.cli.import_report import conclude, suffixes, where_it_stopped
from hangar.cli.output import json_option, note
from hangar.cli.plugin_command import PluginCommand, check_options
from hangar.cli.state import State, pass_state
from hangar.errors import ColumnNotFoundError, InvalidInputError

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout
    from hangar.external.importer import ImportReport
    from hangar.external.loading import Job
    from hangar.external.naming import Source
    from hangar.external.survey import Survey

__all__ = ["command"]


@click.command("import", cls=PluginCommand, options_metavar="[OPTIONS] [--KEY VALUE]...")
@click.argument("column", shell_complete=complete.columns)
@click.argument("path", type=click.Path(path_type=Path), required=False)
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
@click.option(
    "--on-error",
    type=click.Choice(["continue", "stop"]),
    default="continue",
    show_default=True,
    help="After a file that cannot be imported: import the others, or end the import.",
)
@json_option
@click.pass_context
@pass_state
@whole_dataset
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
    on_error: str,
    as_json: bool,
    plugin_options: dict[str, Any],
) -> None:
    """Import the file PATH, or all files of the folder PATH, into COLUMN.

    The sample key of a file is its path below PATH, without suffix. Characters that are not allowed in keys become _.
    Of two files with the same key the first is imported, and the other is an error. In a column with subsamples a
    folder is a sample, and each file in it a subsample. Hidden files are skipped. So are files that no plugin can read
    for this kind of column, and a message lists them.

    Files are imported in sorted order. A file that cannot be read or does not fit the column is listed at the end with
    the reason, the others are imported, and the exit code is not 0. With --on-error stop it ends the import. The
    samples imported before an error or Ctrl-C stay staged, and the same command continues from there: existing samples
    with equal content are skipped, and different content is an error unless --overwrite is given. To drop all staged
    changes, run: hangar restore . (with the dot).

    Before anything is written, the command says what it found. If the column does not exist, it proposes one.

    Chunked columns take .npy, HDF5 (.h5) and zarr, block by block, however large the arrays are. --dataset NAME chooses
    one of several arrays in a file.

    Array columns take images (png, jpg, bmp, tif, webp, ppm ...), .npy, wav, flac, NIfTI and DICOM. Text columns take
    .txt in UTF-8. Bytes columns take any file. Tables (csv, tsv, jsonl, parquet) give a sample for each row: --key and
    --value name the columns of keys or file names and of values; class names become numbers in a column of integers.
    HDF5, zarr and npz give a sample for each array, or with --rows true for each row of --dataset. Of a tar archive,
    --suffix chooses the members. Other options are passed to the plugin, and are checked before any file is read.

    Pixel values of images are imported as stored (of a palette image, the indices); images that cannot be decoded
    exactly are refused. Options convert them: --mode RGB (or L, RGBA ..., in any case), --bits 8 keeps the 8 highest
    bits of deeper samples, --upright true applies the orientation that the camera recorded, --frame 0 selects one image
    of several.

    For example:
      hangar import images ../pictures
      hangar import masks scans/mask.png --mode L --overwrite
      hangar import label labels.csv --key file --value label

    JSON: column, branch, samples, overwritten, unchanged, files, nbytes, skipped (paths), failed (path, sample, error,
    reason), found (files, formats, modes, dtypes, sizes, smallest, largest, oriented, unreadable).
    """
    from hangar.external.importer import Failure
    from hangar.external.loading import plan_import
    from hangar.external.naming import find_files

    path = state.resolve(path)
    keep_going = on_error == "continue"
    failures: list[Failure] = []
    sources = find_files(path, (lambda *fault: failures.append(Failure(*fault))) if keep_going else None)
    with state.writer(branch) as checkout:
        if column not in checkout.columns:
            raise _no_column(checkout, column, sources, plugin_options)
        target: Any = checkout.columns[column]
        how = {"overwrite": overwrite, "integers": int_keys, "keep_going": keep_going}
        found: Survey | None = None
        if target.column_type == "chunked":
            report, skipped = _chunked(target, sources, plugin_options, keep_names, **how)
        else:
            jobs, skipped = plan_import(sources, target.column_type, plugin)
            for reader in {id(job.plugin): job.plugin for job in jobs}.values():
                check_options(ctx, reader, "load", plugin_options)
            if not jobs and not failures:
                raise InvalidInputError(_nothing_found(path, target.column_type, skipped))
            found = _announce(jobs, plugin_options, as_json)
            report = _run(checkout, target, jobs, keep_names, {"options": plugin_options, **how})
        branch_name = checkout.branch_name
    conclude(column, branch_name, report, skipped, [*failures, *report.failures], as_json, found)


def _announce(jobs: Sequence[Job], options: dict[str, Any], as_json: bool) -> Survey | None:
    """Say what an import of several files will read, before it begins."""
    from hangar.external.survey import survey_files

    if len(jobs) < 2 and not as_json:
        return None
    found = survey_files(jobs, options)
    if not as_json:
        note(found.describe())
    return found


def _chunked(
    target: Any, sources: Sequence[Source], options: dict[str, Any], keep_names: bool, **how: bool
) -> tuple[ImportReport, list[Source]]:
    """Import files into a chunked column, each array block by block; also the files that are skipped."""
    from hangar.external.chunked import reads
    from hangar.external.chunked_files import ChunkedImport

    unknown = sorted(set(options) - {"dataset"})
    if unknown or keep_names:
        given = f"--{unknown[0]}" if unknown else "--keep-names"
        raise click.UsageError(f"{given} is not for chunked columns: they take --dataset NAME")
    chosen = [source for source in sources if reads(source.path)]
    skipped = [source for source in sources if not reads(source.path)]
    if not chosen:
        raise InvalidInputError(
            f"chunked columns take .npy, .h5 and .zarr files, and there is none: {suffixes(skipped)}"
        )
    work = ChunkedImport(target, chosen, dataset=str(options.get("dataset", "")), **how)
    with where_it_stopped(work, len(chosen)):
        return work.run(), skipped


def _run(
    checkout: WriterCheckout, column: Any, jobs: Sequence[Job], keep_names: bool, how: dict[str, Any]
) -> ImportReport:
    from hangar.external.run import FilesImport

    with _paths_column(checkout, column, keep_names) as paths:
        work = FilesImport(column, jobs, paths=paths, batch_context=lambda: checkout, **how)
        with where_it_stopped(work, len(jobs)):
            return work.run()


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


def _no_column(
    checkout: WriterCheckout, name: str, sources: Sequence[Source], options: dict[str, Any]
) -> ColumnNotFoundError:
    """The error for a missing column: what the files hold, and commands that create a column for them."""
    from hangar.external.loading import plan_import
    from hangar.external.survey import proposal, survey_files

    text = f"there is no column {name!r} on branch {checkout.branch_name}"
    plans = [plan_import(sources, kind)[0] for kind in ("ndarray", "str")]
    jobs = max(plans, key=len)
    found = survey_files(jobs, options)
    proposed = proposal(name, found)
    if proposed is None:
        return ColumnNotFoundError(f"{text}: run `hangar column create {name} DTYPE [SHAPE]...`")
    note(found.describe())
    return ColumnNotFoundError(f"{text}: {proposed}")


def _nothing_found(path: Path, kind: str, skipped: Sequence[Source]) -> str:
    if not skipped:
        return f"there is no file in {path}"
    return f"no plugin reads the files in {path} as {kind} samples: {suffixes(skipped)}"
