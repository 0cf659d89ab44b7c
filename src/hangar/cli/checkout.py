"""``hangar checkout``."""

from __future__ import annotations

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, write_json
from hangar.cli.state import State, pass_state
from hangar.errors import InvalidStateError, RevisionNotFoundError
from hangar.refs import REMOTES
from hangar.wording import visible

__all__ = ["command"]


@click.command("checkout", cls=Command)
@click.argument("branch", shell_complete=complete.branches)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@click.option(
    "-b", "create", is_flag=True, help="First create BRANCH, at REV or at the last commit of the current branch."
)
@json_option
@pass_state
def command(state: State, branch: str, rev: str | None, create: bool, as_json: bool) -> None:
    """Switch the current branch: the branch that commands stage and commit to.

    There is no working directory, so nothing else changes. A new branch at the last commit keeps the staged changes.
    A branch that only one remote has is created at its commit there, as git does.
    To read other commits, name them: `hangar export COLUMN REV`, `hangar ls COLUMN REV`, `hangar show REV`.

    For example:
      hangar checkout master
      hangar checkout -b relabel
      hangar checkout -b again master~3

    JSON: branch, created.
    """
    if rev is not None and not create:
        raise click.UsageError("REV is the start of a new branch: it needs -b")
    repository = state.repository
    before = repository.head().write_branch
    if not create and not state.stores.refs.exists(f"heads/{branch}"):
        rev = _tracked(state, branch)
        if rev is None:
            raise _no_branch(state, branch)
        create = True
    report = repository.status()
    carried = create and rev is None and not report.clean and report.staged_branch == before
    if not report.clean and not carried and branch != before and report.staged_branch != branch:
        raise _refused(state, before)
    if carried:
        repository.branch_off(branch)
    elif create:
        repository.create_branch(branch, rev or f"heads/{before}")
    repository.set_write_branch(branch)
    if as_json:
        write_json({"branch": branch, "created": create})
    elif create:
        echo(f"Switched to a new branch {branch}{'' if rev is None else f' at {visible(rev)}'}")
        if carried:
            echo(
                "The staged changes moved along"
                if report.operation is None
                else f"The {report.operation.kind} in progress moved along"
            )
    else:
        echo(f"Already on {branch}" if branch == before else f"Switched to branch {branch}")


def _refused(state: State, current: str) -> InvalidStateError:
    """The error for staged changes of another branch than the one to switch to."""
    from hangar.staging import in_the_way, read_staged

    staged = read_staged(state.stores.db)
    assert staged is not None
    return InvalidStateError(f"the current branch cannot be changed now, because {in_the_way(staged, current)}")


def _tracked(state: State, name: str) -> str | None:
    """The remote-tracking branch ``REMOTE/NAME``, if exactly one remote has it and ``name`` is no other revision."""
    found = [ref.removeprefix(REMOTES) for ref in state.stores.refs.names(REMOTES)]
    same = [ref for ref in found if ref.partition("/")[2] == name]
    if len(same) != 1:
        return None
    try:
        state.repository.rev_parse(name)
    except RevisionNotFoundError:
        return same[0]
    return None


def _no_branch(state: State, name: str) -> Exception:
    """The error for a name that is not a branch: it may be another kind of revision, or nothing."""
    try:
        state.repository.rev_parse(name)
    except RevisionNotFoundError:
        from hangar.history import unknown_branch

        return unknown_branch(state.stores.refs, name)
    what = "tag" if state.stores.refs.exists(f"tags/{name}") else "commit"
    return RevisionNotFoundError(
        f"{name!r} is a {what} and not a branch, so it cannot be written to: "
        f"create a branch there with `hangar checkout -b NAME {name}`"
    )
