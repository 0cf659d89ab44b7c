"""``hangar init``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hangar.cli.groups import Command
from hangar.cli.output import confirm, echo, json_option, on_terminal, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.errors import InvalidInputError, PathNotDirectoryError

__all__ = ["ask_user", "command", "confirm_overwrite"]


def _ask(question: str, default: str | None) -> str:
    """Read an answer from stdin; an empty line, or the end of the input, means the default."""
    offered = f" [{visible(default)}]" if default else ""
    while True:
        click.echo(f"{question}{offered}: ", nl=False, err=True)
        line = sys.stdin.readline()
        answer = line.strip() or default
        if answer:
            return answer
        if not line:
            echo(err=True)
            raise InvalidInputError(f"no answer was given to {question!r}: see `hangar init --help`")


def ask_user(name: str | None, email: str | None) -> tuple[str, str]:
    """Name and email for a new repository: as given, or by a question."""
    from hangar.config import Config, check_value

    config = Config(None)
    name = _ask("Your name", config.get("user.name")) if name is None else name
    email = _ask("Your email address", config.get("user.email")) if email is None else email
    check_value("user.name", name)
    check_value("user.email", email)
    return name, email


def confirm_overwrite(path: Path, yes: bool) -> None:
    """Ask before a repository is deleted. Without a terminal, ``--yes`` is required."""
    if yes:
        return
    if not on_terminal():
        raise InvalidInputError(
            f"--overwrite deletes the repository in {path} with all its history: add --yes to confirm"
        )
    confirm(f"Delete the repository in {visible(str(path))} with all its history? It cannot be brought back.")


@click.command("init", cls=Command)
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option(
    "--name", help="Your name, for commits. Default: a question, which offers the name in your configuration."
)
@click.option("--email", help="Your email address, for commits. Default: as for --name.")
@click.option("--overwrite", is_flag=True, help="First delete the existing repository with all its history.")
@click.option("-y", "--yes", is_flag=True, help="With --overwrite: do not ask.")
@json_option
@pass_state
def command(
    state: State,
    directory: Path | None,
    name: str | None,
    email: str | None,
    overwrite: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Create a repository in the current directory, or in DIRECTORY, which is created if it is missing.

    The repository is the folder .hangar. It has one branch, master, and no commit yet.

    For example:
      hangar init
      hangar init digits --name "Ada Lovelace" --email ada@example.com

    JSON: path, branch.
    """
    from hangar import Repository
    from hangar.initialize import DIRECTORY, check_place

    path = state.directory if directory is None else state.resolve(directory)
    if path.exists() and not path.is_dir():
        raise PathNotDirectoryError(f"{path} is not a directory")
    place = path.resolve() / DIRECTORY
    check_place(place, remove_old=overwrite)
    if overwrite and place.exists():
        confirm_overwrite(path, yes)
    name, email = ask_user(name, email)
    path.mkdir(parents=True, exist_ok=True)
    with Repository(path, exists=False) as repository:
        made = repository.init(name, email, remove_old=overwrite)
        branch = repository.head().write_branch
    if as_json:
        write_json({"path": made, "branch": branch})
    else:
        echo(f"Created an empty repository in {visible(made)}")
