"""``hangar ls``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from hangar.cli import complete
from hangar.cli.column import list_columns
from hangar.cli.groups import Command
from hangar.cli.output import echo_lines, json_option, style, visible, write_json
from hangar.cli.records import place_record
from hangar.cli.samples import address_of, sample_text
from hangar.cli.state import State, pass_state
from hangar.cli.views import View, open_view
from hangar.errors import ColumnNotFoundError, RevisionNotFoundError

if TYPE_CHECKING:
    from hangar.diff import Change
    from hangar.objects.commit import ColumnEntry

__all__ = ["changes_of", "command"]

_MARKS = {"added": ("+", "green"), "deleted": ("-", "red"), "mutated": ("~", "yellow")}


def changes_of(state: State, view: View, name: str | None = None) -> Iterator[Change]:
    """What is staged, or what a commit changed since its first parent: all samples, or those of the column called ``name`` now or then."""
    from hangar.diff import changes
    from hangar.digest import Digest
    from hangar.objects.records import load_commit

    def columns_of(commit: str) -> Sequence[ColumnEntry]:
        return load_commit(state.stores.db, Digest(bytes.fromhex(commit))).columns if commit else ()

    def parent(commit: str) -> str:
        parents = load_commit(state.stores.db, Digest(bytes.fromhex(commit))).parents if commit else []
        return parents[0].hex() if parents else ""

    before = columns_of(view.commit if view.branch else parent(view.commit))
    sides = (before, view.entries)
    # By their ids, for a column that was renamed is found under one of its names on one side alone.
    ids = {entry.id for side in sides for entry in side if name is None or entry.name == name}
    picked = [[entry for entry in side if entry.id in ids] for side in sides]
    return changes(view.nodes, picked[0], picked[1])


@click.command("ls", cls=Command)
@click.argument("column", required=False, shell_complete=complete.columns)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@click.option("--changed", is_flag=True, help="Only samples that are staged or, with REV, that the commit changed.")
@json_option
@pass_state
def command(state: State, column: str | None, rev: str | None, changed: bool, as_json: bool) -> None:
    """List the columns, or the samples of COLUMN, as they are staged or as the commit REV has them.

    Samples are written as they can be typed: 5 is an integer key, and a text key that would be taken for one is written str:5. With
    --changed each has a mark: + added, - deleted, ~ changed.

    For example:
      hangar ls
      hangar ls images
      hangar ls images master~1
      hangar ls --changed

    JSON: branch, commit, column, samples (integers and strings); with --changed: branch, commit, changes (column, sample, in a nested column
    subsample, change); without COLUMN as `column list`.
    """
    view = open_view(state, rev)
    if column is not None:
        _check(state, view, column, rev, changed)
    if changed:
        _list_changes(state, view, column, as_json)
    elif column is None:
        list_columns(view, as_json)
    elif as_json:
        keys = list(view[column])
        write_json(place_record(view) | {"column": column, "samples": keys})
    else:
        found = view[column]
        echo_lines(sample_text(key, found) for key in found)


def _check(state: State, view: View, column: str, rev: str | None, changed: bool) -> None:
    """Say so where COLUMN is none, and what it is where it is a revision."""
    if column in view or changed:
        return
    try:
        view[column]
    except ColumnNotFoundError as error:
        if rev is None:
            try:
                state.repository.resolve(column)
            except RevisionNotFoundError:
                raise error from None
            text = f"{error}; {column!r} is a revision: `hangar column list {column}` lists the columns there"
            raise ColumnNotFoundError(text) from None
        raise


def _list_changes(state: State, view: View, column: str | None, as_json: bool) -> None:
    found = changes_of(state, view, column)
    if as_json:
        write_json(place_record(view) | {"changes": [_change_record(one) for one in found]})
        return
    echo_lines(_change_line(view, one) for one in found)


def _change_record(one: Change) -> dict[str, object]:
    return {**one.key._asdict(), "change": one.kind}


def _change_line(view: View, one: Change) -> str:
    mark, colour = _MARKS[one.kind]
    held = view.get(one.column, ())
    return style(f"{mark} {visible(one.column)}/{sample_text(address_of(one.key), held)}", colour)
