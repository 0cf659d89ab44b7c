"""``hangar fsck``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, json_option, style, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.errors import EXIT_CODES, CorruptionError
from hangar.wording import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hangar.fsck import FsckReport, Problem
    from hangar.history.usage import Use

__all__ = ["command"]

_MOST_SHOWN = 10
_FEW = 5
_SURPLUS = (
    "The database does not know these bytes: they belong to a batch that was interrupted or is being written. The next "
    "writer overwrites them."
)


@click.command("fsck", cls=Command)
@click.option("--data", is_flag=True, help="Also read all data and compare it with its digests.")
@click.option("--repair", is_flag=True, help="Repair what can be repaired from what is in the repository.")
@click.option(
    "--from",
    "remotes",
    multiple=True,
    metavar="REMOTE",
    shell_complete=complete.remotes,
    help="With --repair: also use what REMOTE has; repeatable.",
)
@json_option
@click.pass_context
@pass_state
def command(
    state: State, ctx: click.Context, data: bool, repair: bool, remotes: tuple[str, ...], as_json: bool
) -> None:
    """Verify the repository: everything that history and the staging area use exists and is undamaged.

    Without --repair nothing is changed. With it, what is replaced is kept in .hangar/lost-found. The exit code is 6 if
    there is a problem (that is left), and 0 if everything was repaired.

    For example:
      hangar fsck --data
      hangar fsck --data --repair --from origin

    JSON: problems (kind, digest, file, detail, places: their number, uses: the first of them with commit, column,
    sample, subsample, remedy), repaired (kind, detail, kept), rescues (branch, commit: its newest intact commit, behind),
    notes (kind, digest, file, detail), commits, nodes, blobs (how many were checked), promised (blobs that only a remote
    has), data, unchecked (columns that need a package that is not installed).
    """
    if remotes and not repair:
        raise click.UsageError("--from is for repairs: add --repair")
    report = state.repository.fsck(data=data, repair=repair, remote=remotes)
    if as_json:
        write_json(_document(report))
    else:
        for line in _text(report, repair):
            echo(line)
    if report.problems:
        ctx.exit(EXIT_CODES[CorruptionError])


def _document(report: FsckReport) -> dict[str, Any]:
    return {
        "problems": [
            {
                "kind": one.kind,
                "digest": one.digest,
                "file": one.file,
                "detail": one.detail,
                "places": one.places,
                "uses": list(map(_use, one.uses)),
                "remedy": one.remedy,
            }
            for one in report.problems
        ],
        "repaired": [{"kind": one.kind, "detail": one.detail, "kept": one.kept} for one in report.repaired],
        "rescues": [{"branch": one.branch, "commit": one.commit, "behind": one.behind} for one in report.rescues],
        "notes": [
            {"kind": one.kind, "digest": one.digest, "file": one.file, "detail": one.detail} for one in report.notes
        ],
        "commits": report.commits,
        "nodes": report.nodes,
        "blobs": report.blobs,
        "promised": report.promised,
        "data": report.data,
        "unchecked": list(report.unchecked),
    }


def _use(use: Use) -> dict[str, Any]:
    commit = None if use.commit is None else use.commit.hex()
    return {
        "commit": commit,
        "column": use.column,
        "sample": use.sample,
        "subsample": use.subsample,
        "entries": use.entries,
    }


def _text(report: FsckReport, repair: bool) -> Iterator[str]:
    for one in report.repaired:
        kept = f"; the old one is in .hangar/{one.kept}" if one.kept else ""
        yield f"{style('repaired', 'green')} {one.kind}: {visible(one.detail)}{visible(kept)}"
    yield from _lines(report.problems)
    for text in report.unchecked:
        yield f"{style('not checked', 'yellow')}: {visible(text)}"
    if report.promised:
        verb = "is" if report.promised == 1 else "are"
        yield (
            f"{style('promised', 'yellow')}: {plural(report.promised, 'value')} {verb} not on this disk; a remote has promised "
            f"{'it' if report.promised == 1 else 'them'}"
        )
    checked = ", ".join(plural(getattr(report, noun + "s"), noun) for noun in ("commit", "node", "blob"))
    for note in report.notes[:_MOST_SHOWN]:
        what = note.file or (f"blob {note.digest[:SHORT_DIGEST]}" if note.digest else "")
        yield f"{style('note', 'yellow')}{' ' if what else ''}{visible(what)}: {visible(note.detail)}"
    if len(report.notes) > _MOST_SHOWN:
        yield f"{style('note', 'yellow')}: and {len(report.notes) - _MOST_SHOWN:,} more; --json lists all"
    if report.notes and all(note.kind == "surplus" for note in report.notes):
        yield _SURPLUS
    if report.problems:
        yield from _advice(report, repair)
    extra = "" if report.data else "; --data reads every blob too"
    found = plural(len(report.problems), "problem")
    verdict = style(f"{found} left" if repair else found, "red") if report.problems else style("All is well", "green")
    yield f"{verdict}: checked {checked}{extra}"


def _advice(report: FsckReport, repair: bool) -> Iterator[str]:
    if not repair and all(problem.kind != "page" for problem in report.problems):
        command = "`hangar fsck --data --repair`" if report.data else "`hangar fsck --repair`"
        yield f"To repair what can be repaired here: {command}"
        return  # what to do about the rest is said after the repair
    for one in report.rescues:
        if one.commit:
            newer = plural(one.behind, "newer commit")
            yield (
                f"branch {visible(one.branch)}: the newest intact commit is {one.commit[:SHORT_DIGEST]}, with {newer}: to go on "
                f"from there, `hangar branch create rescue {one.commit[:SHORT_DIGEST]}`"
            )
        else:
            yield f"branch {visible(one.branch)}: no commit is intact; restore the repository from a backup"


def _lines(problems: Sequence[Problem]) -> Iterator[str]:
    """A line for each problem. Of many of one kind in one file, the first few and their number."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.kind, problem.file), []).append(problem)
    for (kind, file), group in groups.items():
        where = f" in {visible(file)}" if file else ""
        shown = group if len(group) <= _MOST_SHOWN else group[:_FEW]
        for problem in shown:
            digest = f" {problem.digest[:SHORT_DIGEST]}" if problem.digest else ""
            detail = problem.detail.removeprefix(f"{kind} {problem.digest}: ")
            remedy = f" ({visible(problem.remedy)})" if problem.remedy and "hangar fsck" not in detail else ""
            places = list(_places(problem))
            first = f" ({places[0].strip()})" if places and len(shown) < len(group) else ""
            yield f"{style(kind, 'red')}{digest}{where}: {visible(detail)}{remedy}{first}"
            if not first:
                yield from places
        if len(shown) < len(group):
            yield f"{style(kind, 'red')}{where}: and {plural(len(group) - len(shown), 'more problem')}; --json lists all"


def _places(problem: Problem) -> Iterator[str]:
    """The first places that a problem affects."""
    for use in problem.uses:
        commit = "staged" if use.commit is None else use.commit.hex()[:SHORT_DIGEST]
        yield f"    {commit} {visible(_place(use))}"
    if len(problem.uses) < problem.places:
        yield f"    and {plural(problem.places - len(problem.uses), 'more place')}"


def _place(use: Use) -> str:
    if not use.column:
        return "attributes of the commit"
    if use.sample is None:
        what = "" if use.kind == "node" else f", {use.kind}"
        entries = f", {plural(use.entries, 'entry')}" if use.kind == "node" else ""
        return f"column {use.column}{what}{entries}"
    key = str(use.sample) if use.subsample is None else f"{use.sample}/{use.subsample}"
    if use.kind != "node":
        return f"{use.column}/{key}"
    return f"{use.column}: {plural(use.entries, 'entry')} up to {key}"
