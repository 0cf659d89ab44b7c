"""``hangar log``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.decorate import Decoration, local_time
from hangar.cli.groups import Command
from hangar.cli.log_choice import between, changed, choose, span
from hangar.cli.output import (
    SHORT_DIGEST,
    echo,
    echo_lines,
    json_option,
    style,
    visible,
    visible_lines,
    visible_name,
    write_json,
)
from hangar.cli.pager import paged
from hangar.cli.patch import Patch, commit_patch
from hangar.cli.records import change_record
from hangar.cli.state import State, pass_state
from hangar.cli.when import date

if TYPE_CHECKING:
    from hangar.history import LogContents

__all__ = ["command"]


class LogCommand(Command):
    """Accepts ``-5`` for ``-n 5``, as git does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse."""
        valued = {name for one in self.params if isinstance(one, click.Option) and not one.is_flag for name in one.opts}
        return super().parse_args(
            ctx,
            [
                f"--max-count={word[1:]}" if re.fullmatch("-[0-9]+", word) and before not in valued else word
                for before, word in zip(["", *args], args, strict=False)
            ],
        )


@click.command("log", cls=LogCommand)
@click.argument("rev", required=False, metavar="[REV | REV..REV]", shell_complete=complete.revisions)
@click.option("--oneline", is_flag=True, help="Show each commit in one line.")
@click.option(
    "-n",
    "--max-count",
    "limit",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="Show at most NUMBER commits; -5 works too.",
)
@click.option("--graph", is_flag=True, help="Draw the commit graph.")
@click.option("--stat", is_flag=True, help="Show the number of changes of each commit, by column.")
@click.option("-p", "--patch", is_flag=True, help="List the samples that each commit changed, with small values.")
@click.option("--since", "--after", callback=date, metavar="DATE", help="Only commits at this time or later.")
@click.option("--until", "--before", callback=date, metavar="DATE", help="Only commits at this time or earlier.")
@click.option(
    "--column", metavar="NAME", shell_complete=complete.columns, help="Only commits that changed this column."
)
@click.option(
    "--sample",
    metavar="SAMPLE",
    shell_complete=complete.samples,
    help="Only commits that changed this sample of --column.",
)
@json_option
@pass_state
@paged
def command(
    state: State,
    rev: str | None,
    oneline: bool,
    limit: int | None,
    graph: bool,
    stat: bool,
    patch: bool,
    since: datetime | None,
    until: datetime | None,
    column: str | None,
    sample: str | None,
    as_json: bool,
) -> None:
    """Show the history of REV, by default the current branch, the newest commit first.

    A..B selects the commits that lead to B and not to A.
    A DATE is 2026-11-29, "2026-11-29 17:30", yesterday or "2 weeks ago".

    For example:
      hangar log
      hangar log --oneline --graph -20
      hangar log -p -1
      hangar log master..relabel --stat
      hangar log --since "2 weeks ago"
      hangar log --column labels --sample int:5

    JSON: head, commits (digest, parents, author, email, time, message, meta, branches, tags; with --stat changes, as in `status`;
    with -p samples: column, sample, in a nested column subsample, change).
    """
    from hangar.history import log

    if sample is not None and column is None:
        raise click.UsageError("--sample needs --column")
    stores = state.stores
    start, without = span(state, rev)
    chosen = not (column is None and since is None and until is None)
    contents = log(stores.db, stores.refs, start, limit=None if chosen else limit, without=without)
    if column is not None:
        contents = choose(contents, changed(state, contents, column, sample), None)
    if chosen:
        contents = choose(contents, between(contents, since, until), limit)
    details = _Details(state, stat=stat, patch=patch)
    look = Decoration(stores.refs)
    records = _records(contents, look, lambda digest: state.repository.commit_info(digest).meta)
    if as_json:
        write_json({"head": contents["head"], "commits": [one | details.record(one) for one in records]})
    elif graph:
        _draw(contents, look, {one["digest"]: one for one in records}, details, oneline)
    else:
        echo_lines(line for one in records for line in (*_lines(one, look, oneline), *details.lines(one)))


class _Details:
    """The changes of a commit, as --stat and -p show them."""

    def __init__(self, state: State, *, stat: bool, patch: bool) -> None:
        self._state = state
        self._stat = stat
        self._patch = patch

    def _of(self, record: dict[str, Any]) -> Patch:
        return commit_patch(self._state, record["digest"], record["parents"])

    def lines(self, record: dict[str, Any]) -> Iterator[str]:
        """Lines of text; if there are any, the last one is empty."""
        if not (self._stat or self._patch):
            return
        patch = self._of(record)
        if self._stat:
            yield from patch.stat()
        if self._patch:
            yield from patch.lines()
        yield ""

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """The same for JSON."""
        found: dict[str, Any] = {}
        if self._stat:
            found["changes"] = [change_record(one) for one in self._of(record).columns()]
        if self._patch:
            found["samples"] = [{**one.key._asdict(), "change": one.kind} for one in self._of(record).samples()]
        return found


def _draw(
    contents: LogContents, look: Decoration, records: dict[str, dict[str, Any]], details: _Details, oneline: bool
) -> None:
    from hangar.history import GraphStyle, render_graph

    def below(digest: str) -> Sequence[str]:
        meta = [] if oneline else [*_meta_lines(records[digest]), *[""] * bool(records[digest]["meta"])]
        return [*meta, *details.lines(records[digest])]

    drawn = GraphStyle(lambda digest: style(digest, "yellow"), look.standing, local_time, below)
    text = render_graph(contents, show_time=not oneline, show_user=not oneline, oneline=oneline, style=drawn)
    if text:
        echo(text.rstrip("\n"))


def _records(
    contents: LogContents, look: Decoration, load_meta: Callable[[str], Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    for commit in contents["order"]:
        spec = contents["specs"][commit]
        yield {
            "digest": commit,
            "parents": [parent for parent in contents["ancestors"][commit] if parent],
            "author": spec["commit_user"],
            "email": spec["commit_email"],
            "time": spec["commit_time"],
            "message": spec["commit_message"],
            "meta": dict(load_meta(commit)),
            "branches": contents["branch_heads"].get(commit, []),
            "tags": look.tags.get(commit, []),
        }


def _meta_lines(record: dict[str, Any]) -> list[str]:
    return [f"Meta:   {visible_name(str(key))}={visible_name(str(value))}" for key, value in record["meta"].items()]


def _lines(record: dict[str, Any], look: Decoration, oneline: bool) -> list[str]:
    names = look.standing(record["digest"], record["branches"])
    message = visible_lines(record["message"].strip("\n"))
    if oneline:
        return [f"{style(record['digest'][:SHORT_DIGEST], 'yellow')}{names} {message[0]}"]
    merged = (
        [f"Merge:  {' '.join(one[:SHORT_DIGEST] for one in record['parents'])}"] if len(record["parents"]) > 1 else []
    )
    return [
        style(f"commit {record['digest']}", "yellow") + names,
        *merged,
        f"Author: {visible(record['author'])} <{visible(record['email'])}>",
        f"Date:   {local_time(record['time'])}",
        *_meta_lines(record),
        "",
        *(f"    {line}".rstrip() for line in message),
        "",
    ]
