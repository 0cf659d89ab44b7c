"""``hangar import``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.output import count, echo, json_option, note, visible, write_json
from hangar.cli.plugin_command import PluginCommand, check_options
from hangar.cli.state import State, pass_state
from hangar.errors import ColumnNotFoundError, HangarError, InvalidInputError
from hangar.progress import format_bytes

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
    help="The branch to import into; default: the branch to write.",
)
@click.option("--plugin", metavar="NAME", help="What reads the files; default: chosen by suffix.")
@click.option("--overwrite", is_flag=True, help="Replace samples that exist.")
@click.option("--int-keys", is_flag=True, help="A file named by a plain number becomes that integer key.")
@click.option("--keep-names", is_flag=True, help="Remember the path of each file in the text column COLUMN_path.")
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
    """Bring the file PATH, or all files of the folder PATH, into COLUMN.

    A file becomes the sample named by its path below PATH, without suffix; characters that no key may have become _. Two files of one name
    are an error. In a column with subsamples a folder is a sample, and each file in it a subsample. Hidden files are left out, as are files that
    nothing reads for this kind of column, which is said.

    Files are stored in sorted order. A file that cannot be read or does not fit the column, or Ctrl-C, ends the import; what came before stays
    staged, and is told. The same command goes on from there (once the file is mended): a sample that is there already with the same content is
    passed over, one with another content is an error unless --overwrite is given. To drop all that is staged: hangar restore . (with the dot).

    Array columns take images (png, jpg, bmp, tif, webp, ppm ...), .npy, and .npz, whose arrays become PATH/NAME; text columns .txt in
    UTF-8; bytes columns any file as it is. Further options go to the plugin, and are checked before a file is read. Images give the samples as
    stored, so that one with a palette gives its indices; what cannot be given so is refused. --mode RGB converts (L, RGBA ..., in any case),
    --bits 8 keeps the 8 highest bits of deeper samples, --upright true turns as the camera says, --frame 0 chooses one of several.

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
                together=lambda: checkout,
            )
            with _where_it_stopped(work, len(jobs)):
                report = work.run()
        branch_name = checkout.branch_name
    if as_json:
        write_json(
            {
                "column": column,
                "branch": branch_name,
                "samples": report.samples,
                "overwritten": report.overwritten,
                "unchanged": report.unchanged,
                "files": report.files,
                "nbytes": report.nbytes,
                "skipped": [source.path for source in skipped],
            }
        )
        return
    if skipped:
        note(f"Left out {count(len(skipped), 'file')} that nothing reads for such a column: {_suffixes(skipped)}")
    _tell(column, report)


def _tell(column: str, report: ImportReport) -> None:
    replaced = f" ({report.overwritten:,} replaced)" if report.overwritten else ""
    there = f"; {report.unchanged:,} were there already" if report.unchanged else ""
    echo(
        f"Imported {count(report.samples, 'sample')}{replaced} into {column} from {count(report.files, 'file')}, "
        f"{format_bytes(report.nbytes)}{there}"
    )


@contextmanager
def _where_it_stopped(work: FolderImport, files: int) -> Iterator[None]:
    """Tell, of an import that ends early, what of it is staged."""
    try:
        yield
    except (KeyboardInterrupt, HangarError) as error:
        done = work.report
        if done.files:
            after = "The" if isinstance(error, KeyboardInterrupt) else "Once what follows is mended, the"
            note(
                f"Stopped: {done.files:,} of {count(files, 'file')} are staged, the last {done.last}. "
                f"{after} same command goes on from there"
            )
        else:
            note(f"Stopped: none of {count(files, 'file')} is staged")
        raise


@contextmanager
def _paths_column(checkout: WriterCheckout, column: Any, wanted: bool) -> Iterator[Any]:
    """The column that remembers paths; one that was made for an import that brings nothing is taken away again."""
    if not wanted:
        yield None
        return
    name = f"{column.column}_path"
    nested: bool = column.contains_subsamples
    made = name not in checkout.columns
    paths: Any = checkout.add_str_column(name, contains_subsamples=nested) if made else checkout.columns[name]
    if paths.column_type != "str" or paths.contains_subsamples != nested:
        raise InvalidInputError(
            f"column {name!r} holds {paths.column_type} and is {paths.column_layout}: not the paths of these files; rename it"
        )
    try:
        yield paths
    finally:
        if made and not len(paths):
            checkout.columns.delete(name)


def _no_column(checkout: WriterCheckout, name: str, sources: Sequence[Source]) -> ColumnNotFoundError:
    """The error for a missing column, with the command that makes one for the first file that can be read."""
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
                f"{text}: to make one for files like {job.source.path}, run `{create_command(name, value)}`"
            )
    return ColumnNotFoundError(f"{text}: run `hangar column create {name} DTYPE [SHAPE]...`")


def _suffixes(skipped: Sequence[Source]) -> str:
    """Which suffixes were left out, the most frequent first."""
    counts = Counter(Path(source.relative).suffix or "no suffix" for source in skipped)
    return visible(", ".join(f"{suffix} ({number:,})" for suffix, number in counts.most_common(5)))


def _nothing_found(path: Path, kind: str, skipped: Sequence[Source]) -> str:
    if not skipped:
        return f"there is no file in {path}"
    return f"nothing reads the files in {path} for {kind} samples: {_suffixes(skipped)}"
