"""``hangar ls``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.column import list_columns
from hangar.cli.groups import Command
from hangar.cli.output import echo_lines, json_option, note, style, table, visible, write_json
from hangar.cli.pager import paged
from hangar.cli.records import place_record, sample_record
from hangar.cli.samples import Address, address_of, existing_samples, is_pattern, matcher, sample_text, sample_texts
from hangar.cli.state import State, pass_state
from hangar.cli.views import View, open_view
from hangar.errors import ColumnNotFoundError, RevisionNotFoundError
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.diff import Change
    from hangar.objects.commit import ColumnEntry

__all__ = ["MARKS", "changes_of", "command"]

_MOST_NOTED = 10
MARKS = {"added": ("+", "green"), "deleted": ("-", "red"), "mutated": ("~", "yellow")}


def changes_of(state: State, view: View, name: str | None = None) -> Iterator[Change]:
    """Staged changes, or changes of a commit since its first parent.

    They are those of all columns, or of those named ``name`` before or after the change. ``name`` may be a pattern.

    Raises
    ------
    ColumnNotFoundError
        There is no such column, before or after.
    """
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
    match = None if name is None else matcher(name) if is_pattern(name) else name.__eq__
    # Compare ids: a renamed column has another name on each side.
    ids = {entry.id for side in sides for entry in side if match is None or match(entry.name)}
    if not ids and name is not None:
        raise ColumnNotFoundError(f"there is no column {name!r} in {view.label}, nor in the commit before")
    picked = [[entry for entry in side if entry.id in ids] for side in sides]
    return changes(view.nodes, picked[0], picked[1])


@click.command("ls", cls=Command)
@click.argument("column", required=False, shell_complete=complete.columns)
@click.argument("words", nargs=-1, metavar="[REV] [PATTERN]...", shell_complete=complete.revisions)
@click.option(
    "--changed", is_flag=True, help="List only changed samples: staged changes or, with REV, those of the commit."
)
@click.option("--promised", is_flag=True, help="List only samples whose data is at a remote, and not on this disk.")
@click.option("-n", "--max-count", "limit", type=click.IntRange(min=0), metavar="NUMBER", help="List at most NUMBER.")
@json_option
@pass_state
@paged
def command(
    state: State,
    column: str | None,
    words: tuple[str, ...],
    changed: bool,
    promised: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the columns, or the samples of COLUMN, of the commit REV or, without REV, of the staging area.

    Sample keys are printed as you can type them: 5 is an integer or a text key; if a column has both, they are int:5
    and str:5. A PATTERN with * and ?, in quotes, selects samples. If COLUMN is a pattern, it selects columns. With
    --changed each sample has a mark: + added, - deleted, ~ changed.

    For example:
      hangar ls
      hangar ls images -n 20
      hangar ls images 'cat_*'
      hangar ls images master~1
      hangar ls --changed
      hangar ls images --promised

    JSON: branch, commit, column, samples (integers and strings); with --changed: branch, commit, changes (column,
    sample, in a nested column subsample, change); without COLUMN as `column list`; and purged (sample,
    subsample or null, purged), if the data of samples was erased; with --promised and no COLUMN: branch, commit, promised
    (column, samples: their number).
    """
    patterns = [word for word in words if is_pattern(word)]
    revisions = [word for word in words if not is_pattern(word)]
    if len(revisions) > 1:
        raise click.UsageError(
            f"only one REV is allowed, not {' '.join(revisions)}; to select samples use a pattern such as 'cat_*'"
        )
    rev = revisions[0] if revisions else None
    view = open_view(state, rev)
    if changed and promised:
        raise click.UsageError("--changed and --promised exclude each other")
    if changed:
        if patterns:
            raise click.UsageError("--changed lists all changes of a column and takes no PATTERN")
        _list_changes(state, view, column, limit, as_json)
    elif promised and (column is None or is_pattern(column)):
        _count_promised(_some_columns(view, column, limit), as_json)
    elif column is None or is_pattern(column):
        if patterns:
            raise click.UsageError("a PATTERN for samples needs a single COLUMN, not a pattern of columns")
        list_columns(_some_columns(view, column, limit), as_json)
    else:
        _check(state, view, column, rev)
        _list_samples(state, view, column, patterns, limit, as_json, promised)


def _count_promised(view: View, as_json: bool) -> None:
    """Say of how many samples of each column the data is only promised."""
    counts = {name: len(view[name].remote_reference_keys) for name in view}
    if as_json:
        found = [{"column": name, "samples": count} for name, count in counts.items()]
        write_json(place_record(view) | {"promised": found})
        return
    rows = [(visible(name), f"{count:,} of {plural(len(view[name]), 'sample')}") for name, count in counts.items()]
    echo_lines(table(rows))


def _some_columns(view: View, pattern: str | None, limit: int | None) -> View:
    names = [name for name in view if pattern is None or matcher(pattern)(name)]
    if pattern is not None and not names:
        raise ColumnNotFoundError(f"no column of {view.label} matches {pattern!r}: `hangar ls` lists the columns")
    return view.only(names[:limit])


def _list_samples(
    state: State, view: View, column: str, patterns: Sequence[str], limit: int | None, as_json: bool, promised: bool
) -> None:
    from hangar.purge.lookup import purged_samples

    found: Any = view[column]
    keys: list[Address]
    if promised:
        absent = list(found.remote_reference_keys)
        chosen = set(existing_samples(patterns, found, column)) if patterns else set(absent)
        keys = [key for key in absent if key in chosen][:limit]
    else:
        keys = existing_samples(patterns, found, column)[:limit] if patterns else list(islice(iter(found), limit))
    purged = purged_samples(state.stores, view.nodes, view.entry(column))
    if as_json:
        erased = [{**sample_record(key), "purged": str(tombstone)} for key, tombstone in purged.items()]
        listed = {"column": column, "samples": keys} | ({"purged": erased} if erased else {})
        write_json(place_record(view) | listed)
        return
    echo_lines(sample_texts(keys, found))
    for key, tombstone in islice(purged.items(), _MOST_NOTED):
        note(f"{sample_text(key if len(key) == 2 else key[0], found)}: {visible(str(tombstone))}")
    if len(purged) > _MOST_NOTED:
        note(f"and {len(purged) - _MOST_NOTED:,} more that were purged; `hangar purge --list` lists them")


def _check(state: State, view: View, column: str, rev: str | None) -> None:
    """Raise an error if ``column`` does not exist; the error says so if it is a revision."""
    if column in view:
        return
    try:
        view[column]
    except ColumnNotFoundError as error:
        if rev is None:
            try:
                state.repository.rev_parse(column)
            except RevisionNotFoundError:
                raise error from None
            text = f"{error}; {column!r} is a revision: `hangar column list {column}` lists the columns there"
            raise ColumnNotFoundError(text) from None
        raise


def _list_changes(state: State, view: View, column: str | None, limit: int | None, as_json: bool) -> None:
    found = islice(changes_of(state, view, column), limit)
    if as_json:
        write_json(place_record(view) | {"changes": [_change_record(one) for one in found]})
        return
    echo_lines(_change_line(view, one) for one in found)


def _change_record(one: Change) -> dict[str, object]:
    return {**one.key._asdict(), "change": one.kind}


def _change_line(view: View, one: Change) -> str:
    """A line for a change: its mark, column and sample."""
    mark, colour = MARKS[one.kind]
    held = view.get(one.column, ())
    return style(f"{mark} {visible(one.column)}/{sample_text(address_of(one.key), held)}", colour)
