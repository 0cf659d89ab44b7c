"""The tables of the database, and the checksums of rows that have no digest.

A table is content-addressed (its key is the digest of its value, verified on decoding) or *checked*: its rows are
stored as ``payload + checksum``. The checksum is XXH3-64 (canonical, big-endian) of ``key + payload`` with the seed
``number << 16 | length of the key``, so it detects a flipped bit, and a row in another table or under another key.
For *counted* tables, in which a lost row would go unnoticed, ``meta`` records the number of rows. In *sought* tables
a lookup that finds nothing is verified, because a flipped bit in a page of LMDB can make it search the wrong leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import add
from typing import Final

from xxhash import xxh3_64_digest

from hangar.errors import CorruptionError

__all__ = [
    "ATTRIBUTES",
    "CHECKSUM_BYTES",
    "COMMITS",
    "COMPLETE",
    "CONFLICTS",
    "FILES",
    "GRAPH",
    "HEADERS",
    "LEASES",
    "LOCATIONS",
    "META",
    "NODES",
    "OPERATIONS",
    "PENDING",
    "PROMISORS",
    "REFLOG",
    "REFS",
    "SCHEMAS",
    "STAGING",
    "TABLES",
    "TOMBSTONES",
    "Table",
    "add_checksum",
    "add_checksums",
    "strip_checksum",
    "strip_checksums",
]

CHECKSUM_BYTES: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A named database of the environment.

    Parameters
    ----------
    number
        Its index in :data:`TABLES`; part of the checksum of its rows.
    checked
        Rows have a checksum, verified by every read.
    counted
        Every transaction that changes the number of rows records it.
    sought
        A lookup that finds no row verifies this by the neighbouring rows; for tables where a missing row has a meaning.
    """

    name: str
    number: int
    checked: bool
    counted: bool
    sought: bool
    seed: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", self.number << 16)


NODES: Final = Table("nodes", 0, checked=False, counted=False, sought=False)
COMMITS: Final = Table("commits", 1, checked=False, counted=False, sought=False)
SCHEMAS: Final = Table("schemas", 2, checked=False, counted=False, sought=False)
ATTRIBUTES: Final = Table("attributes", 3, checked=False, counted=False, sought=False)
GRAPH: Final = Table("graph", 4, checked=True, counted=False, sought=False)
REFS: Final = Table("refs", 5, checked=True, counted=True, sought=True)
REFLOG: Final = Table("reflog", 6, checked=True, counted=True, sought=True)
LOCATIONS: Final = Table("locations", 7, checked=True, counted=True, sought=False)
HEADERS: Final = Table("headers", 8, checked=True, counted=True, sought=True)
FILES: Final = Table("files", 9, checked=True, counted=True, sought=True)
STAGING: Final = Table("staging", 10, checked=True, counted=True, sought=True)
PENDING: Final = Table("pending", 11, checked=True, counted=True, sought=True)
CONFLICTS: Final = Table("conflicts", 12, checked=True, counted=True, sought=True)
LEASES: Final = Table("leases", 13, checked=True, counted=True, sought=True)
PROMISORS: Final = Table("promisors", 14, checked=True, counted=True, sought=True)
TOMBSTONES: Final = Table("tombstones", 15, checked=True, counted=True, sought=True)
OPERATIONS: Final = Table("operations", 16, checked=True, counted=True, sought=True)
COMPLETE: Final = Table("complete", 17, checked=True, counted=False, sought=False)
META: Final = Table("meta", 18, checked=True, counted=False, sought=True)

TABLES: Final = (
    NODES,
    COMMITS,
    SCHEMAS,
    ATTRIBUTES,
    GRAPH,
    REFS,
    REFLOG,
    LOCATIONS,
    HEADERS,
    FILES,
    STAGING,
    PENDING,
    CONFLICTS,
    LEASES,
    PROMISORS,
    TOMBSTONES,
    OPERATIONS,
    COMPLETE,
    META,
)


def add_checksum(table: Table, key: bytes, payload: bytes) -> bytes:
    """Make the stored row of a checked table."""
    return payload + xxh3_64_digest(key + payload, table.seed + len(key))


def strip_checksum(table: Table, key: bytes, row: bytes) -> bytes:
    """The payload of a stored row of a checked table.

    Raises
    ------
    CorruptionError
        The checksum does not match.
    """
    payload = row[:-CHECKSUM_BYTES]
    if xxh3_64_digest(key + payload, table.seed + len(key)) != row[-CHECKSUM_BYTES:]:
        raise _damaged(table, key)
    return payload


def add_checksums(table: Table, items: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Make the stored rows of a checked table, each with its key."""
    keys = [key for key, _ in items]
    payloads = [payload for _, payload in items]
    return list(zip(keys, map(add, payloads, _checksums(table, keys, payloads)), strict=True))


def strip_checksums(table: Table, keys: Sequence[bytes], rows: Sequence[bytes]) -> list[bytes]:
    """The payloads of stored rows of a checked table."""
    payloads = [row[:-CHECKSUM_BYTES] for row in rows]
    found = [row[-CHECKSUM_BYTES:] for row in rows]
    expected = _checksums(table, keys, payloads)
    if expected != found:
        raise _damaged(table, next(key for key, one, other in zip(keys, expected, found, strict=True) if one != other))
    return payloads


def _checksums(table: Table, keys: Sequence[bytes], payloads: Sequence[bytes]) -> list[bytes]:
    seeds = map(add, map(len, keys), repeat(table.seed))
    return list(map(xxh3_64_digest, map(add, keys, payloads), seeds))


def _damaged(table: Table, key: bytes) -> CorruptionError:
    return CorruptionError(
        f"a row of table '{table.name}' is damaged (key {key.hex()}): run `hangar fsck` to see the affected data"
    )
