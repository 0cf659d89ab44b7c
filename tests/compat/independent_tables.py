"""The tables of a repository for the independent reader: LMDB, row checksums, counts, records. Like it, written from the specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lmdb
import msgspec
from blake3 import blake3
from xxhash import xxh3_64_intdigest

CONTENT_ADDRESSED = ["nodes", "commits", "schemas", "attributes"]
NAMES = [
    *CONTENT_ADDRESSED,
    "graph",
    "refs",
    "reflog",
    "locations",
    "headers",
    "files",
    "staging",
    "pending",
    "conflicts",
    "leases",
    "promisors",
    "tombstones",
    "operations",
    "complete",
    "meta",
]
NOT_COUNTED = {*CONTENT_ADDRESSED, "graph", "complete", "meta"}


class FormatError(Exception):
    """The repository is not what the specification says."""


def require(condition: object, message: str) -> None:
    if not condition:
        raise FormatError(message)


def decode(data: bytes, what: str) -> Any:
    """MessagePack, in its one canonical encoding."""
    value = msgspec.msgpack.decode(data)
    require(msgspec.msgpack.encode(value) == data, f"{what} is not canonical")
    return value


def record_digest(record_class: str, data: bytes) -> bytes:
    key = blake3(record_class.encode(), derive_key_context="hangar 0 record class").digest()
    return blake3(data, key=key).digest()


def read_record(tables: Tables, table: str, record_class: str, digest: bytes) -> Any:
    data = tables[table][digest]
    require(record_digest(record_class, data) == digest, f"{record_class} {digest.hex()} has another digest")
    return decode(data, f"{record_class} {digest.hex()}")


class Tables:
    """All rows of all tables, without their checksums, by name and key in order."""

    def __init__(self, directory: Path) -> None:
        self._rows: dict[str, dict[bytes, bytes]] = {}
        with lmdb.open(str(directory), readonly=True, lock=False, max_dbs=64) as environment:
            for number, name in enumerate(NAMES):
                table = environment.open_db(name.encode(), create=False)
                with environment.begin(table) as transaction, transaction.cursor() as cursor:
                    self._rows[name] = {key: self._payload(name, number, key, row) for key, row in cursor}
            with environment.begin() as transaction:
                require({name for name, _ in transaction.cursor()} == set(map(str.encode, NAMES)), "unknown tables")
        for name in NAMES:
            recorded = int.from_bytes(self["meta"].get(b"rows:" + name.encode(), b""), "little")
            require(name in NOT_COUNTED or len(self[name]) == recorded, f"table {name} lost rows, or has too many")

    def __getitem__(self, name: str) -> dict[bytes, bytes]:
        return self._rows[name]

    @staticmethod
    def _payload(name: str, number: int, key: bytes, row: bytes) -> bytes:
        if name in CONTENT_ADDRESSED:
            return row
        payload, check = row[:-8], row[-8:]
        expected = xxh3_64_intdigest(key + payload, number << 16 | len(key))
        require(check == expected.to_bytes(8, "big"), f"a row of {name} is damaged")
        return payload
