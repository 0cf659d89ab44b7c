"""The benchmarks run: on a toy workload, for the baseline, LMDB and Hangar. The figures are not checked."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import machine, peers
from benchmarks.__main__ import run
from benchmarks.contract import Peer
from benchmarks.goals import goal_rows
from benchmarks.measure import one_round
from benchmarks.outcome import Settings
from benchmarks.results import Results
from benchmarks.tables import as_text, sections
from benchmarks.workloads import MAKERS, Workload, make

SETTINGS = Settings(seconds=0.002, commits=2)
CHOSEN = peers.entries(["LMDB", "hangar"])


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made = {
        "toy": lambda scale: Workload("toy", {"images": np.arange(40 * 4, dtype=np.uint8).reshape(40, 4)}, batch=8),
        "words": lambda scale: Workload("words", {"w": [b"%d" % i * 40 for i in range(30)]}, batch=8, text_keys=True),
        "labels-1M": lambda scale: Workload("labels-1M", {"labels": np.arange(600)}, history=True),
    }
    monkeypatch.setattr("benchmarks.__main__.make", lambda name, scale: made[name](scale))
    return list(made)


def test_every_figure_of_the_toy_workloads_is_there_and_in_the_table(toys: list[str], tmp_path: Path) -> None:
    results = run(toys, CHOSEN, SETTINGS, rounds=1, scale=1)
    assert not results.failures
    for name in toys:
        for peer in ("memmap", "LMDB", "hangar"):
            for measure in ("ingest", "disk", "get", "batch", "scan"):
                assert (results.best(name, peer, measure) or 0) > 0, (name, peer, measure, results.rounds[name][peer])
        for peer in ("memmap", "hangar"):
            assert (results.best(name, peer, "positions") or 0) > 0
            assert (results.best(name, peer, "list") or 0) > 0
    for measure in ("commit", "diff", "merge", "open", "branch", "append", "commit bytes", "append bytes a key"):
        assert (results.best("labels-1M", "hangar", measure) or 0) > 0, measure
    assert results.reason("labels-1M", "LMDB", "commit") == "- keeps no history"

    text = as_text(sections(results))
    assert "toy: 40 samples" in text
    assert "toy: Hangar compared with the baseline, by kind of read" in text
    assert "labels-1M: random single get, to LMDB" in text
    assert "labels-1M: commit of 100 random changes" in text
    page, figures = tmp_path / "page.rst", tmp_path / "figures.json"
    page.write_text(f"Before\n\n{machine.BEGIN}\nold\n{machine.END}\n\nAfter\n")
    about = machine.describe(CHOSEN, tmp_path)
    machine.write_page(page, about, sections(results))
    machine.write_page(page, about, sections(results))
    written = page.read_text()
    assert written.startswith("Before\n")
    assert written.endswith("After\n")
    assert "\nold\n" not in written
    assert written.count(".. list-table:: toy: 40 samples") == 1
    assert os.uname().nodename not in written.replace("localhost", "")
    machine.write_json(figures, about, results)
    assert json.loads(figures.read_text())["rounds"]["toy"]["LMDB"][0]["ingest"] > 0


def test_epochs_are_of_every_sample_once_and_shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process and in two workers; each batch is compared with the written samples by the benchmark itself."""
    pytest.importorskip("torch")
    images = np.random.default_rng(0).integers(0, 256, (70, 4, 4), np.uint8)
    workload = Workload("epochs-toy", {"images": images, "labels": np.arange(70)}, batch=16, epochs=True, reads=False)
    monkeypatch.setattr("benchmarks.__main__.make", lambda name, scale: workload)
    results = run(["epochs-toy"], CHOSEN, SETTINGS, rounds=1, scale=1)
    assert set(results.rounds["epochs-toy"]) == {"memmap", "hangar", "hangar:10"}
    for peer in ("memmap", "hangar"):
        for measure in ("epoch", "epoch, 2 workers", "epoch, plain"):
            assert (results.best("epochs-toy", peer, measure) or 0) > 0, results.rounds["epochs-toy"][peer]
    text = as_text(sections(results))
    assert "epochs-toy: shuffled epochs of 70 samples" in text


def test_an_epoch_that_is_not_right_has_no_figure() -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.epochs import _rate

    images = np.random.default_rng(0).integers(0, 256, (64, 4, 4), np.uint8)
    workload = Workload("epochs-toy", {"images": images}, batch=16, epochs=True, reads=False)
    shuffled = np.random.default_rng(1).permutation(64)
    for order, text in (
        (np.arange(64), "not shuffled"),
        (shuffled[:48], "not those that were written"),
        (np.r_[shuffled[:48], shuffled[:16]], "not those that were written"),
    ):
        batches = [(torch.from_numpy(images[order[at : at + 16]]),) for at in range(0, len(order), 16)]
        with pytest.raises(ValueError, match=text):
            _rate(workload, batches, SETTINGS)
    assert _rate(workload, [(torch.from_numpy(images[some]),) for some in np.split(shuffled, 4)], SETTINGS) > 0


def _entry(name: str) -> peers.Entry:
    return peers.Entry(name, name, ())


def test_a_peer_that_fails_is_a_row_that_says_why(toys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: peers.Entry) -> type[Peer]:
        if self.name == "absent":
            raise ImportError("no module named absent")
        if self.name == "killed":
            os.kill(os.getpid(), 9)
        if self.name == "leaves":
            os._exit(3)
        return {"raises": Raises, "lies": Lies}[self.name]

    class Raises(Peer):
        def ingest(self) -> None:
            raise RuntimeError("no room")

    class Lies(Peer):
        def ingest(self) -> None:
            pass

        def open(self) -> None:
            pass

        def get(self, index: int) -> object:
            return np.zeros(4, np.uint8)

    monkeypatch.setattr(peers.Entry, "load", load)
    names = ["absent", "killed", "leaves", "raises", "lies"]
    results = run(["toy"], [_entry(name) for name in names], SETTINGS, rounds=2, scale=1)
    assert results.failures["toy"] == {
        "absent": "not installed: no module named absent",
        "killed": "died of SIGKILL",
        "leaves": "ended with exit code 3",
    }
    assert results.reason("toy", "raises", "ingest") == "RuntimeError: no room"
    assert results.reason("toy", "lies", "get") == "ValueError: read something else than was written"
    assert "absent: not installed" in as_text(sections(results))


def test_a_figure_is_the_best_of_the_rounds_and_a_ratio_that_of_one_run() -> None:
    results = Results({"toy": 10}, {"toy": 100})
    for ingest, get in ((2.0, 5.0), (1.0, 7.0)):
        results.add("toy", "memmap", {"ingest": ingest, "get": get}, None)
        results.add("toy", "hangar", {"ingest": ingest * 3, "get": "- no"}, None)
    assert (results.best("toy", "memmap", "ingest"), results.best("toy", "memmap", "get")) == (1.0, 7.0)
    assert results.ratio("toy", "hangar", "ingest") == 3.0
    assert results.ratio("toy", "hangar", "get") is None


@pytest.mark.parametrize("name", ["small", "medium", "text", "labels-10k", "small-dup", "text-dup"])
def test_workloads_are_the_same_every_time(name: str) -> None:
    one, other = (make(name, 200) for _ in range(2))
    for column, again in zip(one.columns.values(), other.columns.values(), strict=True):
        assert np.array_equal(column, again)
        assert len(column) == len(one.keys)


def test_one_sample_in_ten_of_a_dup_workload_is_a_copy() -> None:
    images = make("small-dup", 100).main
    assert isinstance(images, np.ndarray)
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images) * 9 // 10


def test_what_a_copy_takes_is_its_entry_and_no_blob(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3000, 500), np.uint8)
    workload = Workload("toy-dup", {"images": values, "labels": np.arange(3000)}, reads=False, copies=True)
    monkeypatch.setattr("benchmarks.__main__.make", lambda name, scale: workload)
    results = run(["toy-dup"], CHOSEN, Settings(0.001, 1, tmp_path), rounds=1, scale=1)
    taken = results.best("toy-dup", "hangar", "disk of a copy")
    assert taken is not None
    assert 32 < taken < 150
    assert results.reason("toy-dup", "LMDB", "disk of a copy")
    # The goal is of the backend that does not compress.
    assert not [row for row in goal_rows(results) if "disk of a duplicate" in row[0]]
    results.rounds["toy-dup"]["hangar:10"] = results.rounds["toy-dup"]["hangar"]
    (row,) = [row for row in goal_rows(results) if "disk of a duplicate" in row[0]]
    assert row[2] == f"{taken:.3g} B"


def test_few_copies_are_not_measured() -> None:
    assert make("small-dup", 10).copies
    assert not make("small-dup", 1000).copies
    assert not make("small", 10).copies


def test_peers_are_loaded_only_where_they_are_measured() -> None:
    assert len(MAKERS) == 12
    assert not [name for name in sys.modules if name.startswith("benchmarks.peers.")]
    assert [entry.name for entry in peers.entries(["LMDB"])] == ["memmap", "LMDB"]
    assert "hangar:10" in [entry.name for entry in peers.entries(["hangar"])]


def test_data_sets_are_removed(tmp_path: Path) -> None:
    peer = peers.ENTRIES["memmap"]
    outcome = one_round(peer.load(), make("labels-10k"), Settings(0.001, 1, tmp_path))
    assert outcome["disk"] == 80_000
    assert not list(tmp_path.iterdir())
    sys.modules.pop("benchmarks.peers.memmap")
