"""From the digest of a blob to its bytes: finding, reading, checking, deduplicating and publishing, over any backends.

``store`` reads by digest, ``reader`` at locations, ``writer`` writes, ``verify`` checks all there is. ``locator`` finds a blob in ``pending``, ``run`` files (searched as
``index`` says) or the database; ``catalog`` holds the rows that name files; ``files`` keeps blob files open; ``appender`` chooses
which file a batch goes to, as ``ownership`` allows; ``ingest`` hashes what comes in, block by block, while what came before is written; ``publication`` is
what a transaction records; ``merging`` says when runs are merged.
"""

from __future__ import annotations

from hangar.blobs.ownership import OwnFiles
from hangar.blobs.store import BlobStore
from hangar.blobs.verify import Damage, verify_blobs, verify_files
from hangar.blobs.writer import BlobWriter

__all__ = ["BlobStore", "BlobWriter", "Damage", "OwnFiles", "verify_blobs", "verify_files"]
