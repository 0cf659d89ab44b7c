"""Writes the reference pages that are made from the code: ``reference/cli.rst`` and ``reference/errors.rst``.

``python docs/generate.py`` writes them, ``--check`` says which are stale and exits 1. The pages are committed, so that a
change of the command line shows in its review; ``tests/docs`` fails when one of them is not what this script would write.
Only names, types and help texts are taken from click, never its layout, so any supported version of click gives the same page.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hangar import errors
from hangar.cli import main as hangar_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REFERENCE = Path(__file__).parent / "reference"
NOTICE = ".. Made by docs/generate.py; change the code and run it again.\n"

CLI_HEAD = """
The command line
================

``hangar`` works on the repository of the current directory or of one above it, or on that of ``-C PATH``. ``python -m hangar``
is the same program. What a command did wrong it says on standard error, as ``Error: MESSAGE``, and in its exit code: see
:doc:`errors`.
"""

ERRORS_HEAD = """
Errors and exit codes
=====================

Whatever goes wrong for a reason that Hangar knows comes out of Python as a ``hangar.HangarError``, and of the command line as
``Error: MESSAGE`` on standard error and one of these exit codes.

.. list-table:: Exit codes
   :header-rows: 1
   :widths: 10 90

   * - code
     - meaning
"""

CLASSES_HEAD = """
The tree of errors
------------------

Where Python has a natural class for the same thing the class of Hangar inherits it too: ``except KeyError`` and
``except hangar.ColumnNotFoundError`` both catch a column that is missing.

.. list-table:: Error classes
   :header-rows: 1
   :widths: 30 20 8 42

   * - class
     - is also a
     - exit code
     - raised when
"""

WARNINGS_HEAD = """
Warnings
--------
"""

FIXED_CODES = {
    0: "Done.",
    1: "Any other error.",
    2: "The command was not understood: unknown command or option, missing argument.",
    130: "Interrupted.",
}


def plain(text: str) -> str:
    """``text`` with everything that reStructuredText would read as markup made harmless."""
    return re.sub(r"([\\*`|]|_(?!\w))", r"\\\1", text)


def help_paragraphs(text: str | None) -> Iterator[str]:
    """The paragraphs of a click help text; one that opens with a ``\\b`` keeps its lines."""
    for paragraph in inspect.cleandoc(text or "").split("\f")[0].split("\n\n"):
        lines = paragraph.strip("\n").split("\n")
        if lines[0].strip() == "\b":
            yield "::\n\n" + "\n".join(f"    {line}".rstrip() for line in lines[1:])
        elif paragraph.strip():
            yield plain(" ".join(line.strip() for line in lines))


def value_name(parameter: click.Parameter) -> str:
    if parameter.metavar is not None:
        return parameter.metavar
    if isinstance(parameter.type, click.Choice):
        return "[" + "|".join(str(choice) for choice in parameter.type.choices) + "]"
    return parameter.type.name.upper()


def argument_usage(argument: click.Argument) -> str:
    if argument.metavar is not None:
        return argument.metavar
    name = (argument.name or "").upper()
    return (name if argument.required else f"[{name}]") + ("..." if argument.nargs != 1 else "")


def option_row(option: click.Option) -> tuple[str, str]:
    """How an option is written, and what it means."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    spelled = names if option.is_flag or option.count else f"{names} {value_name(option)}"
    notes = [option.help or ""]
    if option.required:
        notes.append("Required.")
    if option.multiple:
        notes.append("May be given more than once.")
    if isinstance(option.show_default, str):
        notes.append(f"Default: {option.show_default}.")
    elif option.show_default and not option.is_flag:
        notes.append(f"Default: {option.default}.")
    return spelled, plain(" ".join(note for note in notes if note))


def table(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield ".. list-table::\n   :widths: 35 65\n"
    for left, right in rows:
        yield f"   * - ``{left}``\n     - {right}"
    yield ""


def visible(command: click.Command) -> list[tuple[str, click.Command]]:
    """The subcommands of ``command`` that a user is shown, in the order of its help."""
    if not isinstance(command, click.Group):
        return []
    context = click.Context(command)
    found = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [(name, child) for name, child in found if child is not None and not child.hidden]


def command_section(path: str, command: click.Command, level: int) -> Iterator[str]:
    """The section of one command, and of those below it."""
    if level:
        yield f".. _cli-{path.replace(' ', '-')}:\n"
        yield f"{path}\n{'-~^'[level - 1] * len(path)}\n"
    for paragraph in help_paragraphs(command.help):
        yield paragraph + "\n"
    arguments = [argument_usage(p) for p in command.params if isinstance(p, click.Argument)]
    children = visible(command)
    parts = [path, "[OPTIONS]", *arguments, *(["COMMAND [ARGS]..."] if children else [])]
    yield ".. code-block:: text\n\n   " + " ".join(parts) + "\n"
    options = [option_row(p) for p in command.params if isinstance(p, click.Option) and not p.hidden]
    if options:
        yield from table(options)
    for name, child in children:
        yield from command_section(f"{path} {name}", child, level + 1)


def cli_page() -> str:
    return NOTICE + CLI_HEAD + "\n" + "\n".join(command_section("hangar", hangar_command, 0)).rstrip() + "\n"


def summary(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def error_classes(
    cls: type[errors.HangarError] = errors.HangarError, depth: int = 0
) -> Iterator[tuple[type[errors.HangarError], int]]:
    """Each class of the tree and how deep it stands, parents before children."""
    yield cls, depth
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from error_classes(child, depth + 1)


def also(cls: type[Exception]) -> str:
    """The classes of Python that ``cls`` itself adds to its parent."""
    bases = [base for base in cls.__bases__ if base.__module__ == "builtins" and base is not Exception]
    return ", ".join(f"``{base.__name__}``" for base in bases) or "\N{EN DASH}"


def errors_page() -> str:
    codes = {code: summary(cls) for cls, code in errors.EXIT_CODES.items()} | FIXED_CODES
    lines = [NOTICE + ERRORS_HEAD.rstrip()]
    lines += [f"   * - {code}\n     - {plain(codes[code])}" for code in sorted(codes)]
    lines.append(CLASSES_HEAD.rstrip())
    for cls, depth in error_classes():
        name = "\u2003" * depth + f"``{cls.__name__}``"
        lines.append(
            f"   * - {name}\n     - {also(cls)}\n     - {errors.exit_code(cls(''))}\n     - {plain(summary(cls))}"
        )
    lines.append(WARNINGS_HEAD)
    lines += [
        f"``{name}`` ({also(found)})\n    {plain(summary(found))}"
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, Warning)
    ]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {"cli.rst": cli_page, "errors.rst": errors_page}


def stale() -> dict[Path, str]:
    """The pages that are not as they should be, and what they should be."""
    wanted = {REFERENCE / name: page() for name, page in PAGES.items()}
    return {path: text for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text}


def run(arguments: Sequence[str]) -> int:
    pages = stale()
    if "--check" in arguments:
        for path in pages:
            print(f"{path} is stale: run python docs/generate.py", file=sys.stderr)
        return 1 if pages else 0
    for path, text in pages.items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
