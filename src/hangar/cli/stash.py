"""``hangar stash``: put staged changes aside, list them, and bring them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from hangar.cli import complete
from hangar.cli.groups import SuggestingGroup
from hangar.cli.output import SHORT_DIGEST, echo, echo_lines, json_option, style, table, visible, write_json
from hangar.cli.pager import paged
from hangar.cli.records import change_record
from hangar.cli.revert import side_option
from hangar.cli.state import State, pass_state
from hangar.cli.status import staged_lines

if TYPE_CHECKING:
    from hangar.history.combine import SideChoice
    from hangar.history.stash import StashInfo

__all__ = ["command"]

HINTS: Final = {
    "save": "Did you mean push?",
    "show": "Show the changes of a stash with `hangar show stash@{0}`, or with `hangar log -p -1 stash@{0}`.",
    "clear": "Drop stashes one by one with `hangar stash drop`.",
}


@click.group("stash", cls=SuggestingGroup, invoke_without_command=True, hints=HINTS)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Put staged changes aside, and bring them back later, on the same branch or on another one.

    Without a command the same as `stash push`. Stashes are a stack: stash@{0} is the newest one, and a revision, so that
    `hangar show stash@{0}` shows it.

    For example:
      hangar stash
      hangar stash list
      hangar stash pop
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(push, messages=(), as_json=as_json)


@command.command("push")
@click.option(
    "-m",
    "--message",
    "messages",
    multiple=True,
    metavar="TEXT",
    help="Description of the changes. May be given more than once, for several paragraphs.",
)
@json_option
@pass_state
def push(state: State, messages: tuple[str, ...], as_json: bool) -> None:
    """Put all staged changes aside. Afterwards nothing is staged.

    JSON: rev, digest, branch, message, author, email, time.
    """
    state.repository.stash("\n\n".join(messages) if messages else None)
    made = state.repository.stash_list()[0]
    if as_json:
        write_json(_record(made))
    else:
        echo(f"Put the changes of branch {visible(made.branch)} aside: {visible(made.message.partition(chr(10))[0])}")
        echo("To bring them back, run `hangar stash pop`")


@command.command("list")
@json_option
@pass_state
@paged
def list_(state: State, as_json: bool) -> None:
    """List what was put aside, the newest first.

    JSON: stashes (rev, digest, branch, message, author, email, time).
    """
    found = state.repository.stash_list()
    if as_json:
        write_json({"stashes": [_record(one) for one in found]})
        return
    rows = [
        (one.rev, style(one.digest[:SHORT_DIGEST], "yellow"), visible(one.message.partition("\n")[0])) for one in found
    ]
    echo_lines(table(rows))


@command.command("pop")
@click.argument("stash", required=False, default="0", shell_complete=complete.stashes)
@side_option
@json_option
@pass_state
def pop(state: State, stash: str, strategy: SideChoice | None, as_json: bool) -> None:
    """Stage the changes of STASH on the current branch, and remove it from the stack. By default the newest one.

    What changed on the branch since is kept. If both changed the same samples, nothing happens and the stash is kept,
    unless -X chooses a side.

    JSON: branch, stash (rev, digest, branch, message, author, email, time), changes (as in `status`).
    """
    _apply(state, stash, strategy, as_json, drop=True)


@command.command("apply")
@click.argument("stash", required=False, default="0", shell_complete=complete.stashes)
@side_option
@json_option
@pass_state
def apply(state: State, stash: str, strategy: SideChoice | None, as_json: bool) -> None:
    """Stage the changes of STASH on the current branch, and keep it on the stack. By default the newest one.

    JSON: as in `stash pop`.
    """
    _apply(state, stash, strategy, as_json, drop=False)


@command.command("drop")
@click.argument("stash", required=False, default="0", shell_complete=complete.stashes)
@json_option
@pass_state
def drop(state: State, stash: str, as_json: bool) -> None:
    """Remove STASH from the stack without using it. By default the newest one.

    JSON: rev, digest, branch, message, author, email, time.
    """
    before = state.repository.stash_list()
    digest = state.repository.stash_drop(stash)
    gone = next(one for one in before if one.digest == digest)
    if as_json:
        write_json(_record(gone))
        return
    echo(f"Dropped {gone.rev} ({gone.digest[:SHORT_DIGEST]})")
    echo(f"To commit its changes after all, run `hangar cherry-pick {gone.digest[:SHORT_DIGEST]}`")


def _record(stash: StashInfo) -> dict[str, Any]:
    return stash._asdict()


def _apply(state: State, which: str, strategy: SideChoice | None, as_json: bool, *, drop: bool) -> None:
    from hangar.config import Config
    from hangar.history.stash import apply_stash

    repository, stores = state.repository, state.stores
    branch = repository.head().write_branch
    who = Config(stores.directory).person()
    used = apply_stash(stores, which, drop=drop, strategy=strategy, branch=branch, who=who)
    report = repository.status()
    changes = [one for one in report.columns if one.state != "unchanged"]
    if as_json:
        write_json({"branch": branch, "stash": _record(used), "changes": [change_record(one) for one in changes]})
        return
    what = "and removed it from the stack" if drop else "and kept it"
    echo(f"Staged the changes of {used.rev} on branch {visible(branch)}, {what}")
    if report.clean:
        echo("The branch has them already: nothing is staged")
    echo_lines(staged_lines(report.columns))
