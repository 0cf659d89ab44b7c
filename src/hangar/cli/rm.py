"""``hangar rm``."""

from __future__ import annotations

from typing import Any

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import count, echo, json_option, write_json
from hangar.cli.samples import existing_samples
from hangar.cli.state import State, pass_state

__all__ = ["command"]


@click.command("rm", cls=Command)
@click.argument("column", shell_complete=complete.columns)
@click.argument("samples", nargs=-1, required=True, metavar="SAMPLE...")
@json_option
@pass_state
def command(state: State, column: str, samples: tuple[str, ...], as_json: bool) -> None:
    """Remove samples from COLUMN. What was committed stays in history.

    A SAMPLE is a name, str:NAME or int:NUMBER; a bare number is the integer key where there is one. In a nested column it is a sample with all its
    subsamples, or SAMPLE/SUBSAMPLE. When one of them does not exist nothing is removed.

    For example:
      hangar rm images cat_17 cat_18
      hangar rm labels int:5

    JSON: column, removed (the samples; a subsample is a list of two keys).
    """
    with state.writer() as checkout:
        found: Any = checkout.columns[column]
        keys = existing_samples(samples, found, column)
        with checkout:
            for key in keys:
                del found[key]
    if as_json:
        write_json({"column": column, "removed": keys})
    else:
        echo(f"Removed {count(len(keys), 'sample')} from {column}")
