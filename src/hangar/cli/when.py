"""Parses dates such as ``2026-11-29``, ``yesterday``, ``2 weeks ago``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

import click

__all__ = ["date", "parse_date"]

_AGO: Final = re.compile(r"([0-9]{1,6})[ ._]?(second|sec|minute|min|hour|day|week|month|year)s?(?:[ ._]ago)?")
_SECONDS: Final = {
    "second": 1,
    "sec": 1,
    "minute": 60,
    "min": 60,
    "hour": 3_600,
    "day": 86_400,
    "week": 7 * 86_400,
    "month": 30 * 86_400,
    "year": 365 * 86_400,
}


def parse_date(text: str, now: datetime) -> datetime:
    """The time that ``text`` means relative to ``now``. A date without a time zone is in the local one.

    Raises
    ------
    ValueError
        ``text`` is not a date.
    """
    words = text.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if words in named:
        return named[words]
    ago = _AGO.fullmatch(words)
    no_date = ValueError(f"{text!r} is not a date")
    try:
        if ago is not None:
            return now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        if words.startswith("@"):
            return datetime.fromtimestamp(int(words[1:])).astimezone()
        # Python before 3.11 does not parse Z.
        return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text.strip())).astimezone()
    except (ValueError, OverflowError, OSError):
        raise no_date from None


def date(ctx: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """Callback of an option: parse its value."""
    if value is None:
        return None
    try:
        return parse_date(value, datetime.now().astimezone())
    except ValueError:
        text = f"{value!r} is not a date: write 2026-11-29, '2026-11-29 17:30', yesterday or '2 weeks ago'"
        raise click.BadParameter(text, ctx, parameter) from None
