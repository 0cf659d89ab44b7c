"""Chunked arrays: slices written, arrays resized and appended to, in batches and singly, and committed.

A slice write that was acknowledged is there after a crash; of a batch all is there or nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hangar import Repository, limits
from tests.crash.harness import Acknowledge, Scenario, State

Step = Callable[[Any], object]


def tile(number: int, *shape: int) -> np.ndarray[Any, Any]:
    return (np.arange(int(np.zeros(shape).size), dtype=np.int32) + 100 * number).reshape(shape)


def put_whole(writer: Any) -> None:
    writer["x"]["a"] = tile(1, 10, 9)


def put_slices(writer: Any) -> None:
    array = writer["x"]["a"]
    with writer:
        for i in range(6):
            array[i, ::2] = i
            array[:, i] = -i
        writer["x"].create("b", (1_000_000, 64))[999_999, 5:7] = 3


def put_one(writer: Any) -> None:
    writer["x"]["a"][4:6, 4:6] = 77


def shrink(writer: Any) -> None:
    writer["x"]["a"].resize(5, 6)


def grow(writer: Any) -> None:
    writer["x"]["a"].append(tile(2, 6, 6))


def inline(writer: Any) -> None:
    with writer:
        writer["small"]["a"] = tile(3, 9)
        writer["small"]["a"][3:5] = 0


def commit(writer: Any) -> None:
    writer.commit("arrays")


def remove(writer: Any) -> None:
    del writer["x"]["b"]


STEPS: tuple[Step, ...] = (put_whole, put_slices, commit, put_one, shrink, grow, inline, remove, commit)


def prepare(directory: Path) -> None:
    repo = Repository(directory, exists=False)
    repo.init("Ada", "ada@example.org")
    with closing(repo.checkout(write=True)) as writer:
        writer.add_chunked_column("x", np.int32, (4, 4), fill_value=-1, backend="10")
        writer.add_chunked_column("small", np.int32, (4,))
        writer["x"]["old"] = tile(0, 5, 5)
        writer.commit("columns")
    repo.close()


def run(directory: Path, acknowledge: Acknowledge) -> None:
    # The chunks of a batch are stored in several parts.
    limits.CHUNK_BUFFER_BYTES = 300  # type: ignore[misc]
    repo = Repository(directory)
    writer = repo.checkout(write=True)
    for number, step in enumerate(STEPS):
        step(writer)
        acknowledge(str(number))


def look(repo: Repository) -> dict[str, Any]:
    """All arrays, the staged ones and those of the last commit, without reading what nobody wrote."""
    with closing(repo.checkout(write=True)) as writer:
        found = {"staged": arrays_of(writer), "clean": writer.diff.status() == "CLEAN"}
    return found | {
        "committed": arrays_of(repo.checkout()),
        "commits": len((repo.log(return_contents=True) or {"order": []})["order"]),
    }


def arrays_of(checkout: Any) -> dict[str, Any]:
    return {
        f"{name}/{key}": (
            array.shape,
            array.digest,
            [(str(region), array[region].tolist()) for region in array.iter_chunks(initialized=True)],
        )
        for name, column in checkout.columns.items()
        for key, array in column.items()
    }


@lru_cache(maxsize=1)
def states() -> list[dict[str, Any]]:
    """What there is before the first step, and after each."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place))
        repo = Repository(place)
        found.append(look(repo))
        for step in STEPS:
            with closing(repo.checkout(write=True)) as writer:
                step(writer)
            found.append(look(repo))
        repo.close()
    return found


def check(state: State) -> None:
    done = len(state.acknowledged)
    repo = Repository(state.directory)
    seen = look(repo)
    allowed = states()[done : done + 2]
    assert seen in allowed
    assert repo.fsck(data=True).problems == ()
    # Going on from where it stopped ends in the same state.
    for step in STEPS[done + allowed.index(seen) :]:
        with closing(repo.checkout(write=True)) as writer:
            step(writer)
    assert look(repo) == states()[-1]
    repo.close()


SCENARIOS = (Scenario("chunked arrays", run, check, prepare, variants=1),)
