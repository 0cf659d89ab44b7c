"""``hangar commit``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, json_option, visible, write_json
from hangar.cli.records import change_record
from hangar.cli.state import State, pass_state
from hangar.cli.status import status_lines
from hangar.errors import InvalidInputError, InvalidStateError, NothingToDoError
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.describe import StatusReport

__all__ = ["command"]

TEMPLATE: Final = """{message}
# Enter the commit message: a short first line, an empty line, and then the details. Lines that begin
# with '#' are ignored, and an empty message aborts the commit.
#
{status}
"""


def _meta(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", ctx, parameter)
        pairs[key] = value
    return pairs


@click.command("commit", cls=Command)
@click.option(
    "-m",
    "--message",
    "messages",
    multiple=True,
    metavar="TEXT",
    help="The commit message. May be given more than once, for several paragraphs.",
)
@click.option(
    "-a",
    "--all",
    is_flag=True,
    hidden=True,
    expose_value=False,
    help="Does nothing: all written changes are staged already.",
)
@click.option("--amend", is_flag=True, help="Replace the last commit of the branch.")
@click.option(
    "--no-edit", is_flag=True, help="With --amend, or to conclude a merge, cherry-pick or revert: keep the message."
)
@click.option("--meta", multiple=True, metavar="KEY=VALUE", callback=_meta, help="Metadata to store with the commit.")
@json_option
@pass_state
def command(
    state: State, messages: tuple[str, ...], amend: bool, no_edit: bool, meta: dict[str, str], as_json: bool
) -> None:
    """Commit the staged changes to the current branch.

    Without -m your editor ($VISUAL or $EDITOR) opens for the message. --amend keeps the message and the metadata of the
    last commit, unless others are given.

    For example:
      hangar commit -m "Relabel the sevens"
      hangar commit --amend -m "Relabel the sevens and ones" --meta annotator=ada

    JSON: branch, digest, parents, message, changes (column, state, added, deleted, mutated).
    """
    report = state.repository.status()
    if no_edit and (messages or not (amend or report.operation)):
        raise click.UsageError(
            "--no-edit needs --amend or a merge, cherry-pick or revert in progress, and cannot be combined with -m"
        )
    if report.clean and not amend:
        raise NothingToDoError(
            "nothing to commit: stage changes with `hangar import COLUMN PATH` or `hangar rm COLUMN SAMPLE`"
        )
    before = _last_message(state, report) if amend else "" if report.operation is None else report.operation.message
    kept = no_edit or (bool(amend or report.operation) and not _has_editor())
    message = "\n\n".join(messages) if messages else before if kept else _edited(before, report)
    if not message.strip():
        raise InvalidInputError("the commit was aborted: its message is empty")
    with state.writer() as checkout:
        digest = checkout.commit(message, amend=amend, meta=meta or None)
    _tell(state, report, digest, as_json)


def _last_message(state: State, report: StatusReport) -> str:
    if not report.head:
        raise InvalidStateError(f"branch {report.branch!r} has no commit to amend")
    return state.repository.commit_info(report.head).message


def _has_editor() -> bool:
    return any(os.environ.get(name) for name in ("VISUAL", "EDITOR")) or sys.stdin.isatty()


def _edited(before: str, report: StatusReport) -> str:
    """The message after the user edited it in an editor."""
    if not _has_editor():
        raise click.UsageError("there is no terminal for an editor: give the message with -m")
    status = "\n".join(f"# {click.unstyle(line)}".rstrip() for line in status_lines(report))
    text = click.edit(TEMPLATE.format(message=before, status=status), require_save=False, extension=".hangar-commit")
    lines = [line.rstrip() for line in (text or "").split("\n") if not line.startswith("#")]
    return "\n".join(lines).strip("\n")


def _tell(state: State, report: StatusReport, digest: str, as_json: bool) -> None:
    info = state.repository.commit_info(digest)
    changed = [column for column in report.columns if column.state != "unchanged"]
    if as_json:
        write_json(
            {
                "branch": report.branch,
                "digest": digest,
                "parents": info.parents,
                "message": info.message,
                "changes": [change_record(one) for one in changed],
            }
        )
        return
    first = "" if info.parents else " (first commit)"
    echo(f"[{report.branch}{first} {digest[:SHORT_DIGEST]}] {visible(info.message.partition(chr(10))[0])}")
    added, deleted, mutated = (sum(getattr(c, kind) for c in changed) for kind in ("added", "deleted", "mutated"))
    noun = "subsample" if changed and all(column.nested for column in changed) else "sample"
    echo(
        f" {plural(len(changed), 'column')} changed: {plural(added, noun)} added, {mutated:,} changed, {deleted:,} deleted"
    )
