"""``hangar help``."""

from __future__ import annotations

import click

from hangar.cli.groups import Command
from hangar.cli.output import echo

__all__ = ["command"]


def _commands(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """Commands that may follow the words typed so far."""
    found = ctx.find_root()
    for word in ctx.params.get("words") or ():
        child = found.command.get_command(found, word) if isinstance(found.command, click.Group) else None
        if child is None:
            return []
        found = click.Context(child, info_name=word, parent=found)
    names = found.command.list_commands(found) if isinstance(found.command, click.Group) else []
    return [name for name in names if name.startswith(prefix)]


@click.command("help", cls=Command)
@click.argument("words", nargs=-1, metavar="[COMMAND]...", shell_complete=_commands)
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of COMMAND, like COMMAND --help.

    For example:
      hangar help
      hangar help commit
      hangar help column create
    """
    found = ctx.find_root()
    for word in words:
        group = found.command
        if not isinstance(group, click.Group):
            raise click.UsageError(f"{found.command_path!r} has no commands, and so no {word!r}")
        _, child, _ = group.resolve_command(found, [word])
        assert child is not None
        found = click.Context(child, info_name=word, parent=found)
    echo(found.get_help())
