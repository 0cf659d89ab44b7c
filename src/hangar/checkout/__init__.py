"""Checkouts: any number of read checkouts of commits, and one write checkout of the staging area."""

from __future__ import annotations

from hangar.checkout.opening import open_writer
from hangar.checkout.reader import ReaderCheckout
from hangar.checkout.writer import WriterCheckout

__all__ = ["ReaderCheckout", "WriterCheckout", "open_writer"]
