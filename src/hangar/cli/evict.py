"""``hangar evict``."""

from __future__ import annotations

import click

from hangar.cli import complete
from hangar.cli.fetch_data import chosen_samples
from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, write_json
from hangar.cli.state import State, pass_state
from hangar.progress import format_bytes
from hangar.wording import plural

__all__ = ["command"]


@click.command("evict", cls=Command)
@click.argument("column", shell_complete=complete.columns)
@click.argument("samples", nargs=-1, metavar="[SAMPLE]...", shell_complete=complete.samples)
@click.option(
    "-r", "--range", "ranges", nargs=2, multiple=True, metavar="FIRST LAST", help="Samples, in the order of keys."
)
@click.option("--rev", help="Commit that names the data; by default the last one of the current branch.")
@click.option("--remote", shell_complete=complete.remotes, help="Remote to ask; by default all.")
@json_option
@pass_state
def command(
    state: State,
    column: str,
    samples: tuple[str, ...],
    ranges: tuple[tuple[str, str], ...],
    rev: str | None,
    remote: str | None,
    as_json: bool,
) -> None:
    """Drop the data of COLUMN, or of some SAMPLEs of it, from this disk, if a remote has it. History stays whole.

    A remote is asked for each value. What no remote has stays here. `hangar fetch-data` brings the data back.

    For example:
      hangar evict images
      hangar evict images 'cat_*'

    JSON: values, nbytes (dropped), kept (values that no remote has), absent (values that were not here), freed (bytes of
    files).
    """
    from hangar.cli.views import open_commit

    start = rev or f"heads/{state.repository.head().write_branch}"
    keys = None
    if samples or ranges:
        keys = chosen_samples(open_commit(state, start)[column], column, samples, ranges)
    report = state.repository.evict(column, keys, commit=start, remote=remote)
    if as_json:
        write_json(
            {
                "values": report.blobs,
                "nbytes": report.nbytes,
                "kept": report.kept,
                "absent": report.absent,
                "freed": report.freed,
            }
        )
        return
    echo(
        f"Dropped {plural(report.blobs, 'value')}, {format_bytes(report.nbytes)}; the files shrank by {format_bytes(report.freed)}"
    )
    if report.kept:
        echo(
            f"{plural(report.kept, 'value')} stay{'s' if report.kept == 1 else ''} here, because no remote has {'it' if report.kept == 1 else 'them'}"
        )
