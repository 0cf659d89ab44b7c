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
    """Print the completion script of SHELL: for commands, options, columns, branches and samples.

    To load it in every shell, add this line to
      ~/.bashrc                         eval "$(hangar completion bash)"
      ~/.zshrc                          eval "$(hangar completion zsh)"
      ~/.config/fish/config.fish        hangar completion fish | source
    """
    found = get_completion_class(shell)
    assert found is not None
    # ShellComplete.source, since the subclass for bash starts bash to read its version. The script is the same for all
    # versions.
    echo(ShellComplete.source(found(ctx.find_root().command, {}, "hangar", "_HANGAR_COMPLETE")))
