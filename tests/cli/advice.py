"""The commands that messages of the source propose, found in its strings; docstrings are no messages. And how to follow them."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from click.testing import Result

import hangar
from hangar.cli.main import SECTIONS
from tests.cli.shell import Shell

__all__ = ["Advice", "command_in", "follow", "proposed_commands", "said"]

SOURCE = Path(hangar.__file__).parent
VERBS = {name for section in SECTIONS.values() for name in section}
_QUOTED = re.compile(r"`(hangar\b[^`]*)`|\"(hangar\b[^\"]*)\"")
_ANY = re.compile(r"\bhangar ([a-z-]+)")


class Advice(NamedTuple):
    """A proposed command: the module that proposes it, and its words with ``{}`` for what is filled in."""

    module: str
    command: str


def _text(node: ast.AST) -> str | None:
    """The text of a string, with ``{}`` for what an f-string fills in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "{}" for part in node.values)
    return None


def _strings(tree: ast.Module) -> Iterator[str]:
    """The strings of a module, without docstrings and parts of f-strings."""
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # a docstring, of a module, class, function or attribute
            left_out.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            left_out.update(map(id, node.values))
    for node in ast.walk(tree):
        text = None if id(node) in left_out else _text(node)
        if text is not None:
            yield text


def _commands(text: str) -> Iterator[str]:
    if text.startswith("hangar ") and text.split()[1] in VERBS:
        yield text
        return
    for match in _QUOTED.finditer(text):
        yield match[1] or match[2]
    unquoted = [match[1] for match in _ANY.finditer(_QUOTED.sub("", text)) if match[1] in VERBS]
    yield from (f"hangar {verb} (without quotes)" for verb in unquoted)


def proposed_commands() -> list[Advice]:
    """Every command that a message proposes, once for each module."""
    found: dict[Advice, None] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for text in _strings(ast.parse(path.read_text("utf-8"))):
            for command in _commands(text):
                found[Advice(path.relative_to(SOURCE).as_posix(), command)] = None
    return list(found)


WORDS: Final = {
    "COLUMN": "images",
    "SAMPLE": "a",
    "BRANCH": "other",
    "NAME": "again",
    "VALUE": "somebody",
    "ADDRESS": "/nowhere",
    "REMOTE": "origin",
    "TAG": "00",
    "DIRECTORY": "kept",
    "PATH": "../in",
    "DTYPE": "UINT8",
    "[SHAPE]...": "7 5",
}


def said(result: Result) -> str:
    return str(result.stdout + result.stderr)


def command_in(text: str, template: str) -> list[str]:
    """The words of the proposed command in a message, with what it leaves open filled in."""
    blank = re.escape(template).replace(r"\{\}", '[^`"\n]*?')
    match = re.search(f'[`"]({blank})[`"]|({blank})', text)
    assert match is not None, f"{template!r} is not proposed in: {text}"
    command = match[1] or match[2]
    for word, value in WORDS.items():
        command = command.replace(word, value)
    name, *words = shlex.split(command)
    assert name == "hangar"
    return words


def follow(shell: Shell, text: str, template: str, *more: str) -> str:
    """Run the command that ``text`` proposes; what it says."""
    return shell.ok(*command_in(text, template), *more)
