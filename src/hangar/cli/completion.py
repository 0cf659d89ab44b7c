"""``hangar completion``."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from hangar.cli.groups import Command
from hangar.cli.output import echo

__all__ = ["command"]


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that lets SHELL complete commands, options, columns and branches.

    To have it in every shell, add to
      ~/.bashrc                         eval "$(hangar completion bash)"
      ~/.zshrc                          eval "$(hangar completion zsh)"
      ~/.config/fish/config.fish        hangar completion fish | source
    """
    found = get_completion_class(shell)
    assert found is not None
    # The class of a shell would first start it to learn its version; the script is the same for all that are in use.
    echo(ShellComplete.source(found(ctx.find_root().command, {}, "hangar", "_HANGAR_COMPLETE")))
