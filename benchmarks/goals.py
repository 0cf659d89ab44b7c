"""The project's goals and the figures of this run. Goals without measured figures are left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.peers import BASELINE
from benchmarks.results import Results

__all__ = ["goal_rows"]

HANGAR = "hangar"


class Goal(NamedTuple):
    what: str
    goal: str
    value: float | None
    shown: str
    met: bool


def _most(what: str, value: float | None, limit: float, unit: str = "x", scale: float = 1) -> Goal:
    """The value may be at most ``limit``."""
    found = None if value is None else value * scale
    shown = "" if found is None else f"{found:.3g}{unit}"
    return Goal(what, f"at most {limit:g}{unit}", found, shown, found is not None and found <= limit)


def _least(what: str, value: float | None, limit: float, unit: str, scale: float = 1) -> Goal:
    found = None if value is None else value * scale
    shown = "" if found is None else f"{found:.3g}{unit}"
    return Goal(what, f"at least {limit:g}{unit}", found, shown, found is not None and found >= limit)


def _ingest(results: Results) -> Iterator[Goal]:
    for workload, peer, limit, how in (
        ("small", HANGAR, 3.0, "with the batch kernel"),
        ("small", "hangar:no-kernel", 6.0, "one hash call a sample"),
        ("medium", "hangar:10", 1.6, "uncompressed"),
        ("medium", HANGAR, 2.2, "backend by default"),
        ("large", "hangar:10", 1.3, "uncompressed"),
        ("large", HANGAR, 1.9, "backend by default"),
    ):
        yield _most(
            f"{workload}: durable ingest, {how}, to the baseline", results.ratio(workload, peer, "ingest"), limit
        )
    yield _most("small: durable ingest, to Lance", results.ratio("small", HANGAR, "ingest", "Lance"), 1)


def _reads(results: Results) -> Iterator[Goal]:
    for peer, how in ((HANGAR, "backend by default"), ("hangar:10", "uncompressed")):
        for measure, what, share in (
            ("get", "random single get", 0.4),
            ("positions", "batch of 256 by position", 0.6),
            ("list", "batch of 256 by a list of keys", 0.4),
            ("scan", "all in order", 0.5),
        ):
            yield _least(f"small: {what}, {how}, to the baseline", results.ratio("small", peer, measure), share, "x")
    others = {peer: results.best("small", peer, "scan") for peer in results.rounds.get("small", {})}
    best = max(
        (rate or 0 for peer, rate in others.items() if peer != BASELINE and not peer.startswith(HANGAR)), default=0
    )
    own = others.get(HANGAR)
    yield _least("small: all in order, to the best peer but the baseline", own and best and own / best, 1, "x")
    for measure, what in (("get", "random single get"), ("batch", "batch of 256 random keys")):
        to_h5py = results.ratio("small", "hangar:00", measure, "h5py")
        yield _least(f"small: {what} of backend 00, to h5py", to_h5py, 0.5, "x")
    yield _least("labels-1M: random single get", results.best("labels-1M", HANGAR, "get"), 250, " k/s", 1e-3)
    yield _least("labels-1M: random single get, to LMDB", results.ratio("labels-1M", HANGAR, "get", "LMDB"), 1, "x")


def _epochs(results: Results) -> Iterator[Goal]:
    for workload, measure, how, share in (
        ("epochs-small", "epoch", "0 workers", 0.6),
        ("epochs-small", "epoch, 2 workers", "2 workers", 0.8),
        ("epochs-small", "epoch, plain", "torch's own collate", 0.4),
        ("epochs-medium", "epoch", "0 workers", 0.7),
    ):
        ratio = results.ratio(workload, "hangar:10" if workload == "epochs-medium" else HANGAR, measure)
        yield _least(f"{workload}: {how}, to the baseline", ratio, share, "x")
    versioned = [results.best("epochs-small", peer, "epoch") or 0 for peer in ("Lance", "DeepLake")]
    own = results.best("epochs-small", HANGAR, "epoch")
    yield _least(
        "epochs-small: 0 workers, to the best versioned peer", own and max(versioned) and own / max(versioned), 10, "x"
    )


def _labels(results: Results) -> Iterator[Goal]:
    for measure, limit, what in (
        ("commit", 15.0, "commit of 100 random changes"),
        ("diff", 15.0, "diff of those"),
        ("merge", 30.0, "merge of 100 changes with 100 others"),
        ("branch", 1.0, "branch"),
        ("open", 2.0, "open an old commit, read a sample"),
    ):
        yield _most(f"labels-1M: {what}", results.best("labels-1M", HANGAR, measure), limit, " ms", 1e3)
        small = results.best("labels-10k", HANGAR, measure)
        large = results.best("labels-1M", HANGAR, measure)
        times = None if small is None or large is None else large / small
        yield _most(f"labels-1M: {what}, to that of labels-10k", times, 2)
    bytes_ = results.best("labels-1M", HANGAR, "commit bytes")
    yield _most("labels-1M: node bytes of a commit of 100 changes", bytes_, 1, " MB", 1e-6)
    yield _most(
        "labels-1M: node bytes a key, clustered appends",
        results.best("labels-1M", HANGAR, "append bytes a key"),
        150,
        " B",
    )


def _disk(results: Results) -> Iterator[Goal]:
    for name, raw in results.raw_bytes.items():
        if name.endswith("-dup"):
            yield _duplicates(results, name)
            continue
        for peer in (HANGAR, "hangar:10"):
            disk = results.best(name, peer, "disk")
            if disk is not None and (peer != HANGAR or name == "text"):
                limit = 1.1 * raw + 300 * results.counts[name]
                yield _most(f"{name}: disk of {peer}, to 1.1x raw + 300 B a sample", disk / limit, 1)
        for peer in ("hangar:00", "hangar:01"):
            disk, plain = results.best(name, peer, "disk"), results.best(name, "h5py", "disk")
            if disk is not None and plain is not None:
                limit = 1.1 * plain + 300 * results.counts[name]
                yield _most(f"{name}: disk of {peer}, to 1.1x raw h5py + 300 B a sample", disk / limit, 1)


def _duplicates(results: Results, name: str) -> Goal:
    """Cost of a duplicate, uncompressed: its entry in the column's tree. It needs no blob and no location of its own."""
    peer = HANGAR if name == "text-dup" else "hangar:10"
    return _most(f"{name}: disk of a duplicate, {peer}", results.best(name, peer, "disk of a copy"), 100, " B")


def _single(results: Results) -> Iterator[Goal]:
    for what, limit, unit in (
        ("import hangar, to import numpy", 1.6, "x"),
        ("hangar status, to import numpy", 3.0, "x"),
        ("opening a checkout of 10 M inline samples, memory", 50.0, " MB"),
        ("first batch of a shuffled epoch of 1 M images (28, 28), no cache file", 1.5, " s"),
        ("first batch of a shuffled epoch of 1 M images (28, 28), a cache file", 1.0, " s"),
        ("first batch of a shuffled epoch of 10 M int64 labels, no cache file", 1.0, " s"),
    ):
        value = results.single.get(f"{what}{f' ({unit.strip()})' if unit != 'x' else ''}")
        yield _most(what, value if isinstance(value, (int, float)) else None, limit, unit)


def _slices(results: Results) -> Iterator[Goal]:
    """Chunked arrays, by the clock, beside raw h5py of the same chunks and codec."""
    limits = {"whole volumes written": 0.8, "slices of 2 x 64 x 64": 1.0, "whole volumes read": 0.8}
    for what, value in results.single.items():
        measure = what.partition(": ")[2].removesuffix(", to h5py")
        if what.startswith("chunks ") and measure in limits and isinstance(value, float):
            yield _least(what, value, limits[measure], "x")


def goal_rows(results: Results) -> list[list[str]]:
    """Description, goal, value and whether it is met, for every measured goal."""
    rows = []
    for part in (_ingest, _reads, _epochs, _labels, _disk, _single, _slices):
        rows += [[g.what, g.goal, g.shown, "yes" if g.met else "NO"] for g in part(results) if g.value is not None]
    return rows
