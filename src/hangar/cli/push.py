"""``hangar push``."""

from __future__ import annotations

import click

from hangar.cli import complete as completion
from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, json_option, note, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.progress import format_bytes
from hangar.wording import plural

__all__ = ["command"]


@click.command("push", cls=Command)
@click.argument("remote", required=False, shell_complete=completion.remotes)
@click.argument("names", nargs=-1, metavar="[BRANCH]...", shell_complete=completion.revisions)
@click.option(
    "--force-with-lease",
    "lease",
    is_flag=False,
    flag_value="",
    metavar="[REV]",
    help="Let a branch lose commits, if it is where it was fetched last, or at REV.",
)
@click.option("--tags", is_flag=True, help="Push all tags too.")
@click.option(
    "--complete",
    is_flag=True,
    help="Also send data that the remote does not have because another repository has promised it to the remote.",
)
@click.option("--delete", is_flag=True, help="Delete the branches or tags at the remote.")
@json_option
@pass_state
def command(
    state: State,
    remote: str | None,
    names: tuple[str, ...],
    lease: str | None,
    tags: bool,
    complete: bool,
    delete: bool,
    as_json: bool,
) -> None:
    """Push BRANCH (by default the current one) to REMOTE (by default origin), with all data that it lacks. BRANCH may be a tag too.

    All that is named moves in one step, or nothing. If the remote has commits that are not here, the push is refused: pull
    first.

    For example:
      hangar push origin master
      hangar push origin master --tags
      hangar push origin relabel --delete

    JSON: refs (name, old, new), objects, object_nbytes, values, value_nbytes, promised (values that were not sent, because
    another repository has promised them to the remote).
    """
    if delete and (tags or not names):
        raise click.UsageError("--delete needs the names of branches or tags, and excludes --tags")
    remote = state.remote(remote)
    chosen = list(names) or [state.repository.head().write_branch]
    report = state.repository.remote.push_refs(
        remote, chosen, force_with_lease=True if lease == "" else lease, tags=tags, delete=delete, complete=complete
    )
    if as_json:
        refs = [{"name": name, "old": old, "new": new} for name, (old, new) in report.refs.items()]
        write_json(
            {
                "refs": refs,
                "objects": report.objects,
                "object_nbytes": report.object_nbytes,
                "values": report.blobs,
                "value_nbytes": report.blob_nbytes,
                "promised": report.promised,
            }
        )
    elif report.refs or report.blobs:
        for name, (old, new) in report.refs.items():
            move = f"{old[:SHORT_DIGEST] or 'new'} -> {new[:SHORT_DIGEST] or 'deleted'}"
            echo(f"{visible(name.partition('/')[2])}: {move}")
        if not delete:
            sent = format_bytes(report.object_nbytes + report.blob_nbytes)
            echo(f"Sent {plural(report.blobs, 'value')} and {plural(report.objects, 'record')}, {sent}")
        if report.promised:
            note(
                f"{plural(report.promised, 'value')} that the new commits name {'is' if report.promised == 1 else 'are'} not at {visible(remote)}: it is a "
                "partial clone, and another repository has promised it that data. To send it too: "
                f"`hangar push {visible(remote)} {' '.join(map(visible, chosen))} --complete`"
            )
    else:
        echo(f"Nothing to push: {visible(remote)} has it all")
