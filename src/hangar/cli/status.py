"""``hangar status``, and its lines as comments in the editor of a commit message."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click

from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, style, table, visible, visible_name, write_json
from hangar.cli.pager import paged
from hangar.cli.records import change_record, writer_record
from hangar.cli.state import State, pass_state
from hangar.cli.tracking import Tracking, tracking
from hangar.history.bisect import is_searching
from hangar.pending_purge import is_purge_pending
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.describe import ColumnStatus, StatusReport

__all__ = ["changed_text", "command", "headline", "staged_lines", "status_lines"]

_LETTERS = {"new": "A", "changed": "M", "deleted": "D"}
_STATES = {"new": ("new column:", "green"), "changed": ("changed:", "yellow"), "deleted": ("deleted column:", "red")}


def _change_text(added: int, deleted: int, mutated: int) -> str:
    """Numbers of changed samples as text, such as ``'3 added, 1 deleted'``."""
    parts = ((added, "added"), (mutated, "changed"), (deleted, "deleted"))
    return ", ".join(f"{number:,} {what}" for number, what in parts if number)


def _other_changes(column: ColumnStatus) -> list[str]:
    """Changes of a column other than its samples."""
    found = [f"renamed from {visible(column.renamed_from)}"] if column.renamed_from else []
    found += ["widened"] if column.schema else []
    return [*found, *attribute_change(column.attributes)]


def attribute_change(keys: Sequence[str]) -> list[str]:
    """The changed attributes as text; nothing if none changed."""
    return [f"attributes {', '.join(map(visible_name, keys))}"] if keys else []


def changed_text(column: ColumnStatus) -> str:
    """What changed in a column, such as ``'3 added, 1 deleted, widened'``; of a new or deleted one its size."""
    noun = "subsample" if column.nested else "sample"
    if column.state == "deleted":
        return plural(column.deleted, noun)
    if column.state == "new":
        return plural(column.added, noun)
    counts = _change_text(column.added, column.deleted, column.mutated)
    return ", ".join([*filter(None, [counts]), *_other_changes(column)])


def headline(column: ColumnStatus) -> str:
    """What happened to one column, as a line above its samples."""
    label, colour = _STATES[column.state]
    return f"{style(label, colour)} {style(visible(column.name), colour, bold=True)}  {changed_text(column)}"


def staged_lines(columns: Sequence[ColumnStatus], notes: Sequence[str] = ()) -> list[str]:
    """A line for each column that differs from the commit, with a note at its end."""
    rows = []
    for column, note in zip_longest(columns, notes, fillvalue=""):
        assert not isinstance(column, str)
        if column.state in _STATES:
            label, colour = _STATES[column.state]
            change = changed_text(column)
            rows.append((style(label.ljust(15), colour), style(visible(column.name), colour), change, note))
    return table(rows, indent=8)


def operation_lines(report: StatusReport) -> list[str]:
    """The operation in progress and the next command; nothing if there is none."""
    operation = report.operation
    if operation is None:
        return []
    kind = operation.kind
    lines = [f"A {kind} of {visible(operation.name)} into {visible(report.staged_branch)} is in progress"]
    if report.conflicts:
        left = plural(report.conflicts, "conflict")
        lines[0] += style(f", with {left}", "red")
        lines.append('  (use "hangar conflicts" to list them, and "hangar resolve" to resolve them)')
    else:
        lines.append(f'  (all conflicts are resolved: use "hangar {kind} --continue" to conclude it)')
    return [*lines, f'  (use "hangar {kind} --abort" to give up the {kind})']


def status_lines(report: StatusReport, followed: Tracking | None = None) -> list[str]:
    """The whole report as text."""
    lines = [f"On branch {style(visible(report.branch), 'green', bold=True)}"]
    if not report.head:
        lines.append("No commits yet")
    if followed is not None:
        lines.append(followed.line())
    lines += operation_lines(report)
    if report.writer is not None:
        lines.append(f"A writer is active: {visible(str(report.writer))}")
    lines += [
        f"Column {visible(column.name)} cannot be read here: {visible(column.needs)}"
        for column in report.columns
        if column.needs
    ]
    if report.clean:
        return [*lines, "", "nothing to commit, staging area clean"]
    if report.staged_branch != report.branch:
        lines += ["", style(f"Uncommitted changes belong to branch {report.staged_branch}:", "red")]
        lines += [f'  (use "hangar checkout {report.staged_branch}" to continue with them)']
    else:
        lines += ["", "Changes to be committed:"]
        if not report.conflicts:
            lines.append('  (use "hangar commit" to commit them)')
        states = {column.state for column in report.columns}
        if states & {"changed", "deleted"}:
            lines.append('  (use "hangar restore COLUMN" to restore a column from the last commit)')
        if "new" in states:
            lines.append('  (use "hangar column remove COLUMN" to remove a new column)')
        lines.append('  (use "hangar restore ." to drop all of them)')
    about = [style("        changed:         ", "yellow") + one for one in attribute_change(report.attributes)]
    return [*lines, *staged_lines(report.columns), *about]


def short_lines(report: StatusReport) -> list[str]:
    """A line for each column that differs from the commit: a letter as in git, and its name."""
    lines = []
    if report.operation is not None:
        left = f", {plural(report.conflicts, 'conflict')}" if report.conflicts else ""
        lines.append(
            f"## {report.operation.kind} of {visible(report.operation.name)} into {visible(report.staged_branch)}{left}"
        )
    if not report.clean and report.staged_branch != report.branch:
        lines.append(f"## uncommitted changes of branch {visible(report.staged_branch)}")
    for column in report.columns:
        if column.state in _STATES:
            letter = "R" if column.renamed_from else _LETTERS[column.state]
            name = f"{visible(column.renamed_from)} -> " if column.renamed_from else ""
            lines.append(f"{style(letter, _STATES[column.state][1])}  {name}{visible(column.name)}")
    return [*lines, *(f"{style('M', 'yellow')}  ({one})" for one in attribute_change(report.attributes))]


def _operation_record(report: StatusReport) -> dict[str, Any] | None:
    operation = report.operation
    if operation is None:
        return None
    return {"kind": operation.kind, "revision": operation.name, "conflicts": report.conflicts}


_BISECTION = (
    "",
    "A bisection is in progress",
    '  (use "hangar bisect status" to see which commit to test, and "hangar bisect reset" to end it)',
)


@click.command("status", cls=Command)
@click.option(
    "-s", "--short", is_flag=True, help="A letter and a name for each column: A new, M changed, D deleted, R renamed."
)
@json_option
@pass_state
@paged
def command(state: State, short: bool, as_json: bool) -> None:
    """Show the current branch, its staged changes, a merge or bisection in progress, and the active writer.

    The branch is compared with that of the remote as it was fetched or pushed last; no remote is asked.

    JSON: branch, head (digest, or "" before the first commit), tracking (name of the remote-tracking branch, ahead and behind:
    numbers of commits) or null, clean, staged_branch, changes (column, state, added,
    deleted, mutated, renamed_from, schema: whether it was widened, attributes: keys), attributes (changed keys of the
    commit's own attributes), columns (names), operation (kind: merge, cherry-pick or revert, revision,
    conflicts: number of open ones) or null, bisect (whether a bisection is in progress), writer (pid, host, user, time) or null; and needs, if columns need a
    package that is not installed.
    """
    report = state.repository.status()
    followed = tracking(state, report.branch)
    if as_json:
        needs = {one.name: one.needs for one in report.columns if one.needs}
        write_json(
            {
                "branch": report.branch,
                "head": report.head,
                "tracking": None if followed is None else followed._asdict(),
                "clean": report.clean,
                "staged_branch": report.staged_branch,
                "changes": [change_record(one) for one in report.columns if one.state != "unchanged"],
                "attributes": list(report.attributes),
                "columns": [one.name for one in report.columns if one.state != "deleted"],
                "operation": _operation_record(report),
                "bisect": is_searching(state.stores.db),
                "writer": writer_record(report.writer),
                **({"needs": needs} if needs else {}),
            }
        )
        return
    for line in short_lines(report) if short else status_lines(report, followed):
        echo(line)
    if not short and is_searching(state.stores.db):
        for line in _BISECTION:
            echo(line)
    if is_purge_pending(state.stores.db):
        echo("A purge is not finished, and bytes of it are still on disk: run `hangar purge --continue`", err=True)
