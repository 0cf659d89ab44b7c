"""Blobs: batches that become rows or runs, files that are made, continued and rolled over, runs that are merged.

What was published reads back, whole and with its digest; of the batch that was under way all is there or nothing; and the
next writer goes on beside whatever was left behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hangar import limits
from hangar.blobs import location_update, merging, run, verify_blobs, verify_files
from tests.blobs.maker import Bench, Blob, arrays, check_reads, texts
from tests.crash.harness import Acknowledge, Scenario, State

RUN_BLOBS = 12
MOST_RUNS = 2
TABLE_ROWS = 20
FILE_BYTES = 3_000
PIECE_BLOBS = 25


def lower_limits() -> None:
    """A few blobs go through all that many would; in a child, which ends with the scenario."""
    limits.RUN_BLOBS = RUN_BLOBS  # type: ignore[misc]
    limits.BLOB_FILE_BYTES = FILE_BYTES  # type: ignore[misc]
    merging._MOST = MOST_RUNS  # type: ignore[misc]
    run._PIECE_BLOBS = PIECE_BLOBS  # type: ignore[misc]
    location_update.TABLE_ROWS = TABLE_ROWS  # type: ignore[attr-defined]


def step(number: int) -> list[Blob]:
    """What the steps add, by number; repeated contents among them."""
    sizes = (5, 8, 15, 4, 20, 13)
    own = texts(sizes[number], number, 300)
    return own + arrays(3, number) + texts(5, 0, 300) if number % 2 else own


STEPS = 6


def prepare(directory: Path) -> None:
    place = directory / ".hangar"
    bench = Bench.create(place)
    bench.add(step(0))
    bench.publish()
    bench.close()


def publish(directory: Path, acknowledge: Acknowledge) -> None:
    lower_limits()
    bench = Bench.open(directory / ".hangar")
    for number in range(1, STEPS):
        if number == 2:
            bench.add(texts(4, 99))
            bench.writer.prepare()
            bench.writer.rollback()
        if number % 3:
            bench.add(step(number))
        else:
            bench.add_singly(step(number))
        bench.publish()
        acknowledge(number)
        if number == 3:
            bench = bench.reopen()
    bench.close()


def known(bench: Bench, blobs: Sequence[Blob]) -> list[bool]:
    digests = np.frombuffer(b"".join(blob.digest for blob in blobs), np.uint8).reshape(-1, 32)
    return list(map(bool, bench.store.known(digests)))


def check(state: State) -> None:
    bench = Bench.open(state.directory / ".hangar")
    latest = max(state.acknowledged, default=0)
    done = [blob for number in range(latest + 1) for blob in step(number)]
    check_reads(bench.store, done)
    if latest + 1 < STEPS:
        own = {blob.digest for blob in done}
        fresh = [blob for blob in step(latest + 1) if blob.digest not in own]
        assert len(set(known(bench, fresh))) == 1
    assert not any(known(bench, texts(4, 99)[1:]))
    assert_sound(bench)
    # It goes on from there.
    more = texts(6, 1000)
    bench.add(more)
    bench.publish()
    check_reads(bench.store, done + more)
    assert_sound(bench)
    bench.close()


def assert_sound(bench: Bench) -> None:
    assert [*verify_files(bench.store), *verify_blobs(bench.store, progress=False)] == []


SCENARIOS = (Scenario("blobs published", publish, check, prepare, variants=2),)
