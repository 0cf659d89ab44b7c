"""``hangar merge``."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.conflicts import conflict_names
from hangar.cli.groups import Command
from hangar.cli.in_progress import conclude, conclude_options, conflicts_of, echo_conflicts, open_conflicts_error
from hangar.cli.output import SHORT_DIGEST, echo, echo_lines, json_option, table, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.checkout.merging import MergeResult

__all__ = ["command", "tell_merge"]


@click.command("merge", cls=Command)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@click.option("-m", "--message", "messages", multiple=True, metavar="TEXT", help="Message of the merge commit.")
@click.option("--no-commit", is_flag=True, help="Stage the merge, and do not commit it.")
@click.option("--no-ff", is_flag=True, help="Make a merge commit even if the branch could just move forward.")
@click.option("--ff-only", is_flag=True, help="Only move the branch forward, or fail.")
@click.option(
    "-n", "--dry-run", is_flag=True, help="Show what the merge would change, and what conflicts; change nothing."
)
@click.option(
    "-X",
    "--strategy",
    type=click.Choice(["ours", "theirs", "base"]),
    help="Resolve conflicts by taking this side. Changes that only one side made are merged anyway.",
)
@conclude_options("merge")
@json_option
@pass_state
def command(
    state: State,
    rev: str | None,
    messages: tuple[str, ...],
    no_commit: bool,
    no_ff: bool,
    ff_only: bool,
    dry_run: bool,
    strategy: str | None,
    go_on: bool,
    abort: bool,
    as_json: bool,
) -> None:
    """Merge REV (a branch, tag or commit) into the current branch.

    Changes that only one side made are merged. If both sides changed the same sample, attribute or column in different
    ways, the merge waits: list the conflicts with `hangar conflicts`, resolve them with `hangar resolve`, and conclude it
    with `hangar merge --continue`.

    For example:
      hangar merge relabel
      hangar merge relabel --dry-run
      hangar merge relabel --strategy theirs
      hangar merge --continue -m "Merge the new labels"

    JSON: branch, kind (up-to-date, fast-forward or merge), digest (of the branch now), committed, resolved (by the
    strategy), conflicts (as in `hangar conflicts`); with --dry-run: branch, kind, changes (column, added, deleted,
    mutated), conflicts (number); with --continue and --abort: branch, digest.
    """
    if (rev is not None) + go_on + abort != 1:
        raise click.UsageError("give a REV to merge, --continue or --abort")
    if (go_on or abort) and (no_commit or no_ff or ff_only or dry_run or strategy or (abort and messages)):
        raise click.UsageError("--continue takes only -m, and --abort nothing")
    if no_ff and ff_only:
        raise click.UsageError("--no-ff and --ff-only exclude each other")
    message = "\n\n".join(messages) if messages else None
    fast_forward = False if no_ff else True if ff_only else None
    if rev is None:
        conclude(state, "merge", message, abort=abort, as_json=as_json)
    elif dry_run:
        _preview(state, rev, fast_forward, as_json)
    else:
        branch = state.repository.head().write_branch
        result = state.repository.merge_revision(
            rev,
            message,
            branch=branch,
            keep_conflicts=True,
            commit=not no_commit,
            fast_forward=fast_forward,
            strategy=strategy,
        )
        tell_merge(state, branch, rev, result, as_json)


def _preview(state: State, rev: str, fast_forward: bool | None, as_json: bool) -> None:
    branch = state.repository.head().write_branch
    found = state.repository.merge_preview(rev, branch=branch, fast_forward=fast_forward)
    left = found.conflicts.total()
    if as_json:
        changes = [{"column": name, **counts._asdict()} for name, counts in found.changes.items()]
        write_json({"branch": branch, "kind": found.kind, "changes": changes, "conflicts": left})
        return
    if found.kind == "up-to-date":
        echo("Already up to date.")
        return
    echo(f"A merge of {visible(rev)} into {visible(branch)} would change, by a {_WORDS[found.kind]}:")
    echo_lines(table(_rows(found.changes), indent=2) or ["  no samples and no columns"])
    if not left:
        echo("There are no conflicts")
        return
    echo(f"{plural(left, 'conflict')} would have to be resolved:")
    echo_lines(table(list(islice(conflict_names(found.conflicts), MAX_PREVIEWED)), indent=2))
    if left > MAX_PREVIEWED:
        echo(f"  and {left - MAX_PREVIEWED:,} more")


MAX_PREVIEWED = 20
"""Maximum number of conflicts that a preview lists."""
_WORDS = {"fast-forward": "fast-forward", "merge": "merge commit"}


def _rows(changes: Any) -> list[tuple[str, ...]]:
    return [
        (visible(name), f"{counts.added:,} added", f"{counts.mutated:,} changed", f"{counts.deleted:,} deleted")
        for name, counts in changes.items()
    ]


def tell_merge(state: State, branch: str, rev: str, result: MergeResult, as_json: bool, **more: Any) -> None:
    """Say what a merge did; conflicts that are left are an error. ``more`` are further fields of the JSON document."""
    _, records, left = conflicts_of(state)
    digest = "" if result.head is None else result.head.hex()
    if as_json:
        write_json(
            {
                "branch": branch,
                "kind": result.kind,
                "digest": digest,
                "committed": result.committed,
                "resolved": result.resolved,
                "conflicts": records,
                **more,
            }
        )
    elif result.kind == "up-to-date":
        echo("Already up to date.")
    elif result.kind == "fast-forward":
        echo(f"Fast-forward: branch {visible(branch)} is at {digest[:SHORT_DIGEST]}")
    else:
        if result.resolved:
            echo(f"{plural(result.resolved, 'conflict')} resolved by the strategy")
        if result.committed:
            subject = state.repository.commit_info(digest).message.partition("\n")[0]
            echo(f"[{visible(branch)} {digest[:SHORT_DIGEST]}] {visible(subject)}")
        elif not left:
            echo("The merge is staged and not committed: conclude it with `hangar merge --continue`")
        else:
            echo_conflicts(left)
    if left:
        raise open_conflicts_error("merge", rev, len(left))
