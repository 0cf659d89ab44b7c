"""What merges, cherry-picks and reverts have in common: their conflicts, ``--continue`` and ``--abort``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from hangar.cli.conflicts import conflict_lines, conflict_records, state_of
from hangar.cli.output import SHORT_DIGEST, echo, echo_lines, visible, write_json
from hangar.cli.state import State
from hangar.errors import MergeConflictError
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.merge.state import MergeState

__all__ = ["conclude", "conclude_options", "conflicts_of", "echo_conflicts", "open_conflicts_error"]

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN: Final = 20
"""Number of conflicts that are listed at once."""


def conclude_options(kind: str) -> Callable[[F], F]:
    """The options ``--continue`` and ``--abort`` of a command."""
    go_on = click.option(
        "--continue", "go_on", is_flag=True, help=f"Commit the {kind} in progress, when its conflicts are resolved."
    )
    abort = click.option(
        "--abort", is_flag=True, help=f"Give up the {kind} in progress, and all changes staged since it began."
    )
    return lambda function: go_on(abort(function))


def conclude(state: State, kind: str, message: str | None, *, abort: bool, as_json: bool) -> None:
    """Commit what is in progress, or give it up."""
    repository = state.repository
    branch = repository.status().staged_branch
    digest = repository.give_up(kind) if abort else repository.conclude(kind, message)
    if as_json:
        write_json({"branch": branch, "digest": digest})
    elif abort:
        echo(f"The {kind} was given up: branch {visible(branch)} is at {digest[:SHORT_DIGEST]}, and nothing is staged")
    else:
        subject = repository.commit_info(digest).message.partition("\n")[0]
        echo(f"[{visible(branch)} {digest[:SHORT_DIGEST]}] {visible(subject)}")


def conflicts_of(state: State) -> tuple[MergeState | None, list[dict[str, Any]], list[dict[str, Any]]]:
    """What is in progress, all its conflicts, and the open ones."""
    found = state_of(state)
    records = [] if found is None else list(conflict_records(state, found))
    return found, records, [one for one in records if one["resolution"] is None]


def echo_conflicts(left: list[dict[str, Any]]) -> None:
    """List the first open conflicts."""
    echo_lines(conflict_lines(left[:_SHOWN]))
    if len(left) > _SHOWN:
        echo(f"  ... and {len(left) - _SHOWN:,} more")


def open_conflicts_error(kind: str, rev: str, count: int) -> MergeConflictError:
    """The error with which a command ends that left conflicts."""
    return MergeConflictError(
        f"the {kind} of {rev!r} has {plural(count, 'conflict')}: resolve them with `hangar resolve`, then conclude the "
        f"{kind} with `hangar {kind} --continue`, or give it up with `hangar {kind} --abort`"
    )
