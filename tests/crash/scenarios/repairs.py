"""A repair that is killed at any step: the next one finishes it, and everything is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lmdb

from hangar import Repository
from tests.crash.harness import Acknowledge, Scenario, State
from tests.crash.scenarios.repositories import fill, goes_on, require_sound
from tests.crash.scenarios.repositories import prepare as prepare_whole
from tests.crash.world import Live, Model, install_toy, observe, require

DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "refs": lambda row: bytes(byte ^ 0x5A for byte in row),
    "reflog": lambda row: row[:9] + bytes([row[9] ^ 1]) + row[10:],
    "graph": lambda row: bytes(byte ^ 0x5A for byte in row),
    "nodes": lambda row: row[:20] + bytes([row[20] ^ 1]) + row[21:],
    "locations": lambda row: row[:30] + bytes([row[30] ^ 1]) + row[31:],
    "files": lambda row: bytes(byte ^ 0x5A for byte in row),
}


def prepare(directory: Path) -> None:
    """A repository with every sort of damage that can be repaired."""
    prepare_whole(directory)
    own = directory / ".hangar"
    with lmdb.open(str(own / "db"), max_dbs=64) as environment:
        for name, change in DAMAGES.items():
            table = environment.open_db(name.encode(), create=False)
            with environment.begin(table, write=True) as transaction:
                for key, row in list(transaction.cursor())[:2]:
                    transaction.put(key, change(row) or b"")
    for file in (own / "blobs").glob("*.10"):
        data = bytearray(file.read_bytes())
        data[80] ^= 8
        file.write_bytes(data)
    (own / "format").write_bytes(b"")
    (own / "config").write_bytes(b"garbage")
    (own / "db.lock").unlink()
    (own / "lock.1").unlink()


def run(directory: Path, acknowledge: Acknowledge) -> None:
    install_toy()
    with Repository(directory) as repo:
        report = repo.fsck(data=True, repair=True)
        assert report.sound, report.problems
    acknowledge("repaired")


def check(state: State) -> None:
    install_toy()
    with Repository(state.directory) as repo:
        report = repo.fsck(data=True, repair=True)
        assert report.sound, report.problems
        assert not (state.acknowledged and report.repaired)
    model = Model()
    fill(model)
    live = Live(state.directory)
    require(observe(live), model.state())
    require_sound(live, data=True)
    goes_on(live)
    live.close()


SCENARIOS = (Scenario("a repair", run, check, prepare, variants=1),)
