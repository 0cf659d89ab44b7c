"""``hangar tag``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, echo_lines, json_option, style, table, visible, write_json
from hangar.cli.pager import paged
from hangar.cli.state import State, pass_state

if TYPE_CHECKING:
    from hangar.history import TagInfo

__all__ = ["command", "tag_record"]


@click.command("tag", cls=Command)
@click.argument("name", required=False, shell_complete=complete.tags)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@click.option(
    "-m",
    "--message",
    "messages",
    multiple=True,
    metavar="TEXT",
    help="Annotate the tag: this text, you and the time are stored. May be given more than once, for several paragraphs.",
)
@click.option("-a", "--annotate", is_flag=True, hidden=True, help="As in git: the tag is annotated if it has a -m.")
@click.option("-d", "--delete", is_flag=True, help="Delete the tag NAME.")
@click.option("-f", "--force", is_flag=True, help="Replace a tag of this name.")
@click.option("-l", "--list", "listed", is_flag=True, help="List tags, with NAME as a pattern such as 'v1.*'.")
@json_option
@pass_state
@paged
def command(
    state: State,
    name: str | None,
    rev: str | None,
    messages: tuple[str, ...],
    annotate: bool,
    delete: bool,
    force: bool,
    listed: bool,
    as_json: bool,
) -> None:
    """Name the commit REV, by default the last one of the current branch. Without arguments all tags are listed.

    A tag stays at its commit. If a branch has the same name, tags/NAME is the tag.

    For example:
      hangar tag
      hangar tag v1 -m "The labels of the paper"
      hangar tag before-relabelling master~2
      hangar tag -d before-relabelling

    JSON: name, digest, message (null for a light tag), author, email, time; of a list: tags with these.
    """
    if annotate and not messages:
        raise click.UsageError("an annotated tag needs a message: give it with -m")
    if name is None or listed:
        _list(state, name, as_json)
        return
    if delete:
        if rev is not None or messages or force:
            raise click.UsageError("-d takes only the NAME of a tag")
        _delete(state, name, as_json)
        return
    _check_not_a_command(state, name, rev)
    message = "\n\n".join(messages) if messages else None
    before = state.stores.refs.get(f"tags/{name}") if force and state.stores.refs.exists(f"tags/{name}") else None
    start = rev or f"heads/{state.repository.head().write_branch}"
    state.repository.tag(name, start, message=message, force=force)
    made = state.repository.tag_info(name)
    if as_json:
        write_json(tag_record(made))
    else:
        was = "" if before is None else f" (it was at {before.hex()[:SHORT_DIGEST]})"
        echo(f"Tagged {made.digest[:SHORT_DIGEST]} as {made.name}{was}")


def _check_not_a_command(state: State, name: str, rev: str | None) -> None:
    """Refuse to make a tag of a word that was meant as a command, as those of `hangar branch` are."""
    if name == "list" and rev is None:
        raise click.UsageError("list tags with `hangar tag`; for a tag of this name write `hangar tag list HEAD`")
    if name in ("delete", "remove") and rev is not None and state.stores.refs.exists(f"tags/{rev}"):
        raise click.UsageError(f"delete a tag with `hangar tag -d {rev}`")


def tag_record(tag: TagInfo) -> dict[str, Any]:
    """A tag as JSON."""
    return tag._asdict()


def _list(state: State, pattern: str | None, as_json: bool) -> None:
    from hangar.cli.samples import matcher

    keep = matcher(pattern) if pattern else bool
    tags = [state.repository.tag_info(name) for name in state.repository.list_tags() if keep(name)]
    if as_json:
        write_json({"tags": [tag_record(tag) for tag in tags]})
        return
    echo_lines(
        table(
            (
                style(visible(tag.name), "yellow", bold=True),
                style(tag.digest[:SHORT_DIGEST], "yellow"),
                visible((tag.message or "").strip("\n").partition("\n")[0]),
            )
            for tag in tags
        )
    )


def _delete(state: State, name: str, as_json: bool) -> None:
    gone = state.repository.tag_info(name)
    state.repository.remove_tag(name)
    if as_json:
        write_json(tag_record(gone))
        return
    echo(f"Deleted tag {gone.name} (it was at {gone.digest[:SHORT_DIGEST]})")
    echo(f"To bring it back, run `hangar tag {gone.name} {gone.digest[:SHORT_DIGEST]}`")
