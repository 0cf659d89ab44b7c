"""Shell completion of columns, branches and samples of the current repository. On any error there are no completions.

Of samples at most :data:`MOST_SAMPLES` are offered. They are found by binary search, so that a column of millions
answers as fast as a small one.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from hangar.cli.settings import settings_of
from hangar.errors import HangarError
from hangar.names import SampleKey

if TYPE_CHECKING:
    from hangar import Repository

__all__ = [
    "MOST_SAMPLES",
    "branches",
    "columns",
    "deleted_branches",
    "paths",
    "remotes",
    "revisions",
    "samples",
    "stashes",
    "tags",
    "things",
]

MOST_SAMPLES: Final = 100
"""Most samples that are offered."""
_MOST_DIGITS: Final = 20


def _matching(ctx: click.Context, prefix: str, names: Callable[[Repository], Iterable[str]]) -> list[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from hangar import Repository

            with Repository.open(settings_of(ctx).directory) as repository:
                return [name for name in names(repository) if name.startswith(prefix)]
    except (HangarError, OSError, click.UsageError):
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
    """Branches, remote-tracking ones too, and tags."""
    return _matching(ctx, prefix, lambda repository: [*repository.list_branches(), *repository.list_tags()])


def tags(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """Tags."""
    return _matching(ctx, prefix, lambda repository: repository.list_tags())


def remotes(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """Remotes."""
    return _matching(ctx, prefix, lambda repository: [one.name for one in repository.remote.list_all()])


def stashes(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """Names of stashes."""
    return _matching(ctx, prefix, lambda repository: [one.rev for one in repository.stash_list()])


def deleted_branches(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """Branches that were deleted and can be restored."""
    from hangar.history import deleted_branches as deleted

    return _matching(ctx, prefix, lambda repository: deleted(repository.stores.refs))


def samples(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """Samples of the column that was typed before, from the staging area."""
    # While an option lacks its value, click leaves the arguments in ctx.args.
    name, rev = ctx.params.get("column"), ctx.params.get("rev")
    if name is None and ctx.args:
        name, rev = ctx.args[0], next(iter(ctx.args[1:]), None)
    return _matching(ctx, prefix, lambda repository: _samples(repository, rev, name or "", prefix))


def paths(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """Revisions, columns of the staging area, and ``COLUMN/SAMPLE``."""
    name, slash, sample = prefix.partition("/")
    found = revisions(ctx, parameter, prefix) + columns(ctx, parameter, prefix)
    if slash:
        found += [f"{name}/{one}" for one in _matching(ctx, sample, lambda repo: _samples(repo, None, name, sample))]
    return found


def things(ctx: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """``REV``, ``REV:COLUMN`` and ``REV:COLUMN/SAMPLE``."""
    rev, colon, path = prefix.partition(":")
    if not colon:
        return revisions(ctx, parameter, prefix)
    name, slash, sample = path.partition("/")
    if not slash:
        found = _matching(ctx, name, lambda repository: _view(repository, rev))
        return [f"{rev}:{one}" for one in found]
    found = _matching(ctx, sample, lambda repository: _samples(repository, rev, name, sample))
    return [f"{rev}:{name}/{one}" for one in found]


# ---------------------------------------------------------------------- samples


def _view(repository: Repository, rev: str | None) -> Any:
    from hangar.cli.state import State
    from hangar.cli.views import open_view

    return open_view(State.of(repository), rev or None)


def _samples(repository: Repository, rev: str | None, name: str, prefix: str) -> list[str]:
    from hangar.cli.samples import meanings, sample_text

    column = _view(repository, rev)[name]
    before, slash, rest = prefix.rpartition("/")
    if slash and column.contains_subsamples:
        for sample in meanings(before, column):
            if not isinstance(sample, tuple):
                keys = column[sample]
                return [f"{before}/{sample_text(key, keys)}" for key in _beginning(keys, rest)]
    kind = prefix[:4] if prefix.startswith(("int:", "str:")) else ""
    return [f"{kind}{key}" if kind else sample_text(key, column) for key in _beginning(column, prefix)]


def _beginning(column: Any, prefix: str) -> list[SampleKey]:
    """The first keys whose text begins with ``prefix``."""
    kind, colon, rest = prefix.partition(":")
    if colon and kind in ("int", "str"):
        found = _numbers(column, rest) if kind == "int" else _texts(column, rest)
    else:
        found = (key for keys in (_numbers(column, prefix), _texts(column, prefix)) for key in keys)
    return list(islice(found, MOST_SAMPLES))


def _position(column: Any, key: SampleKey) -> int:
    """Position of the first key that is not less than ``key``; integers come first."""

    def order(position: int) -> tuple[bool, Any]:
        found = column.at(position)
        return isinstance(found, str), found

    return bisect_left(range(len(column)), (isinstance(key, str), key), key=order)


def _texts(column: Any, prefix: str) -> Iterator[SampleKey]:
    for position in range(_position(column, prefix), len(column)):
        key = column.at(position)
        if not key.startswith(prefix):
            return
        yield key


def _numbers(column: Any, prefix: str) -> Iterator[SampleKey]:
    """Integer keys whose digits begin with ``prefix``: the number itself, then those with one more digit, and so on."""
    if prefix and not (prefix.isascii() and prefix.isdigit() and (prefix == "0" or prefix[0] != "0")):
        return
    if not prefix:
        ranges = [(0, 10**_MOST_DIGITS)]
    else:
        number = int(prefix)
        ranges = [(number * 10**more, (number + 1) * 10**more) for more in range(_MOST_DIGITS - len(prefix) + 1)]
        ranges = ranges[:1] if number == 0 else ranges
    for low, high in ranges:
        for position in range(_position(column, low), len(column)):
            key = column.at(position)
            if isinstance(key, str) or key >= high:
                break
            yield key
