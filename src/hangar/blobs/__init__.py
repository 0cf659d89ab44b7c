"""Blob store: finds, reads, verifies, deduplicates and publishes blobs by digest, over any backend.

``store`` reads by digest, ``reader`` at known locations, ``writer`` writes, ``verify`` checks everything. ``locator``
finds the location of a blob: in the ``unpublished`` blobs, in ``run`` files (searched by ``index``) or in the database.
``catalog`` reads and writes the rows that name files. ``files`` keeps blob files open. ``appender`` chooses the file
that a batch goes to, as ``ownership`` allows. ``ingest`` hashes a batch block by block, while the previous block is
written. ``location_update`` records new locations in a transaction. ``merging`` decides when runs are merged. ``repack`` removes
blobs: ``space`` measures how much of each file is needed, ``drop`` is the transaction, ``removal`` deletes the files.
"""

from __future__ import annotations

from hangar.blobs.ownership import OwnFiles
from hangar.blobs.store import BlobStore
from hangar.blobs.verify import Damage, verify_blobs, verify_files
from hangar.blobs.writer import BlobWriter

__all__ = ["BlobStore", "BlobWriter", "Damage", "OwnFiles", "verify_blobs", "verify_files"]
