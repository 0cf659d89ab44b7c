"""``hangar rm``."""

from __future__ import annotations

from typing import Any

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, write_json
from hangar.cli.samples import existing_samples
from hangar.cli.state import State, pass_state
from hangar.wording import plural

__all__ = ["command"]


@click.command("rm", cls=Command)
@click.argument("column", shell_complete=complete.columns)
@click.argument("samples", nargs=-1, required=True, metavar="SAMPLE...", shell_complete=complete.samples)
@json_option
@pass_state
def command(state: State, column: str, samples: tuple[str, ...], as_json: bool) -> None:
    """Remove samples from COLUMN. Committed samples stay in history.

    A SAMPLE is a key, written as NAME, str:NAME or int:NUMBER. If the integer key 5 and the text key 5 both exist, a
    plain 5 is refused. SAMPLE may be a pattern with * and ?, in quotes. In a nested column it is a sample with all its
    subsamples, or SAMPLE/SUBSAMPLE. If one of the samples does not exist, nothing is removed.

    For example:
      hangar rm images cat_17 cat_18
      hangar rm images 'cat_*'
      hangar rm labels int:5

    JSON: column, removed (the samples; a subsample is a list of two keys).
    """
    with state.writer() as checkout:
        found: Any = checkout.columns[column]
        keys = existing_samples(samples, found, column)
        whole = [key for key in keys if not isinstance(key, tuple)]
        taken = set(whole)
        parts = [key for key in keys if isinstance(key, tuple) and key[0] not in taken]
        with checkout:
            for batch in filter(None, (whole, parts)):
                found.delete(batch)
    if as_json:
        write_json({"column": column, "removed": keys})
    else:
        echo(f"Removed {plural(len(keys), 'sample')} from {column}")
