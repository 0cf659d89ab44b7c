"""``hangar help``."""

from __future__ import annotations

import click

from hangar.cli.groups import Command
from hangar.cli.output import echo

__all__ = ["command"]


@click.command("help", cls=Command)
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of COMMAND, as COMMAND --help does.

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
