"""Commands that pass unknown options to a plugin: ``--quality 90`` or ``--quality=90``, anywhere after the command."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from hangar.cli.groups import Command
from hangar.external.base import BasePlugin, OptionError

__all__ = ["PluginCommand", "check_options"]


class PluginCommand(Command):
    """A command with the parameter ``plugin_options``: all ``--key value`` pairs that are not its own options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Collect the plugin's options, and parse the rest."""
        own = {
            name: parameter
            for parameter in self.params
            if isinstance(parameter, click.Option)
            for name in parameter.opts
        }
        own |= dict.fromkeys(ctx.help_option_names)  # type: ignore[arg-type]
        rest: list[str] = []
        options: dict[str, Any] = {}
        words = list(args)
        while words:
            word = words.pop(0)
            name, equals, value = word.partition("=")
            if word == "--":
                rest += [word, *words]
                break
            if not word.startswith("--") or name in own:
                rest.append(word)
                option = own.get(name)
                if option is not None and not option.is_flag and not equals and words:
                    rest.append(words.pop(0))
            elif equals or (words and not words[0].startswith("--")):
                options[name[2:].replace("-", "_")] = _typed(value if equals else words.pop(0))
            else:
                shown = [one for one in own if not getattr(own[one], "hidden", False)]
                near = difflib.get_close_matches(name, shown, 1, 0.75)
                hint = f" Did you mean {near[0]}?" if near else " An option of a plugin needs a value."
                ctx.fail(f"no option {name}.{hint}")
        parsed = super().parse_args(ctx, rest)
        ctx.params["plugin_options"] = options
        return parsed


def _typed(text: str) -> Any:
    """``text`` as an int, float or bool if it is one, else unchanged."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_options(ctx: click.Context, plugin: BasePlugin, method: str, options: Mapping[str, Any]) -> None:
    """Raise a usage error for an option or value that ``plugin`` does not accept, before any file is read."""
    try:
        plugin.check_options(method, options)
    except OptionError as error:
        written = f"--{error.option.replace('_', '-')}"
        if not error.unknown:
            ctx.fail(f"{written}: {error}")
        _fail_unknown(ctx, written, plugin.option_names(method))


def _fail_unknown(ctx: click.Context, written: str, known: tuple[str, ...] | None) -> NoReturn:
    own = [
        name
        for parameter in ctx.command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in parameter.opts
    ]
    near = difflib.get_close_matches(written, [*own, *(f"--{name}" for name in known or ())], 1, 0.75)
    taken = (
        f"The options of the plugin are {', '.join(f'--{name}' for name in known or ())}."
        if known
        else "The plugin has no options."
    )
    ctx.fail(f"no option {written}. {f'Did you mean {near[0]}?' if near else taken}")
