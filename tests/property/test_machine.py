"""The whole repository follows a model of dicts (row 13 of the reliability table).

After each step the staging area equals the model, whatever batches, reopenings and commits came before; at the end of each run every commit
ever made is read back whole, and fsck finds nothing.
"""

from __future__ import annotations

import copy
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hangar import HangarError, MergeConflictError, NothingToDoError, Repository
from hangar.checkout import WriterCheckout
from tests.property.model import (
    ALL_NAMES,
    BASE_NAMES,
    COLUMNS,
    EDITS,
    KEYS,
    NAMES,
    NESTED,
    NESTED_NAMES,
    NUMBERS,
    PAIRS,
    RENAMED,
    Content,
    Rest,
    Samples,
    deletes_whole_sample,
    expect,
    make,
    merge_contents,
    order,
)


class RepositoryMachine(RuleBasedStateMachine):
    """Rules do one thing to the repository and the same to dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.repo = Repository(self.directory, exists=False)
        self.commits: dict[str, Content] = {}
        self.rests: dict[str, Rest] = {"": {"ids": {}, "about": {}, "widened": {}}}
        self.rest: Rest = copy.deepcopy(self.rests[""])
        self.heads: dict[str, str] = {"master": ""}
        self.staged: Content = {}
        self.branch = "master"
        self.tags: dict[str, str] = {}
        self.stashes: list[tuple[str, Content, Rest]] = []
        self.parents: dict[str, list[str]] = {}
        self.writer: WriterCheckout

    @initialize()
    def begin(self) -> None:
        self.repo.init("Ada", "ada@example.org")
        self.writer = self.repo.checkout(write=True)

    def committed(self) -> Content:
        return self.commits[self.heads[self.branch]] if self.heads[self.branch] else {}

    @property
    def dirty(self) -> bool:
        return (self.staged, self.rest) != (self.committed(), self.rests[self.heads[self.branch]])

    def back(self) -> None:
        """To what is committed."""
        self.staged = {name: dict(samples) for name, samples in self.committed().items()}
        self.rest = copy.deepcopy(self.rests[self.heads[self.branch]])

    # ------------------------------------------------------------------ rules

    @rule(name=BASE_NAMES)
    def add_column(self, name: str) -> None:
        if name in self.staged:
            return
        if name in ("text", "notes"):
            self.writer.add_str_column(name, name in NESTED)
        elif name == "raw":
            self.writer.add_bytes_column(name)
        else:
            self.writer.add_ndarray_column(name, **COLUMNS[name])
        self.staged[name] = {}
        number = 0
        while (name, number) in self.rest["ids"].values():
            number += 1
        self.rest["ids"][name] = (name, number)

    @rule(name=ALL_NAMES)
    def remove_column(self, name: str) -> None:
        if name in self.staged:
            del self.writer.columns[name]
            del self.staged[name]
            for part in self.rest.values():
                part.pop(name, None)

    @rule(name=BASE_NAMES, back=st.booleans())
    def rename_column(self, name: str, back: bool) -> None:
        old, new = (name + RENAMED, name) if back else (name, name + RENAMED)
        if old not in self.staged or new in self.staged:
            with pytest.raises(LookupError):
                self.writer.rename_column(old, new)
            return
        column = self.writer[old]
        self.writer.rename_column(old, new)
        assert column.column == new
        for part in (self.staged, *self.rest.values()):
            if old in part:
                part[new] = part.pop(old)

    @rule(name=st.sampled_from(["ragged", "ragged" + RENAMED]))
    def widen(self, name: str) -> None:
        if name in self.staged:
            wider = self.rest["widened"][name] = self.rest["widened"].get(name, 0) + 1
            self.writer[name].widen((4 + wider, 30))

    @rule(name=ALL_NAMES | st.just(""), key=st.sampled_from("ab"), number=NUMBERS | st.none(), fails=st.booleans())
    def describe(self, name: str, key: str, number: int | None, fails: bool) -> None:
        if name and name not in self.staged:
            return
        attributes: Any = (self.writer[name] if name else self.writer).attributes
        about = dict(self.rest["about"].get(name, {}))
        try:
            with self.writer:
                if number is None:
                    attributes.pop(key, None)
                else:
                    attributes[key] = [number]
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            return
        about = {
            one: value
            for one, value in {**about, key: None if number is None else [number]}.items()
            if value is not None
        }
        self.rest["about"].pop(name, None)
        if about:
            self.rest["about"][name] = about

    @rule(name=NAMES, key=KEYS, number=NUMBERS)
    def put(self, name: str, key: int | str, number: int) -> None:
        if name in self.staged:
            self.writer[name][key] = make(name, number)
            self.staged[name][key] = number

    @rule(name=NAMES, samples=st.dictionaries(KEYS, NUMBERS, max_size=40))
    def update(self, name: str, samples: Samples) -> None:
        if name in self.staged:
            self.writer[name].update({key: make(name, number) for key, number in samples.items()})
            self.staged[name].update(samples)

    @rule(start=st.integers(0, 10_000), count=st.integers(4_097, 4_500))
    def put_many_labels(self, start: int, count: int) -> None:
        if "label" in self.staged:
            self.writer["label"].write(range(start, start + count), np.arange(count).astype(np.int16) % 31)
            self.staged["label"].update((start + i, i % 31) for i in range(count))

    @rule(name=NAMES, data=st.data())
    def delete(self, name: str, data: st.DataObject) -> None:
        if self.staged.get(name):
            key = data.draw(st.sampled_from(sorted(self.staged[name], key=order)[:50]))
            del self.writer[name][key]
            del self.staged[name][key]

    @rule(name=NESTED_NAMES, pair=PAIRS, number=NUMBERS)
    def put_subsample(self, name: str, pair: tuple[Any, Any], number: int) -> None:
        if name not in self.staged:
            return
        column: Any = self.writer[name]
        if pair[0] in column:
            column[pair[0]][pair[1]] = make(name, number)
        else:
            column[pair[0]] = {pair[1]: make(name, number)}
        self.staged[name][pair] = number

    @rule(name=NESTED_NAMES, pairs=st.dictionaries(PAIRS, NUMBERS, max_size=40), fails=st.booleans())
    def update_samples(self, name: str, pairs: Samples, fails: bool) -> None:
        if name not in self.staged:
            return
        grouped: dict[Any, dict[Any, Any]] = {}
        for (sample, sub), number in pairs.items():
            grouped.setdefault(sample, {})[sub] = make(name, number)
        try:
            with self.writer[name] as column:
                column.update(grouped)
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            return
        self.staged[name].update(pairs)

    @rule(start=st.integers(0, 3_000), count=st.integers(4_097, 4_500))
    def write_many_boxes(self, start: int, count: int) -> None:
        if "boxes" not in self.staged:
            return
        column: Any = self.writer["boxes"]
        pairs = [(i // 9, i % 9) for i in range(start, start + count)]
        column.write(pairs, np.stack([make("boxes", i) for i in range(31)])[np.arange(count) % 31])
        self.staged["boxes"].update((pair, i % 31) for i, pair in enumerate(pairs))

    @rule(name=NESTED_NAMES, whole=st.booleans(), data=st.data())
    def delete_from_nested(self, name: str, whole: bool, data: st.DataObject) -> None:
        if not self.staged.get(name):
            return
        pairs = sorted(self.staged[name], key=lambda pair: (order(pair[0]), order(pair[1])))
        sample, sub = data.draw(st.sampled_from(pairs[:50]))
        if whole:
            del self.writer[name][sample]
        else:
            del self.writer[name][sample][sub]
        for pair in pairs:
            if pair[0] == sample and (whole or pair[1] == sub):
                del self.staged[name][pair]

    @rule(steps=st.lists(st.tuples(NAMES, KEYS, NUMBERS | st.none()), max_size=15), fails=st.booleans())
    def batch(self, steps: list[tuple[str, int | str, int | None]], fails: bool) -> None:
        after = {name: dict(samples) for name, samples in self.staged.items()}
        try:
            with self.writer:
                for name, key, number in steps:
                    if name not in after:
                        continue
                    if number is not None:
                        self.writer[name][key] = make(name, number)
                        after[name][key] = number
                    elif key in after[name]:
                        del self.writer[name][key]
                        del after[name][key]
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            return
        self.staged = after

    @rule()
    def commit(self) -> None:
        if not self.dirty:
            with pytest.raises(NothingToDoError):
                self.writer.commit("nothing")
            return
        self.note(self.writer.commit(f"commit {len(self.commits)}"))

    def note(self, digest: str, *, parents: list[str] | None = None) -> None:
        """A new commit on the branch; its parent is the head unless ``parents`` are given."""
        self.commits[digest] = {name: dict(samples) for name, samples in self.staged.items()}
        self.rests[digest] = copy.deepcopy(self.rest)
        self.parents[digest] = [self.heads[self.branch]] if parents is None else parents
        self.heads[self.branch] = digest

    @rule()
    def amend(self) -> None:
        head = self.heads[self.branch]
        if not head:
            with pytest.raises(HangarError):
                self.writer.commit("amended", amend=True)
            return
        self.note(self.writer.commit(f"amended {len(self.commits)}", amend=True), parents=self.parents[head])

    @rule()
    def reset(self) -> None:
        self.writer.reset_staging_area(force=True)
        self.back()

    @rule(anew=st.booleans())
    def reopen(self, anew: bool) -> None:
        self.writer.close()
        if anew:
            self.repo.close()
            self.repo = Repository(self.directory)
        self.writer = self.repo.checkout(write=True)
        assert self.writer.branch_name == self.branch

    @precondition(lambda self: self.commits)
    @rule(name=st.sampled_from(["a", "b", "c"]), data=st.data())
    def create_branch(self, name: str, data: st.DataObject) -> None:
        base = data.draw(st.sampled_from(list(self.commits)))
        if name in self.heads:
            with pytest.raises(ValueError, match=name):
                self.repo.create_branch(name, base)
            return
        assert self.repo.create_branch(name, base) == (name, base)
        self.heads[name] = base

    @rule(name=st.sampled_from(["a", "b", "c"]))
    def remove_branch(self, name: str) -> None:
        self.writer.close()
        if name in self.heads and name != self.branch:
            self.repo.remove_branch(name, force_delete=True)
            del self.heads[name]
        else:
            with pytest.raises(HangarError):
                self.repo.remove_branch(name, force_delete=True)
        self.writer = self.repo.checkout(write=True)

    @rule(name=st.sampled_from(["a", "b", "c", "master"]))
    def switch(self, name: str) -> None:
        if name not in self.heads:
            return
        self.writer.close()
        if self.dirty and name != self.branch:
            with pytest.raises(ValueError, match="uncommitted"):
                self.repo.checkout(write=True, branch=name)
            self.writer = self.repo.checkout(write=True)
            return
        self.writer = self.repo.checkout(write=True, branch=name)
        if name == self.branch:
            return
        self.branch = name
        self.back()

    # ------------------------------------------------------------------ taking back

    @contextmanager
    def without_writer(self) -> Iterator[None]:
        """For what takes the writer lock itself; the writer is opened again."""
        self.writer.close()
        try:
            yield
        finally:
            self.writer = self.repo.checkout(write=True)

    @precondition(lambda self: self.commits)
    @rule(name=st.sampled_from(["a", "v1", "v2"]), data=st.data())
    def tag(self, name: str, data: st.DataObject) -> None:
        if name in self.tags and data.draw(st.booleans()):
            assert self.repo.remove_tag(name) == self.tags.pop(name)
            return
        digest = data.draw(st.sampled_from(list(self.commits)))
        if name in self.tags:
            with pytest.raises(ValueError, match="exists"):
                self.repo.tag(name, digest)
            return
        self.tags[name] = self.repo.tag(name, digest)
        assert self.tags[name] == digest

    @precondition(lambda self: self.heads[self.branch])
    @rule(hard=st.booleans(), data=st.data())
    def move_branch(self, hard: bool, data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(list(self.commits)))
        with self.without_writer():
            if self.dirty and not hard:
                with pytest.raises(RuntimeError, match="uncommitted"):
                    self.repo.reset(digest)
                return
            assert self.repo.reset(digest, hard=hard) == digest
        self.heads[self.branch] = digest
        if hard:
            self.back()

    @precondition(lambda self: self.heads[self.branch])
    @rule()
    def revert_the_last_commit(self) -> None:
        parents = self.parents[self.heads[self.branch]]
        if len(parents) > 1:
            with self.without_writer(), pytest.raises((ValueError, RuntimeError)):
                self.repo.revert(self.branch)
            return
        parent = parents[0]
        before = (self.staged, self.rest)
        with self.without_writer():
            if self.dirty or not parent:
                with pytest.raises(RuntimeError):
                    self.repo.revert(self.branch)
                return
            if before == (self.commits[parent], self.rests[parent]):
                with pytest.raises(NothingToDoError):
                    self.repo.revert(self.branch)
                return
            digest = self.repo.revert(self.branch)
        self.staged = {name: dict(samples) for name, samples in self.commits[parent].items()}
        self.rest = copy.deepcopy(self.rests[parent])
        self.note(digest)

    # ------------------------------------------------------------------ merging

    def edit(self, steps: list[tuple[int, Any, Any, int | None]]) -> None:
        """Write (a number) or delete (None) samples and subsamples, and commit if that changed something."""
        for at, sample, sub, number in steps:
            name = sorted(self.staged)[at % len(self.staged)]
            key = (sample, sub) if name in NESTED else sample
            column: Any = self.writer[name]
            if number is not None and isinstance(key, tuple):
                column[key[0]] = {key[1]: make(name, number)}
            elif number is not None:
                column[key] = make(name, number)
            elif key in self.staged[name]:
                if isinstance(key, tuple):
                    del column[key[0]][key[1]]
                else:
                    del column[key]
            if number is None:
                self.staged[name].pop(key, None)
            else:
                self.staged[name][key] = number
        if self.dirty:
            self.note(self.writer.commit("edited"))

    @rule(
        ours=st.lists(EDITS, min_size=1, max_size=12),
        theirs=st.lists(EDITS, min_size=1, max_size=12),
        pick=st.booleans(),
        end=st.sampled_from(["ours", "theirs", "base", "abort"]),
    )
    def merge(self, ours: list[Any], theirs: list[Any], pick: bool, end: str) -> None:
        """Both sides edit samples; then the other side is merged, or its commit is picked."""
        for name in ("label", "boxes"):
            self.add_column(name)
        self.edit([])
        branch, base = self.branch, self.heads[self.branch]
        self.repo.create_branch("side", base)
        self.heads["side"] = base
        self.switch("side")
        self.edit(theirs)
        self.switch(branch)
        self.edit(ours)
        mine, other = self.heads[branch], self.heads["side"]
        before, after = self.commits[base], self.commits[mine]
        merged, conflicts = merge_contents(before, after, self.commits[other], end if end != "abort" else "ours")
        if any(deletes_whole_sample(before, *pair) for pair in itertools.permutations((after, self.commits[other]))):
            with self.without_writer():  # such conflicts name the whole sample; they have tests of their own
                self.repo.remove_branch("side", force_delete=True)
            del self.heads["side"]
            return
        with self.without_writer():
            if other == base or (pick and merged == after and not conflicts):
                if pick:
                    with pytest.raises((NothingToDoError, RuntimeError)):
                        self.repo.cherry_pick("side") if other != base else self.nothing_to_pick()
                else:
                    assert self.repo.merge("merged", branch, "side") == mine
            else:
                operation = (
                    (lambda **o: self.repo.cherry_pick("side", "picked", **o))
                    if pick
                    else (lambda **o: self.repo.merge("merged", branch, "side", **o))
                )
                self.conclude(operation, pick, branch, (mine, other), merged, conflicts, end)
            self.repo.remove_branch("side", force_delete=True)
            del self.heads["side"]

    def nothing_to_pick(self) -> None:
        raise NothingToDoError("the other side has no commit of its own")

    def conclude(
        self,
        operation: Callable[..., str],
        pick: bool,
        branch: str,
        sides: tuple[str, str],
        merged: Content,
        conflicts: set[tuple[str, Any]],
        end: str,
    ) -> None:
        """Merge or pick, and resolve the conflicts on one side, or abort."""
        mine, other = sides
        if conflicts:
            with pytest.raises(MergeConflictError):
                operation()
            assert self.repo.rev_parse(branch) == mine
            operation(keep_conflicts=True)
            found = self.repo.conflicts()
            parts = (found.t1, found.t21, found.t22, found.t3)
            assert {
                (key.column, key[1] if len(key) == 2 else key[1:]) for part in parts for key in part.samples
            } == conflicts
            if end == "abort":
                (self.repo.cherry_pick_abort if pick else self.repo.merge_abort)()
                return
            self.repo.resolve(None, end)
            if merged == self.commits[mine] and pick:
                self.repo.cherry_pick_abort()
                return
            digest = (self.repo.cherry_pick_continue if pick else self.repo.merge_continue)()
        else:
            digest = operation()
        if digest != other:
            self.staged = {name: dict(samples) for name, samples in merged.items()}
            self.note(digest, parents=[mine] if pick else [mine, other])
        else:
            assert not pick
            self.heads[branch] = other
            self.back()

    @rule(expire=st.booleans())
    def collect(self, expire: bool) -> None:
        with self.without_writer():
            self.repo.gc(expire_reflog="all" if expire else None)
        if expire:
            kept: set[str] = set()
            found = [*self.heads.values(), *self.tags.values(), *(base for base, _, _ in self.stashes)]
            while found:
                digest = found.pop()
                if digest and digest not in kept:
                    kept.add(digest)
                    found += self.parents[digest]
            for digest in [one for one in self.commits if one not in kept]:
                with pytest.raises(ValueError, match=digest[:8]):
                    self.repo.checkout(commit=digest)
                del self.commits[digest]

    # ------------------------------------------------------------------ stashes

    @precondition(lambda self: self.heads[self.branch])
    @rule()
    def stash(self) -> None:
        with self.without_writer():
            if not self.dirty:
                with pytest.raises(NothingToDoError):
                    self.repo.stash()
                return
            self.repo.stash()
        self.stashes.insert(0, (self.heads[self.branch], self.staged, self.rest))
        self.back()

    @precondition(lambda self: self.stashes and self.heads[self.branch])
    @rule()
    def stash_pop(self) -> None:
        base, staged, rest = self.stashes[0]
        if base != self.heads[self.branch] and not self.dirty:
            return  # a merge, which has its own tests
        with self.without_writer():
            if self.dirty:
                with pytest.raises(RuntimeError, match="uncommitted"):
                    self.repo.stash_pop()
                return
            self.repo.stash_pop()
        self.stashes.pop(0)
        self.staged, self.rest = staged, rest

    @precondition(lambda self: self.commits)
    @rule(data=st.data())
    def read_any_commit(self, data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(list(self.commits)))
        expect(self.repo.checkout(commit=digest), self.commits[digest], self.rests[digest])

    # ------------------------------------------------------------------ what always holds

    @invariant()
    def the_staging_area_is_the_model(self) -> None:
        if not hasattr(self, "writer"):
            return
        expect(self.writer, self.staged, self.rest)
        assert self.writer.diff.status() == ("DIRTY" if self.dirty else "CLEAN")
        assert self.repo.list_branches() == sorted(self.heads)
        assert {name: self.repo.tag_info(name).digest for name in self.repo.list_tags()} == self.tags
        assert len(self.repo.stash_list()) == len(self.stashes)
        assert self.repo.fsck().problems == ()

    def teardown(self) -> None:
        try:
            for digest, content in self.commits.items():
                expect(self.repo.checkout(commit=digest), content, self.rests[digest])
            trees: dict[str, Any] = {}
            for digest, content in self.commits.items():
                seen = (content, *(self.rests[digest][part] for part in ("about", "widened")))
                assert trees.setdefault(self.repo.commit_info(digest).tree, seen) == seen
            if hasattr(self, "writer"):
                self.writer.close()
                assert self.repo.verify_repo_integrity()
        finally:
            self.repo.close()
            shutil.rmtree(self.directory)


TestRepositoryMachine = RepositoryMachine.TestCase
