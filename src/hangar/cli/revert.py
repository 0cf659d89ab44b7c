"""``hangar revert``, and what it shares with ``hangar cherry-pick``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.in_progress import conclude, conclude_options, conflicts_of, echo_conflicts, open_conflicts_error
from hangar.cli.output import SHORT_DIGEST, echo, echo_lines, json_option, visible, write_json
from hangar.cli.patch import commit_patch
from hangar.cli.records import change_record
from hangar.cli.state import State, pass_state
from hangar.cli.status import staged_lines

if TYPE_CHECKING:
    from hangar.checkout.replaying import ReplayKind
    from hangar.history.combine import SideChoice

__all__ = ["command", "replay", "replay_options", "side_option", "tell_commit"]

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
    no_commit = click.option("-n", "--no-commit", is_flag=True, help="Stage the changes, and do not commit them.")
    return message(mainline(side_option(no_commit(json_option(function)))))


def replay(
    state: State,
    kind: ReplayKind,
    rev: str | None,
    messages: tuple[str, ...],
    *,
    mainline: int | None,
    strategy: SideChoice | None,
    no_commit: bool,
    go_on: bool,
    abort: bool,
    as_json: bool,
) -> None:
    """Cherry-pick or revert a commit, or end what is in progress."""
    if (rev is not None) + go_on + abort != 1:
        raise click.UsageError("give a REV, --continue or --abort")
    if (go_on or abort) and (mainline is not None or strategy or no_commit or (abort and messages)):
        raise click.UsageError("--continue takes only -m, and --abort nothing")
    message = "\n\n".join(messages) if messages else None
    if rev is None:
        conclude(state, kind, message, abort=abort, as_json=as_json)
        return
    repository = state.repository
    branch = repository.head().write_branch
    result = repository.replay_revision(
        kind,
        rev,
        message,
        branch=branch,
        mainline=mainline,
        strategy=strategy,
        keep_conflicts=True,
        commit=not no_commit,
    )
    if result.committed:
        tell_commit(state, branch, repository.rev_parse(branch), as_json)
        return
    _, records, left = conflicts_of(state)
    if as_json:
        changed = [one for one in repository.status().columns if one.state != "unchanged"]
        write_json(
            {
                "branch": branch,
                "digest": None,
                "changes": [change_record(one) for one in changed],
                "conflicts": records,
            }
        )
    elif left:
        echo_conflicts(left)
    else:
        echo(f"The changes are staged on branch {visible(branch)} and not committed: commit them with `hangar commit`")
    if left:
        raise open_conflicts_error(kind, rev, len(left))


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
@click.argument("rev", required=False, shell_complete=complete.revisions)
@replay_options
@conclude_options("revert")
@pass_state
def command(state: State, /, rev: str | None, messages: tuple[str, ...], **how: Any) -> None:
    """Undo what the commit REV changed, with a new commit on the current branch.

    Later changes of other samples are kept. If later commits changed the same samples, the revert waits: list the conflicts
    with `hangar conflicts`, resolve them with `hangar resolve`, and conclude it with `hangar revert --continue`. The branch
    itself is moved back by `hangar reset`.

    For example:
      hangar revert HEAD
      hangar revert master~3 -m "The labels of May were right"
      hangar revert --mainline 1 master

    JSON: branch, digest, parents, message, changes (as in `status`); with conflicts or --no-commit: branch, digest (null),
    changes, conflicts (as in `hangar conflicts`); with --continue and --abort: branch, digest.
    """
    replay(state, "revert", rev, messages, **how)
