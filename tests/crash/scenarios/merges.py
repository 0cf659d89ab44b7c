"""Merges, cherry-picks and reverts: killed anywhere, each step is there whole or not at all, and the next command goes on from there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from hangar import Repository
from hangar.digest import Digest
from hangar.objects.commit import tree_digest
from hangar.objects.records import load_commit
from tests.crash.harness import Acknowledge, Scenario, State
from tests.merge.maker import content, fork, plain, write

SHAPE = (40,)


def image(number: int) -> np.ndarray[Any, Any]:
    return np.full(SHAPE, number, np.uint8)


def prepare(directory: Path) -> None:
    def edit(number: int) -> Callable[[Any], None]:
        def change(writer: Any) -> None:
            writer["labels", 1] = number
            writer["labels", 10 + number] = number
            writer["text", "a"] = f"{number} " * 60
            writer.attributes["by"] = number

        return change

    with Repository(directory, exists=False) as repo:
        repo.init("Ada", "ada@example.org")
        fork(repo, edit(1), edit(2))
        repo.create_branch("third", "dev")
        write(repo, "third", lambda writer: writer.add_str_column("notes").update({"k": "v"}))


STEPS: tuple[Callable[[Repository], object], ...] = (
    lambda repo: repo.merge("Both", "master", "dev", keep_conflicts=True),
    lambda repo: repo.merge_abort(),
    lambda repo: repo.merge("Both", "master", "dev", keep_conflicts=True),
    lambda repo: repo.resolve("labels", np.int64(7)),
    lambda repo: repo.resolve("text", "by hand " * 30),
    lambda repo: repo.resolve(None, "theirs"),
    lambda repo: repo.merge_continue(),
    lambda repo: repo.merge("Clean", "third", "master"),
    lambda repo: repo.merge("Forward", "master", "third"),
)


PICKS: tuple[Callable[[Repository], object], ...] = (
    lambda repo: repo.cherry_pick("dev", branch="master", keep_conflicts=True),
    lambda repo: repo.cherry_pick_abort(),
    lambda repo: repo.cherry_pick("third", branch="master"),
    lambda repo: repo.cherry_pick("dev", branch="master", keep_conflicts=True),
    lambda repo: repo.resolve("labels", np.int64(7)),
    lambda repo: repo.resolve("text", "by hand " * 30),
    lambda repo: repo.resolve(None, "theirs"),
    lambda repo: repo.cherry_pick_continue(),
    lambda repo: repo.revert("master~1", branch="master"),
    lambda repo: repo.revert("dev", branch="master", keep_conflicts=True),
    lambda repo: repo.resolve(None, "theirs"),
    lambda repo: repo.revert_continue("Back"),
)
Steps = Sequence[Callable[[Repository], object]]


def run(steps: Steps, directory: Path, acknowledge: Acknowledge) -> None:
    with Repository(directory) as repo:
        for number, step in enumerate(steps):
            step(repo)
            acknowledge(str(number))


def look(repo: Repository) -> dict[str, Any]:
    """What a repository holds, without what depends on the time."""
    with closing(repo.checkout(write=True, branch=repo.status().staged_branch)) as writer:
        staged = {name: {key: plain(value) for key, value in column.items()} for name, column in writer.items()}
    status = repo.status()
    heads = [load_commit(repo.stores.db, Digest(bytes.fromhex(repo.rev_parse(name)))) for name in ("master", "third")]
    return {
        "trees": [tree_digest(head).hex() for head in heads],
        "parents": [len(head.parents) for head in heads],
        "messages": [head.message.partition("\n")[0] for head in heads],
        "merge": (
            None if status.operation is None else (status.operation.kind, status.operation.name),
            status.conflicts,
            status.clean,
        ),
        "open": repo.conflicts(),
        "staged": staged,
        "committed": [content(repo, name) for name in ("master", "dev", "third")],
    }


@lru_cache(maxsize=2)
def states(steps: Steps) -> list[dict[str, Any]]:
    """What there is before the first step, and after each."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place))
        with Repository(place) as repo:
            found.append(look(repo))
            for step in steps:
                step(repo)
                found.append(look(repo))
    return found


def check(steps: Steps, state: State) -> None:
    done = len(state.acknowledged)
    with Repository(state.directory) as repo:
        seen = look(repo)
        allowed = states(steps)[done : done + 2]
        assert seen in allowed
        assert repo.fsck(data=True).problems == ()
        # Going on from where it stopped ends in the same state.
        at = done + allowed.index(seen)
        for step in steps[at:]:
            step(repo)
        assert look(repo) == states(steps)[-1]


SCENARIOS = tuple(
    Scenario(name, partial(run, steps), partial(check, steps), prepare, variants=1)
    for name, steps in (("merges", STEPS), ("picks", PICKS))
)
