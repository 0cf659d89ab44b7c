"""``hangar fetch-data``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, note, visible, write_json
from hangar.cli.samples import existing_samples, one_sample
from hangar.cli.state import State, pass_state
from hangar.progress import format_bytes
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.remote.fetching_data import DataReport

__all__ = ["chosen_samples", "command", "data_record", "tell_data"]


def data_record(report: DataReport) -> dict[str, Any]:
    """What a fetch of data did, for ``--json``."""
    return {
        "commits": report.commits,
        "values": report.blobs,
        "nbytes": report.nbytes,
        "left": report.left,
        "left_nbytes": report.left_nbytes,
        "absent": report.absent,
        "purged": report.purged,
        "elsewhere": report.elsewhere,
        "silent": list(report.silent),
    }


def tell_data(report: DataReport, remote: str = "origin") -> None:
    """Say what a fetch of data from a remote did."""
    echo(f"Fetched {plural(report.blobs, 'value')}, {format_bytes(report.nbytes)}")
    for name, count in report.elsewhere.items():
        echo(
            f"{count:,} of them from {visible(name)}, because {visible(remote)} does not have {'it' if count == 1 else 'them'}"
        )
    if report.left:
        rest = f"{plural(report.left, 'value')} left, {format_bytes(report.left_nbytes)}: the limit of --nbytes was reached"
        echo(
            f"{rest}. {'The same command fetches more' if report.blobs else 'The next value is larger: give a higher limit'}"
        )
        if report.absent:
            note(f"{visible(remote)} does not have {plural(report.absent, 'more value')}")
    if report.purged:
        note(f"{plural(report.purged, 'value')} were purged here, and not fetched")


def chosen_samples(column: Any, name: str, samples: Sequence[str], ranges: Sequence[tuple[str, str]]) -> list[Any]:
    """Samples, patterns and ranges of a column, as the functions of remotes take them."""
    keys: list[Any] = list(existing_samples(samples, column, name))
    for first, last in ranges:
        ends = [one_sample(end, column, name) for end in (first, last)]
        if any(isinstance(end, tuple) for end in ends):
            raise click.UsageError("--range takes samples, not subsamples")
        low, high = ((isinstance(end, str), end) for end in ends)
        if low > high:
            raise click.UsageError(f"--range: {first} comes after {last} in the order of keys")
        keys.append(slice(*ends))
    return keys


@click.command("fetch-data", cls=Command)
@click.argument("remote", shell_complete=complete.remotes)
@click.argument("rev", shell_complete=complete.revisions)
@click.option("-d", "--column", "columns", multiple=True, metavar="NAME", help="Only this column; repeatable.")
@click.option(
    "-s",
    "--sample",
    "samples",
    multiple=True,
    metavar="SAMPLE",
    help="Only this sample, or those of a pattern; repeatable.",
)
@click.option(
    "-r",
    "--range",
    "ranges",
    nargs=2,
    multiple=True,
    metavar="FIRST LAST",
    help="Only these samples, in the order of keys.",
)
@click.option("-a", "--all-history", is_flag=True, help="Also the data of all commits before REV.")
@click.option("--nbytes", metavar="SIZE", help="Stop before more than SIZE is fetched, such as 500M or 2G.")
@json_option
@pass_state
def command(
    state: State,
    remote: str,
    rev: str,
    columns: tuple[str, ...],
    samples: tuple[str, ...],
    ranges: tuple[tuple[str, str], ...],
    all_history: bool,
    nbytes: str | None,
    as_json: bool,
) -> None:
    """Fetch the data of the commit REV from REMOTE: all of it, or that of columns or samples. REV may be a branch of REMOTE.

    Data that is here already is not fetched again, so that the same command goes on after an interrupt.

    For example:
      hangar fetch-data origin master
      hangar fetch-data origin master -d images --nbytes 2G
      hangar fetch-data origin v1 -d images -s 'cat_*' -r 0 999

    What REMOTE does not have is fetched from the other remotes, as far as they have it.

    JSON: commits, values, nbytes, left, left_nbytes (what --nbytes did not allow), absent (what no remote has), purged,
    elsewhere (number of values from other remotes, by their names), silent (other remotes that did not answer).
    """
    from hangar.config import parse_bytes
    from hangar.remote.fetching_data import require_all

    remotes = state.repository.remote
    refs = state.stores.refs
    where: dict[str, Any] = {"branch": rev} if refs.exists(f"remotes/{remote}/{rev}") else {"commit": rev}
    limit = None if nbytes is None else parse_bytes("--nbytes", nbytes)
    if samples or ranges:
        if len(columns) != 1 or all_history:
            raise click.UsageError("--sample and --range need one --column, and exclude --all-history")
        column = _column(state, f"{remote}/{rev}" if "branch" in where else rev, columns[0])
        keys = chosen_samples(column, columns[0], samples, ranges)
        report = remotes.fetch_samples(remote, columns[0], keys, nbytes=limit, **where)
    else:
        report = remotes.fetch_columns(
            remote, column_names=columns or None, retrieve_all_history=all_history, nbytes=limit, **where
        )
    if as_json:
        write_json(data_record(report))
    else:
        tell_data(report, remote)
    require_all(report, remote)


def _column(state: State, rev: str, name: str) -> Any:
    from hangar.cli.views import open_view

    return open_view(state, rev)[name]
