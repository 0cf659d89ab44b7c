"""Dates as people type them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from hangar.cli.when import parse_date

ZONE = timezone(timedelta(hours=2))
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("today", datetime(2026, 3, 4, tzinfo=ZONE)),
        ("Yesterday", datetime(2026, 3, 3, tzinfo=ZONE)),
        ("1 hour ago", NOW - timedelta(hours=1)),
        ("2.weeks.ago", NOW - timedelta(weeks=2)),
        ("3 days", NOW - timedelta(days=3)),
        ("90 min ago", NOW - timedelta(minutes=90)),
        ("@0", datetime(1970, 1, 1, tzinfo=timezone.utc)),
        ("2026-01-02T03:04:05+01:00", datetime(2026, 1, 2, 2, 4, 5, tzinfo=timezone.utc)),
        ("2026-01-02 03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        ("2026-01-02", datetime(2026, 1, 2).astimezone()),
        ("2026-01-02 03:04", datetime(2026, 1, 2, 3, 4).astimezone()),
    ],
)
def test_dates(text: str, moment: datetime) -> None:
    assert parse_date(text, NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13-01", "5", "-1 day", "999999 years ago", "@x", "@99999999999999999"]
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        parse_date(text, NOW)
