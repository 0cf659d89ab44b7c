"""Dates in options: ``2026-11-29``, ``yesterday``, ``2 weeks ago``."""

from __future__ import annotations

from datetime import datetime

import click

from hangar.history.dates import parse_date

__all__ = ["date", "parse_date"]


def date(ctx: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """Callback of an option: parse its value."""
    if value is None:
        return None
    try:
        return parse_date(value, datetime.now().astimezone())
    except ValueError:
        text = f"{value!r} is not a date: write 2026-11-29, '2026-11-29 17:30', yesterday or '2 weeks ago'"
        raise click.BadParameter(text, ctx, parameter) from None
