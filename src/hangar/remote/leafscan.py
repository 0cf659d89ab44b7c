"""Which blobs of received leaves are not here: leaf by leaf, in the order of the trees.

Each leaf is read once: what was missing of it is remembered, and looked for again when it is asked next. So asking again for
what is missing costs what is missing.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from hangar.backends.location import HEADER, Locations, Words
from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests, Mask, sort_digests
from hangar.blobs.tombstones import find_tombstones
from hangar.blobs.unpublished import UnpublishedBlobs
from hangar.digest import DIGEST_BYTES, digest_list
from hangar.errors import InvalidInputError
from hangar.objects.bulk import blobs_in
from hangar.remote.source import ObjectSource
from hangar.remote.verify import Leaves
from hangar.schema import ColumnSchema
from hangar.stores import Stores

__all__ = ["LeafScan"]

_AT_ONCE: Final = 256
_NONE: Final = np.empty((0, DIGEST_BYTES), np.uint8)


class LeafScan:
    """Scan of the new leaves of one schema.

    Parameters
    ----------
    source
        Has the leaves.
    received
        Blobs that were received and are not published yet.
    complete
        Promises of other repositories are no reason for a blob to be missing here.

    Attributes
    ----------
    leaves
        The leaves, and the column they belong to.
    promised
        Blobs that are missing and not asked for, because another repository has promised them to this one.
    """

    def __init__(
        self,
        stores: Stores,
        source: ObjectSource,
        leaves: Leaves,
        received: UnpublishedBlobs,
        *,
        complete: bool = False,
    ) -> None:
        self.leaves = leaves
        self.promised = DigestSet()
        self._complete = complete
        self._stores = stores
        self._source = source
        self._received = received
        self._digests = leaves.digests()
        self._read = 0
        # What was missing of the leaves that were read.
        self._absent = _NONE
        self._good_headers: set[int] = set()

    def missing(self, most: int) -> tuple[Digests, bool]:
        """Blobs that are missing, each once, at most about ``most``; and whether there may be more.

        Raises
        ------
        InvalidInputError
            A blob that is here is not what the column holds.
        """
        found = [self._not_here(self._absent)]
        count = len(found[0])
        while self._read < len(self._digests) and count < most:
            part = self._digests[self._read : self._read + _AT_ONCE]
            found.append(self._not_here(blobs_in(self._source.get("node", part))))
            self._read += _AT_ONCE
            count += len(found[-1])
        self._absent = np.concatenate(found)
        return self._absent, self._read < len(self._digests)

    def _not_here(self, blobs: Digests) -> Digests:
        """Those of some blobs that are missing, each once. Raises what :meth:`missing` does."""
        _, sought, repeats = sort_digests(np.ascontiguousarray(blobs))
        sought = sought.take(np.flatnonzero(~repeats))
        blobs = sought.words.view(np.uint8)
        received = np.zeros(len(blobs), np.bool_)
        for index in self._received.indexes:
            mask, rows = index.search(sought)
            hits = np.flatnonzero(mask)
            if hits.size:
                # It may have come for another column, or for another push of this id.
                self._check(index.take(rows[hits], sought.take(hits)))
                received |= mask
        left = np.flatnonzero(~received)
        located = self._stores.blobs.locator.locate_published(sought.take(left))
        self._check(located.words[located.stored])
        absent = blobs[left[~located.stored]]
        return absent[~self._explained(absent)] if len(absent) else absent

    def _explained(self, absent: Digests) -> Mask:
        """Mask of the blobs that may be missing here: purged ones, and those that another remote has promised."""
        names = digest_list(absent)
        with self._stores.db.read() as transaction:
            purged = find_tombstones(transaction, names)
        mask = np.zeros(len(names), np.bool_)
        if purged:
            mask = np.fromiter(map(purged.__contains__, names), np.bool_, len(names))
        if not self._complete and self._stores.blobs.promises.possible():
            promised = self._stores.blobs.promises.promised(absent)
            self.promised.add(absent[promised & ~mask])
            mask |= promised
        return mask

    def _check(self, words: Words) -> None:
        """Check that blobs that are here are what the column holds."""
        schema: ColumnSchema = self.leaves.schema
        if schema.needs or not len(words):
            return
        for header_id in np.unique(words[:, HEADER]).tolist():
            if header_id not in self._good_headers:
                header = self._stores.blobs.header(header_id)
                if not schema.check_header(header):
                    raise InvalidInputError(f"a column names a blob of another type: {header}")
                self._good_headers.add(header_id)
        # For unencoded blobs the stored length is the length of the value; longer ones are never inline.
        locations = Locations(words)
        if ((locations.codec == 0) & (locations.length.astype(np.int64) <= schema.inline_bytes)).any():
            raise InvalidInputError("a column names a blob that must be inline in its tree")
