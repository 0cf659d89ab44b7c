"""``hangar log``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.decorate import Decoration, local_time
from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, echo_lines, json_option, style, visible, visible_lines, write_json
from hangar.cli.pager import paged
from hangar.cli.samples import Address, addresses, meanings, unambiguous
from hangar.cli.state import State, pass_state
from hangar.cli.views import open_commit
from hangar.errors import ColumnNotFoundError, SampleNotFoundError

if TYPE_CHECKING:
    from hangar.history import LogContents
    from hangar.objects.commit import ColumnEntry
    from hangar.stores import Stores

__all__ = ["command"]


@click.command("log", cls=Command)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@click.option("--oneline", is_flag=True, help="One line a commit.")
@click.option(
    "-n", "--max-count", "limit", type=click.IntRange(min=0), metavar="NUMBER", help="So many commits at most."
)
@click.option("--graph", is_flag=True, help="Draw how the commits hang together.")
@click.option(
    "--column", metavar="NAME", shell_complete=complete.columns, help="Only commits that changed this column."
)
@click.option("--sample", metavar="SAMPLE", help="Only commits that changed this sample of --column.")
@json_option
@pass_state
@paged
def command(
    state: State,
    rev: str | None,
    oneline: bool,
    limit: int | None,
    graph: bool,
    column: str | None,
    sample: str | None,
    as_json: bool,
) -> None:
    """Show the commits that led to REV, the newest first; by default those of the branch to write.

    For example:
      hangar log
      hangar log --oneline --graph -n 20
      hangar log --column labels --sample int:5

    JSON: head, commits (digest, parents, author, email, time, message, branches).
    """
    from hangar.history import GraphStyle, log, render_graph
    from hangar.revisions import resolve

    if sample is not None and column is None:
        raise click.UsageError("--sample needs --column")
    stores = state.stores
    start = resolve(stores.db, stores.refs, rev or f"heads/{stores.refs.head().write_branch}").digest
    contents = log(stores.db, stores.refs, start, limit=limit if column is None else None)
    if column is not None and start is None:
        raise ColumnNotFoundError(f"there is no column {column!r}: the branch has no commit yet")
    if column is not None:
        contents = _only(contents, _changed(state, contents, column, sample), limit)
    look = Decoration(stores.refs)
    if as_json:
        write_json({"head": contents["head"], "commits": list(_records(contents))})
    elif graph:
        drawn = GraphStyle(lambda digest: style(digest, "yellow"), look.standing, local_time)
        text = render_graph(contents, show_time=not oneline, show_user=not oneline, oneline=oneline, style=drawn)
        if text:
            echo(text.rstrip("\n"))
    else:
        echo_lines(line for record in _records(contents) for line in _lines(record, look, oneline))


def _records(contents: LogContents) -> Iterator[dict[str, Any]]:
    for commit in contents["order"]:
        spec = contents["specs"][commit]
        yield {
            "digest": commit,
            "parents": [parent for parent in contents["ancestors"][commit] if parent],
            "author": spec["commit_user"],
            "email": spec["commit_email"],
            "time": spec["commit_time"],
            "message": spec["commit_message"],
            "branches": contents["branch_heads"].get(commit, []),
        }


def _lines(record: dict[str, Any], look: Decoration, oneline: bool) -> list[str]:
    names = look.standing(record["branches"])
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
        "",
        *(f"    {line}".rstrip() for line in message),
        "",
    ]


def _changed(state: State, contents: LogContents, column: str, sample: str | None) -> Callable[[str, list[str]], bool]:
    """A function that says of a commit and its parents whether it changed the column, or the sample: differs from each of them.

    Raises
    ------
    ColumnNotFoundError, SampleNotFoundError
        No commit of the log has the column, or the sample.
    """
    stores = state.stores
    view = open_commit(state, contents["head"])
    # A column that was renamed since is found in older commits by its id.
    identity = view.entry(column).id if column in view else None
    entries = {commit: _entry(stores, commit, column, identity) for commit in contents["order"]}
    found = [entry for entry in entries.values() if entry is not None]
    if not found:
        raise ColumnNotFoundError(f"there is no column {column!r} in {view.label}, nor in a commit before it")
    key = None if sample is None else _sample(stores, found, sample, view.get(column, ()), column)
    known: dict[str, object] = {"": None}

    def content(commit: str) -> object:
        if commit not in known:
            entry = entries[commit] if commit in entries else _entry(stores, commit, column, identity)
            known[commit] = _content(stores, entry, key)
        return known[commit]

    return lambda commit, parents: all(content(commit) != content(parent) for parent in parents)


def _entry(stores: Stores, commit: str, column: str, identity: bytes | None) -> ColumnEntry | None:
    """The column as a commit lists it, None where it has none."""
    from hangar.digest import Digest
    from hangar.objects.records import load_commit

    entries = load_commit(stores.db, Digest(bytes.fromhex(commit))).columns
    found = [one for one in entries if one.id == identity] or [one for one in entries if one.name == column]
    return found[0] if found else None


def _sample(stores: Stores, entries: list[ColumnEntry], text: str, held: object, column: str) -> Address:
    """The sample that ``text`` stands for in the column as it is last or, where that has none such, in an older commit."""
    from hangar.objects.commit import NESTED

    found = meanings(text, held)
    if not found:
        possible = addresses(text, nested=entries[0].layout == NESTED)
        trees = {entry.root: entry for entry in entries if entry.root is not None}.values()
        found = [key for key in possible if any(_held(stores, entry, key) is not None for entry in trees)]
    if not found:
        raise SampleNotFoundError(f"no commit of this log has a sample {text!r} in column {column!r}")
    return unambiguous(text, found)


def _content(stores: Stores, entry: ColumnEntry | None, key: Address | None) -> object:
    """What a commit holds of a column, or of one sample, as something to compare."""
    if entry is None or key is None:
        return entry
    held = None if entry.root is None else _held(stores, entry, key)
    return None if held is None else (entry.schema, held)


def _held(stores: Stores, entry: ColumnEntry, key: Address) -> object:
    """What a tree holds of a sample, None where it has none; of a nested column all its subsamples, or the one that is meant."""
    from hangar.columns.keyspace import FLAT, PAIRS, lookup_prefix
    from hangar.objects.commit import NESTED
    from hangar.objects.read import entries_below, get

    assert entry.root is not None
    if entry.layout == NESTED and not isinstance(key, tuple):
        prefix = lookup_prefix(key)
        keys, cells = ([], []) if prefix is None else entries_below(stores.nodes, entry.root, prefix)
        return (keys, cells) if keys else None
    encoded = (PAIRS if isinstance(key, tuple) else FLAT).lookup(key)
    return None if encoded is None else get(stores.nodes, entry.root, encoded)


def _only(contents: LogContents, keep: Callable[[str, list[str]], bool], limit: int | None) -> LogContents:
    """The log of the commits that ``keep`` chooses, each with the nearest of them that led to it."""
    order = [commit for commit in contents["order"] if keep(commit, contents["ancestors"][commit])]
    kept = set(order)
    nearest: dict[str, list[str]] = {"": []}
    for commit in reversed(contents["order"]):
        found = [
            one for parent in contents["ancestors"][commit] for one in ([parent] if parent in kept else nearest[parent])
        ]
        nearest[commit] = list(dict.fromkeys(found))
    return {
        "head": contents["head"],
        "order": order[:limit],
        "ancestors": {commit: nearest[commit] or [""] for commit in order},
        "specs": contents["specs"],
        "branch_heads": contents["branch_heads"],
    }
