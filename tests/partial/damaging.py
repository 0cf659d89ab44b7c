"""Data that a repository loses: by a defect, or because bytes of a file change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hangar import Repository
from hangar.backends.location import FILE_MASK, FILE_ROW, OFFSET
from hangar.blobs.catalog import blob_file_path
from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests
from hangar.blobs.repack import remove_blobs
from hangar.digest import Digest
from hangar.gc.policy import files_to_rewrite
from hangar.lock import under_lock
from hangar.objects.records import load_commit
from hangar.remote.selection import blobs_of_samples, column_entry


def digests_of(repo: Repository, column: str, samples: Sequence[Any], rev: str = "master") -> Digests:
    """The blobs of some samples."""
    commit = load_commit(repo.stores.db, Digest(bytes.fromhex(repo.rev_parse(rev))))
    return blobs_of_samples(repo.stores, column_entry(commit, column), samples).digests


def lose(repo: Repository, digests: Digests) -> None:
    """Remove the locations of blobs that nobody promises."""
    chosen = DigestSet(digests)
    stores = repo.stores
    under_lock(stores.db, lambda lock: remove_blobs(stores.blobs, lock, chosen.holds, files_to_rewrite))


def damage(repo: Repository, digests: Digests) -> None:
    """Overwrite some bytes of blobs in their files."""
    stores = repo.stores
    for word in stores.blobs.locate(np.ascontiguousarray(digests)).words:
        file_id = int(word[FILE_ROW] & FILE_MASK)
        with blob_file_path(stores.directory, file_id, stores.blobs.files.tag(file_id)).open("r+b") as file:
            file.seek(int(word[OFFSET]) + 3)
            file.write(b"\xaa\x55\xaa\x55")
    stores.blobs.refresh()
