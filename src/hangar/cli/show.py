"""``hangar show``: a commit, a column, or a sample."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from hangar.cli import complete
from hangar.cli.attributes import attribute_lines
from hangar.cli.column import schema_text
from hangar.cli.decorate import Decoration, local_time
from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, json_option, style, table, visible, visible_lines, write_json
from hangar.cli.pager import paged
from hangar.cli.patch import commit_patch
from hangar.cli.records import change_record, column_record, commit_record, place_record
from hangar.cli.samples import Address, one_sample, sample_text, sample_texts
from hangar.cli.show_value import shown_value
from hangar.cli.state import State, pass_state
from hangar.cli.status import staged_lines
from hangar.cli.views import View, open_commit, open_view
from hangar.errors import PurgedError, RevisionNotFoundError
from hangar.history import branch_refs
from hangar.names import SampleKey
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.describe import ColumnStatus, CommitInfo

__all__ = ["command"]

FIRST_SAMPLES: Final = 10


@click.command("show", cls=Command)
@click.argument("thing", required=False, metavar="[REV[:COLUMN[/SAMPLE]]]", shell_complete=complete.things)
@json_option
@pass_state
@paged
def command(state: State, thing: str | None, as_json: bool) -> None:
    """Show a commit, one of its columns, or one of its samples.

    In a nested column SAMPLE is a sample, whose subsamples are listed, or SAMPLE/SUBSAMPLE. Without REV before the
    colon, the column or sample of the staging area is shown. Without an argument the last commit is shown. Texts, and
    arrays of up to 1,000 elements, are shown whole.

    For example:
      hangar show
      hangar show master~1
      hangar show master:images
      hangar show master:images/cat_17
      hangar show :labels/int:5
      hangar show :boxes/cat_17/left

    JSON of
      a commit: digest, tree, parents, author, email, time, message, meta, attributes, columns, changes
      a column: as in `column create`, and branch, commit
      a sample: branch, commit, column, sample, type, digest, nbytes, and
                dtype, shape, min, max, mean, values (null if too many)
                or, if it is chunked, dtype, shape, chunks, fill_value, chunks_stored, chunks_total, chunks_read, and
                min, max, mean of the chunks read
                or, if it is sparse, dtype, shape, stored (elements that are not zero), min, max, mean of these
                or text, or hex
      a subsample: as a sample, and subsample
      a sample of a nested column: branch, commit, column, sample, subsamples
    """
    rev, colon, path = (thing or "").partition(":")
    if not colon:
        _show_commit(state, rev or f"heads/{state.repository.head().write_branch}", as_json)
        return
    view = open_commit(state, rev) if rev else open_view(state, None)
    name, slash, sample = path.partition("/")
    if slash:
        _show_sample(state, view, name, sample, as_json)
    else:
        _show_column(view, name, as_json)


# ---------------------------------------------------------------------- commit


def _show_commit(state: State, rev: str, as_json: bool) -> None:
    try:
        view = open_commit(state, rev)
    except RevisionNotFoundError as error:
        if rev.partition("/")[0] in open_view(state, None):
            raise RevisionNotFoundError(f"{error}; to show the staged column, run `hangar show :{rev}`") from None
        raise
    info = state.repository.commit_info(view.commit) if view.commit else _nothing()
    changes = commit_patch(state, view.commit, info.parents).columns()
    if as_json:
        write_json(commit_record(info, view) | {"changes": [change_record(one) for one in changes]})
    elif not view.commit:
        echo(f"Branch {state.repository.head().write_branch} has no commit yet")
    else:
        for line in _commit_lines(state, info, changes):
            echo(line)


def _nothing() -> CommitInfo:
    from hangar.describe import CommitInfo

    return CommitInfo()


def _commit_lines(state: State, info: CommitInfo, changes: list[ColumnStatus]) -> list[str]:
    refs = state.stores.refs
    stands = {name for name, digest in refs.items("") if digest is not None and digest.hex() == info.digest}
    heads = [branch for branch, ref in branch_refs(refs).items() if ref in stands]
    look = Decoration(refs)
    lines = [
        *(line for name in look.tags.get(info.digest, ()) for line in _tag_lines(state, name)),
        style(f"commit {info.digest}", "yellow") + look.standing(info.digest, heads),
        f"Tree:    {info.tree}",
        *(f"Parent:  {parent}" for parent in info.parents),
        f"Author:  {visible(info.author)} <{visible(info.email)}>",
        f"Date:    {local_time(info.time)}",
        *(f"Meta:    {visible(str(key))}={visible(str(value))}" for key, value in info.meta.items()),
        *(f"About:   {line}" for line in attribute_lines(info.attributes)),
        "",
        *(f"    {line}".rstrip() for line in visible_lines(info.message.strip("\n"))),
        "",
    ]
    return [*lines, *staged_lines(changes)]


def _tag_lines(state: State, name: str) -> list[str]:
    """What an annotated tag says; nothing for a light one."""
    tag = state.repository.tag_info(name)
    if tag.message is None:
        return []
    who = f"Tag:     {visible(name)} by {visible(tag.author)} <{visible(tag.email)}>, {local_time(tag.time)}"
    return [who, *(f"         {line}".rstrip() for line in visible_lines(tag.message.strip("\n"))), ""]


# ---------------------------------------------------------------------- column


def _show_column(view: View, name: str, as_json: bool) -> None:
    from hangar.columns import NestedSampleReader

    column = view[name]
    if as_json:
        write_json(place_record(view) | column_record(name, column))
        return
    first = list(sample_texts(list(islice(iter(column), FIRST_SAMPLES)), column))
    more = ", ..." if len(column) > len(first) else ""
    rows = [
        ("Column:", f"{style(visible(name), 'blue', bold=True)} of {view.label}"),
        ("Holds:", schema_text(column)),
        ("Samples:", f"{len(column):,}"),
        *([("Subsamples:", f"{column.num_subsamples:,}")] if isinstance(column, NestedSampleReader) else []),
        ("Backend:", column.backend),
        ("Keys:", ", ".join(first) + more or "none"),
        *(("About:", line) for line in attribute_lines(column.attributes)),
    ]
    for line in table(rows):
        echo(line)


# ---------------------------------------------------------------------- sample


def _show_sample(state: State, view: View, name: str, text: str, as_json: bool) -> None:
    column: Any = view[name]
    key = one_sample(text, column, name)
    if column.contains_subsamples and not isinstance(key, tuple):
        _show_subsamples(view, name, key, as_json)
        return
    label = name if view.branch else f"{name} {view.commit[:SHORT_DIGEST]}".strip()
    try:
        shown = shown_value(column, key, f"hangar export {visible(label)} -s {sample_text(key, column)}")
    except PurgedError:
        if not _show_purged(state, view, name, key, as_json):
            raise
        return
    if as_json:
        named = {"sample": key[0], "subsample": key[1]} if isinstance(key, tuple) else {"sample": key}
        write_json(place_record(view) | {"column": name} | named | shown.record)
        return
    rows = [("Sample:", f"{style(f'{visible(name)}/{sample_text(key, column)}', 'blue', bold=True)} of {view.label}")]
    rows += [*shown.rows, ("Size:", plural(shown.record["nbytes"], "byte")), ("Digest:", shown.record["digest"])]
    for line in [*table(rows), "", *shown.lines]:
        echo(line)


def _show_purged(state: State, view: View, name: str, key: Address, as_json: bool) -> bool:
    """Show who erased a sample, when and why; return whether its tombstone was found."""
    from hangar.purge.lookup import purged_samples

    pair = key if isinstance(key, tuple) else (key,)
    tombstone = purged_samples(state.stores, view.nodes, view.entry(name)).get(pair)
    if tombstone is None:
        return False
    if as_json:
        named = dict(zip(("sample", "subsample"), pair, strict=False))
        write_json(place_record(view) | {"column": name} | named | {"purged": str(tombstone)})
        return True
    rows = [("Sample:", f"{visible(name)}/{sample_text(key, view[name])} of {view.label}")]
    for line in table([*rows, ("Data:", style(visible(str(tombstone)), "red"))]):
        echo(line)
    return True


def _show_subsamples(view: View, name: str, sample: SampleKey, as_json: bool) -> None:
    """Show the subsamples of a sample of a nested column."""
    column: Any = view[name]
    keys = list(column[sample])
    if as_json:
        write_json(place_record(view) | {"column": name, "sample": sample, "subsamples": keys})
        return
    rows = [
        ("Sample:", f"{visible(name)}/{sample_text(sample, column)} of {view.label}"),
        ("Subsamples:", f"{len(keys):,}"),
    ]
    for line in [*table(rows), "", *(f"    {text}" for text in sample_texts(keys, column[sample]))]:
        echo(line)
