"""``hangar evict``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from hangar.cli import complete
from hangar.cli.fetch_data import chosen_samples
from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, note, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.progress import format_bytes
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.remote.evict import EvictReport

__all__ = ["command"]


@click.command("evict", cls=Command)
@click.argument("column", shell_complete=complete.columns)
@click.argument("samples", nargs=-1, metavar="[SAMPLE]...", shell_complete=complete.samples)
@click.option(
    "-r", "--range", "ranges", nargs=2, multiple=True, metavar="FIRST LAST", help="Samples, in the order of keys."
)
@click.option("--rev", help="Commit that names the data; by default the last one of the current branch.")
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Let the remote read and verify every byte before it says that it has a value (the default), or only look whether it "
    "has stored it.",
)
@click.option("--remote", shell_complete=complete.remotes, help="Remote to ask; by default all.")
@json_option
@pass_state
def command(
    state: State,
    column: str,
    samples: tuple[str, ...],
    ranges: tuple[tuple[str, str], ...],
    rev: str | None,
    verify: bool,
    remote: str | None,
    as_json: bool,
) -> None:
    """Drop the data of COLUMN, or of some SAMPLEs of it, from this disk, if a remote has it. History stays whole.

    A remote reads and verifies each value before it says that it has it, and a few are fetched on trial. What no remote
    has, or what no branch or tag of it names, stays here. `hangar fetch-data` brings the data back.

    For example:
      hangar evict images
      hangar evict images 'cat_*'

    JSON: values, nbytes (dropped), kept (values that stay), absent (values that were not here), freed (bytes of files),
    unnamed, damaged, leaving (how many of the kept values a remote has, but names in no branch or tag; are damaged there;
    are at a remote that evicts data now), silent (remotes that did not answer).
    """
    from hangar.cli.views import open_commit

    start = rev or f"heads/{state.repository.head().write_branch}"
    keys = None
    if samples or ranges:
        keys = chosen_samples(open_commit(state, start)[column], column, samples, ranges)
    report = state.repository.evict(column, keys, commit=start, remote=remote, verify=verify)
    if as_json:
        write_json(
            {
                "values": report.blobs,
                "nbytes": report.nbytes,
                "kept": report.kept,
                "absent": report.absent,
                "freed": report.freed,
                "unnamed": report.unnamed,
                "damaged": report.damaged,
                "leaving": report.leaving,
                "silent": list(report.silent),
            }
        )
        return
    echo(
        f"Dropped {plural(report.blobs, 'value')}, {format_bytes(report.nbytes)}; the files shrank by {format_bytes(report.freed)}"
    )
    for line in _kept(report):
        echo(line)


def _kept(report: EvictReport) -> Iterator[str]:
    """Why values stay."""
    for name in report.silent:
        note(f"remote {visible(name)} did not answer, and was not asked")
    reasons = (
        (report.unnamed, "no branch or tag of the remote names {it}, so that it may remove {it}: `hangar push` first"),
        (report.damaged, "{it_is} damaged at the remote: run `hangar fsck --data` there"),
        (report.leaving, "the remote is evicting data itself: try again later"),
    )
    left = report.kept
    for count, reason in reasons:
        if count:
            left -= count
            yield _stays(count, reason)
    if left > 0:
        yield _stays(left, "no remote has {it}")


def _stays(count: int, reason: str) -> str:
    it, it_is, verb = ("it", "it is", "stays") if count == 1 else ("them", "they are", "stay")
    return f"{plural(count, 'value')} {verb} here: {reason.format(it=it, it_is=it_is)}"
