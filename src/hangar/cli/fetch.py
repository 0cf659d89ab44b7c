"""``hangar fetch`` and ``hangar pull``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, json_option, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.progress import format_bytes
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.remote.fetching import HistoryReport

__all__ = ["command", "history_lines", "history_record"]


def history_record(report: HistoryReport) -> dict[str, Any]:
    """What a fetch did, for ``--json``."""
    return {
        "branches": [{"name": name, "digest": digest} for name, digest in report.branches.items()],
        "moved": list(report.moved),
        "tags": list(report.tags),
        "commits": report.commits,
        "objects": report.objects,
        "nbytes": report.nbytes,
        "tombstones": report.tombstones,
        "stale": list(report.stale),
        "pruned": [{"name": name, "digest": digest} for name, digest in report.pruned.items()],
    }


def history_lines(report: HistoryReport, remote: str = "origin") -> list[str]:
    """What a fetch did, as lines."""
    lines = [f"{visible(name)} is at {report.branches[name][:SHORT_DIGEST]}" for name in report.moved]
    lines += [f"tag {visible(name)}" for name in report.tags]
    if report.moved or report.tags:
        lines.append(
            f"Fetched {plural(report.commits, 'commit')}, {plural(report.objects, 'record')}, {format_bytes(report.nbytes)}"
        )
    elif not report.pruned:
        lines.append("Nothing new")
    lines += [
        f"Deleted {visible(name)} (it was at {digest[:SHORT_DIGEST]}): the remote does not have this branch any more"
        for name, digest in report.pruned.items()
    ]
    if report.stale:
        names = ", ".join(map(visible, report.stale))
        lines.append(
            f"The remote does not have {names} any more: `hangar fetch {visible(remote)} --prune` deletes such branches here"
        )
    if report.tombstones:
        lines.append(
            f"The remote has purged {plural(report.tombstones, 'value')}, which has no effect here until `hangar purge --accept`"
        )
    return lines


@click.command("fetch", cls=Command)
@click.argument("remote", required=False, shell_complete=complete.remotes)
@click.argument("branch", required=False)
@click.option(
    "-p", "--prune", is_flag=True, help="Delete REMOTE/BRANCH here if the remote does not have the branch any more."
)
@json_option
@pass_state
def command(state: State, remote: str | None, branch: str | None, prune: bool, as_json: bool) -> None:
    """Fetch the history of BRANCH, or of all branches and their tags, from REMOTE (by default origin). Data and local branches stay.

    The branches are then here as REMOTE/BRANCH: look at them with `hangar log`, merge them with `hangar merge`, and get
    their data with `hangar fetch-data`.

    For example:
      hangar fetch origin
      hangar fetch origin master
      hangar fetch --prune

    JSON: branches (name, digest), moved (names), tags (new ones), commits, objects, nbytes, tombstones (new ones, which
    have no effect until they are accepted), stale (names of branches here that the remote does not have any more), pruned
    (name, digest: those that --prune deleted).
    """
    remote = state.remote(remote)
    if prune and branch is not None:
        raise click.UsageError("--prune compares all branches: give no BRANCH")
    report = state.repository.remote.fetch_branches(remote, None if branch is None else [branch], prune=prune)
    if as_json:
        write_json(history_record(report))
    else:
        for line in history_lines(report, remote):
            echo(line)
