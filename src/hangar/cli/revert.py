"""``hangar revert``, and what it shares with ``hangar cherry-pick``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, echo_lines, json_option, visible, write_json
from hangar.cli.patch import commit_patch
from hangar.cli.records import change_record
from hangar.cli.state import State, pass_state
from hangar.cli.status import staged_lines

if TYPE_CHECKING:
    from hangar.history.replay import SideChoice

__all__ = ["command", "replay_options", "side_option", "tell_commit"]

F = TypeVar("F", bound=Callable[..., Any])


def side_option(function: F) -> F:
    """The option ``-X``."""
    return click.option(
        "-X",
        "--strategy",
        "strategy",
        type=click.Choice(["ours", "theirs"]),
        help="In a conflict, keep the value of the branch (ours), or take the other value (theirs).",
    )(function)


def replay_options(function: F) -> F:
    """Message, parent and side."""
    message = click.option(
        "-m",
        "--message",
        "messages",
        multiple=True,
        metavar="TEXT",
        help="The commit message. May be given more than once, for several paragraphs.",
    )
    mainline = click.option(
        "--mainline",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        help="Of a merge commit: the parent that it is compared with, 1 for the branch that was merged into.",
    )
    return message(mainline(side_option(json_option(function))))


def tell_commit(state: State, branch: str, digest: str, as_json: bool) -> None:
    """Show the commit that was made."""
    info = state.repository.commit_info(digest)
    changes = commit_patch(state, digest, info.parents).columns()
    if as_json:
        write_json(
            {
                "branch": branch,
                "digest": digest,
                "parents": list(info.parents),
                "message": info.message,
                "changes": [change_record(one) for one in changes],
            }
        )
        return
    echo(f"[{branch} {digest[:SHORT_DIGEST]}] {visible(info.message.partition(chr(10))[0])}")
    echo_lines(staged_lines(changes))


@click.command("revert", cls=Command)
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
    """Undo what the commit REV changed, with a new commit on the current branch.

    Later changes of other samples are kept. If later commits changed the same samples, nothing happens, unless -X chooses
    a side. The branch itself is moved back by `hangar reset`.

    For example:
      hangar revert HEAD
      hangar revert master~3 -m "The labels of May were right"
      hangar revert --mainline 1 master

    JSON: branch, digest, parents, message, changes (as in `status`).
    """
    repository = state.repository
    branch = repository.head().write_branch
    message = "\n\n".join(messages) if messages else None
    digest = repository.revert(rev, message, mainline=mainline, strategy=strategy, branch=branch)
    tell_commit(state, branch, digest, as_json)
