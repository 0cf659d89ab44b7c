"""Leaves of commits that a repository has already, for a push with ``complete``: it may lack blobs of them."""

from __future__ import annotations

from collections.abc import Iterable

from hangar.digest import Digest
from hangar.objects.records import load_commit, load_record
from hangar.objects.walk import blob_leaves
from hangar.remote.verify import Leaves
from hangar.schema import open_schema
from hangar.stores import Stores

__all__ = ["standing_leaves"]


def standing_leaves(stores: Stores, commits: Iterable[Digest]) -> list[Leaves]:
    """Those leaves of commits that name blobs, each once, grouped by schema."""
    found: dict[bytes, Leaves] = {}
    seen: dict[bytes, set[Digest]] = {}
    for digest in commits:
        for entry in load_commit(stores.db, digest).columns:
            if entry.root is None:
                continue
            group = found.get(entry.schema)
            if group is None:
                schema = open_schema(load_record(stores.db, "schema", Digest(entry.schema)))
                group = found[entry.schema] = Leaves(schema, entry.id)
            walked = seen.setdefault(entry.schema, set())
            for leaf, node in blob_leaves(stores.nodes, entry.root, walked):
                if len(node.blobs()):
                    group.joined += leaf
    return list(found.values())
