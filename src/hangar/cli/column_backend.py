"""``hangar column backend``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import SHORT_DIGEST, echo, json_option, note, visible, write_json
from hangar.cli.state import State, pass_state
from hangar.cli.views import open_view
from hangar.errors import EXIT_CODES, CorruptionError
from hangar.flags import parse_flag
from hangar.progress import format_bytes
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.convert import ConvertReport

__all__ = ["command"]

_SHOWN: Final = 5
_DIGITS: Final = 20


@click.command("backend", cls=Command)
@click.argument("name", shell_complete=complete.columns)
@click.argument("tag", required=False)
@click.option(
    "--option",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of the backend. Numbers, yes, no, true, false, on, off and none are recognized.",
)
@click.option("--convert", is_flag=True, help="Also convert stored data, of every commit.")
@json_option
@click.pass_context
@pass_state
def command(
    state: State,
    ctx: click.Context,
    name: str,
    tag: str | None,
    options: tuple[str, ...],
    convert: bool,
    as_json: bool,
) -> None:
    """Show or choose the storage backend for new data of the column NAME on this machine.

    Without TAG and --convert nothing is changed. Stored data stays in its backend unless --convert is given, which
    moves the data of the column in all commits and in the staging area. Commits do not change, and readers can
    continue. After an interrupt the same command continues where it stopped. The documentation describes the backends
    and their options.

    For example:
      hangar column backend images
      hangar column backend images 00 --option complib=blosc:zstd --option complevel=5
      hangar column backend images 10 --convert

    JSON: name, backend, options; with --convert also converted (blobs), nbytes (of those), removed_files,
    removed_nbytes, kept_files, damaged (digest, detail).
    """
    given = dict(map(_option, options))
    if given and tag is None:
        raise click.UsageError(
            f"--option needs the backend it belongs to: `hangar column backend {name} TAG --option {options[0]}`"
        )
    if convert:
        _convert(state, ctx, name, tag, given, as_json)
        return
    if tag is None:
        column: Any = open_view(state, None)[name]
        chosen, complete_options = column.backend, column.backend_options
    else:
        with state.writer() as checkout:
            column = checkout.columns[name]
            column.change_backend(tag, given)
            chosen, complete_options = column.backend, column.backend_options
    if as_json:
        write_json({"name": name, "backend": chosen, "options": complete_options})
    else:
        echo(f"New data of {visible(name)} goes to backend {_backend_text(chosen, complete_options)}")


def _option(text: str) -> tuple[str, Any]:
    """A key and its value: an int, a bool, None, or a str."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"--option takes KEY=VALUE, not {visible(text)}")
    if value.lower() == "none":
        return key, None  # A backend may take 'none' as text: it decides.
    # No option has more digits, and Python refuses to parse thousands of them.
    if value.isdecimal() and len(value) < _DIGITS:
        return key, int(value)
    flag = parse_flag(value)
    return key, value if flag is None else flag


def _backend_text(tag: str, options: dict[str, Any]) -> str:
    text = ", ".join(
        f"{key}={str(value).lower() if value is None or value is True or value is False else value}"
        for key, value in options.items()
    )
    return f"{tag} ({text})" if text else tag


def _convert(
    state: State, ctx: click.Context, name: str, tag: str | None, options: dict[str, Any], as_json: bool
) -> None:
    repository = state.repository
    branch = repository.head().write_branch
    try:
        done = repository.convert_backend(name, tag, options or None, branch=branch)
    except KeyboardInterrupt as interrupt:
        note(f"Interrupted: {interrupt}" if str(interrupt) else "Interrupted")
        raise
    if as_json:
        write_json(_record(done))
    else:
        _tell(done)
    if done.damaged:
        ctx.exit(EXIT_CODES[CorruptionError])


def _record(done: ConvertReport) -> dict[str, Any]:
    return {
        "name": done.column,
        "backend": done.backend,
        "options": done.options,
        "converted": done.converted,
        "nbytes": done.nbytes,
        "removed_files": done.removed_files,
        "removed_nbytes": done.removed_nbytes,
        "kept_files": done.kept_files,
        "damaged": [{"digest": digest, "detail": detail} for digest, detail in done.damaged.items()],
    }


def _tell(done: ConvertReport) -> None:
    name, to = visible(done.column), _backend_text(done.backend, done.options)
    if done.converted:
        echo(f"Converted {plural(done.converted, 'blob')} ({format_bytes(done.nbytes)}) of {name} to backend {to}")
    else:
        echo(f"All readable data of {name} is in backend {to} already")
    if done.removed_files:
        echo(f"Removed {plural(done.removed_files, 'old file')}, {format_bytes(done.removed_nbytes)}")
    if done.kept_files:
        note(
            f"{plural(done.kept_files, 'old file')} could not be removed, since readers use them: run this again later"
        )
    for digest, detail in list(done.damaged.items())[:_SHOWN]:
        note(f"Not converted: blob {digest[:SHORT_DIGEST]}: {visible(detail)}")
    if len(done.damaged) > _SHOWN:
        note(f"and {len(done.damaged) - _SHOWN:,} more: run `hangar fsck --data`")
