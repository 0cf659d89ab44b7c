"""The pages made from the code are as the code would make them, and leave out no command, option or error."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from types import ModuleType

import click
import pytest

from hangar import errors
from hangar.cli import main
from tests.docs.blocks import ROOT


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


def commands(command: click.Command = main, path: str = "hangar") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            if not child.hidden:
                yield from commands(child, f"{path} {name}")


COMMANDS = dict(commands())


@pytest.mark.parametrize("page", ["cli.rst", "errors.rst"])
def test_page_is_fresh(page: str) -> None:
    written = (ROOT / "docs" / "reference" / page).read_text("utf-8")
    assert written == GENERATOR.PAGES[page](), "stale: run python docs/generate.py"


def section(path: str) -> str:
    """The text under the heading ``path``, up to the next heading."""
    text: str = GENERATOR.cli_page()
    start = text.index(f"\n{path}\n-") if path == "hangar" else text.index(f".. _cli-{path.replace(' ', '-')}:\n")
    end = text.find(".. _cli-", start + 1)
    return text[start : end if end >= 0 else None]


@pytest.mark.parametrize("path", [path for path in COMMANDS if path != "hangar"])
def test_command_is_in_the_reference(path: str) -> None:
    text = section(path)
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert [name for name in parameter.opts if name not in text] == []
        elif isinstance(parameter, click.Argument):
            assert GENERATOR.argument_usage(parameter) in text


@pytest.mark.parametrize("path", COMMANDS)
def test_command_and_its_options_have_help(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    assert [option.name for option in options if not option.help] == []


def test_every_error_and_exit_code_is_in_the_reference() -> None:
    text: str = GENERATOR.errors_page()
    names = [name for name in errors.__all__ if isinstance(getattr(errors, name), type)]
    assert [name for name in names if f"``{name}``" not in text] == []
    assert [code for code in [0, 2, 130, *errors.EXIT_CODES.values()] if f"   * - {code}\n" not in text] == []


def test_help_text_is_never_markup() -> None:
    assert list(GENERATOR.help_paragraphs("Use *all* of `it`_, |now|.\n\n\b\nas is:\n  $ x *")) == [
        r"Use \*all\* of \`it\`\_, \|now\|.",
        "::\n\n    as is:\n      $ x *",
    ]
