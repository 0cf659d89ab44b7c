"""``hangar restore``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import count, echo, json_option, write_json
from hangar.cli.samples import Address, address_of, parse_sample
from hangar.cli.state import State, pass_state
from hangar.cli.views import View, open_commit, open_view
from hangar.errors import ColumnNotFoundError, InvalidInputError, InvalidStateError, SampleNotFoundError

__all__ = ["command"]


@click.command("restore", cls=Command)
@click.argument("column", shell_complete=complete.columns)
@click.argument("samples", nargs=-1, metavar="[SAMPLE]...")
@click.option(
    "--from",
    "rev",
    metavar="REV",
    shell_complete=complete.revisions,
    help="The commit; default: the last of the branch.",
)
@json_option
@pass_state
def command(state: State, column: str, samples: tuple[str, ...], rev: str | None, as_json: bool) -> None:
    """Bring samples of COLUMN, or all of it, back as the commit REV has them.

    They are staged, as any change is. A named sample that REV does not have is removed; so are, without names, all samples that it does not
    have. Without --from this drops what is staged in COLUMN.

    For example:
      hangar restore images
      hangar restore images cat_17 --from master~2

    JSON: column, commit, restored, removed (samples; a subsample is a list of two keys).
    """
    here = open_view(state, None)
    if rev is None and not here.commit:
        raise InvalidStateError(f"branch {here.branch!r} has no commit yet that could be restored from")
    source = open_commit(state, rev or here.commit)
    if column not in source:
        hint = _hint(source, here, column) if column in here else ""
        raise ColumnNotFoundError(f"there is no column {column!r} in {source.label}{hint}")
    wanted, gone = _plan(source, here, column, samples)
    with state.writer() as checkout:
        checkout.restore(column, [*wanted, *gone] if samples else None, commit=source.commit)
    if as_json:
        write_json({"column": column, "commit": source.commit, "restored": wanted, "removed": gone})
        return
    text = f"Restored {count(len(wanted), 'sample')} of {column} from {source.label}"
    echo(f"{text}, removed {count(len(gone), 'sample')}" if gone else text)


def _hint(source: View, here: View, name: str) -> str:
    """What to type instead for a column that the commit does not have, or has under another name."""
    for entry in source.entries:
        if entry.id == here.entry(name).id:
            return f", where it is called {entry.name!r}: `hangar restore {entry.name}` brings that back"
    return f"; `hangar column remove {name}` removes it"


def _same_column(source: View, here: View, name: str) -> bool:
    """Whether both have the column, as one and the same."""
    return name in here and (source.entry(name).id, source.entry(name).schema) == (
        here.entry(name).id,
        here.entry(name).schema,
    )


def _plan(source: View, here: View, name: str, texts: Sequence[str]) -> tuple[list[Address], list[Address]]:
    """The samples to bring back, and those to remove."""
    there = source[name]
    if not texts:
        if not _same_column(source, here, name):
            return list(there), []
        return _differences(source, here, name)
    if name in here and not _same_column(source, here, name):
        raise InvalidInputError(
            f"column {name!r} is another one in {source.label}: restore all of it, or remove it first"
        )
    held: Any = here.get(name, ())
    wanted: dict[Address, bool] = {}
    for text in texts:
        key = parse_sample(text, there)
        if key not in there and key not in held:
            key = parse_sample(text, held)
        if key not in there and key not in held:
            raise SampleNotFoundError(f"column {name!r} has no sample {text!r}, neither in {source.label} nor here")
        wanted[key] = key in there
    return [key for key, found in wanted.items() if found], [key for key, found in wanted.items() if not found]


def _differences(source: View, here: View, name: str) -> tuple[list[Address], list[Address]]:
    from hangar.diff import changes

    wanted: list[Address] = []
    gone: list[Address] = []
    for change in changes(here.nodes, [here.entry(name)], [source.entry(name)]):
        (gone if change.kind == "deleted" else wanted).append(address_of(change.key))
    return wanted, gone
