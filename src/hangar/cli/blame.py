"""``hangar blame``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from hangar.cli import complete
from hangar.cli.decorate import local_time
from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo_lines, json_option, note, style, table, visible, write_json
from hangar.cli.pager import paged
from hangar.cli.samples import one_sample, sample_text
from hangar.cli.state import State, pass_state
from hangar.cli.views import View, open_commit

if TYPE_CHECKING:
    from hangar.history.blame import Blame

__all__ = ["command"]

MOST: Final = 1000


@click.command("blame", cls=Command)
@click.argument("column", shell_complete=complete.columns)
@click.argument("sample", required=False, shell_complete=complete.samples)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@click.option(
    "-n",
    "--max-count",
    "limit",
    type=click.IntRange(min=1),
    default=MOST,
    show_default="1000",
    metavar="NUMBER",
    help="Show at most NUMBER samples, the first ones.",
)
@json_option
@pass_state
@paged
def command(state: State, column: str, sample: str | None, rev: str | None, limit: int, as_json: bool) -> None:
    """Show which commit last changed SAMPLE, who made it, and when; without SAMPLE for each sample of COLUMN.

    The history begins at REV, by default the last commit of the current branch. Renames of the column are followed, and at
    a merge the side that has the value. In a nested column SAMPLE is a sample as a whole, or SAMPLE/SUBSAMPLE.

    For example:
      hangar blame labels int:5
      hangar blame boxes cat_17/left v1
      hangar blame labels -n 20

    JSON: column, commit (where the history begins), samples (column: its name in the commit, sample, subsample or null,
    commit, author, email, time, message), more (whether there are more samples).
    """
    start = rev or f"heads/{state.repository.head().write_branch}"
    view = open_commit(state, start)
    there: Any = view[column]
    if sample is None:
        found = state.repository.blame(column, rev=start, limit=limit + 1)
    else:
        found = [state.repository.blame(column, one_sample(sample, there, column), rev=start)]
    more = len(found) > limit
    found = found[:limit]
    if as_json:
        document = {"column": column, "commit": view.commit, "samples": [asdict(one) for one in found], "more": more}
        write_json(document)
        return
    echo_lines(_lines(view, column, found))
    if more:
        note(f"Only the first {limit:,} samples are shown: -n NUMBER shows more")


def _lines(view: View, column: str, found: list[Blame]) -> list[str]:
    there: Any = view[column]
    rows = []
    for one in found:
        name = sample_text(one.sample if one.subsample is None else (one.sample, one.subsample), there)
        renamed = f"{visible(one.column)}/" if one.column != column else ""
        rows.append(
            (
                style(one.commit[:SHORT_DIGEST], "yellow"),
                f"{renamed}{name}",
                visible(one.author),
                local_time(one.time),
                visible(one.message.partition("\n")[0]),
            )
        )
    return table(rows)
