"""``hangar fsck``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, json_option, style, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.errors import EXIT_CODES, CorruptionError
from hangar.wording import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hangar.fsck import Problem

__all__ = ["command"]

_MOST_SHOWN = 10
_FEW = 5
_SURPLUS = (
    "The database does not know these bytes: they belong to a batch that was interrupted or is being written. The next "
    "writer overwrites them."
)


@click.command("fsck", cls=Command)
@click.option("--data", is_flag=True, help="Also read all data and compare it with its digests.")
@json_option
@click.pass_context
@pass_state
def command(state: State, ctx: click.Context, data: bool, as_json: bool) -> None:
    """Verify the repository: everything that history and the staging area use exists and is undamaged.

    Nothing is changed. The exit code is 6 if there is a problem.

    JSON: problems (kind, digest, file, detail), notes (kind, digest, file, detail), commits, nodes, blobs (how many were
    checked), data, unchecked (columns that need a package that is not installed).
    """
    report = state.repository.fsck(data=data)
    if as_json:
        write_json(
            {
                "problems": [
                    {"kind": one.kind, "digest": one.digest, "file": one.file, "detail": one.detail}
                    for one in report.problems
                ],
                "notes": [
                    {"kind": one.kind, "digest": one.digest, "file": one.file, "detail": one.detail}
                    for one in report.notes
                ],
                "commits": report.commits,
                "nodes": report.nodes,
                "blobs": report.blobs,
                "data": report.data,
                "unchecked": list(report.unchecked),
            }
        )
    else:
        for line in _lines(report.problems):
            echo(line)
        for one in report.unchecked:
            echo(f"{style('not checked', 'yellow')}: {visible(one)}")
        checked = ", ".join(plural(getattr(report, noun + "s"), noun) for noun in ("commit", "node", "blob"))
        for note in report.notes[:_MOST_SHOWN]:
            what = note.file or f"blob {note.digest[:SHORT_DIGEST]}"
            echo(f"{style('note', 'yellow')} {visible(what)}: {visible(note.detail)}")
        if len(report.notes) > _MOST_SHOWN:
            echo(f"{style('note', 'yellow')}: and {len(report.notes) - _MOST_SHOWN:,} more; --json lists all")
        if report.notes and all(note.kind == "surplus" for note in report.notes):
            echo(_SURPLUS)
        extra = "" if data else "; --data reads every blob too"
        verdict = (
            style(plural(len(report.problems), "problem"), "red") if report.problems else style("All is well", "green")
        )
        echo(f"{verdict}: checked {checked}{extra}")
    if report.problems:
        ctx.exit(EXIT_CODES[CorruptionError])


def _lines(problems: Sequence[Problem]) -> Iterator[str]:
    """A line for each problem. Of many of one kind in one file, the first few and their number."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.kind, problem.file), []).append(problem)
    for (kind, file), group in groups.items():
        where = f" in {visible(file)}" if file else ""
        shown = group if len(group) <= _MOST_SHOWN else group[:_FEW]
        for problem in shown:
            digest = f" {problem.digest[:SHORT_DIGEST]}" if problem.digest else ""
            yield f"{style(kind, 'red')}{digest}{where}: {visible(problem.detail)}"
        if len(shown) < len(group):
            yield f"{style(kind, 'red')}{where}: and {plural(len(group) - len(shown), 'more problem')}; --json lists all"
