"""What a shell can complete: names of columns and branches of the repository at hand. Whatever goes wrong, there is nothing to say."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hangar.errors import HangarError

if TYPE_CHECKING:
    from hangar import Repository

__all__ = ["branches", "columns", "revisions"]


def _matching(ctx: click.Context, prefix: str, names: Callable[[Repository], Iterable[str]]) -> list[str]:
    directory = ctx.find_root().params.get("directory") or "."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from hangar import Repository

            with Repository.open(Path(directory)) as repository:
                return [name for name in names(repository) if name.startswith(prefix)]
    except (HangarError, OSError):
        return []


def columns(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """Columns of the staging area."""
    return _matching(
        ctx, prefix, lambda repository: [one.name for one in repository.status().columns if one.state != "deleted"]
    )


def branches(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """Branches of this repository."""
    return _matching(ctx, prefix, _local_branches)


def _local_branches(repository: Repository) -> list[str]:
    return [name.partition("/")[2] for name in repository.stores.refs.names("heads/")]


def revisions(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """Branches, remote-tracking ones too."""
    return _matching(ctx, prefix, lambda repository: repository.list_branches())
