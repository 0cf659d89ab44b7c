"""``hangar cherry-pick``."""

from __future__ import annotations

from typing import Any

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.in_progress import conclude_options
from hangar.cli.revert import replay, replay_options
from hangar.cli.state import State, pass_state

__all__ = ["command"]


@click.command("cherry-pick", cls=Command)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@replay_options
@conclude_options("cherry-pick")
@pass_state
def command(state: State, /, rev: str | None, messages: tuple[str, ...], **how: Any) -> None:
    """Commit to the current branch what the commit REV of another branch changed.

    Message and metadata are those of REV, unless -m gives another message; the metadata says where it comes from. If the
    branch has other changes of the same samples, the cherry-pick waits: list the conflicts with `hangar conflicts`, resolve
    them with `hangar resolve`, and conclude it with `hangar cherry-pick --continue`.

    For example:
      hangar cherry-pick relabel~1
      hangar cherry-pick -X theirs relabel
      hangar cherry-pick --abort

    JSON: branch, digest, parents, message, changes (as in `status`); with conflicts or --no-commit: branch, digest (null),
    changes, conflicts (as in `hangar conflicts`); with --continue and --abort: branch, digest.
    """
    replay(state, "cherry-pick", rev, messages, **how)
