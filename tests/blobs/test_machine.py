"""A store and its writer beside two dicts: what is published, and what is not published yet."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hangar import limits
from hangar.blobs import BlobStore, BlobWriter, verify_blobs, verify_files
from hangar.blobs import location_update as location_update_module
from hangar.blobs import merging as merging_module
from hangar.digest import BYTES, NDARRAY, STR, Header, blob_digests
from hangar.errors import CorruptionError, LockedError
from hangar.lock import WriterLock, force_release
from tests.blobs.maker import TAGS, UINT8, Bench, Blob, check_reads

KINDS = [Header(BYTES, 0, ()), Header(STR, 0, ()), Header(NDARRAY, UINT8, (2, 2)), Header(NDARRAY, UINT8, (4,))]

# Few contents of few sizes, so that most of what is added is there already, somewhere.
blobs = st.builds(
    lambda header, number: Blob(
        header, bytes([number % 256]) * (4 if header.kind == NDARRAY else number * 37 % 500) or b""
    ),
    st.sampled_from(KINDS),
    st.integers(0, 40),
)
batches = st.lists(blobs, min_size=1, max_size=25)


class BlobMachine(RuleBasedStateMachine):
    """Everything that one writer after the other can do, against what must be readable."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(limits, "RUN_BLOBS", 8)
        self.patch.setattr(limits, "BLOB_FILE_BYTES", 2_000)
        self.patch.setattr(limits, "BATCH_BUFFER_BYTES", 600)
        self.patch.setattr(limits, "OPEN_BLOB_FILES", 3)
        self.patch.setattr(merging_module, "_MOST", 3)
        self.patch.setattr(location_update_module, "TABLE_ROWS", 20)
        self.patch.setattr(os, "fsync", lambda descriptor: None)
        self.published: dict[bytes, Blob] = {}
        self.pending: dict[bytes, Blob] = {}

    @initialize()
    def create(self) -> None:
        self.bench = Bench.create(self.place / ".hangar")
        self.reader = BlobStore(self.bench.db, self.bench.directory)

    def teardown(self) -> None:
        self.reader.close()
        self.bench.close()
        self.patch.undo()
        shutil.rmtree(self.place)

    def added(self, batch: list[Blob]) -> None:
        self.pending.update({blob.digest: blob for blob in batch if blob.digest not in self.published})

    @rule(batch=batches)
    def add_list(self, batch: list[Blob]) -> None:
        self.bench.add(batch)
        self.added(batch)

    @rule(batch=batches)
    def add_singly(self, batch: list[Blob]) -> None:
        self.bench.add_singly(batch)
        self.added(batch)

    @rule(numbers=st.lists(st.integers(0, 40), min_size=1, max_size=25), header=st.sampled_from(KINDS[2:]))
    def add_rows(self, numbers: list[int], header: Header) -> None:
        rows = np.repeat(np.array(numbers, np.uint8)[:, None], 4, axis=1).copy()
        self.bench.writer.add_rows(TAGS[NDARRAY], header, rows, blob_digests(header, rows))
        self.added([Blob(header, row.tobytes()) for row in rows])

    @rule()
    def publish(self) -> None:
        self.bench.publish()
        self.published.update(self.pending)
        self.pending.clear()

    @rule()
    def prepare_and_roll_back(self) -> None:
        self.bench.writer.prepare()
        self.bench.writer.rollback()
        self.pending.clear()

    @rule()
    def fail_to_publish(self) -> None:
        self.bench.writer.prepare()

        def fail(transaction: object) -> None:
            self.bench.writer.record(transaction)  # type: ignore[arg-type]
            raise KeyError

        with pytest.raises(KeyError):
            self.bench.db.update(fail)
        self.bench.writer.rollback()
        self.pending.clear()

    @rule()
    def reopen(self) -> None:
        self.bench.writer.close()
        self.bench.writer = BlobWriter(self.bench.store, self.bench.lock)
        self.pending.clear()

    @rule()
    def take_over(self) -> None:
        """By force, while the old writer has prepared to publish."""
        old = self.bench
        old.writer.prepare()
        force_release(old.db)
        lock = WriterLock(old.db)
        lock.acquire()
        store = BlobStore(old.db, old.directory)
        self.bench = Bench(old.directory, old.db, lock, store, BlobWriter(store, lock))
        with pytest.raises(LockedError):
            old.db.update(old.writer.record)
        old.writer.rollback()
        old.writer.close()
        old.lock.release()
        self.pending.clear()

    @invariant()
    def everything_reads(self) -> None:
        if hasattr(self, "bench"):
            check_reads(self.bench.store, [*self.published.values(), *self.pending.values()])
            check_reads(self.reader, list(self.published.values()))
            for digest in self.pending:
                with pytest.raises(CorruptionError):
                    self.reader.read_one(digest)

    @rule()
    def everything_is_sound(self) -> None:
        assert [*verify_files(self.reader), *verify_blobs(self.reader, progress=False)] == []
        assert len(self.reader.locator.runs()) <= 3


TestBlobMachine = BlobMachine.TestCase
TestBlobMachine.settings = settings(max_examples=settings().max_examples // 3)
