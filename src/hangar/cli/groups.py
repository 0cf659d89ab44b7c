"""Base classes of commands and groups.

The help of a command keeps the lines of its examples. A group imports a command only when it is run, and suggests
corrections of mistyped commands.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import click

from hangar.cli.settings import global_options

__all__ = ["ROOT", "Command", "Entry", "LazyGroup", "SuggestingGroup", "nearest"]

ROOT: Final = "hangar"
"""Name of the program."""


class Entry(NamedTuple):
    """A command: its module and a short summary, so that the help of the group does not import it."""

    module: str
    summary: str


def _keep_lines(text: str | None) -> str | None:
    r"""``text`` with click's mark ``\b`` before each paragraph with indented lines, which prevents rewrapping."""
    if text is None:
        return None
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(f"\b\n{one}" if "\n  " in one and not one.startswith("\b") else one for one in paragraphs)


class Command(click.Command):
    """A command whose help keeps the lines of its examples."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.help = _keep_lines(self.help)
        self.params += global_options(hidden=True)


def nearest(word: str, known: Mapping[str, object] | list[str]) -> list[str]:
    """The entries of ``known`` that are similar to ``word``, the most similar first."""
    import difflib

    return difflib.get_close_matches(word, list(known), 3, 0.65)


class LazyCommands(MutableMapping[str, click.Command]):
    """Commands by name; each is imported at its first use."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            command = import_module(self._entries[name].module).command
            assert isinstance(command, click.Command)
            self._loaded[name] = command
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._entries), **dict.fromkeys(self._loaded)})

    def __len__(self) -> int:
        return len({*self._entries, *self._loaded})


class SuggestingGroup(click.Group):
    """A group that suggests similar commands for an unknown one.

    Attributes
    ----------
    hints
        Advice for words that users of other tools try.
    """

    command_class = Command

    def __init__(self, *args: Any, hints: Mapping[str, str] | None = None, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.help = _keep_lines(self.help)
        self.params += global_options(hidden=self.name != ROOT)
        self.hints = dict(hints or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of their definition."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The same as in click, with a better message for an unknown command."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and not name.startswith("-"):
            ctx.fail(self.unknown(ctx, name))
        return super().resolve_command(ctx, args)

    def unknown(self, ctx: click.Context, name: str) -> str:
        """The message for the unknown command ``name``."""
        text = f"{name!r} is not a command of {ctx.command_path!r}."
        if name in self.hints:
            return f"{text} {self.hints[name]}"
        found = nearest(name, self.list_commands(ctx))
        return f"{text} Did you mean {' or '.join(found)}?" if found else text


class LazyGroup(SuggestingGroup):
    """A group of commands in sections, none of which is imported to show the help of the group.

    Parameters
    ----------
    sections
        The commands by section, in the order of the help.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, Entry]], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.sections = sections
        self.commands = LazyCommands({name: entry for section in sections.values() for name, entry in section.items()})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, section by section."""
        width = max(len(name) for section in self.sections.values() for name in section)
        for title, section in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.summary) for name, entry in section.items()])
