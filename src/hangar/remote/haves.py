"""Which commits a client tells a peer that it has: the tips of its refs, and ancestors at growing distances."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hangar.db.tables import COMMITS
from hangar.digest import Digest
from hangar.objects.graph import generation
from hangar.objects.records import read_commit
from hangar.stores import Stores

__all__ = ["commits_here", "haves"]

_MOST: Final = 1_024
_BRANCHES: Final = 32
"""Of so many tips ancestors are told too."""


def haves(stores: Stores) -> list[Digest]:
    """Commits that are here with all that they name: at most 1,024, those of high generation first.

    If a tip is not known to the peer, because there are new commits on it, one of its ancestors is: they are given at
    distances of 1, 2, 4, 8 ... along first parents, so that the peer sends at most about as many commits as there are new
    ones here.
    """
    with stores.db.read() as transaction:
        tips = dict.fromkeys(digest for _, digest in stores.refs.items("", transaction) if digest is not None)
        ordered = sorted(tips, key=lambda digest: -generation(transaction, digest))[:_MOST]
        found = dict.fromkeys(ordered)
        for tip in ordered[:_BRANCHES]:
            digest, distance, due = tip, 0, 1
            while True:
                parents = read_commit(transaction, digest).parents
                if not parents:
                    found[digest] = None
                    break
                digest, distance = Digest(parents[0]), distance + 1
                if distance == due:
                    if digest in found:
                        break
                    found[digest] = None
                    due *= 2
    return list(found)[:_MOST]


def commits_here(stores: Stores, digests: Iterable[bytes]) -> list[Digest]:
    """Those of some commits that are here."""
    names = [Digest(digest) for digest in digests]
    with stores.db.read() as transaction:
        rows = transaction.get_many(COMMITS, names)
    return [digest for digest, row in zip(names, rows, strict=True) if row is not None]
