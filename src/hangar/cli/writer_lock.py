"""``hangar writer-lock``."""

from __future__ import annotations

import warnings

import click

from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, visible, write_json
from hangar.cli.records import writer_record
from hangar.cli.state import State, pass_state

__all__ = ["command"]


@click.command("writer-lock", cls=Command)
@click.option("--force-release", is_flag=True, help="Take the lock away from its holder.")
@json_option
@pass_state
def command(state: State, force_release: bool, as_json: bool) -> None:
    """Show the holder of the writer lock, or release the lock.

    The lock of a process that ended is released automatically. After --force-release the former holder cannot write any
    more; its staged changes stay.

    JSON: held, writer (pid, host, user, time) or null, released.
    """
    from hangar.lock import holder

    found = holder(state.stores.db)
    if force_release:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it would repeat what the user asked for
            state.repository.force_release_writer_lock()
    if as_json:
        held = found is not None and not force_release
        write_json({"held": held, "writer": writer_record(found), "released": force_release})
    elif found is None:
        echo("The writer lock is free")
    else:
        verb = "was taken from" if force_release else "is held by"
        echo(f"The writer lock {verb} {visible(str(found))}")
