"""``hangar cherry-pick``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.revert import replay_options, tell_commit
from hangar.cli.state import State, pass_state

if TYPE_CHECKING:
    from hangar.history.replay import SideChoice

__all__ = ["command"]


@click.command("cherry-pick", cls=Command)
@click.argument("rev", shell_complete=complete.revisions)
@replay_options
@pass_state
def command(
    state: State,
    rev: str,
    messages: tuple[str, ...],
    mainline: int | None,
    strategy: SideChoice | None,
    as_json: bool,
) -> None:
    """Commit to the current branch what the commit REV of another branch changed.

    Message and metadata are those of REV, unless -m gives another message; the metadata says where it comes from. If the
    branch has other changes of the same samples, nothing happens, unless -X chooses a side.

    For example:
      hangar cherry-pick relabel~1
      hangar cherry-pick -X theirs relabel

    JSON: branch, digest, parents, message, changes (as in `status`).
    """
    repository = state.repository
    branch = repository.head().write_branch
    message = "\n\n".join(messages) if messages else None
    digest = repository.cherry_pick(rev, message, mainline=mainline, strategy=strategy, branch=branch)
    tell_commit(state, branch, digest, as_json)
