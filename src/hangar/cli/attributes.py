"""``hangar column attributes``, and attributes as readable text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, visible, visible_name, write_json
from hangar.cli.state import State, pass_state
from hangar.cli.views import open_view

__all__ = ["attribute_lines", "attributes"]


def attribute_lines(values: Mapping[str, Any]) -> list[str]:
    """A line for each attribute, such as ``unit = "mm"``."""
    return [f"{visible_name(key)} = {visible(_text(value))}" for key, value in values.items()]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda data: data.hex())


def parse_value(text: str) -> Any:
    """Parse a typed value: valid JSON (a number, true, a list ...) is decoded, anything else is text."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text
    return text if value is None else value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"{text!r} is not an attribute: write KEY=VALUE")
    return key, parse_value(value)


@click.command("attributes", cls=Command)
@click.argument("name", shell_complete=complete.columns)
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--unset", multiple=True, metavar="KEY", help="Remove this attribute.")
@json_option
@pass_state
def attributes(state: State, name: str, pairs: tuple[str, ...], unset: tuple[str, ...], as_json: bool) -> None:
    """Show or set the attributes (metadata such as units or class names) of the column NAME.

    VALUE is parsed as JSON if it is valid JSON: a number, true, false, a list or a map. Anything else is text. Put text
    that looks like JSON in double quotes. Attributes are staged, committed and versioned with the column.

    For example:
      hangar column attributes labels unit=mm scale=0.5
      hangar column attributes labels 'classes=["cat", "dog"]' 'code="007"'
      hangar column attributes labels --unset unit

    JSON: name, attributes.
    """
    new = dict(map(_pair, pairs))
    if new or unset:
        with state.writer() as checkout, checkout:
            column = checkout.columns[name]
            for key in unset:
                del column.attributes[key]
            column.attributes.update(new)
    found = dict(open_view(state, None)[name].attributes)
    if as_json:
        write_json({"name": name, "attributes": found})
        return
    for line in attribute_lines(found):
        echo(line)
