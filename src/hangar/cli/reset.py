"""``hangar reset``."""

from __future__ import annotations

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, json_option, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.cli.status import staged_lines

__all__ = ["command"]


@click.command("reset", cls=Command)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@click.option("--soft", is_flag=True, help="Keep what the branch had as staged changes; this is the default.")
@click.option("--hard", is_flag=True, help="Drop what the branch had, and all staged changes.")
@json_option
@pass_state
def command(state: State, rev: str | None, soft: bool, hard: bool, as_json: bool) -> None:
    """Move the current branch to REV, by default its last commit.

    What the branch had becomes staged changes, so that it can be committed anew; with --hard it is dropped. No commit is
    lost: `hangar reflog` lists where the branch was.

    For example:
      hangar reset master~1
      hangar reset --hard v1
      hangar reset --hard

    JSON: branch, digest, before (the former commit, or ""), staged (whether there are staged changes now).
    """
    if soft and hard:
        raise click.UsageError("--soft and --hard exclude each other")
    repository = state.repository
    branch = repository.head().write_branch
    before = state.stores.refs.get(f"heads/{branch}")
    digest = repository.reset(rev or f"heads/{branch}", hard=hard, branch=branch)
    report = repository.status()
    if as_json:
        write_json(
            {
                "branch": branch,
                "digest": digest,
                "before": before.hex() if before else "",
                "staged": not report.clean,
            }
        )
        return
    subject = repository.commit_info(digest).message.partition("\n")[0]
    echo(f"Branch {visible(branch)} is at {digest[:SHORT_DIGEST]} {visible(subject)}")
    if before is not None and before.hex() != digest:
        echo(f"It was at {before.hex()[:SHORT_DIGEST]}: `hangar reset --hard {before.hex()[:SHORT_DIGEST]}` goes back")
    if not report.clean and report.staged_branch == branch:
        for line in ["Staged changes:", *staged_lines(report.columns)]:
            echo(line)
