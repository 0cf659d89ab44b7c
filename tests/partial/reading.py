"""What tests of reads on demand look into."""

from __future__ import annotations

from typing import Any

from hangar.remote.on_read import FetchOnRead

__all__ = ["fetch_of"]


def fetch_of(checkout: Any) -> FetchOnRead:
    """What fetches for a checkout that fetches on read."""
    found: FetchOnRead = checkout.session.resolve
    return found
