"""Checkouts: handles on one commit, any number that read and one that writes."""

from __future__ import annotations

from hangar.checkout.opening import open_writer
from hangar.checkout.reader import ReaderCheckout
from hangar.checkout.writer import WriterCheckout

__all__ = ["ReaderCheckout", "WriterCheckout", "open_writer"]
