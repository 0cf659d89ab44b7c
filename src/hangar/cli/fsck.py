"""``hangar fsck``."""

from __future__ import annotations

import click

from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, count, echo, json_option, style, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.errors import EXIT_CODES, CorruptionError

__all__ = ["command"]


@click.command("fsck", cls=Command)
@click.option("--data", is_flag=True, help="Read all data too, and compare it with its digests.")
@json_option
@click.pass_context
@pass_state
def command(state: State, ctx: click.Context, data: bool, as_json: bool) -> None:
    """Check that everything history and the staging area name is there, whole, and what it says it is.

    Nothing is changed. The exit code is 6 when something is wrong.

    JSON: problems (kind, digest, file, detail), commits, nodes, blobs (how many were checked), data.
    """
    report = state.repository.fsck(data=data)
    if as_json:
        write_json(
            {
                "problems": [
                    {"kind": one.kind, "digest": one.digest, "file": one.file, "detail": one.detail}
                    for one in report.problems
                ],
                "commits": report.commits,
                "nodes": report.nodes,
                "blobs": report.blobs,
                "data": report.data,
            }
        )
    else:
        for problem in report.problems:
            where = f" in {visible(problem.file)}" if problem.file else ""
            digest = f" {problem.digest[:SHORT_DIGEST]}" if problem.digest else ""
            echo(f"{style(problem.kind, 'red')}{digest}{where}: {visible(problem.detail)}")
        checked = ", ".join(count(getattr(report, noun + "s"), noun) for noun in ("commit", "node", "blob"))
        extra = "" if data else "; --data reads every blob too"
        verdict = (
            style(count(len(report.problems), "problem"), "red") if report.problems else style("All is well", "green")
        )
        echo(f"{verdict}: checked {checked}{extra}")
    if report.problems:
        ctx.exit(EXIT_CODES[CorruptionError])
