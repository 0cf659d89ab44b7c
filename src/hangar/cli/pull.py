"""``hangar pull``."""

from __future__ import annotations

import click

from hangar.cli import complete
from hangar.cli.fetch import history_lines, history_record
from hangar.cli.groups import Command
from hangar.cli.merge import tell_merge
from hangar.cli.output import SHORT_DIGEST, echo, json_option, visible, write_json
from hangar.cli.state import State, pass_state

__all__ = ["command"]


@click.command("pull", cls=Command)
@click.argument("remote", required=False, shell_complete=complete.remotes)
@click.argument("branch", required=False)
@click.option("-m", "--message", help="Message of the merge commit.")
@json_option
@pass_state
def command(state: State, remote: str | None, branch: str | None, message: str | None, as_json: bool) -> None:
    """Fetch BRANCH (by default the current one) from REMOTE (by default origin), and merge it into the local one.

    If both sides changed the same thing, the merge waits, as with `hangar merge`.

    For example:
      hangar pull origin master

    JSON: branch, digest (of the branch now), kind (new, up-to-date, fast-forward or merge), conflicts, fetched (as the
    JSON of `hangar fetch`).
    """
    repository = state.repository
    remote = state.remote(remote)
    name = branch or repository.head().write_branch
    report = repository.remote.fetch_branches(remote, [name])
    rev = f"{remote}/{name}"
    if not as_json:
        for line in history_lines(report):
            echo(line)
    if repository.stores.refs.get(f"heads/{name}") is None:
        digest = repository.begin_branch(name, rev)
        if as_json:
            write_json(
                {"branch": name, "digest": digest, "kind": "new", "conflicts": [], "fetched": history_record(report)}
            )
        else:
            echo(f"Branch {visible(name)} begins at {digest[:SHORT_DIGEST]}")
        return
    result = repository.merge_revision(rev, message or f"Merge {rev} into {name}", branch=name, keep_conflicts=True)
    tell_merge(state, name, rev, result, as_json, fetched=history_record(report))
