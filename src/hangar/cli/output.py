"""Output of commands: text, with colours on a terminal, and JSON for scripts.

Text from a repository cannot control the terminal: control characters are shown as escapes. JSON is written to stdout
as one document; its keys are listed in the help of each command and stay stable.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import click

from hangar.wording import visible, visible_lines, visible_name

__all__ = [
    "confirm",
    "echo",
    "echo_lines",
    "json_option",
    "note",
    "on_terminal",
    "style",
    "table",
    "visible",
    "visible_lines",
    "visible_name",
    "write_json",
    "write_json_list",
]

F = TypeVar("F", bound=Callable[..., Any])
SHORT_DIGEST = 12
LINES_AT_ONCE = 1000
_BEYOND_ASCII = re.compile("[^\\x00-\\x7f]+")
_PLAIN = frozenset((int, str, bool, type(None)))


def json_option(function: F) -> F:
    """The option ``--json`` of every command that prints information."""
    return click.option("--json", "as_json", is_flag=True, help="Write one JSON document instead of text.")(function)


def write_json(data: Any) -> None:
    """Write ``data`` as one JSON document, in ASCII."""
    click.echo(_dumps(_plain(data)))


def write_json_list(head: Mapping[str, Any], name: str, items: Iterable[Any]) -> None:
    """Write ``head`` with a further key ``name`` for the list of ``items``, as one document; items are written as they come."""
    text = _dumps(_plain(head))
    click.echo(f'{text[: text.rindex(chr(10))]},\n  "{name}": [', nl=False)
    iterator, between = iter(items), ""
    while some := list(islice(iterator, LINES_AT_ONCE)):
        body = _dumps(_plain(some)).removeprefix("[").removesuffix("\n]")
        click.echo(between + body.replace("\n", "\n  "), nl=False)
        between = ","
    click.echo("\n  ]\n}" if between else "]\n}")


def _dumps(data: Any) -> str:
    """The same as ``json.dumps(data, indent=2)``, but fast for long lists."""
    import msgspec

    try:
        text = msgspec.json.format(msgspec.json.encode(data), indent=2).decode()
    except (UnicodeEncodeError, OverflowError):  # a lone surrogate, or a number beyond 64 bits
        return json.dumps(data, indent=2)
    return text if text.isascii() else _BEYOND_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _plain(data: Any) -> Any:
    """``data`` converted to the types of JSON. NaN and infinity become the texts ``'nan'`` and ``'inf'``."""
    if isinstance(data, float) and not math.isfinite(data):
        return str(data)
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return data if _PLAIN.issuperset(map(type, data)) else [_plain(value) for value in data]
    if isinstance(data, (bytes, bytearray)):
        return data.hex()
    if isinstance(data, os.PathLike):
        return os.fspath(data)
    return data


def echo(text: str = "", *, err: bool = False) -> None:
    """Write a line."""
    click.echo(text, err=err)


def echo_lines(lines: Iterable[str]) -> None:
    """Write many lines, a thousand at a time."""
    iterator = iter(lines)
    while some := list(islice(iterator, LINES_AT_ONCE)):
        click.echo("\n".join(some))


def note(text: str) -> None:
    """Write a message to stderr."""
    click.echo(text, err=True)


def on_terminal() -> bool:
    """Whether the command can ask a question: stdin and stderr are a terminal."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def confirm(question: str) -> None:
    """Ask on a terminal; if the answer is no, end the command with exit code 1. Without a terminal, continue."""
    if on_terminal() and not click.confirm(question, err=True):
        note("Nothing was changed")
        raise click.exceptions.Exit(1)


def style(text: str, colour: str, *, bold: bool = False) -> str:
    """``text`` in a colour; :func:`echo` removes it if the output is not a terminal."""
    return click.style(text, fg=colour, bold=bold or None)


def table(rows: Iterable[Sequence[str]], *, indent: int = 0, right: Sequence[int] = ()) -> list[str]:
    """Rows as lines of aligned cells; columns in ``right`` are right-aligned."""
    lines = [list(row) for row in rows]
    plain = [[click.unstyle(cell) for cell in line] for line in lines]
    widths = [max(len(line[i]) for line in plain) for i in range(len(lines[0]))] if lines else []
    written = []
    for line, bare in zip(lines, plain, strict=True):
        cells = []
        for i, cell in enumerate(line):
            padding = " " * (widths[i] - len(bare[i]))
            cells.append(padding + cell if i in right else cell + padding)
        written.append((" " * indent + "  ".join(cells)).rstrip())
    return written
