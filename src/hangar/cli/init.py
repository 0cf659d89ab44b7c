"""``hangar init``."""

from __future__ import annotations

from pathlib import Path

import click

from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.errors import PathNotDirectoryError

__all__ = ["command"]


def _ask(question: str, default: str | None) -> str:
    """An answer from whoever types; the default where nobody does."""
    try:
        return str(click.prompt(question, default=default, err=True))
    except click.Abort as error:
        if default is None or isinstance(error.__context__, KeyboardInterrupt):
            raise
        echo(err=True)
        return default


@click.command("init", cls=Command)
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--name", help="Your name, for commits. Asked for when not given; default: that of your configuration.")
@click.option("--email", help="Your email address, likewise.")
@click.option("--overwrite", is_flag=True, help="Delete the repository that is here, with everything in it, first.")
@json_option
@pass_state
def command(
    state: State, directory: Path | None, name: str | None, email: str | None, overwrite: bool, as_json: bool
) -> None:
    """Make a repository here.

    It lies in the folder .hangar of the current directory, or of DIRECTORY, which is made when missing. It has a branch, master, and no
    commit yet.

    For example:
      hangar init
      hangar init digits --name "Ada Lovelace" --email ada@example.com

    JSON: path, branch.
    """
    from hangar import Repository
    from hangar.config import Config, check_value

    config = Config(None)
    name = _ask("Your name", config.get("user.name")) if name is None else name
    email = _ask("Your email address", config.get("user.email")) if email is None else email
    check_value("user.name", name)
    check_value("user.email", email)
    path = state.directory if directory is None else state.directory / directory.expanduser()
    if path.exists() and not path.is_dir():
        raise PathNotDirectoryError(f"{path} is not a directory")
    path.mkdir(parents=True, exist_ok=True)
    with Repository(path, exists=False) as repository:
        made = repository.init(name, email, remove_old=overwrite)
        branch = repository.head().write_branch
    if as_json:
        write_json({"path": made, "branch": branch})
    else:
        echo(f"Made an empty repository in {visible(made)}")
