"""Purged samples: killed anywhere, each is either wholly there, or gone for readers; continuing takes its last byte from the files."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

import hangar.purge.run  # noqa: F401 - so that its crash point is known before the first purge
from hangar import PurgedError, Repository
from hangar.pending_purge import is_purge_pending
from tests.crash.harness import Acknowledge, Scenario, State
from tests.purge.searching import files_with

COUNT = 8
SECRET_KEYS = {"rows": 5, "short": 7}
REWRITTEN = "short"


def value(column: str, key: int) -> Any:
    noise = np.random.default_rng([key, *column.encode()]).integers(0, 256, 90, np.uint8)
    return noise.tobytes().hex()[:40] if column == REWRITTEN else noise


def needle(column: str) -> bytes:
    held = value(column, SECRET_KEYS[column])
    return held.encode() if isinstance(held, str) else bytes(held.tobytes())


def prepare(directory: Path) -> None:
    with Repository(directory, exists=False) as repo:
        repo.init("Ada", "ada@example.org")
        with closing(repo.checkout(write=True)) as writer:
            writer.add_ndarray_column(
                "rows", shape=(90,), dtype="uint8", backend="00", backend_options={"complib": None}
            )
            writer.add_str_column("short")
            for half in (range(COUNT // 2), range(COUNT // 2, COUNT)):
                for column in SECRET_KEYS:
                    writer[column].update({key: value(column, key) for key in half})
                writer.commit(f"Up to {half.stop}")
            writer["rows"][COUNT] = value("rows", COUNT)


def run(directory: Path, acknowledge: Acknowledge) -> None:
    with Repository(directory) as repo:
        for column, key in SECRET_KEYS.items():
            report = repo.purge(column, key, reason="crash", rewrite_history=True)
            assert report.unfinished == ()
            acknowledge(column)


def check(state: State) -> None:
    with Repository(state.directory) as repo:
        for column in state.acknowledged:
            assert files_with(state.directory, needle(column)) == []
        purged = look(repo)
        assert set(state.acknowledged) <= purged
        assert len(purged) <= len(state.acknowledged) + 1
        # The same command, or its --continue, ends what was begun.
        assert repo.continue_purge() in ((), None)
        assert not is_purge_pending(repo.stores.db)
        purged = look(repo)
        assert files_with(state.directory, *(needle(column) for column in sorted(purged))) == []
        require_rest(repo, purged)
        if "rows" not in purged:
            repo.purge("rows", SECRET_KEYS["rows"], reason="crash")
            assert files_with(state.directory, needle("rows")) == []


def look(repo: Repository) -> set[str]:
    """The columns whose secret counts as purged; whatever can be read of it is right."""
    purged = {name for blob in repo.list_purged() for name, _ in blob.samples}
    with closing(repo.checkout()) as co:
        for column, key in SECRET_KEYS.items():
            if column == REWRITTEN:
                if key not in co[column]:
                    purged.add(column)
                continue
            try:
                assert np.array_equal(co[column][key], value(column, key))
            except PurgedError:
                assert column in purged
    return purged


def require_rest(repo: Repository, purged: set[str]) -> None:
    """Everything else is there in every commit, and staged, and history verifies."""
    report = repo.fsck(data=True)
    assert report.sound, report.problems
    for rev, count in (("master~1", COUNT // 2), ("master", COUNT)):
        with closing(repo.checkout(commit=repo.rev_parse(rev))) as co:
            for column, key in SECRET_KEYS.items():
                expected = {one: value(column, one) for one in range(count)}
                gone = {key} & expected.keys() if column in purged else set()
                if column == REWRITTEN:
                    expected = {one: held for one, held in expected.items() if one not in gone}
                    gone = set()
                assert list(co[column]) == list(expected)
                for one in expected.keys() - gone:
                    assert np.array_equal(co[column][one], expected[one])
    with closing(repo.checkout(write=True)) as writer:
        assert np.array_equal(writer["rows"][COUNT], value("rows", COUNT))


SCENARIOS = (Scenario("purges", run, check, prepare, variants=1),)
