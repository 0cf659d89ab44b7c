"""``hangar remote add``, ``list``, ``set``, ``remove`` and ``ping``, and the options of commands that connect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hangar.cli import complete
from hangar.cli.groups import SuggestingGroup
from hangar.cli.output import echo, echo_lines, json_option, table, visible, write_json
from hangar.cli.state import State, pass_state

__all__ = ["command", "connection_options", "given", "typed_address"]

F = TypeVar("F", bound=Callable[..., Any])


def connection_options(function: F) -> F:
    """Options that say how a remote is reached; they are stored with it."""
    for option in (
        click.option("--insecure/--no-insecure", default=None, help="Connect without TLS to another machine, or not."),
        click.option("--token-env", metavar="NAME", help="Environment variable that holds the token."),
        click.option("--token-file", metavar="FILE", help="File that holds the token."),
        click.option("--ca", metavar="FILE", help="Certificates to trust, instead of those of the system."),
    ):
        function = option(function)
    return function


def typed_address(state: State, address: str) -> str:
    """A typed address; a path is relative to the working directory."""
    from hangar.remote.connect import full_address, is_local

    if not is_local(address) and "/" not in address and ":" not in address and (state.directory / address).exists():
        raise click.UsageError(f"{address} is a path here, and the name of a server as an address: give ./{address}")
    return full_address(address, state.directory.absolute())


def given(state: State, /, **options: Any) -> dict[str, Any]:
    """The options that were given; paths are relative to the working directory."""
    found = {name: value for name, value in options.items() if value is not None}
    return found | {name: str(state.resolve(Path(found[name]))) for name in ("ca", "token_file") if found.get(name)}


@click.group(
    "remote",
    cls=SuggestingGroup,
    invoke_without_command=True,
    hints={
        "rm": "Did you mean remove?",
        "delete": "Did you mean remove?",
        "set-url": "Did you mean set?",
        "rename": "Remove the remote, and add it with the other name.",
        "show": "Did you mean list?",
    },
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Add, list, change and remove remotes: other repositories to fetch from and to push to. Alone it lists them.

    For example:
      hangar remote add origin server:50051
      hangar remote add backup /mnt/backup/digits
      hangar remote
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)


@command.command("add")
@click.argument("name")
@click.argument("address")
@connection_options
@json_option
@pass_state
def add(state: State, /, name: str, address: str, as_json: bool, **options: Any) -> None:
    """Add the remote NAME at ADDRESS: HOST:PORT of a server, or the path of a repository or bundle on this machine.

    Nothing is fetched: see `hangar fetch`.

    JSON: name, address.
    """
    made = state.repository.remote.add(name, typed_address(state, address), **given(state, **options))
    if as_json:
        write_json(made._asdict())
    else:
        echo(
            f"Added remote {visible(made.name)} at {visible(made.address)}: fetch from it with `hangar fetch {made.name}`"
        )


@command.command("list")
@json_option
@pass_state
def list_(state: State, as_json: bool = False) -> None:
    """List the remotes.

    JSON: remotes (name, address, settings).
    """
    remote = state.repository.remote
    found = [one._asdict() | {"settings": remote.settings(one.name)} for one in remote.list_all()]
    if as_json:
        write_json({"remotes": found})
        return
    echo_lines(
        table(
            (
                visible(one["name"]),
                visible(one["address"]),
                " ".join(f"{key}={visible(value)}" for key, value in one["settings"].items()),
            )
            for one in found
        )
    )


@command.command("set")
@click.argument("name", shell_complete=complete.remotes)
@click.argument("address", required=False)
@connection_options
@json_option
@pass_state
def set_(state: State, /, name: str, address: str | None, as_json: bool, **options: Any) -> None:
    """Change the address of the remote NAME, or how it is reached. What was fetched from it stays.

    An option with an empty value, such as --ca "", is forgotten.

    JSON: name, address.
    """
    place = None if address is None else typed_address(state, address)
    made = state.repository.remote.change(name, place, **given(state, **options))
    if as_json:
        write_json(made._asdict())
    else:
        echo(f"Remote {visible(made.name)} is at {visible(made.address)}")


@command.command("remove")
@click.argument("name", shell_complete=complete.remotes)
@click.option("-f", "--force", is_flag=True, help="Also if this remote alone has data of the history here.")
@json_option
@pass_state
def remove(state: State, name: str, force: bool, as_json: bool) -> None:
    """Remove the remote NAME and its branches NAME/BRANCH. Local branches and data stay.

    It is refused if history here names data that is at this remote alone.

    JSON: name, address.
    """
    gone = state.repository.remote.remove(name, force=force)
    if as_json:
        write_json(gone._asdict())
    else:
        echo(f"Removed remote {visible(gone.name)} ({visible(gone.address)})")


@command.command("ping")
@click.argument("name", shell_complete=complete.remotes)
@json_option
@pass_state
def ping(state: State, name: str, as_json: bool) -> None:
    """Say whether the remote NAME answers, and how fast.

    JSON: name, seconds.
    """
    seconds = state.repository.remote.ping(name)
    if as_json:
        write_json({"name": name, "seconds": seconds})
    else:
        echo(f"{visible(name)} answers in {1000 * seconds:.1f} ms")
