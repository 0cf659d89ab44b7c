"""``hangar summary``."""

from __future__ import annotations

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, visible, write_json
from hangar.cli.records import commit_record
from hangar.cli.state import State, pass_state
from hangar.cli.views import open_commit

__all__ = ["command"]


@click.command("summary", cls=Command)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@json_option
@pass_state
def command(state: State, rev: str | None, as_json: bool) -> None:
    """Show the path and size of the repository, and the commit REV, by default the last of the current branch.

    JSON: path, nbytes (on disk), commit (as in `show`, without changes).
    """
    from hangar import describe
    from hangar.digest import Digest

    repository = state.repository
    view = open_commit(state, rev or f"heads/{repository.head().write_branch}")
    digest = Digest(bytes.fromhex(view.commit)) if view.commit else None
    if as_json:
        record = commit_record(describe.commit_info(state.stores, digest), view)
        write_json({"path": repository.path, "nbytes": repository.size_nbytes, "commit": record})
    else:
        echo(visible(describe.summary(state.stores, repository.path, digest)).rstrip("\n"))
