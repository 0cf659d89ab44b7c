"""Selects the reflog entries that expire: only those that the user asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hangar.errors import InvalidTypeError, RevisionNotFoundError
from hangar.history.dates import parse_date
from hangar.names import plain_text
from hangar.refs import BRANCHES, REMOTES, TAGS, ReflogEntry
from hangar.refs.reflog import expired, names
from hangar.revisions import did_you_mean
from hangar.stores import Stores

__all__ = ["ALL", "Expiry", "choose_expired"]

ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Expiry:
    """Reflog entries that expire.

    Attributes
    ----------
    keys
        Keys of their rows.
    everything
        Whether all entries expire, and files that are kept for another copy of the database are released too.
    """

    keys: frozenset[bytes] = frozenset()
    everything: bool = False


def choose_expired(stores: Stores, wanted: object) -> Expiry:
    """Select the entries that expire.

    Parameters
    ----------
    wanted
        None: none; ``'all'``; the name of a branch or tag, deleted or not: its entries; or an age or date (``'30 days'``,
        ``'2w'``, ``'2026-01-31'``): older entries, of every branch. The newest entries of a ref never expire before
        older ones.

    Raises
    ------
    RevisionNotFoundError
        It is neither a name that has a reflog nor a date.
    """
    if wanted is None:
        return Expiry()
    if not isinstance(wanted, str):
        raise InvalidTypeError(f"expire_reflog must be a str or None, not {type(wanted).__name__}")
    with stores.db.read() as transaction:
        if wanted == ALL:
            return Expiry(expired(transaction, lambda name, entry: True), everything=True)
        known = names(transaction)
        chosen = next((kind + wanted for kind in ("", BRANCHES, TAGS, REMOTES) if kind + wanted in known), None)
        if chosen is not None:
            return Expiry(expired(transaction, lambda name, entry: name == chosen))
        try:
            limit = parse_date(wanted, datetime.now().astimezone()).timestamp() * 1e9
        except ValueError:
            short = [name.partition("/")[2] for name in known]
            text = plain_text(wanted)
            raise RevisionNotFoundError(
                f"{text!r} is neither a branch or tag with a reflog, nor an age such as '30 days', nor 'all'"
                + did_you_mean(text, short, "`hangar branch list`")
            ) from None

        def is_old(name: str, entry: ReflogEntry) -> bool:
            return entry.time_ns < limit

        return Expiry(expired(transaction, is_old))
