"""Random steps that fit what a repository holds: chosen by a seed, so that whoever knows the seed and the model knows them too."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.crash.world import LONG_KEY, NESTED, RENAMED, Actions, Change, Key, Model, Step, base

BRANCHES = ("side", "other", "third")


def choose(generator: random.Random, model: Model, name: str, large: int) -> Step:
    """A step that can be taken on ``model``.

    Parameters
    ----------
    name
        The message, if it is a commit.
    large
        Samples of a large batch.
    """
    makers = [maker for weight, maker in _MAKERS for _ in range(weight)]
    while True:
        step = generator.choice(makers)(generator, model, name, large)
        if step is not None:
            return step


Maker = Callable[[random.Random, Model, str, int], "Step | None"]


def _key(generator: random.Random, column: str) -> Key:
    number = generator.randrange(400)
    key = generator.choice((number, f"k{number}", LONG_KEY, 2**64 - 1 - number))
    if base(column) not in NESTED:
        return key
    return generator.choice((number % 20, f"s{number % 20}", LONG_KEY)), key


def _number(generator: random.Random) -> int:
    return generator.randrange(30_000)


def _columns(model: Model) -> list[str]:
    return sorted(model.staged)


def _put(generator: random.Random, model: Model, name: str, large: int) -> Step | None:
    if not model.staged:
        return None
    column = generator.choice(_columns(model))
    key, number = _key(generator, column), _number(generator)
    return lambda world: world.put(column, key, number)


def _write(generator: random.Random, model: Model, name: str, large: int) -> Step | None:
    if not model.staged:
        return None
    column = generator.choice(_columns(model))
    count, first, number = generator.choice((3, 20, large)), generator.randrange(5_000), _number(generator)
    width = generator.choice((1, 7, 5_000))
    nested = base(column) in NESTED
    numbers: dict[Key, int] = {
        ((first + i) // width, first + i) if nested else first + i: (number + i) % 30_000 for i in range(count)
    }
    return lambda world: world.write(column, numbers)


def _batch(generator: random.Random, model: Model, name: str, large: int) -> Step | None:
    if not model.staged:
        return None
    changes: list[Change] = []
    for _ in range(generator.randrange(1, 15)):
        column = generator.choice(_columns(model))
        present = [key for key in model.staged[column] if not any(change[:2] == (column, key) for change in changes)]
        if present and generator.random() < 0.3:
            changes.append((column, generator.choice(present), None))
        else:
            changes.append((column, _key(generator, column), _number(generator)))
    fails = generator.random() < 0.2
    return lambda world: world.batch(changes, fails)


def _delete(generator: random.Random, model: Model, name: str, large: int) -> Step | None:
    filled = [column for column in _columns(model) if model.staged[column]]
    if not filled:
        return None
    column = generator.choice(filled)
    keys = generator.sample(list(model.staged[column]), min(len(model.staged[column]), generator.choice((1, 10))))
    return lambda world: world.delete(column, keys)


def _delete_sample(generator: random.Random, model: Model, name: str, large: int) -> Step | None:
    filled = [column for column in _columns(model) if base(column) in NESTED and model.staged[column]]
    if not filled:
        return None
    column = generator.choice(filled)
    key = generator.choice(list(model.staged[column]))
    assert isinstance(key, tuple)
    return lambda world: world.delete_sample(column, key[0])


def _rename(generator: random.Random, model: Model, name: str, large: int) -> Step | None:
    if not model.staged:
        return None
    old = generator.choice(_columns(model))
    new = base(old) if old.endswith(RENAMED) else old + RENAMED
    return None if new in model.staged else (lambda world: world.rename_column(old, new))


def _describe(generator: random.Random, model: Model, name: str, large: int) -> Step | None:
    column, number = generator.choice(["", *_columns(model)]), _number(generator)
    return lambda world: world.describe(column, number)


def _columns_step(generator: random.Random, model: Model, name: str, large: int) -> Step | None:
    column = generator.choice(model.names)
    if column not in model.staged:
        return lambda world: world.add_column(column)
    return (lambda world: world.remove_column(column)) if generator.random() < 0.15 else None


def _commit(generator: random.Random, model: Model, name: str, large: int) -> Step | None:
    if model.clean():
        return None
    if model.heads[model.last_written] and generator.random() < 0.1:
        return lambda world: world.amend(name)
    return lambda world: world.commit(name)


def _branches(generator: random.Random, model: Model, name: str, large: int) -> Step | None:
    if not model.heads[model.last_written]:
        return None
    branch = generator.choice(("master", *BRANCHES))
    if branch not in model.heads:
        return lambda world: world.create_branch(branch)
    if branch == model.last_written:
        return None
    if model.clean() and generator.random() < 0.6:
        return lambda world: world.switch(branch)
    # The branch that the command line writes to cannot be removed.
    return None if branch == "master" else (lambda world: world.remove_branch(branch))


_BACKENDS = {
    "label": ("10",),
    "image": ("10", "00", "01", "toy"),
    "ragged": ("10", "00", "toy"),
    "rows": ("10", "00"),
    "chunks": ("01", "toy"),
    "text": ("30", "toy"),
    "raw": ("31", "toy"),
    "boxes": ("10", "00", "toy"),
    "notes": ("30", "toy"),
}


def _backend(generator: random.Random, model: Model, name: str, large: int) -> Step | None:
    if not model.staged:
        return None
    column = generator.choice(_columns(model))
    tag = generator.choice(_BACKENDS[base(column)])
    return lambda world: world.change_backend(column, tag)


def _simple(method: Callable[[Actions], None]) -> Maker:
    return lambda generator, model, name, large: method


_MAKERS: tuple[tuple[int, Maker], ...] = (
    (25, _put),
    (15, _write),
    (15, _batch),
    (10, _delete),
    (5, _delete_sample),
    (4, _rename),
    (5, _describe),
    (10, _columns_step),
    (15, _commit),
    (8, _branches),
    (3, _backend),
    (1, _simple(lambda world: world.reset())),
    (2, _simple(lambda world: world.reopen())),
    (1, _simple(lambda world: world.force())),
)
