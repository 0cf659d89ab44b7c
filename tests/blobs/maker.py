"""A repository as far as blobs see it, and blobs to put in it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hangar.blobs import BlobStore, BlobWriter
from hangar.db import Database
from hangar.db.format import write_format
from hangar.digest import BYTES, NDARRAY, STR, Header, blob_digest, blob_digests, digest_list
from hangar.lock import WriterLock, create_lock

UINT8 = 6
RAW = Header(BYTES, 0, ())
TEXT = Header(STR, 0, ())
IMAGE = Header(NDARRAY, UINT8, (28, 28))
TAGS = {NDARRAY: "10", STR: "30", BYTES: "31"}

Rows = npt.NDArray[np.uint8]


@dataclass
class Bench:
    """Database, lock, store and writer of one repository."""

    directory: Path
    db: Database
    lock: WriterLock
    store: BlobStore
    writer: BlobWriter

    @classmethod
    def create(cls, directory: Path) -> Bench:
        directory.mkdir()
        db = Database.create(directory, map_size=2**20)
        create_lock(db)
        db.close()
        write_format(directory)
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path) -> Bench:
        db = Database.open(directory)
        lock = WriterLock(db)
        lock.acquire()
        store = BlobStore(db, directory)
        return cls(directory, db, lock, store, BlobWriter(store, lock))

    def close(self) -> None:
        self.writer.close()
        self.store.close()
        self.lock.release()
        self.db.close()

    def reopen(self) -> Bench:
        """What another process would find."""
        self.close()
        return Bench.open(self.directory)

    def publish(self) -> None:
        self.writer.prepare()
        self.db.update(self.writer.record)
        self.writer.committed()

    def add(self, blobs: Sequence[Blob]) -> None:
        """Add a batch, each to the backend of its kind."""
        for kind, tag in TAGS.items():
            own = [blob for blob in blobs if blob.header.kind == kind]
            headers, buffers = [blob.header for blob in own], [blob.data for blob in own]
            self.writer.add_list(tag, headers, buffers, [blob.digest for blob in own])

    def add_singly(self, blobs: Sequence[Blob]) -> None:
        for blob in blobs:
            self.writer.add_one(TAGS[blob.header.kind], blob.header, blob.data, blob.digest)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("blobs/*"))

    def runs(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("runs/*"))


@dataclass(frozen=True)
class Blob:
    header: Header
    data: bytes

    @property
    def digest(self) -> bytes:
        return blob_digest(self.header, self.data)


def texts(count: int, seed: int = 0, most: int = 400) -> list[Blob]:
    """bytes values of many sizes, the empty one first."""
    source = random.Random(seed)
    return [Blob(RAW, source.randbytes(source.randrange(most) if i else 0)) for i in range(count)]


def arrays(count: int, seed: int = 0) -> list[Blob]:
    """Arrays of many shapes."""
    source = random.Random(seed)
    shapes = [tuple(source.randrange(6) for _ in range(source.randrange(4))) for _ in range(count)]
    return [Blob(Header(NDARRAY, UINT8, shape), source.randbytes(math.prod(shape))) for shape in shapes]


def mixed(count: int, seed: int = 0) -> list[Blob]:
    """Blobs of all kinds, shuffled."""
    letters = [Blob(TEXT, blob.data.hex().encode()) for blob in texts(count // 3, seed + 1)]
    blobs = letters + texts(count // 3, seed + 2) + arrays(count - 2 * (count // 3), seed + 3)
    random.Random(seed).shuffle(blobs)
    return blobs


def images(count: int, seed: int = 0) -> tuple[Rows, Rows]:
    """Rows of 784 bytes, and their digests."""
    rows = np.random.default_rng(seed).integers(0, 256, (count, 784), np.uint8)
    return rows, blob_digests(IMAGE, rows)


def check_reads(store: BlobStore, blobs: Sequence[Blob]) -> None:
    """All of ``blobs`` read back, in a batch and one by one."""
    found = store.read_list([blob.digest for blob in blobs])
    assert [(header, bytes(data)) for header, data in found] == [(blob.header, blob.data) for blob in blobs]
    for blob in blobs[:: max(1, len(blobs) // 20)]:
        header, data = store.read_one(blob.digest)
        assert (header, bytes(data)) == (blob.header, blob.data)


def names(digests: npt.NDArray[Any]) -> list[bytes]:
    return list(digest_list(digests))
