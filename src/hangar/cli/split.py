"""``hangar split create``, ``list``, ``check`` and ``delete``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.groups import SuggestingGroup
from hangar.cli.output import echo, echo_lines, json_option, style, table, visible, visible_name, write_json
from hangar.cli.pager import paged
from hangar.cli.state import State, pass_state
from hangar.cli.views import open_view
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.dataset import Leak, LeakReport, Split

__all__ = ["command"]

_SHOWN = 10
_LEAKS = 1
"""Exit code of ``split check`` if there is a leak."""


@click.group(
    "split",
    cls=SuggestingGroup,
    invoke_without_command=True,
    hints={"add": "Did you mean create?", "rm": "Did you mean delete?"},
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Split samples into parts, such as train, val and test, by a salted hash of their keys. Without a command it lists.

    A split is a recipe that is stored with the commit, as the attribute split.NAME. A sample stays in its part when
    data grows and when branches merge. Training code reads it with `hangar.dataset.load_split`.

    For example:
      hangar split create default train=0.8 val=0.1 test=0.1
      hangar split check default
      hangar commit -m "A split"
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, rev=None, as_json=as_json)


def _part(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise click.UsageError(f"{text!r} is not a part of a split: write NAME=FRACTION, such as train=0.8") from None


@command.command("create")
@click.argument("name")
@click.argument("parts", nargs=-1, metavar="[PART=FRACTION]...")
@click.option("--salt", default="", metavar="TEXT", help="Another salt gives another split. Default: none.")
@click.option("--group-column", default="", metavar="COLUMN", help="Keep samples with an equal label there together.")
@click.option("--group-prefix", default="", metavar="TEXT", help="Keep keys with the same text before TEXT together.")
@click.option("--replace", is_flag=True, help="Replace another split of this name. Samples change their parts.")
@json_option
@pass_state
def create(
    state: State,
    name: str,
    parts: tuple[str, ...],
    salt: str,
    group_column: str,
    group_prefix: str,
    replace: bool,
    as_json: bool,
) -> None:
    """Stage the split NAME. Its parts are by default train=0.8 val=0.1 test=0.1.

    For example:
      hangar split create default
      hangar split create by-patient train=0.9 test=0.1 --group-column patient
      hangar split create by-scene train=0.9 test=0.1 --group-prefix /

    JSON: name, parts (pairs of name and fraction), salt, group_column, group_prefix.
    """
    from hangar.dataset import hash_split

    options: dict[str, Any] = {"salt": salt, "group_column": group_column, "group_prefix": group_prefix}
    given = list(map(_part, parts))
    if len(dict(given)) < len(given):
        raise click.UsageError("the parts of a split have different names")
    split = hash_split(dict(given), **options) if given else hash_split(**options)
    with state.writer() as checkout, checkout:
        split.save(checkout, name, replace=replace)
    if as_json:
        write_json(_document(name, split))
    else:
        echo(f"Staged split {name}: {_recipe(split)}")


def _document(name: str, split: Split) -> dict[str, Any]:
    return {
        "name": name,
        "parts": [list(part) for part in split.parts],
        "salt": split.salt,
        "group_column": split.group_column,
        "group_prefix": split.group_prefix,
    }


def _recipe(split: Split) -> str:
    text = " ".join(f"{name}={fraction:g}" for name, fraction in split.parts)
    if split.salt:
        text += f", salt {visible_name(split.salt)!r}"
    if split.group_column:
        text += f", grouped by column {split.group_column}"
    return f"{text}, grouped by what comes before {split.group_prefix!r}" if split.group_prefix else text


@command.command("list")
@click.argument("rev", required=False, shell_complete=complete.revisions)
@json_option
@pass_state
@paged
def list_(state: State, rev: str | None, as_json: bool) -> None:
    """List the splits of the commit REV, by default of the staging area.

    JSON: splits (each name, parts, salt, group_column, group_prefix).
    """
    from hangar.dataset import list_splits

    found = list_splits(open_view(state, rev))
    if as_json:
        write_json({"splits": [_document(name, split) for name, split in found.items()]})
        return
    echo_lines(table([(visible_name(name), _recipe(split)) for name, split in found.items()]))


@command.command("check")
@click.argument("name")
@click.argument("rev", required=False, shell_complete=complete.revisions)
@click.option("-d", "--column", "columns", multiple=True, metavar="COLUMN", help="Check this column only.")
@click.option("--group-column", default="", metavar="COLUMN", help="Check that no label there is in two parts.")
@click.option("--small", is_flag=True, help="Compare small values too, such as labels and short texts.")
@json_option
@pass_state
@click.pass_context
def check(
    ctx: click.Context,
    state: State,
    name: str,
    rev: str | None,
    columns: tuple[str, ...],
    group_column: str,
    small: bool,
    as_json: bool,
) -> None:
    """Check the split NAME for leaks: equal content, or samples of one group, in two parts.

    Content is compared by digest, so no sample is read. The exit code is 1 if there is a leak.

    JSON: name, total (leaks), leaks (kind, column, count, samples as pairs of part and key; the first of each column),
    counts (samples of each part, by column), skipped (columns that were not checked, and why).
    """
    from hangar.dataset import check_split, load_split

    view = open_view(state, rev)
    split = load_split(view, name)
    report = check_split(split, view, list(columns) or None, group_column=group_column, small=small)
    if as_json:
        leaks = [
            {"kind": one.kind, "column": one.column, "count": one.count, "samples": [list(of) for of in one.samples]}
            for one in report.leaks
        ]
        write_json(
            {"name": name, "total": report.total, "leaks": leaks, "counts": report.counts, "skipped": report.skipped}
        )
    else:
        echo_lines(_lines(report))
    if not report.clean:
        ctx.exit(_LEAKS)


def _lines(report: LeakReport) -> Iterator[str]:
    rows = [(name, *(f"{part} {count:,}" for part, count in counts.items())) for name, counts in report.counts.items()]
    yield from table(rows)
    for name, reason in report.skipped.items():
        yield f"{style('not checked', 'yellow')}: column {name}: {visible(reason)}"
    yield from map(_leak_line, report.leaks[:_SHOWN])
    if report.clean:
        yield f"{style('No leak', 'green')}: checked {plural(len(report.counts), 'column')}"
        return
    more = report.total - min(len(report.leaks), _SHOWN)
    yield style(plural(report.total, "leak"), "red") + (f" ({more:,} not shown; --json lists more)" if more else "")


def _leak_line(leak: Leak) -> str:
    what = "samples of one group" if leak.kind == "group" else "equal values"
    some = ", ".join(f"{_key(key)} in {part}" for part, key in leak.samples[:4])
    return f"{style('leak', 'red')}: column {leak.column}: {leak.count:,} {what}: {some}{', ...' * (leak.count > 4)}"


def _key(key: Any) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)


@command.command("delete")
@click.argument("name")
@json_option
@pass_state
def delete(state: State, name: str, as_json: bool) -> None:
    """Remove the split NAME from the staging area. Earlier commits keep it.

    JSON: name.
    """
    from hangar.dataset import delete_split

    with state.writer() as checkout, checkout:
        delete_split(checkout, name)
    if as_json:
        write_json({"name": name})
    else:
        echo(f"Removed split {name}")
