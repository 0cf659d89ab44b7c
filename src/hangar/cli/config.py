"""``hangar config``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, table, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.errors import HangarError, InvalidStateError, RepositoryNotFoundError

if TYPE_CHECKING:
    from hangar.config import Config

__all__ = ["command"]


def _complete(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    from hangar.config import KEYS

    return [key for key in KEYS if key.startswith(prefix)]


@click.command("config", cls=Command)
@click.argument("key", required=False, shell_complete=_complete)
@click.argument("value", required=False)
@click.option("--global", "everywhere", is_flag=True, help="Your own configuration, for all repositories.")
@click.option("--unset", is_flag=True, help="Remove KEY.")
@json_option
@pass_state
def command(state: State, key: str | None, value: str | None, everywhere: bool, unset: bool, as_json: bool) -> None:
    """Show or set configuration: user.name and user.email for commits, cache.chunks, and remote.tls-ca.

    cache.chunks is the size of the cache for decoded chunks of compressed columns, such as 256M or 256MB. The default is 64M; 0
    turns it off. remote.tls-ca is a PEM file of the certificates to trust when a remote is contacted with TLS.

    The configuration of a repository takes precedence over your own. Without KEY all values are listed. With KEY its
    value is shown, and with VALUE it is set.

    For example:
      hangar config
      hangar config user.name "Ada Lovelace"
      hangar config --global user.email ada@example.com

    JSON: for each key its value and scope, which is "user" or "repository".
    """
    from hangar.config import Config

    if unset and (key is None or value is not None):
        raise click.UsageError("--unset takes a KEY and no VALUE")
    config = Config(None if everywhere else _repository_directory(state, needed=value is not None or unset))
    if key is None:
        _list(config, as_json)
    elif unset or value is not None:
        file = config.file("user" if everywhere else "repository")
        if value is None:
            file.unset(key)
        else:
            file.set(key, value)
        if not everywhere:
            _copy(state, config)
    else:
        _show(config, key, as_json)


def _repository_directory(state: State, *, needed: bool) -> Path | None:
    """The ``.hangar`` directory of this repository, or None if there is no repository and none is needed."""
    try:
        return Path(state.repository.path, ".hangar")
    except RepositoryNotFoundError:
        if needed:
            raise RepositoryNotFoundError(
                "there is no repository here to configure: use --global for your own configuration"
            ) from None
        return None


def _copy(state: State, config: Config) -> None:
    """Copy the configuration to the database; the file counts, so a database that cannot be written is no obstacle."""
    from hangar.configcopy import copy_config

    with suppress(HangarError):
        state.stores.db.update(lambda transaction: copy_config(transaction, config))


def _list(config: Config, as_json: bool) -> None:
    items = config.items()
    if as_json:
        write_json({key: {"value": one.value, "scope": one.scope} for key, one in items.items()})
        return
    for line in table([(key, visible(one.value), f"({one.scope})") for key, one in items.items()]):
        echo(line)


def _show(config: Config, key: str, as_json: bool) -> None:
    if config.get(key) is None:
        lost = config.lost()
        raise InvalidStateError(f"{key} is not set{f': {lost}' if lost else ''}")
    found = config.items()[key]
    if as_json:
        write_json({key: {"value": found.value, "scope": found.scope}})
    else:
        echo(visible(found.value))
