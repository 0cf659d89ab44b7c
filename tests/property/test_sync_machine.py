"""Three repositories that push, fetch and merge follow a model: a server and two clones of it.

The model knows the content of every commit, and which commit each branch is at. A push succeeds exactly if it drops no
commit; what a clone has after a fetch is what the commit holds, wherever it was made; nothing is sent that is there; and
after all of it every repository that has a commit has all of it, and fsck finds nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hangar.digest import Digest
from hangar.errors import StaleRefError
from hangar.objects.graph import ancestors
from hangar.objects.records import load_commit
from hangar.remote.selection import blobs_of_columns
from hangar.remote.transfer import fetch_blobs
from tests.property.model import COLUMNS, make
from tests.remote.world import Place, fetch, fetch_data, push_branch

NAMES = ["label", "image", "ragged", "text", "raw", "boxes"]
CLONES = st.integers(1, 2)
EDITS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(0, 60), st.integers(0, 30) | st.none()), min_size=1, max_size=30
)
Content = dict[str, dict[Any, Any]]


class SyncMachine(RuleBasedStateMachine):
    """Rules do one thing to a repository; the places are the server and two clones."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.places = [Place(self.directory / name) for name in ("server", "one", "two")]
        self.server = self.places[0]
        self.content: dict[Digest, Content] = {}
        self.parents: dict[Digest, set[Digest]] = {}
        self.whole: list[set[Digest]] = [set(), set(), set()]
        """Commits of which each place has all the data."""
        self.number = 0

    # ------------------------------------------------------------------ the model

    def note(self, place: Place, digest: Digest) -> None:
        """A commit was made here: from now on everybody must see it as it is."""
        index = self.places.index(place)
        commit = load_commit(place.stores.db, digest)
        self.parents[digest] = {digest}.union(*(self.parents[Digest(parent)] for parent in commit.parents))
        if all(Digest(parent) in self.whole[index] for parent in commit.parents):
            self.whole[index].add(digest)
            self.content[digest] = place.content(digest)

    def head(self, place: Place) -> Digest:
        found = place.head()
        assert found is not None
        return found

    def new_name(self) -> int:
        self.number += 1
        return self.number

    # ------------------------------------------------------------------ rules

    @initialize()
    def begin(self) -> None:
        def first(writer: Any) -> None:
            for name in NAMES:
                if name == "text":
                    writer.add_str_column(name)
                elif name == "raw":
                    writer.add_bytes_column(name)
                else:
                    writer.add_ndarray_column(name, **COLUMNS[name])

        digest = self.server.commit(first)
        self.note(self.server, digest)
        for index, clone in enumerate(self.places[1:], 1):
            fetch(clone, self.server.service)
            clone.repo.create_branch("work", base_commit=digest.hex())
            self.whole[index].add(digest)

    @rule(which=CLONES, edits=EDITS)
    def commit(self, which: int, edits: Any) -> None:
        place = self.places[which]

        def change(writer: Any) -> None:
            with writer:
                writer.attributes["number"] = self.new_name()
                for name, key, number in edits:
                    column = writer[name]
                    if name == "boxes":
                        self.edit_nested(column, key, number)
                    elif number is None:
                        if key in column:
                            del column[key]
                    else:
                        column[key] = make(name, number)

        self.note(place, place.commit(change, "work"))

    def edit_nested(self, column: Any, key: int, number: int | None) -> None:
        sample, sub = key // 8, key % 8
        if number is not None:
            column[sample, sub] = make("boxes", number)
        elif sample in column and sub in column[sample]:
            del column[sample][sub]

    @rule(which=CLONES)
    def push(self, which: int) -> None:
        place = self.places[which]
        mine, there = place.head("work"), self.head(self.server)
        assert mine is not None
        if there not in self.parents[mine]:
            with pytest.raises(StaleRefError):
                push_branch(place, self.server.service, "work", to="master")
            assert self.head(self.server) == there
            return
        push_branch(place, self.server.service, "work", to="master")
        assert self.head(self.server) == mine
        new = self.parents[mine] - self.parents[there]
        self.whole[0] |= new
        for digest in new - self.content.keys():
            self.content[digest] = self.server.content(digest)
        again = push_branch(place, self.server.service, "work", to="master")
        assert (again.objects, again.blobs) == (0, 0)

    @rule(which=CLONES)
    def fetch(self, which: int) -> None:
        place = self.places[which]
        fetch(place, self.server.service)
        assert place.stores.refs.get("remotes/origin/master") == self.head(self.server)
        assert fetch(place, self.server.service).objects == 0

    @rule(which=CLONES, merge=st.sampled_from(["ours", "theirs"]))
    def pull(self, which: int, merge: Any) -> None:
        """Fetch and merge; the data need not be here."""
        place = self.places[which]
        self.fetch(which)
        before, theirs = place.head("work"), self.head(self.server)
        merged = place.repo.merge("pull", "work", "origin/master", strategy=merge)
        head = Digest(bytes.fromhex(merged))
        if head not in self.parents:
            self.note(place, head)
        assert before is not None
        assert {before, theirs} <= self.parents[head]

    @rule(which=CLONES, budget=st.none() | st.integers(0, 5_000))
    def fetch_data(self, which: int, budget: int | None) -> None:
        place = self.places[which]
        self.fetch(which)
        head = self.head(self.server)
        commits = [commit for _, commit in ancestors(place.stores.db, [head])]
        found = fetch_blobs(
            place.stores, self.server.service, list(blobs_of_columns(place.stores, commits)), nbytes=budget
        )
        assert not len(found.absent)
        assert budget is None or found.nbytes <= budget
        if not found.left:
            self.whole[which] |= self.parents[head]
            assert fetch_data(place, self.server.service, head).blobs == 0

    @rule(which=st.integers(0, 2))
    def collect(self, which: int) -> None:
        self.places[which].repo.gc()

    @rule(which=CLONES)
    def exchange(self, which: int) -> None:
        """From one clone to the other, without the server."""
        place, other = self.places[which], self.places[3 - which]
        head = other.head("work")
        assert head is not None
        fetch(place, other.service, ["work"])
        # A part of the data may be at neither of them.
        fetch_data(place, other.service, head)
        self.whole[which] |= {
            digest for digest in self.parents[head] if self.parents[digest] <= self.whole[3 - which] | self.whole[which]
        }

    # ------------------------------------------------------------------ what always holds

    @invariant()
    def commits_are_what_they_were(self) -> None:
        for place, whole in zip(self.places, self.whole, strict=True):
            for branch in ("master", "work"):
                head = place.head(branch)
                if head in whole and head in self.content:
                    assert place.content(head) == self.content[head]

    def teardown(self) -> None:
        try:
            for place, whole in zip(self.places, self.whole, strict=True):
                assert not place.repo.fsck(data=True).problems
                for digest in whole & self.content.keys():
                    assert place.content(digest) == self.content[digest]
        finally:
            for place in self.places:
                place.close()
            shutil.rmtree(self.directory)


TestSyncMachine = pytest.mark.filterwarnings("ignore:.*reference-only")(SyncMachine.TestCase)
if settings.default is not None and settings.default.derandomize:
    # The quick profile: every example makes three repositories.
    SyncMachine.TestCase.settings = settings(max_examples=12, stateful_step_count=15)
