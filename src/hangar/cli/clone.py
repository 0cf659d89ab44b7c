"""``hangar clone``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hangar.cli.fetch_data import data_record, tell_data
from hangar.cli.groups import Command
from hangar.cli.init import ask_user, confirm_overwrite
from hangar.cli.output import SHORT_DIGEST, echo, json_option, note, visible, write_json
from hangar.cli.remote import connection_options, given, typed_address
from hangar.cli.state import State, pass_state
from hangar.errors import PathNotDirectoryError

__all__ = ["command"]


@click.command("clone", cls=Command)
@click.argument("remote", metavar="ADDRESS")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option(
    "--name", help="Your name, for commits. Default: a question, which offers the name in your configuration."
)
@click.option("--email", help="Your email address, for commits. Default: as for --name.")
@click.option("--branch", default="", help="Branch to begin with; by default that of the remote.")
@click.option("--data", is_flag=True, help="Also fetch the data of the last commit of the branch.")
@click.option(
    "-d", "--column", "columns", multiple=True, metavar="NAME", help="Fetch the data of this column; repeatable."
)
@click.option("--overwrite", is_flag=True, help="Replace the existing repository with all its history.")
@click.option("-y", "--yes", is_flag=True, help="With --overwrite: do not ask.")
@connection_options
@json_option
@pass_state
def command(
    state: State,
    /,
    remote: str,
    directory: Path | None,
    name: str | None,
    email: str | None,
    branch: str,
    data: bool,
    columns: tuple[str, ...],
    overwrite: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Create a repository with the history of the one at ADDRESS, in the current directory or in DIRECTORY.

    ADDRESS is HOST:PORT of a server, or the path of a repository or bundle on this machine; it becomes the remote origin.
    The data of samples is not fetched, unless --data or --column says so: see `hangar fetch-data`. If the history cannot be
    fetched, nothing is left behind; if the data cannot, the history stays.

    For example:
      hangar clone server:50051 digits
      hangar clone server:50051 digits --column labels

    JSON: path, branch, digest, and data as the JSON of `hangar fetch-data`, if data was fetched.
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
    address = typed_address(state, remote)
    name, email = ask_user(name, email)
    made = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        with Repository(path, exists=False) as repository:
            first = repository.clone(
                name, email, address, remove_old=overwrite, branch=branch, **given(state, **options)
            )
            digest = repository.stores.refs.get(f"heads/{first}")
            report = None
            if (data or columns) and digest is not None:
                try:
                    report = repository.remote.fetch_columns("origin", branch=first, column_names=columns or None)
                except BaseException:
                    note(f"The history is cloned: go on with `hangar fetch-data origin {visible(first)}`")
                    raise
    except BaseException:
        if made and not any(path.iterdir()):
            path.rmdir()
        raise
    shown = "" if digest is None else digest.hex()
    if as_json:
        document = {"path": str(place), "branch": first, "digest": shown}
        write_json(document | ({} if report is None else {"data": data_record(report)}))
        return
    echo(
        f"Cloned {visible(remote)} into {visible(str(place))}: branch {visible(first)} at {shown[:SHORT_DIGEST] or 'no commit yet'}"
    )
    if digest is None:
        note("There is nothing to fetch yet: the remote has no commit on this branch")
    elif report is None:
        note(f"The data is not here yet: get it with `hangar fetch-data origin {visible(first)}`")
    else:
        tell_data(report)
