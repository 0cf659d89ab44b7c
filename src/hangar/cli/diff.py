"""``hangar diff``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hangar.cli import complete
from hangar.cli.diff_record import column_record, sample_record, side_record
from hangar.cli.diff_sides import PATH, choose
from hangar.cli.groups import Command
from hangar.cli.ls import MARKS
from hangar.cli.output import echo_lines, json_option, style, visible, write_json_list
from hangar.cli.pager import paged
from hangar.cli.patch import ChangedColumn, Patch, attribute_text
from hangar.cli.state import State, pass_state
from hangar.cli.status import headline, staged_lines
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.diff import Change

__all__ = ["command"]

_LETTERS: Final = {"added": "A", "deleted": "D", "mutated": "M"}


class DiffCommand(Command):
    """Takes the words after ``--`` for columns and samples, as git does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse."""
        if "--" in args:
            at = args.index("--")
            args = [*args[:at], *(f"{PATH}={word}" for word in args[at + 1 :])]
        return super().parse_args(ctx, args)


def _tolerance(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not value >= 0:
        raise click.BadParameter("it is a number from 0 on")
    return value


@click.command("diff", cls=DiffCommand)
@click.argument("words", nargs=-1, metavar="[A [B] | A..B | A...B] [COLUMN[/SAMPLE]]...", shell_complete=complete.paths)
@click.option("--stat", is_flag=True, help="Show only the number of changes, and their bytes, by column.")
@click.option("--name-only", is_flag=True, help="Show only the names of changed columns and samples.")
@click.option("--name-status", is_flag=True, help="The same, with a letter: A added, D deleted, M changed, R renamed.")
@click.option(
    "--tolerance",
    type=float,
    callback=_tolerance,
    metavar="NUMBER",
    help="Leave out samples whose numbers changed by no more than this.",
)
@click.option(
    PATH,
    "paths",
    multiple=True,
    metavar="COLUMN[/SAMPLE]",
    shell_complete=complete.columns,
    help="Only this column or sample; may be a pattern.",
)
@click.option(
    "-n",
    "--max-count",
    "limit",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="List at most NUMBER samples of each column.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page with pictures to FILE.",
)
@click.option(
    "--staged", "--cached", is_flag=True, hidden=True, expose_value=False, help="Changes nothing; for git's users."
)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there are differences, else with 0.")
@json_option
@pass_state
@paged
def command(
    state: State,
    words: tuple[str, ...],
    stat: bool,
    name_only: bool,
    name_status: bool,
    tolerance: float | None,
    paths: tuple[str, ...],
    limit: int | None,
    html: Path | None,
    exit_code: bool,
    as_json: bool,
) -> None:
    """Show what changed between two commits, or between a commit and the staging area.

    Without a revision, the staged changes are shown; with one, the changes from A to the staging area; with two, those
    from A to B. A..B is the same as A B. A...B shows what changed on B since the common ancestor of A and B. COLUMN or COLUMN/SAMPLE, after
    the revisions, restrict it; put -- before them if a revision has the same name.

    Of a sample the old and the new value are shown if they are small. Of a larger array it says how many elements or
    pixels changed, in which region, and by how much; of a chunked array also which chunks, and only those are read; of
    a longer text, the part around the difference.

    For example:
      hangar diff
      hangar diff master~1
      hangar diff master relabel --stat
      hangar diff master...relabel -n 20
      hangar diff master~1 labels/int:37 'images/cat_*'
      hangar diff master~1 --tolerance 1e-6
      hangar diff master~1 --html changes.html

    JSON: from, to (branch, commit), columns (as in `status`, and bytes_before, bytes_after, renamed_from), attributes
    (by column, "" for the commit itself, and key: before, after), samples (column, sample, in a nested column
    subsample, change, before, after: values of up to 8 elements or 1,000 characters, else null; unavailable: why a
    value cannot be read, if so; of arrays difference: elements, changed, largest, mean, region, nans_gained, nans_lost,
    dtype_before, dtype_after, shape_before, shape_after, of chunked arrays chunks (that changed) and chunk_regions).
    With -n the samples of each column are limited.
    """
    if sum((stat, name_only, name_status, as_json, html is not None)) > 1:
        raise click.UsageError("give only one of --stat, --name-only, --name-status, --json and --html")
    before, after, chosen = choose(state, words, paths)
    patch = Patch(state, before, after, columns=chosen.column, samples=chosen.sample, tolerance=tolerance, limit=limit)
    if as_json:
        _write_json(patch)
    elif html is not None:
        from hangar.cli.diff_html import write_page

        write_page(state, patch, html, limit)
    elif name_only or name_status:
        echo_lines(_names(patch, status=name_status))
    else:
        echo_lines(_stat_lines(patch) if stat else _lines(patch))
    _finish(patch, exit_code)


def _finish(patch: Patch, exit_code: bool) -> None:
    """Report damage that was met, and exit with the right code."""
    if patch.damaged is not None:
        raise patch.damaged
    if exit_code and patch.differs:
        raise click.exceptions.Exit(1)


# ---------------------------------------------------------------------- text


def _lines(patch: Patch) -> Iterator[str]:
    """The whole comparison: of each column a headline, changes of the column itself, and its samples."""
    for i, column in enumerate(patch.changed):
        yield from [""] if i else []
        yield from _headlines(patch, column)
        yield from patch.sample_lines(column)
    about = patch.attributes.get(None, {})
    if about:
        yield from [""] if patch.changed else []
        yield style("attributes of the commit", "blue", bold=True)
        yield from _attribute_lines(about)


def _headlines(patch: Patch, column: ChangedColumn) -> Iterator[str]:
    yield headline(column.status)
    before, after = (None if entry is None else patch.schema_text(entry.schema) for entry in column.pair)
    if before != after or patch.comparison.schema(column.pair.entry.schema).needs:
        before = None if before == after else before
        yield f"  holds {' -> '.join(filter(None, (before, after)))}"
    yield from _attribute_lines(patch.attributes.get(column.status.name, {}))


def _attribute_lines(changed: Any) -> Iterator[str]:
    for key, (old, new) in changed.items():
        yield f"  {visible(key)} = {attribute_text(old)} -> {attribute_text(new)}"


def _stat_lines(patch: Patch) -> list[str]:
    from hangar.progress import format_bytes

    if not patch.changed:
        return (
            [f"attributes of the commit: {', '.join(map(visible, patch.attributes[None]))}"] if patch.attributes else []
        )
    sizes = [patch.column_bytes(one) for one in patch.changed]
    notes = [f"{format_bytes(one.before)} -> {format_bytes(one.after)}" for one in sizes]
    lines = [line.removeprefix(" " * 7) for line in staged_lines(patch.columns(), notes)]
    if None in patch.attributes:
        lines.append(f" changed:         attributes of the commit: {', '.join(map(visible, patch.attributes[None]))}")
    parts = [
        f"{sum(getattr(one.status, kind) for one in patch.changed):,} {word}"
        for kind, word in (("added", "added"), ("mutated", "changed"), ("deleted", "deleted"))
    ]
    return [*lines, f" {plural(len(patch.changed), 'column')}: {', '.join(parts)}"]


def _names(patch: Patch, *, status: bool) -> Iterator[str]:
    """Names of the columns that changed themselves, and of the changed samples."""
    for column in patch.changed:
        name, old = visible(column.status.name), visible(column.status.renamed_from)
        if patch.changed_itself(column.status):
            letter = {"new": "A", "deleted": "D"}.get(column.status.state, "R" if old else "M")
            yield f"{letter}\t{old}\t{name}" if status and old else f"{letter}\t{name}" if status else name
    for change in patch.samples():
        text = _name(patch, change)
        yield f"{style(_LETTERS[change.kind], MARKS[change.kind][1])}\t{text}" if status else text


def _name(patch: Patch, change: Change) -> str:
    return f"{visible(change.column)}/{patch.sample_name(change)}"


# ---------------------------------------------------------------------- JSON


def _write_json(patch: Patch) -> None:
    head = {
        "from": side_record(patch.before),
        "to": side_record(patch.after),
        "columns": [column_record(patch, one) for one in patch.changed],
        "attributes": {
            name or "": {key: {"before": old, "after": new} for key, (old, new) in changed.items()}
            for name, changed in patch.attributes.items()
        },
    }
    samples = (
        sample_record(change, difference)
        for column in patch.changed
        for change, difference in islice(patch.compared(column), patch.limit)
    )
    write_json_list(head, "samples", samples)
