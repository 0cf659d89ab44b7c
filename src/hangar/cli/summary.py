"""``hangar summary``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, visible, write_json
from hangar.cli.state import State, pass_state

if TYPE_CHECKING:
    from hangar.digest import Digest

__all__ = ["command"]


def _commit(state: State, rev: str | None) -> Digest | None:
    from hangar.revisions import resolve

    stores = state.stores
    return resolve(stores.db, stores.refs, rev or f"heads/{stores.refs.head().write_branch}").digest


@click.command("summary", cls=Command)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@json_option
@pass_state
def command(state: State, rev: str | None, as_json: bool) -> None:
    """Show where the repository is, its size on disk, and what the commit REV holds; by default the last of the branch to write.

    JSON: path, nbytes (on disk), commit (digest, tree, parents, author, email, time, message, meta, columns).
    """
    from hangar import describe

    digest = _commit(state, rev)
    if as_json:
        info = describe.commit_info(state.stores, digest)
        write_json({"path": state.repository.path, "nbytes": state.repository.size_nbytes, "commit": asdict(info)})
    else:
        echo(visible(describe.summary(state.stores, state.repository.path, digest)).rstrip("\n"))
