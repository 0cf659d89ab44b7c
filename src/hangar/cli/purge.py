"""``hangar purge``: erase the data of samples for good."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import (
    SHORT_DIGEST,
    confirm,
    echo,
    json_option,
    note,
    on_terminal,
    style,
    visible,
    visible_name,
    write_json,
)
from hangar.cli.records import sample_record
from hangar.cli.samples import existing_samples, explicit
from hangar.cli.state import State, pass_state
from hangar.cli.views import open_view
from hangar.errors import EXIT_CODES, AccessError
from hangar.history import iso_time
from hangar.progress import format_bytes
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.purge.lifting import PurgedBlob
    from hangar.purge.report import PurgeReport

__all__ = ["command"]

_MOST_SHOWN: Final = 10
_LISTS: Final = ("list", "lift", "continue")


@click.command("purge", cls=Command)
@click.argument("column", required=False, shell_complete=complete.columns)
@click.argument("samples", nargs=-1, metavar="SAMPLE...", shell_complete=complete.samples)
@click.option("--reason", default="", metavar="TEXT", help="Why; recorded with your name and the time.")
@click.option("--shared", is_flag=True, help="Erase the data even if other samples have the same data.")
@click.option(
    "--from",
    "rev",
    metavar="REV",
    shell_complete=complete.revisions,
    help="The commit that has the samples. Default: the current branch with its staged changes.",
)
@click.option("--this-version", is_flag=True, help="Erase only the data that the samples have there, not all versions.")
@click.option(
    "--rewrite-history",
    is_flag=True,
    help="Replace the commits that hold small values, which have no digest of their own.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask. Needed where there is no terminal.")
@click.option("--continue", "go_on", is_flag=True, help="Complete a purge that was interrupted or found files in use.")
@click.option("--list", "listing", is_flag=True, help="List what was purged.")
@click.option(
    "--accept", is_flag=True, help="Erase what was purged at a remote: all of it, or the blob with the digest given."
)
@click.option(
    "--lift", is_flag=True, help="Allow purged data to be stored again: COLUMN SAMPLE..., or the digest of a blob."
)
@json_option
@click.pass_context
@pass_state
def command(
    state: State,
    ctx: click.Context,
    column: str | None,
    samples: tuple[str, ...],
    reason: str,
    shared: bool,
    rev: str | None,
    this_version: bool,
    rewrite_history: bool,
    dry_run: bool,
    yes: bool,
    go_on: bool,
    listing: bool,
    lift: bool,
    accept: bool,
    as_json: bool,
) -> None:
    """Erase the data of samples of COLUMN from every commit and every file. This cannot be undone.

    The samples keep their keys and digests, so history still verifies; reading one says who erased it, when and why.
    All versions are erased that the samples ever had. SAMPLE may be a pattern with * and ?, in quotes. Data that other
    samples share is erased only with --shared.

    Small arrays and short texts lie inline in the trees of commits. They are erased with --rewrite-history: these commits
    and all later ones are replaced, the samples are gone from them, and clones must be made again.

    Backups and snapshots of the file system are not reached. Clones learn of it with their next fetch, and erase the data
    when somebody accepts it there with --accept. The exit code is 5 if a file was in use: then its
    bytes are erased by --continue.

    For example:
      hangar purge images cat_17 --reason "consent withdrawn" --dry-run
      hangar purge images 'cat_*' --reason "consent withdrawn"
      hangar purge images cat_17 --lift
      hangar purge --list
      hangar purge --accept

    JSON: column, samples (sample, subsample or null, digests, inline), commits, staged, shared (digest, column, sample,
    subsample, commit), shared_count, rewritten (old and new digests), refs, dry_run, size_before, size_after,
    unfinished; with --list: purged (digest, author, email, time, reason, samples, state); with --lift: lifted; with
    --continue: unfinished; with --accept: accepted (digests), erased (number of values that were here), unfinished.
    """
    if listing or go_on:
        if column or (listing and go_on):
            raise click.UsageError("--list and --continue stand alone")
        _list(state, as_json) if listing else _continue(state, ctx, as_json)
        return
    if accept:
        if samples or lift:
            raise click.UsageError("--accept takes at most the digest of a blob")
        _accept(state, ctx, column or "", as_json)
        return
    if column is None or not (samples or lift):
        raise click.UsageError("name a COLUMN and the SAMPLEs to purge")
    if lift and not samples:
        _lifted(state.repository.lift_purge(digest=column), as_json)
        return
    view = open_view(state, rev)
    keys = existing_samples(samples, view[column], column)
    place: Any = {"commit": view.commit} if rev else {"branch": view.branch}
    if lift:
        _lifted(state.repository.lift_purge(column, keys, **place), as_json)
        return
    options: Any = {"reason": reason, "this_version": this_version, "shared": shared, **place}
    options["rewrite_history"] = rewrite_history
    if not (dry_run or yes):
        if not on_terminal():
            raise click.UsageError(
                "there is no terminal to ask on: use --yes to purge, or --dry-run to look at the plan"
            )
        plan = state.repository.purge(column, keys, dry_run=True, **options)
        for line in _lines(plan):
            note(line)
        confirm("Erase this for good?")
    report = state.repository.purge(column, keys, dry_run=dry_run, **options)
    _show(report, as_json)
    if report.unfinished:
        ctx.exit(EXIT_CODES[AccessError])


def _accept(state: State, ctx: click.Context, digest: str, as_json: bool) -> None:
    """Erase what was purged at a remote."""
    done = state.repository.accept_purges(digest)
    if as_json:
        write_json({"accepted": list(done.digests), "erased": done.erased, "unfinished": list(done.unfinished)})
    else:
        echo(f"Accepted {plural(len(done.digests), 'tombstone')}; {plural(done.erased, 'value')} erased here")
        if done.unfinished:
            _unfinished(done.unfinished)
    if done.unfinished:
        ctx.exit(EXIT_CODES[AccessError])


# ---------------------------------------------------------------------- a purge


def _show(report: PurgeReport, as_json: bool) -> None:
    if as_json:
        write_json(_record(report))
        return
    for line in _lines(report):
        echo(line)
    if report.dry_run:
        echo("Nothing was changed")
        return
    if report.rewritten:
        echo("Clones have the old commits: make them again, for a push from one would bring the data back")
    if report.unfinished:
        _unfinished(report.unfinished)
    else:
        echo(
            f"{style('Erased', 'green')}: {format_bytes(report.size_before)} before, {format_bytes(report.size_after)} now"
        )


def _unfinished(reasons: tuple[str, ...]) -> None:
    note(f"{style('Not finished', 'red')}: bytes are still on disk. Run `hangar purge --continue` later")
    for reason in reasons[:_MOST_SHOWN]:
        note(f"  {visible(reason)}")


def _lines(report: PurgeReport) -> Iterator[str]:
    """Description of a purge, for the user to check."""
    verb = "Would purge" if report.dry_run else "Purged"
    versions = f", {plural(len(report.digests), 'stored value')}" if report.digests else ""
    yield f"{verb} {plural(len(report.samples), 'sample')} of {visible_name(report.column)}{versions}"
    yield from _some([f"  {_key(sample.key)}" for sample in report.samples])
    if report.commits or report.staged:
        staged = (
            " and the staging area" if report.commits and report.staged else "the staging area" if report.staged else ""
        )
        commits = plural(len(report.commits), "commit") if report.commits else ""
        yield f"In {commits}{staged}"
        yield from _some([f"  {digest[:SHORT_DIGEST]}" for digest in report.commits])
    if report.shared_count:
        yield f"{plural(report.shared_count, 'other sample')} with the same data:"
        yield from _some(
            [f"  {visible_name(one.column)}/{_key(one.key)}" for one in report.shared], report.shared_count
        )
    if report.inline:
        yield f"{plural(len(report.inline), 'value')} inline in the tree: the entries are deleted from every commit"
    if report.rewritten:
        yield f"{plural(len(report.rewritten), 'commit')} {'would be' if report.dry_run else 'were'} rewritten:"
        pairs = [f"  {old[:SHORT_DIGEST]} -> {new[:SHORT_DIGEST]}" for old, new in report.rewritten.items()]
        yield from _some(pairs)
        yield f"Refs that {'would move' if report.dry_run else 'moved'}: {', '.join(map(visible_name, report.refs)) or 'none'}"


def _some(lines: list[str], count: int = 0) -> list[str]:
    shown = lines[:_MOST_SHOWN]
    more = max(count, len(lines)) - len(shown)
    return [*shown, *([f"  and {more:,} more"] if more else [])]


def _key(key: tuple[Any, ...]) -> str:
    return (
        explicit(key) if len(key) == 2 else visible_name(str(key[0])) if isinstance(key[0], str) else explicit(key[0])
    )


def _record(report: PurgeReport) -> dict[str, Any]:
    return {
        "column": report.column,
        "samples": [{**sample_record(one.key), "digests": one.digests, "inline": one.inline} for one in report.samples],
        "commits": report.commits,
        "staged": report.staged,
        "shared": [
            {"digest": one.digest, "column": one.column, **sample_record(one.key), "commit": one.commit}
            for one in report.shared
        ],
        "shared_count": report.shared_count,
        "rewritten": report.rewritten,
        "refs": report.refs,
        "dry_run": report.dry_run,
        "size_before": report.size_before,
        "size_after": report.size_after,
        "unfinished": report.unfinished,
    }


# ---------------------------------------------------------------------- the rest


def _continue(state: State, ctx: click.Context, as_json: bool) -> None:
    left = state.repository.continue_purge()
    if as_json:
        write_json({"unfinished": left or ()})
    elif left is None:
        echo("No purge is unfinished")
    elif left:
        _unfinished(left)
    else:
        echo(f"{style('Erased', 'green')}: the bytes of all purged samples are gone")
    if left:
        ctx.exit(EXIT_CODES[AccessError])


def _list(state: State, as_json: bool) -> None:
    found = state.repository.list_purged()
    if as_json:
        write_json({"purged": [_purged_record(one) for one in found]})
        return
    for one in found:
        echo(f"{style(one.digest[:SHORT_DIGEST], 'yellow')} {visible_name(one.summary)}")
        for column, key in one.samples:
            echo(f"    {visible_name(column)}/{_key(key)}")
    if not found:
        echo("Nothing was purged")


def _purged_record(one: PurgedBlob) -> dict[str, Any]:
    return {
        "digest": one.digest,
        "author": one.name,
        "email": one.email,
        "time": iso_time(int(one.time * 1e9), one.tz),
        "reason": one.reason,
        "samples": [{"column": column, **sample_record(key)} for column, key in one.samples],
        "state": one.state,
    }


def _lifted(digests: list[str], as_json: bool) -> None:
    if as_json:
        write_json({"lifted": digests})
    else:
        echo(f"Lifted {plural(len(digests), 'tombstone')}: the same data can be stored again")
