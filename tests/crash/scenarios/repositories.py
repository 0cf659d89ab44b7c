"""Repositories: made, filled, committed, branched, by one writer after another.

What is found is the state before or after the step that was under way, whole; everything acknowledged is in it; fsck, which reads every
blob, finds nothing; and the next writer goes on from there.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hangar import Repository, _fs, limits
from tests.crash.harness import Acknowledge, Scenario, State
from tests.crash.scenarios import blobs
from tests.crash.world import COLUMNS, LONG_KEY, Actions, Change, Key, Live, Model, Step, observe, require
from tests.processes import child


def lower_limits() -> None:
    """Small batches go the way of large ones; in a child, which ends with the scenario."""
    blobs.lower_limits()
    limits.STAGED_ROWS = 30  # type: ignore[misc]


def numbers(start: int, count: int, step: int = 1) -> dict[Key, int]:
    """Int keys to numbers of values."""
    return {key: key * step for key in range(start, start + count)}


# ---------------------------------------------------------------------------------------------------------- the base


def fill(world: Actions) -> None:
    """What is there before each scenario: two branches, three commits, something staged."""
    for name in COLUMNS:
        world.add_column(name)
    world.write("label", numbers(0, 20))
    world.write("image", numbers(0, 5))
    world.write("ragged", {"a": 1, "b": 2})
    world.commit("first")
    world.create_branch("side")
    world.batch([("text", "a", 2), ("text", "b", 3), ("raw", 7, 2), ("image", 1, 100), ("label", 3, None)])
    world.commit("second")
    world.write("image", numbers(10, 4))
    world.commit("third")
    world.put("text", "c", 4)
    world.put("label", 5, 500)


def prepare(directory: Path) -> None:
    initialize(directory)
    live = Live(directory)
    fill(live)
    live.close()


def initialize(directory: Path, **options: Any) -> None:
    Repository(directory, exists=False).init("Ada", "ada@example.org", **options)


def prepare_after_a_kill(directory: Path) -> None:
    """The same, and a writer was killed with files, a run and bytes behind recorded ends that nothing names."""
    prepare(directory)

    def write(_: object) -> None:
        lower_limits()
        live = Live(directory)
        _fs.observer = _KilledAtCommit()
        live.batch([(name, 1_000 + i, 1_000 + i) for i in range(20) for name in ("image", "text", "ragged")])

    with child(write) as process:
        process.wait()
    assert len(list((directory / ".hangar" / "runs").iterdir())) == 1


class _KilledAtCommit:
    def point(self, name: str) -> None:
        if name == "db.commit.before":
            os._exit(137)

    def synced_file(self, path: str) -> None:
        pass

    def synced_directory(self, path: str) -> None:
        pass


# --------------------------------------------------------------------------------------------------- steps on the base


def runner(steps: Sequence[Step]) -> Callable[[Path, Acknowledge], None]:
    def run(directory: Path, acknowledge: Acknowledge) -> None:
        lower_limits()
        live = Live(directory)
        for number, step in enumerate(steps):
            step(live)
            acknowledge(number)

    return run


def checker(steps: Sequence[Step], base: Step = fill) -> Callable[[State], None]:
    model = Model()
    base(model)
    states = [model.state()]
    for step in steps:
        step(model)
        states.append(model.state())

    def check(state: State) -> None:
        done = len(state.acknowledged)
        live = Live(state.directory)
        require(observe(live), *states[done : done + 2])
        require_sound(live, data=True)
        goes_on(live)
        live.close()

    return check


def require_sound(live: Live, data: bool) -> None:
    report = live.repo.fsck(data=data)
    assert report.sound, report.problems


def goes_on(live: Live) -> None:
    """Write to every column that is there, single values and a batch, and commit."""
    before = observe(live)
    added: list[Change] = [
        (name, ("next", "next") if column.contains_subsamples else "next", 900 + i)
        for i, (name, column) in enumerate(live.writer.items())
    ]
    model = Model()
    for name, key, number in added:
        assert number is not None
        model.staged[name] = {key: number}
    live.batch(added)
    live.commit("next")
    after = observe(live)
    for name, samples in model.state()["staged"].items():
        before["staged"][name].update(samples)
    before["commits"]["next"] = before["staged"]
    before["branches"][before["last written"]] = ("next", *before["branches"][before["last written"]])
    require(after, before)
    require_sound(live, data=False)


def on_base(name: str, steps: Sequence[Step], **options: Any) -> Scenario:
    return Scenario(name, runner(steps), checker(steps), options.pop("prepare", prepare), **options)


SINGLE_WRITES: Sequence[Step] = (
    lambda w: w.remove_column("ragged"),
    lambda w: w.add_column("ragged"),
    lambda w: w.put("image", 50, 50),
    lambda w: w.put("text", LONG_KEY, 8),
    lambda w: w.put("label", 2**64 - 1, 9),
    lambda w: w.delete("image", [1]),
    lambda w: w.put("ragged", "x", 7),
)

BATCHES: Sequence[Step] = (
    lambda w: w.write("image", numbers(3, 6, 3)),
    lambda w: w.write("label", numbers(10, 40, 2)),
    lambda w: w.batch([("text", 1, 6), ("raw", 1, 8), ("ragged", "a", None), ("label", 11, None), ("image", 60, 61)]),
    lambda w: w.batch([("text", 2, 16), ("image", 70, 71)], fails=True),
    lambda w: w.delete("label", list(range(20, 50))),
    lambda w: w.commit("batches"),
)

RUNS: Sequence[Step] = (
    lambda w: w.write("image", numbers(100, 15)),
    lambda w: w.batch([(name, i, 200 + 2 * i) for i in range(12) for name in ("text", "ragged")]),
    lambda w: w.write("image", numbers(115, 14)),
    lambda w: w.commit("runs"),
    lambda w: w.write("image", numbers(300, 40)),
)

COMMITS: Sequence[Step] = (
    lambda w: w.commit("fourth"),
    lambda w: w.put("raw", 9, 10),
    lambda w: w.amend("fourth, again"),
    lambda w: w.put("raw", 11, 12),
    lambda w: w.reset(),
    lambda w: w.put("label", 1, 77),
    lambda w: w.commit("fifth"),
)

BRANCHES: Sequence[Step] = (
    lambda w: w.commit("fourth"),
    lambda w: w.create_branch("other"),
    lambda w: w.switch("side"),
    lambda w: w.put("text", "on-side", 20),
    lambda w: w.commit("on side"),
    lambda w: w.remove_branch("other"),
    lambda w: w.switch("master"),
)

UNDO: Sequence[Step] = (
    lambda w: w.tag("v1"),
    lambda w: w.stash(),
    lambda w: w.revert("back to the second"),
    lambda w: w.stash_pop(),
    lambda w: w.commit("popped"),
    lambda w: w.move_back(hard=False),
    lambda w: w.put("raw", 9, 10),
    lambda w: w.commit("popped, and more"),
    lambda w: w.put("raw", 11, 12),
    lambda w: w.move_back(hard=True),
    lambda w: w.remove_tag("v1"),
)

SETTINGS: Sequence[Step] = (
    lambda w: w.change_backend("image", "toy"),
    lambda w: w.write("image", numbers(80, 4)),
    lambda w: w.configure("ada@example.com"),
    lambda w: w.change_backend("text", "toy"),
    lambda w: w.put("text", "toy", 40),
)

HDF5: Sequence[Step] = (
    lambda w: w.change_backend("image", "00"),
    lambda w: w.change_backend("ragged", "00"),
    lambda w: w.batch([(name, i, 300 + i) for i in range(13) for name in ("image", "ragged")]),
    lambda w: w.commit("hdf5"),
    lambda w: w.reopen(),
    lambda w: w.write("image", numbers(100, 5)),
)

NATURAL_CHUNKS: Sequence[Step] = (
    lambda w: w.change_backend("image", "01"),
    lambda w: w.write("image", numbers(80, 14)),
    lambda w: w.commit("chunks"),
)

EVOLUTION: Sequence[Step] = (
    lambda w: w.rename_column("text", "text.b"),
    lambda w: w.describe("image", 1),
    lambda w: w.add_column("boxes"),
    lambda w: w.batch([("boxes", (1, "a"), 5), ("boxes", (1, "b"), 6), ("boxes", ("s", 0), 7), ("text.b", "a", 8)]),
    lambda w: w.describe("", 2),
    lambda w: w.commit("evolved"),
    lambda w: w.delete_sample("boxes", 1),
    lambda w: w.describe("image", 3),
    lambda w: w.rename_column("image", "image.b"),
    lambda w: w.put("image.b", 60, 160),
)

WRITERS: Sequence[Step] = (
    lambda w: w.put("image", 50, 150),
    lambda w: w.reopen(),
    lambda w: w.put("image", 51, 151),
    lambda w: w.force(),
    lambda w: w.put("image", 52, 152),
    lambda w: w.commit("by three writers"),
)


# ------------------------------------------------------------------------------------------------------------ making


def make_one(directory: Path, acknowledge: Acknowledge) -> None:
    initialize(directory)
    acknowledge("made")


def replace_one(directory: Path, acknowledge: Acknowledge) -> None:
    initialize(directory, remove_old=True)
    acknowledge("made")


def check_made(state: State) -> None:
    require_one(state, [Model()], missing=not state.acknowledged)


def check_replaced(state: State) -> None:
    old = Model()
    fill(old)
    # To replace a repository is to delete it: it may be gone, but neither is ever there in part.
    require_one(state, [Model()] if state.acknowledged else [Model(), old], missing=not state.acknowledged)


def require_one(state: State, models: Sequence[Model], missing: bool) -> None:
    """There is a repository like one of the models, or none and one can be made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        repo = Repository(state.directory)
    if not repo.initialized:
        assert missing
        assert not (state.directory / ".hangar").exists()
        repo.init("Ada", "ada@example.org")
        models = [Model()]
    live = Live(state.directory)
    require(observe(live), *(model.state() for model in models))
    require_sound(live, data=True)
    live.reset()
    live.add_column("label") if "label" not in live.writer else None
    goes_on(live)
    live.close()
    # What a crash left beside it does not stay for ever.
    repo.init("Ada", "ada@example.org", remove_old=True)
    assert [path.name for path in state.directory.iterdir()] == [".hangar"]
    repo.close()


SCENARIOS = (
    Scenario("repository made", make_one, check_made, variants=1),
    Scenario("repository replaced", replace_one, check_replaced, prepare, variants=1),
    on_base("single writes", SINGLE_WRITES, variants=1),
    on_base("batches", BATCHES, variants=1),
    on_base("runs", RUNS, variants=1),
    on_base("after a kill", RUNS[:2], prepare=prepare_after_a_kill, variants=1),
    on_base("commits", COMMITS, variants=1),
    on_base("branches", BRANCHES, variants=1),
    on_base("undo", UNDO, variants=1),
    on_base("settings", SETTINGS, variants=1),
    on_base("hdf5 rows", HDF5, variants=1),
    on_base("hdf5 chunks", NATURAL_CHUNKS, variants=1),
    on_base("evolution", EVOLUTION, variants=1),
    on_base("one writer after another", WRITERS, variants=1),
)
