"""``hangar bundle``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hangar.cli.groups import Command, SuggestingGroup
from hangar.cli.output import SHORT_DIGEST, echo, json_option, style, visible, visible_name, write_json
from hangar.cli.state import State, pass_state
from hangar.errors import CorruptionError, RepositoryNotFoundError
from hangar.progress import format_bytes
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.remote.bundle import BundleReport

__all__ = ["command"]

_FILE = click.Path(path_type=Path)


@click.group("bundle", cls=SuggestingGroup)
def command() -> None:
    """Write history and data into one file, for people without a network between them.

    clone, fetch, fetch-data and fsck read a bundle like a remote. Its address is its path, beginning with / or ./

    For example:
      hangar bundle create all.bundle master v1.0
      hangar clone ./all.bundle copy
    """


@command.command("create", cls=Command)
@click.argument("file", type=_FILE)
@click.argument("rev", nargs=-1, required=True)
@click.option("--since", multiple=True, metavar="REV", help="Leave out what the receiver has: REV and its ancestors.")
@click.option(
    "--data",
    type=click.Choice(["none", "heads", "all"]),
    default="heads",
    show_default=True,
    help="The data to include: none, that of the commits named, or that of all commits.",
)
@click.option("-d", "--column", "columns", multiple=True, metavar="NAME", help="Only the data of this column.")
@json_option
@pass_state
def create(
    state: State,
    file: Path,
    rev: tuple[str, ...],
    since: tuple[str, ...],
    data: str,
    columns: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write branches and tags (REV) into FILE.

    For example:
      hangar bundle create all.bundle master --data all
      hangar bundle create news.bundle master --since v1.0
      hangar bundle create labels.bundle master --column labels

    JSON: refs, commits, objects, blobs, prerequisites, nbytes.
    """
    from hangar.remote.bundle import create_bundle

    made = create_bundle(state.stores, state.resolve(file), rev, since=since, data=data, columns=columns or None)
    if as_json:
        write_json(asdict(made))
    else:
        _show(made)


@command.command("list", cls=Command)
@click.argument("file", type=_FILE)
@json_option
@pass_state
def list_refs(state: State, file: Path, as_json: bool) -> None:
    """Show the refs of a bundle, and how much it holds.

    JSON: refs, commits, objects, blobs, prerequisites, nbytes.
    """
    from hangar.remote.bundle import describe_bundle
    from hangar.remote.bundle_reader import BundleReader

    with BundleReader(state.resolve(file)) as reader:
        found = describe_bundle(reader)
    if as_json:
        write_json(asdict(found))
    else:
        _show(found)


@command.command("verify", cls=Command)
@click.argument("file", type=_FILE)
@json_option
@pass_state
def verify(state: State, file: Path, as_json: bool) -> None:
    """Verify every object and value of a bundle.

    Ends with exit code 6 if something is damaged. A bundle that leaves out what its receiver has (--since) is verified
    completely only in a repository that has the commits on which it builds.

    JSON: report (as of list), blobs_outside, errors, unchecked (objects that only such a repository can tell about).
    """
    from hangar.remote.bundle import verify_bundle

    try:
        stores = state.stores
    except RepositoryNotFoundError:
        stores = None
    found = verify_bundle(state.resolve(file), stores=stores)
    if as_json:
        write_json(asdict(found))
    else:
        _show(found.report)
        if found.blobs_outside:
            echo(
                f"{plural(found.blobs_outside, 'value')} of its history {'is' if found.blobs_outside == 1 else 'are'} not in it"
            )
        if found.unchecked:
            echo(
                f"{plural(found.unchecked, 'object')} could not be verified: run this in a repository that has the commits on which "
                "the bundle builds"
            )
        for error in found.errors[:20]:
            echo(f"{style('damaged', 'red')}: {visible(error)}")
    if found.errors:
        raise CorruptionError(f"the bundle has {plural(len(found.errors), 'error')}: copy it again")
    if not as_json:
        echo(style("What it holds is intact" if found.unchecked else "The bundle is intact", "green"))


def _show(found: BundleReport) -> None:
    for name, digest in found.refs.items():
        echo(f"{style(digest[:SHORT_DIGEST], 'yellow')} {visible_name(name)}")
    echo(f"{plural(found.commits, 'commit')}, {plural(found.blobs, 'value')}, {format_bytes(found.nbytes)}")
    for digest in found.prerequisites:
        echo(f"builds on {style(digest[:SHORT_DIGEST], 'yellow')}, which its receiver must have")
