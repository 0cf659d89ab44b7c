"""Finds the purged samples of a column, for commands that read many samples and skip the purged ones."""

from __future__ import annotations

from hangar.blobs.tombstones import LIFTED, Tombstone, find_tombstones, scan_tombstones
from hangar.db.tables import TOMBSTONES
from hangar.digest import digest_array, digest_list
from hangar.objects.commit import NESTED, ColumnEntry
from hangar.objects.digest_finder import DigestFinder
from hangar.objects.store import NodeStore
from hangar.purge.report import SampleName
from hangar.purge.selection import sample_name
from hangar.stores import Stores

__all__ = ["purged_samples"]


def purged_samples(stores: Stores, nodes: NodeStore, entry: ColumnEntry) -> dict[SampleName, Tombstone]:
    """The purged samples (or subsamples) of a column, in key order. Costs one look-up where nothing was ever purged."""
    if entry.root is None:
        return {}
    with stores.db.read() as transaction:
        if not transaction.count(TOMBSTONES):
            return {}
        tombstones = find_tombstones(transaction, [digest for digest, _ in scan_tombstones(transaction)])
    lifted = [digest for digest, tombstone in tombstones.items() if tombstone.state == LIFTED]
    if lifted:
        # Their bytes may have been stored again.
        digests = digest_array(lifted)
        for digest in digest_list(digests[stores.blobs.known(digests)]):
            del tombstones[digest]
    finder = DigestFinder(tombstones)
    finder.add(nodes, entry.root)
    hits = finder.hits(nodes, entry.root, set(), set())
    return {sample_name(hit.key, nested=entry.layout == NESTED): tombstones[hit.digest] for hit in hits}
