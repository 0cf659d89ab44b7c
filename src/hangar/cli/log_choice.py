"""Selects the commits of ``hangar log``: a range, a period of time, or the changes of a column or sample."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import click

from hangar.cli.samples import Address, addresses, meanings, unambiguous
from hangar.cli.views import open_commit
from hangar.errors import ColumnNotFoundError, SampleNotFoundError

if TYPE_CHECKING:
    from hangar.cli.state import State
    from hangar.digest import Digest
    from hangar.history import LogContents
    from hangar.objects.commit import ColumnEntry
    from hangar.stores import Stores

__all__ = ["Keep", "between", "changed", "choose", "span"]

Keep = Callable[[str, "list[str]"], bool]
"""Whether a commit, given with its parents, is shown."""


def span(state: State, text: str | None) -> tuple[Digest | None, Digest | None]:
    """The first commit of a log, and the commit whose history is excluded: of ``A..B``, B and A.

    Raises
    ------
    RevisionNotFoundError
        There is no such commit.
    click.UsageError
        ``A...B``, which is something else in git.
    """
    from hangar.revisions import resolve

    stores = state.stores
    here = f"heads/{stores.refs.head().write_branch}"

    def commit(name: str) -> Digest | None:
        return resolve(stores.db, stores.refs, name or here).digest

    if text is None or ".." not in text:
        return commit(text or here), None
    if "..." in text:
        raise click.UsageError(
            f"{text!r}: A...B is not supported; A..B selects the commits that lead to B and not to A"
        )
    old, _, new = text.partition("..")
    return commit(new), commit(old)


def choose(contents: LogContents, keep: Keep, limit: int | None) -> LogContents:
    """The log of the commits that ``keep`` selects; their parents are the nearest selected ancestors."""
    order = [commit for commit in contents["order"] if keep(commit, contents["ancestors"][commit])]
    kept = set(order)
    nearest: dict[str, list[str]] = {"": []}
    for commit in reversed(contents["order"]):
        found = [
            one
            for parent in contents["ancestors"][commit]
            for one in ([parent] if parent in kept else nearest.get(parent, []))
        ]
        nearest[commit] = list(dict.fromkeys(found))
    return {
        "head": contents["head"],
        "order": order[:limit],
        "ancestors": {commit: nearest[commit] or [""] for commit in order},
        "specs": contents["specs"],
        "branch_heads": contents["branch_heads"],
    }


def between(contents: LogContents, since: datetime | None, until: datetime | None) -> Keep:
    """Keep commits from ``since`` to ``until``, by their recorded time."""

    def keep(commit: str, parents: list[str]) -> bool:
        try:
            time = datetime.fromisoformat(contents["specs"][commit]["commit_time"])
        except ValueError:  # outside the range of datetime: matches no period
            return False
        return (since is None or time >= since) and (until is None or time <= until)

    return keep


def changed(state: State, contents: LogContents, column: str, sample: str | None) -> Keep:
    """Keep commits that changed the column, or the sample: that differ from each of their parents.

    Raises
    ------
    ColumnNotFoundError, SampleNotFoundError
        No commit of the log has the column, or the sample.
    """
    stores = state.stores
    if not contents["head"]:
        raise ColumnNotFoundError(f"there is no column {column!r}: the branch has no commit yet")
    view = open_commit(state, contents["head"])
    # A renamed column is found in older commits by its id.
    identity = view.entry(column).id if column in view else None
    commits = dict.fromkeys(
        one for commit in contents["order"] for one in (commit, *contents["ancestors"][commit]) if one
    )
    entries = {commit: _entry(stores, commit, column, identity) for commit in commits}
    found = [entry for entry in entries.values() if entry is not None]
    if not found and column not in view:
        raise ColumnNotFoundError(f"there is no column {column!r} in {view.label}, nor in a commit before it")
    key = None if sample is None else _sample(stores, found, sample, view.get(column, ()), column)
    known: dict[str, object] = {"": None}

    def content(commit: str) -> object:
        if commit not in known:
            known[commit] = _content(stores, entries[commit], key)
        return known[commit]

    return lambda commit, parents: all(content(commit) != content(parent) for parent in parents)


def _entry(stores: Stores, commit: str, column: str, identity: bytes | None) -> ColumnEntry | None:
    """The column in a commit, or None if the commit does not have it."""
    from hangar.digest import Digest
    from hangar.objects.records import load_commit

    entries = load_commit(stores.db, Digest(bytes.fromhex(commit))).columns
    found = [one for one in entries if one.id == identity] or [one for one in entries if one.name == column]
    return found[0] if found else None


def _sample(stores: Stores, entries: list[ColumnEntry], text: str, held: object, column: str) -> Address:
    """The sample that ``text`` names in the newest state of the column or, if it has none, in an older commit."""
    from hangar.history.blame import sample_cells
    from hangar.objects.commit import NESTED

    found = meanings(text, held)
    if not found:
        nested = any(entry.layout == NESTED for entry in entries)
        trees = {entry.root: entry for entry in entries if entry.root is not None}.values()
        found = [
            key
            for key in addresses(text, nested=nested)
            if any(sample_cells(stores.nodes, entry, key) is not None for entry in trees)
        ]
    if not found:
        raise SampleNotFoundError(f"no commit of this log has a sample {text!r} in column {column!r}")
    return unambiguous(text, found)


def _content(stores: Stores, entry: ColumnEntry | None, key: Address | None) -> object:
    """The content of a column, or of one sample, in a commit, as a value to compare."""
    from hangar.history.blame import sample_cells

    if entry is None or key is None:
        return entry
    held = sample_cells(stores.nodes, entry, key)
    return None if held is None else (entry.schema, held)
