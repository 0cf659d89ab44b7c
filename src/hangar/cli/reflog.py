"""``hangar reflog``."""

from __future__ import annotations

from dataclasses import asdict

import click

from hangar.cli import complete
from hangar.cli.decorate import local_time
from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo_lines, json_option, style, table, visible, write_json
from hangar.cli.pager import paged
from hangar.cli.state import State, pass_state

__all__ = ["command"]


@click.command("reflog", cls=Command)
@click.argument("branch", required=False, shell_complete=complete.revisions)
@click.option(
    "-n", "--max-count", "limit", type=click.IntRange(min=0), metavar="NUMBER", help="Show at most NUMBER moves."
)
@json_option
@pass_state
@paged
def command(state: State, branch: str | None, limit: int | None, as_json: bool) -> None:
    """Show every move of BRANCH, by default the current branch, the newest first: commits, resets, amended commits.

    BRANCH may be a tag, and a branch or tag that was deleted. Each line begins with a revision, such as master@{1},
    that names the commit after the move.

    For example:
      hangar reflog
      hangar reflog relabel -n 5
      hangar reset --hard master@{1}

    JSON: branch, moves (rev, old, new, operation, message, author, email, time).
    """
    from hangar.history import moves

    name = branch or state.repository.head().write_branch
    found = moves(state.stores.db, state.stores.refs, name if branch else f"heads/{name}", limit=limit)
    if as_json:
        write_json({"branch": name, "moves": [asdict(move) for move in found]})
        return
    rows = []
    for move in found:
        what = f"{move.operation}: {move.message}" if move.message else move.operation
        digest = style(move.new[:SHORT_DIGEST], "yellow") if move.new else "(deleted)"
        rows.append((digest, visible(move.rev), visible(what), local_time(move.time)))
    echo_lines(table(rows))
