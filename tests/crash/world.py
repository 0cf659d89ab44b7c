"""A repository and a model of it in dicts, told to do the same things.

A step is a function of ``Actions``. Run against a ``Live`` repository it does something; run against a ``Model`` it says what must be
there afterwards. ``observe`` reads all of a repository through its public interface, in the form of ``Model.state``, so that what is
found after a crash is compared with the states before and after the step that was under way, whole.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from hangar import Repository
from hangar.backends import registry
from hangar.checkout import WriterCheckout
from hangar.columns.chunked.array import ChunkedArray
from hangar.config import Config
from hangar.lock import force_release
from hangar.stores import Stores
from tests.backends.toy import Toy

Key = int | str | tuple[int | str, int | str]
Content = dict[str, dict[Key, int]]
"""Column to sample key (in a nested column a pair) to the number of a value."""
Change = tuple[str, Key, "int | None"]
"""Column, key, and the number of the new value or None to delete."""

COLUMNS: Mapping[str, dict[str, Any]] = {
    "label": {"shape": (), "dtype": np.int16},
    "image": {"shape": (3, 15), "dtype": np.uint8},
    "ragged": {"shape": (4, 30), "dtype": np.float32, "variable_shape": True},
    "rows": {"shape": (4, 9), "dtype": np.float32, "backend": "00"},
    "chunks": {"shape": (7, 11), "dtype": np.uint16, "backend": "01"},
    "text": {},
    "raw": {},
}
"""Every backend, every form of a tree entry."""
NESTED: Mapping[str, dict[str, Any]] = {
    "boxes": {"shape": (9, 4), "dtype": np.float32, "variable_shape": True},
    "notes": {},
}
"""Columns with subsamples."""
RENAMED = ".b"
"""What follows the first name of a column that was renamed."""

LONG_KEY = "ü/" * 100
"""Longer than a key of the database can be."""


@lru_cache(maxsize=4096)
def plain(column: str, number: int) -> Any:
    """What ``make`` gives, in a form that compares."""
    return comparable(make(column, number))


def base(column: str) -> str:
    """The name that a column was made with."""
    return column.removesuffix(RENAMED)


def make(column: str, number: int) -> Any:
    """The value of a column with a number: unlike all others of it."""
    column = base(column)
    if column == "label":
        return np.array(number, np.int16)
    if column == "image":
        return np.random.default_rng(number).integers(0, 256, (3, 15), np.uint8)
    if column in ("rows", "chunks"):
        dtype, shape = COLUMNS[column]["dtype"], COLUMNS[column]["shape"]
        return (number + np.arange(np.prod(shape), dtype=dtype)).astype(dtype).reshape(shape)
    if column == "ragged":
        return np.full((1 + number % 4, 1 + number % 30), number, np.float32)
    if column == "boxes":
        return np.full((1 + number % 9, 1 + number % 4), number, np.float32)
    # Short ones lie in the tree, long ones in a file.
    text = f"{number} " * (1 if number % 2 else 40)
    return text.encode() if column == "raw" else text


def comparable(value: Any) -> Any:
    if isinstance(value, ChunkedArray):
        value = value[...]
    if isinstance(value, sparse.csr_array):
        value = value.toarray()
    return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value


class Actions(Protocol):
    """What a step can do. Numbers stand for values, messages for commits: each is used once."""

    def add_column(self, name: str) -> None: ...
    def remove_column(self, name: str) -> None: ...
    def rename_column(self, old: str, new: str) -> None: ...
    def describe(self, column: str, number: int) -> None: ...
    def put(self, column: str, key: Key, number: int) -> None: ...
    def delete_sample(self, column: str, sample: int | str) -> None: ...
    def write(self, column: str, numbers: Mapping[Key, int]) -> None: ...
    def delete(self, column: str, keys: Sequence[Key]) -> None: ...
    def batch(self, changes: Iterable[Change], fails: bool = False) -> None: ...
    def commit(self, message: str) -> None: ...
    def amend(self, message: str) -> None: ...
    def reset(self) -> None: ...
    def create_branch(self, name: str) -> None: ...
    def remove_branch(self, name: str) -> None: ...
    def switch(self, name: str) -> None: ...
    def tag(self, name: str) -> None: ...
    def remove_tag(self, name: str) -> None: ...
    def move_back(self, hard: bool) -> None: ...
    def revert(self, message: str) -> None: ...
    def stash(self) -> None: ...
    def stash_pop(self) -> None: ...
    def change_backend(self, column: str, tag: str) -> None: ...
    def convert(self, column: str, tag: str) -> None: ...
    def collect(self, expire: str | None) -> None: ...
    def configure(self, email: str) -> None: ...
    def reopen(self) -> None: ...
    def force(self) -> None: ...


Step = Callable[[Actions], None]


class Model:
    """What a repository must hold; ``names`` are those of columns that may be made."""

    def __init__(self, names: Iterable[str] = (*COLUMNS, *NESTED)) -> None:
        self.names = sorted(names)
        self.last_written = "master"
        self.heads: dict[str, tuple[str, ...]] = {"master": ()}
        self.commits: dict[str, Content] = {}
        self.staged: Content = {}
        self.ids: dict[str, str] = {}
        """Of each staged column: a renamed one is the same column, one made again may not be."""
        self.said: dict[str, int] = {}
        """The attribute of each staged column, and under '' that of the whole, where there is one."""
        self.rest: dict[str, tuple[dict[str, str], dict[str, int]]] = {"": ({}, {})}
        self.backends: dict[str, str] = {}
        self.email = "ada@example.org"
        self.tags: dict[str, str] = {}
        self.stashes: list[tuple[str, Content, dict[str, str], dict[str, int]]] = []

    def state(self) -> dict[str, Any]:
        """Everything, as ``observe`` shows it."""
        reachable = {message for messages in self.heads.values() for message in messages}
        return {
            "last written": self.last_written,
            "branches": self.heads.copy(),
            "commits": {
                message: _plain_content(self.commits[message], self.rest[message][1]) for message in sorted(reachable)
            },
            "staged": _plain_content(self.staged, self.said),
            "backends": {
                name: self.backends.get(self._id(name), _DEFAULT_BACKENDS.get(base(name), "10")) for name in self.staged
            },
            "email": self.email,
            "tags": dict(self.tags),
            "stashes": [_plain_content(content, said) for _, content, _, said in self.stashes],
        }

    def _head(self) -> Content:
        messages = self.heads[self.last_written]
        return copy.deepcopy(self.commits[messages[0]]) if messages else {}

    def _head_rest(self) -> tuple[dict[str, str], dict[str, int]]:
        ids, said = self.rest[next(iter(self.heads[self.last_written]), "")]
        return dict(ids), dict(said)

    def _id(self, name: str) -> str:
        return self.ids.get(name, name)

    def clean(self) -> bool:
        """Whether nothing is staged."""
        return self.staged == self._head() and (self.ids, self.said) == self._head_rest()

    def add_column(self, name: str) -> None:
        number = 0
        while (identity := f"{name}{number or ''}") in self.ids.values():
            number += 1
        self.staged[name] = {}
        self.ids[name] = identity
        if "backend" in COLUMNS.get(name, {}):
            self.backends[identity] = COLUMNS[name]["backend"]

    def remove_column(self, name: str) -> None:
        del self.staged[name]
        self.ids.pop(name, None)
        self.said.pop(name, None)

    def rename_column(self, old: str, new: str) -> None:
        self.staged[new] = self.staged.pop(old)
        self.ids[new] = self.ids.pop(old)
        if old in self.said:
            self.said[new] = self.said.pop(old)

    def describe(self, column: str, number: int) -> None:
        self.said[column] = number

    def delete_sample(self, column: str, sample: int | str) -> None:
        self.delete(column, [key for key in self.staged[column] if isinstance(key, tuple) and key[0] == sample])

    def put(self, column: str, key: Key, number: int) -> None:
        self.staged[column][key] = number

    def write(self, column: str, numbers: Mapping[Key, int]) -> None:
        self.staged[column].update(numbers)

    def delete(self, column: str, keys: Sequence[Key]) -> None:
        for key in keys:
            del self.staged[column][key]

    def batch(self, changes: Iterable[Change], fails: bool = False) -> None:
        for column, key, number in () if fails else changes:
            if number is None:
                del self.staged[column][key]
            else:
                self.staged[column][key] = number

    def commit(self, message: str) -> None:
        self.heads[self.last_written] = (message, *self.heads[self.last_written])
        self.commits[message] = copy.deepcopy(self.staged)
        self.rest[message] = (dict(self.ids), dict(self.said))

    def amend(self, message: str) -> None:
        self.heads[self.last_written] = self.heads[self.last_written][1:]
        self.commit(message)

    def reset(self) -> None:
        self.staged = self._head()
        self.ids, self.said = self._head_rest()

    def create_branch(self, name: str) -> None:
        self.heads[name] = self.heads[self.last_written]

    def remove_branch(self, name: str) -> None:
        del self.heads[name]

    def switch(self, name: str) -> None:
        self.last_written = name
        self.reset()

    def tag(self, name: str) -> None:
        self.tags[name] = self.heads[self.last_written][0]

    def remove_tag(self, name: str) -> None:
        del self.tags[name]

    def move_back(self, hard: bool) -> None:
        self.heads[self.last_written] = self.heads[self.last_written][1:]
        if hard:
            self.reset()

    def revert(self, message: str) -> None:
        """The last commit, so that the content is that of its parent."""
        parent = self.heads[self.last_written][1]
        self.staged = copy.deepcopy(self.commits[parent])
        ids, said = self.rest[parent]
        self.ids, self.said = dict(ids), dict(said)
        self.commit(message)

    def stash(self) -> None:
        base = self.heads[self.last_written][0]
        self.stashes.insert(0, (base, copy.deepcopy(self.staged), dict(self.ids), dict(self.said)))
        self.reset()

    def stash_pop(self) -> None:
        """Only for stashes that changed samples of columns that are there."""
        base, content, _, _ = self.stashes.pop(0)
        for name, samples in content.items():
            before = self.commits[base][name]
            for key in {*samples, *before}:
                if key not in samples:
                    self.staged[name].pop(key, None)
                elif samples[key] != before.get(key):
                    self.staged[name][key] = samples[key]

    def change_backend(self, column: str, tag: str) -> None:
        self.backends[self._id(column)] = tag

    def convert(self, column: str, tag: str) -> None:
        self.backends[self._id(column)] = tag

    def collect(self, expire: str | None) -> None:
        pass

    def configure(self, email: str) -> None:
        self.email = email

    def reopen(self) -> None:
        pass

    def force(self) -> None:
        pass


_DEFAULT_BACKENDS = {"text": "30", "notes": "30", "raw": "31", "rows": "00", "chunks": "01"}


def _plain_content(content: Content, said: Mapping[str, int]) -> dict[str, dict[Key, Any]]:
    """Columns and what is said of them, as ``_read`` shows it."""
    found: dict[str, dict[Key, Any]] = {
        name: {key: plain(base(name), number) for key, number in samples.items()} for name, samples in content.items()
    }
    return found | {f"about {name}": {"number": number} for name, number in said.items()}


class Live:
    """The repository in a directory, with a writer."""

    def __init__(self, directory: Path) -> None:
        install_toy()
        self.repo = Repository(directory)
        self.writer: WriterCheckout = self.repo.checkout(write=True)

    def add_column(self, name: str) -> None:
        nested = name in NESTED
        if name in ("text", "notes"):
            self.writer.add_str_column(name, nested)
        elif name == "raw":
            self.writer.add_bytes_column(name)
        else:
            options: dict[str, Any] = {**(NESTED if nested else COLUMNS)[name], "contains_subsamples": nested}
            self.writer.add_ndarray_column(name, **options)

    def remove_column(self, name: str) -> None:
        self.writer.columns.delete(name)

    def rename_column(self, old: str, new: str) -> None:
        self.writer.rename_column(old, new)

    def describe(self, column: str, number: int) -> None:
        (self.writer[column] if column else self.writer).attributes["number"] = number

    def put(self, column: str, key: Key, number: int) -> None:
        self.writer[column][key] = make(column, number)

    def delete_sample(self, column: str, sample: int | str) -> None:
        del self.writer[column][sample]

    def write(self, column: str, numbers: Mapping[Key, int]) -> None:
        self.writer[column].write(list(numbers), [make(column, number) for number in numbers.values()])

    def delete(self, column: str, keys: Sequence[Key]) -> None:
        self.writer[column].delete(keys)

    def batch(self, changes: Iterable[Change], fails: bool = False) -> None:
        try:
            with self.writer:
                for column, key, number in changes:
                    if number is None:
                        del self.writer[column][key]
                    else:
                        self.put(column, key, number)
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            assert fails

    def commit(self, message: str) -> None:
        self.writer.commit(message)

    def amend(self, message: str) -> None:
        self.writer.commit(message, amend=True)

    def reset(self) -> None:
        self.writer.reset_staging_area(force=True)

    def create_branch(self, name: str) -> None:
        self.repo.create_branch(name)

    def remove_branch(self, name: str) -> None:
        self._without_writer(lambda: self.repo.remove_branch(name, force_delete=True))

    def _without_writer(self, action: Callable[[], object]) -> None:
        self.writer.close()
        action()
        self.writer = self.repo.checkout(write=True)

    def tag(self, name: str) -> None:
        self.repo.tag(name, message=name)

    def remove_tag(self, name: str) -> None:
        self.repo.remove_tag(name)

    def move_back(self, hard: bool) -> None:
        self._without_writer(lambda: self.repo.reset(f"{self.repo.head().last_written}~1", hard=hard))

    def revert(self, message: str) -> None:
        self._without_writer(lambda: self.repo.revert(self.repo.head().last_written, message))

    def stash(self) -> None:
        self._without_writer(self.repo.stash)

    def stash_pop(self) -> None:
        self._without_writer(self.repo.stash_pop)

    def switch(self, name: str) -> None:
        self.writer.close()
        self.writer = self.repo.checkout(write=True, branch=name)

    def change_backend(self, column: str, tag: str) -> None:
        self.writer[column].change_backend(tag)

    def convert(self, column: str, tag: str) -> None:
        self._without_writer(lambda: self.repo.convert_backend(column, tag))

    def collect(self, expire: str | None) -> None:
        """Collect garbage, with or without the reflog."""
        self.writer.close()
        self.repo.gc(expire_reflog=expire, progress=False)
        self.writer = self.repo.checkout(write=True)

    def configure(self, email: str) -> None:
        Config(Path(self.repo.path) / ".hangar").file("repository").set("user.email", email)

    def reopen(self) -> None:
        path = self.repo.path
        self.close()
        self.repo = Repository(path)
        self.writer = self.repo.checkout(write=True)

    def force(self) -> None:
        """Another takes the lock away and writes from then on."""
        stores = Stores(Path(self.repo.path) / ".hangar")
        force_release(stores.db)
        stores.close()
        self.writer = self.repo.checkout(write=True)

    def close(self) -> None:
        self.writer.close()
        self.repo.close()


def observe(live: Live) -> dict[str, Any]:
    """All that the repository shows, in the form of ``Model.state``."""
    repo, writer = live.repo, live.writer
    branches: dict[str, tuple[str, ...]] = {}
    commits: dict[str, Any] = {}
    for name in repo.list_branches():
        log = repo.log(branch=name, return_contents=True)
        assert log is not None
        messages = []
        for digest in log["order"]:
            message = log["specs"][digest]["commit_message"]
            messages.append(message)
            if message not in commits:
                commits[message] = _read(repo.checkout(commit=digest))
        branches[name] = tuple(messages)
    return {
        "last written": repo.head().last_written,
        "branches": branches,
        "commits": commits,
        "staged": _read(writer),
        "backends": {name: writer[name].backend for name in writer},
        "email": Config(Path(repo.path) / ".hangar").person().email,
        "tags": {name: repo.commit_info(f"tags/{name}").message for name in repo.list_tags()},
        "stashes": [_read(repo.checkout(commit=one.digest)) for one in repo.stash_list()],
    }


def _read(checkout: Any) -> dict[str, dict[Key, Any]]:
    found = {name: {key: comparable(value) for key, value in _items(checkout[name])} for name in checkout}
    for name, thing in (("", checkout), *checkout.items()):
        if thing.attributes:
            found[f"about {name}"] = dict(thing.attributes)
    return found


def _items(column: Any) -> Iterable[tuple[Key, Any]]:
    if not column.contains_subsamples:
        yield from column.items()
        return
    for sample, view in column.items():
        for sub, value in view.items():
            yield (sample, sub), value


def require(found: Mapping[str, Any], *expected: Mapping[str, Any]) -> None:
    """``found`` is one of ``expected``; else say in which parts it is not."""
    if found in expected:
        return
    parts = [
        f"against state {number}, {part}: {_shorten(found[part])} is not {_shorten(state[part])}"
        for number, state in enumerate(expected)
        for part in state
        if found[part] != state[part]
    ]
    raise AssertionError("\n".join(parts))


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) < 2000 else f"{text[:2000]} ..."


def install_toy() -> None:
    """Make the backend of the tests known to this process, which is a child of the test or ends with it."""
    registry._loaded.setdefault("toy", Toy())
