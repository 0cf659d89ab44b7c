"""Parses dates such as ``2026-11-29``, ``yesterday``, ``2 weeks ago``, ``30d``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

__all__ = ["parse_date"]

_AGO: Final = re.compile(r"([0-9]{1,6})[ ._]?(second|sec|minute|min|hour|day|week|month|year|[smhdwy])s?(?:[ ._]ago)?")
_SECONDS: Final = {
    "s": 1,
    "m": 60,
    "h": 3_600,
    "d": 86_400,
    "w": 7 * 86_400,
    "y": 365 * 86_400,
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
