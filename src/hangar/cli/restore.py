"""``hangar restore``: restore samples, columns, or everything from a commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, write_json
from hangar.cli.records import change_record
from hangar.cli.samples import Address, address_of, is_pattern, matcher, matching, meanings, unambiguous
from hangar.cli.state import State, pass_state
from hangar.cli.views import View, open_commit, open_view
from hangar.errors import ColumnNotFoundError, InvalidInputError, InvalidStateError, SampleNotFoundError
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout

__all__ = ["command"]

EVERYTHING = "."


@click.command("restore", cls=Command)
@click.argument("column", shell_complete=complete.columns)
@click.argument("samples", nargs=-1, metavar="[SAMPLE]...", shell_complete=complete.samples)
@click.option(
    "--from",
    "rev",
    metavar="REV",
    shell_complete=complete.revisions,
    help="The commit to restore from. Default: the last commit of the branch.",
)
@json_option
@pass_state
def command(state: State, column: str, samples: tuple[str, ...], rev: str | None, as_json: bool) -> None:
    """Restore samples of COLUMN, or the whole column, to their state in a commit.

    The result is staged like any change. A named sample that the commit does not have is removed; without names, all
    such samples are removed. Without --from this drops the staged changes of COLUMN. COLUMN and SAMPLE may be patterns
    with * and ?, in quotes.

    "hangar restore ." drops all staged changes, of new columns and attributes too. With --from it restores all columns
    from REV and removes all others. Dropped changes that were never committed cannot be recovered.

    For example:
      hangar restore images
      hangar restore images cat_17 --from master~2
      hangar restore images 'cat_*'
      hangar restore .

    JSON: column, commit, restored, removed (samples; a subsample is a list of two keys); for a pattern or for "." with
    --from: commit, columns (column, restored, removed), removed_columns; for ".": branch, commit, changes (dropped
    changes, as in `status`).
    """
    if column == EVERYTHING and samples:
        raise click.UsageError('"." means everything and takes no SAMPLE')
    if column == EVERYTHING and rev is None:
        _drop_all(state, as_json)
        return
    here = open_view(state, None)
    if rev is None and not here.commit:
        raise InvalidStateError(_nothing_to_restore(here, column))
    source = open_commit(state, rev or here.commit)
    if column != EVERYTHING and not is_pattern(column):
        _check_column(source, here, column)
        _restore_one(state, source, here, column, samples, as_json)
        return
    names = [name for name in source if column == EVERYTHING or matcher(column)(name)]
    if not names and column != EVERYTHING:
        raise ColumnNotFoundError(f"no column of {source.label} matches {column!r}")
    _restore_many(state, source, here, names, samples, others=column == EVERYTHING, as_json=as_json)


# ---------------------------------------------------------------------- everything that is staged


def _drop_all(state: State, as_json: bool) -> None:
    report = state.repository.status()
    changed = [one for one in report.columns if one.state != "unchanged"]
    if not report.clean:
        with state.writer() as checkout:
            checkout.reset_staging_area(force=True)
    if as_json:
        changes = [change_record(one) for one in changed]
        write_json({"branch": report.branch, "commit": report.head, "changes": changes})
    elif report.clean:
        echo("Nothing is staged")
    else:
        echo(f"Dropped all staged changes of branch {report.branch}: {plural(len(changed), 'column')} changed")


# ---------------------------------------------------------------------- columns


def _nothing_to_restore(here: View, name: str) -> str:
    text = f"branch {here.branch!r} has no commit to restore from"
    if name in here:
        text += f": `hangar column remove {name}` removes the column"
    return f"{text}; `hangar restore .` drops all staged changes" if len(here) else text


def _check_column(source: View, here: View, name: str) -> None:
    if name not in source:
        hint = _hint(source, here, name) if name in here else ""
        raise ColumnNotFoundError(f"there is no column {name!r} in {source.label}{hint}")


def _hint(source: View, here: View, name: str) -> str:
    """Advice for a column that the commit does not have, or has under another name."""
    for entry in source.entries:
        if entry.id == here.entry(name).id:
            return f", where it is called {entry.name!r}: `hangar restore {entry.name}` restores it"
    return f"; `hangar column remove {name}` removes it"


def _restore_one(state: State, source: View, here: View, name: str, samples: Sequence[str], as_json: bool) -> None:
    wanted, gone = _plan(source, here, name, samples)
    with state.writer() as checkout:
        _apply(checkout, source, name, [*wanted, *gone] if samples else None)
    if as_json:
        write_json({"column": name, "commit": source.commit, "restored": wanted, "removed": gone})
    else:
        echo(_told(source, name, wanted, gone))


def _apply(checkout: WriterCheckout, source: View, name: str, keys: Sequence[Address] | None) -> None:
    checkout.restore(name, keys, commit=source.commit)


def _told(source: View, name: str, wanted: Sequence[Address], gone: Sequence[Address]) -> str:
    text = f"Restored {plural(len(wanted), 'sample')} of {name} from {source.label}"
    return f"{text}, removed {plural(len(gone), 'sample')}" if gone else text


def _restore_many(
    state: State,
    source: View,
    here: View,
    names: Sequence[str],
    samples: Sequence[str],
    *,
    others: bool,
    as_json: bool,
) -> None:
    """Restore several columns; with ``others``, also remove columns that the commit does not have."""
    plans = {name: _plan(source, here, name, samples) for name in names}
    ids = {entry.id for entry in source.entries}
    removed = (
        [entry.name for entry in here.entries if entry.id not in ids and entry.name not in plans] if others else []
    )
    with state.writer() as checkout:
        for name, (wanted, gone) in plans.items():
            _apply(checkout, source, name, [*wanted, *gone] if samples else None)
        for name in removed:
            checkout.columns.delete(name)
    if as_json:
        columns = [{"column": name, "restored": plan[0], "removed": plan[1]} for name, plan in plans.items()]
        write_json({"commit": source.commit, "columns": columns, "removed_columns": removed})
        return
    for name, (wanted, gone) in plans.items():
        echo(_told(source, name, wanted, gone))
    for name in removed:
        echo(f"Removed column {name}")


# ---------------------------------------------------------------------- samples


def _same_column(source: View, here: View, name: str) -> bool:
    """Whether both have the column, with the same id and schema."""
    return name in here and (source.entry(name).id, source.entry(name).schema) == (
        here.entry(name).id,
        here.entry(name).schema,
    )


def _plan(source: View, here: View, name: str, texts: Sequence[str]) -> tuple[list[Address], list[Address]]:
    """The samples to restore, and those to remove."""
    there = source[name]
    if not texts:
        if not _same_column(source, here, name):
            return list(there), []
        return _differences(source, here, name)
    if name in here and not _same_column(source, here, name):
        raise InvalidInputError(
            f"column {name!r} in {source.label} is a different column: restore all of it, or remove yours first"
        )
    keys = [key for text in texts for key in _meant(text, there, here.get(name, ()), name, source.label)]
    wanted = {key: key in there for key in keys}
    return [key for key, found in wanted.items() if found], [key for key, found in wanted.items() if not found]


def _meant(text: str, there: Any, held: Any, name: str, label: str) -> list[Address]:
    """The samples that ``text`` names in the commit or, if it has none, in the staging area."""
    if is_pattern(text):
        keys = list(dict.fromkeys([*matching(text, there), *matching(text, held)]))
        if not keys:
            raise SampleNotFoundError(f"no sample of column {name!r} matches {text!r}, neither in {label} nor here")
        return keys
    for column in (there, held):
        found = meanings(text, column)
        if found:
            return [unambiguous(text, found)]
    raise SampleNotFoundError(f"column {name!r} has no sample {text!r}, neither in {label} nor here")


def _differences(source: View, here: View, name: str) -> tuple[list[Address], list[Address]]:
    from hangar.diff import changes

    wanted: list[Address] = []
    gone: list[Address] = []
    for change in changes(here.nodes, [here.entry(name)], [source.entry(name)]):
        (gone if change.kind == "deleted" else wanted).append(address_of(change.key))
    return wanted, gone
