"""Updates refs and reflogs after history was rewritten: each replaced commit becomes its replacement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from hangar.db.tables import REFLOG, REFS
from hangar.digest import Digest
from hangar.refs import reflog
from hangar.refs.rows import HEAD_KEY, ReflogEntry, RefRow, decode, encode, key_name

if TYPE_CHECKING:
    from hangar.db import WriteTransaction

__all__ = ["rewrite_refs"]


def rewrite_refs(
    transaction: WriteTransaction,
    replaced: Mapping[bytes, Digest],
    *,
    who: tuple[str, str],
    operation: str,
    message: str,
) -> list[str]:
    """Replace commits in all refs and reflogs, including those of deleted refs.

    Each ref that moves gets a reflog entry. Its ``old`` is the new commit, because the replaced one will be removed; the
    message has the digest of the replaced one.

    Parameters
    ----------
    replaced
        New digest by old digest.
    who
        Name and email for the entries.

    Returns
    -------
    list
        Full names of the refs that moved, sorted.
    """
    for key, data in list(transaction.scan(REFLOG)):
        entry = decode(data, ReflogEntry, "a reflog")
        if entry.old in replaced or entry.new in replaced:
            changed = msgspec.structs.replace(entry, old=_new(replaced, entry.old), new=_new(replaced, entry.new))
            transaction.put(REFLOG, key, encode(changed))
    moved = []
    for key, data in list(transaction.scan(REFS)):
        if key == HEAD_KEY:
            continue
        name = key_name(key)
        row = decode(data, RefRow, name)
        if row.digest is None or row.digest not in replaced:
            continue
        new = replaced[row.digest]
        transaction.put(REFS, key, encode(msgspec.structs.replace(row, digest=new)))
        said = f"{message}; it was {row.digest.hex()[:12]}"
        reflog.append(transaction, name, new, new, who, operation, said)
        moved.append(name)
    return moved


def _new(replaced: Mapping[bytes, Digest], digest: bytes | None) -> bytes | None:
    return None if digest is None else replaced.get(digest, digest)
