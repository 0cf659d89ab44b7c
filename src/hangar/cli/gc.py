"""``hangar gc``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, json_option, style, visible, visible_name, write_json
from hangar.cli.state import State, pass_state
from hangar.progress import format_bytes
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.gc import GcReport, Why

__all__ = ["command"]

_KINDS = {"commits": "commit", "nodes": "node", "schemas": "schema", "attributes": "attribute record", "blobs": "blob"}
_MOST_SHOWN = 10


@click.command("gc", cls=Command)
@click.option("-n", "--dry-run", is_flag=True, help="Change nothing, and show what would be removed.")
@click.option("--why", metavar="DIGEST", help="Show why a record, blob or commit is kept.")
@click.option(
    "--expire-reflog", metavar="BRANCH|all|AGE", help="Forget reflog entries first: of a branch, all, or old ones."
)
@json_option
@pass_state
def command(state: State, dry_run: bool, why: str | None, expire_reflog: str | None, as_json: bool) -> None:
    """Free disk space: remove what no branch, tag, reflog entry or staged change names.

    Deleted branches stay in the reflog with their data, so that they can be restored. --expire-reflog forgets
    entries: of one branch or tag (also a deleted one), "all", or those older than an age such as "30 days". After
    "--expire-reflog all" only what exists now is kept, and deleted branches are gone for good.

    Readers can go on. A writer must be closed first.

    For example:
      hangar gc --dry-run
      hangar gc --expire-reflog "30 days"
      hangar gc --why master~3

    JSON: dry_run, commits, nodes, schemas, attributes, blobs (of each: kept, removed, removed_nbytes), reflog_entries,
    files, files_nbytes, rewritten, rewritten_nbytes, other_files, compacted, size_before, size_after, kept (reason by
    name), damaged (reason by digest). With --why: digest, kind, kept, refs, reflog, staged, commits, uses (commit, column,
    sample, subsample).
    """
    if why is not None:
        if dry_run or expire_reflog is not None:
            raise click.UsageError("--why changes nothing, and takes no other options")
        _show_why(state.repository.why_kept(why), as_json)
        return
    report = state.repository.gc(dry_run=dry_run, expire_reflog=expire_reflog)
    if as_json:
        write_json(asdict(report))
    else:
        for line in _lines(report):
            echo(line)


def _lines(report: GcReport) -> Iterator[str]:
    verb = "would be removed" if report.dry_run else "removed"
    if report.reflog_entries:
        expired = "would expire" if report.dry_run else "expired"
        yield f"{plural(report.reflog_entries, 'reflog entry')} {expired}"
    for name, noun in _KINDS.items():
        amount = getattr(report, name)
        if amount.removed:
            yield f"{plural(amount.removed, noun)} {verb} ({format_bytes(amount.removed_nbytes)}), {amount.kept:,} kept"
    if report.files:
        again = f"; {plural(report.rewritten, 'blob')} of them stored again" if report.rewritten else ""
        yield f"{plural(report.files, 'blob file')} {verb} ({format_bytes(report.files_nbytes)}){again}"
    for name, reason in list(report.kept.items())[:_MOST_SHOWN]:
        yield f"{style('kept', 'yellow')} {visible(name)}: {visible(reason)}"
    if len(report.kept) > _MOST_SHOWN:
        yield f"{style('kept', 'yellow')}: and {len(report.kept) - _MOST_SHOWN:,} more; --json lists all"
    for digest, reason in list(report.damaged.items())[:_MOST_SHOWN]:
        yield f"{style('damaged', 'red')} blob {digest[:SHORT_DIGEST]}: {visible(reason)}"
    if report.damaged:
        yield "Run fsck with --data to see which samples are affected"
    sizes = f"{format_bytes(report.size_before)} before, {format_bytes(report.size_after)} after"
    yield f"{style('Nothing was changed' if report.dry_run else 'Done', 'green')}: {sizes}"


def _show_why(why: Why, as_json: bool) -> None:
    if as_json:
        write_json(_why_record(why))
        return
    if not why.kind:
        echo(f"{why.digest[:SHORT_DIGEST]} is not in this repository")
    elif not why.kept:
        echo(f"{why.kind} {why.digest[:SHORT_DIGEST]}: nothing names it, and garbage collection removes it")
    else:
        echo(f"{why.kind} {style(why.digest[:SHORT_DIGEST], 'yellow')} is kept, because it is named by")
        for line in _reasons(why):
            echo(f"  {line}")


def _reasons(why: Why) -> Iterator[str]:
    if why.staged:
        yield "the staged changes"
    for title, noun, items in (("", "ref", why.refs), ("reflog entry ", "reflog entry", why.reflog)):
        yield from (f"{title}{visible_name(one)}" for one in items[:_MOST_SHOWN])
        if len(items) > _MOST_SHOWN:
            yield f"and {plural(len(items) - _MOST_SHOWN, f'more {noun}')}"
    if why.kind != "commit":
        newest = f", the newest is {why.commits[0][:SHORT_DIGEST]}" if why.commits else ""
        yield plural(len(why.commits), "commit") + newest
    for use in why.uses[:_MOST_SHOWN]:
        keys = "/".join(str(key) for key in (use.column, use.sample, use.subsample) if key is not None)
        yield f"column and sample {visible_name(keys)}" if use.sample is not None else f"column {visible_name(keys)}"


def _why_record(why: Why) -> dict[str, Any]:
    uses = [
        {
            "commit": None if use.commit is None else use.commit.hex(),
            "column": use.column,
            "sample": use.sample,
            "subsample": use.subsample,
        }
        for use in why.uses
    ]
    return {
        "digest": why.digest,
        "kind": why.kind,
        "kept": why.kept,
        "refs": why.refs,
        "reflog": why.reflog,
        "staged": why.staged,
        "commits": why.commits,
        "uses": uses,
    }
