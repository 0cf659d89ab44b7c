"""Progress of bulk imports, stored with the staged data that they wrote.

One row for each import that wrote to the staging area. It is written in the same transaction as the data, and deleted
with the staging area, so after a crash it tells exactly which items are staged. Key ``04 RECIPE``, with the digest of
the recipe: the function, the items and the columns.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hangar.db import WriteTransaction
from hangar.db.tables import STAGING
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import CorruptionError, UnsupportedVersionError

__all__ = ["IMPORT", "IMPORT_VERSION", "ImportRow", "decode_import", "forget_imports", "import_key", "recipe_of"]

IMPORT_VERSION: Final = 0
IMPORT: Final = b"\x04"


class ImportRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Progress of one import.

    Attributes
    ----------
    columns
        Ids of the columns that it writes to. The row is deleted if one of them is removed from the staging area.
    total
        Number of items.
    done
        The first items of this number were processed.
    failed
        Indices of those among them that failed, ascending: a resumed import tries them again.
    """

    version: int
    columns: list[bytes]
    total: int
    done: int
    failed: list[int]


_decoder = msgspec.msgpack.Decoder(ImportRow)


def import_key(recipe: Digest) -> bytes:
    """Key of the row of the import with this recipe."""
    return IMPORT + recipe


def recipe_of(key: bytes) -> Digest:
    """Digest of the recipe in the key of a row."""
    if len(key) != 1 + DIGEST_BYTES:
        raise CorruptionError("the staging area has the progress of an import under a malformed key")
    return Digest(key[1:])


def decode_import(data: bytes) -> ImportRow:
    """The progress that ``data`` encodes."""
    try:
        row = _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CorruptionError(f"the progress of an import cannot be read: {error}") from None
    if row.version != IMPORT_VERSION:
        raise UnsupportedVersionError(
            f"progress of an import of version {row.version} needs a newer Hangar: install a newer version"
        )
    ascending = all(one < other for one, other in zip(row.failed, row.failed[1:], strict=False))
    if (
        not 0 <= row.done <= row.total
        or not ascending
        or (row.failed and not 0 <= row.failed[0] <= row.failed[-1] < row.done)
    ):
        raise CorruptionError("the progress of an import contradicts itself")
    return row


def forget_imports(transaction: WriteTransaction) -> None:
    """Delete the progress of all imports, because staged data was lost: they begin again."""
    transaction.delete_prefix(STAGING, IMPORT)
