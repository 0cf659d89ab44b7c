"""Global options, which can be given before or after the command: ``-C``, ``--color``, ``--no-pager``, ``-v``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import click

__all__ = ["Settings", "global_options", "settings_of"]

Colour: TypeAlias = Literal["auto", "always", "never"]
_KEY: Final = "hangar.settings"


class Settings:
    """Values of the global options.

    Attributes
    ----------
    directory
        Working directory: the ``-C`` options, each relative to the one before.
    colour
        When text is coloured; ``auto`` means on a terminal, unless ``NO_COLOR`` is set.
    pager
        Whether a pager may be used.
    verbose
        Whether errors are shown with a traceback.
    """

    def __init__(self) -> None:
        self.directory = Path()
        self.colour: Colour = "auto"
        self.pager = True
        self.verbose = bool(os.environ.get("HANGAR_DEBUG"))

    def click_colour(self) -> bool | None:
        """Value for :attr:`click.Context.color`; None means that click checks for a terminal."""
        if self.colour != "auto":
            return self.colour == "always"
        return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def settings_of(ctx: click.Context) -> Settings:
    """The settings of the run that ``ctx`` belongs to; the contexts of a run share them."""
    found = ctx.meta.setdefault(_KEY, Settings())
    assert isinstance(found, Settings)
    return found


def _callback(change: Callable[[Settings, Any], None]) -> Callable[[click.Context, click.Parameter, Any], None]:
    def call(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value is None or value is False:
            return
        settings = settings_of(ctx)
        change(settings, value)
        ctx.color = settings.click_colour()

    return call


def _directory(settings: Settings, value: str) -> None:
    settings.directory /= Path(value)


def _colour(settings: Settings, value: Colour) -> None:
    settings.colour = value


def _no_pager(settings: Settings, value: bool) -> None:
    settings.pager = False


def _verbose(settings: Settings, value: bool) -> None:
    settings.verbose = True


def global_options(*, hidden: bool) -> list[click.Option]:
    """The global options. ``hidden`` leaves them out of the help of a command."""
    common: dict[str, Any] = {"expose_value": False, "hidden": hidden}
    return [
        click.Option(
            ["-C", "global_directory"],
            metavar="PATH",
            help="Work as if started in PATH.",
            callback=_callback(_directory),
            **common,
        ),
        click.Option(
            ["--color", "global_colour"],
            type=click.Choice(["auto", "always", "never"]),
            metavar="WHEN",
            help="Use colours: always, never, or auto (on a terminal, unless NO_COLOR is set).",
            callback=_callback(_colour),
            **common,
        ),
        click.Option(
            ["--no-pager", "global_no_pager"],
            is_flag=True,
            help="Do not use a pager for long output.",
            callback=_callback(_no_pager),
            **common,
        ),
        click.Option(
            ["-v", "--verbose", "global_verbose"],
            is_flag=True,
            help="Show the traceback of an error, for a bug report.",
            callback=_callback(_verbose),
            **common,
        ),
    ]
