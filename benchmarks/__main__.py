"""Compares Hangar with a baseline and with its peers, on the same data in one run.

python -m benchmarks [--quick] [--workload small ...] [--peer hangar ...] [--json FILE] [--rst FILE]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks import alone, machine
from benchmarks.outcome import Settings
from benchmarks.peers import Entry, entries
from benchmarks.results import Results
from benchmarks.tables import as_text, sections
from benchmarks.worker import Worker
from benchmarks.workloads import DEFAULT, MAKERS, make

__all__ = ["main", "run"]


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the data, two rounds: to see that it runs")
    parser.add_argument("--workload", nargs="+", choices=[*MAKERS, "alone"], metavar="NAME", help="only these")
    parser.add_argument("--peer", nargs="+", default=[], metavar="NAME", help="only these, and the baseline")
    parser.add_argument("--rounds", type=int, help="how often each figure is taken (the best counts); default 3")
    parser.add_argument("--seconds", type=float, help="how long each kind of read is timed; default 0.3")
    parser.add_argument("--limit", type=float, default=180, help="seconds that one round of one peer may take")
    parser.add_argument(
        "--huge", action="store_true", help="opening ten million samples, and epochs of them, too (minutes)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round there")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="write the table between the markers of that page")
    parser.add_argument("--directory", type=Path, help="where the data sets are made; default: for temporary files")
    parser.add_argument("--verbose", action="store_true", help="show what the peers print")
    options = parser.parse_args(given)
    options.rounds = options.rounds or (2 if options.quick else 3)
    return options


def run(
    names: list[str], peers: list[Entry], settings: Settings, rounds: int, scale: int, **options: object
) -> Results:
    """Measure; the peers take turns, so that other load on the machine affects all of them alike."""
    results = Results()
    with suppress(KeyboardInterrupt):  # what was measured so far is shown
        _measure(results, names, peers, settings, rounds, scale, **options)
    return results


def _measure(
    results: Results,
    names: list[str],
    peers: list[Entry],
    settings: Settings,
    rounds: int,
    scale: int,
    **options: object,
) -> None:
    limit, quiet = float(options.get("limit", 180)), bool(options.get("quiet", True))  # type: ignore[arg-type]
    for group in _groups(names):
        workers = []
        try:
            for name in group:
                workload = make(name, scale)
                results.counts[name], results.raw_bytes[name] = len(workload.main), workload.nbytes
                chosen = [peer for peer in peers if peer.takes(name)]
                workers += [Worker(peer, workload, settings, limit, quiet) for peer in chosen]
            for turn in range(1 if group[0].endswith("-dup") else rounds):
                # Whatever comes after one that leaves much to clean up behind it, it is another one each time.
                for worker in workers[::-1] if turn % 2 else workers:
                    _settle()
                    name, peer = worker.workload, worker.entry.name
                    start = time.perf_counter()
                    results.add(name, peer, worker.round(), worker.failure)
                    _note(f"{name}, round {turn + 1}: {peer} {time.perf_counter() - start:.1f} s")
        except KeyboardInterrupt:
            for worker in workers:
                worker.close(hurry=True)
            raise
        for worker in workers:
            worker.close()


def _settle() -> None:
    """Let the disk finish the writes and removals of the peer before, so that the next one does not pay for them."""
    os.sync()
    time.sleep(0.3)


def _groups(names: list[str]) -> list[list[str]]:
    """Workloads that are compared with each other take turns; all others run one by one, to save memory."""
    compared = [name for name in names if name.startswith("labels-")]
    groups = [compared if name in compared else [name] for name in names]
    return [group for i, group in enumerate(groups) if group not in groups[:i]]


def _note(text: str) -> None:
    """Report the progress: one line on a terminal, a log elsewhere."""
    if text or sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}" if sys.stderr.isatty() else f"{text}\n")
        sys.stderr.flush()


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    peers = entries(options.peer)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.directory) as directory:
        results = _everything(options, peers, Path(directory))
        about = machine.describe(peers, Path(directory))
    _note("")
    scale = "quick, a tenth of the data, " if options.quick else ""
    about["run"] = f"{scale}{options.rounds} rounds, {time.perf_counter() - start:.0f} s"
    found = sections(results)
    sys.stdout.write(machine.as_text(about) + "\n\n" + as_text(found))
    if options.json:
        machine.write_json(options.json, about, results)
    if options.rst:
        machine.write_page(options.rst, about, found)
    return 0


def _everything(options: argparse.Namespace, peers: list[Entry], directory: Path) -> Results:
    names = options.workload or [*DEFAULT, "alone"]
    scale = 10 if options.quick else 1
    settings = Settings(options.seconds or (0.1 if options.quick else 0.3), 5 if options.quick else 11, directory)
    workloads = [name for name in names if name != "alone"]
    results = run(workloads, peers, settings, options.rounds, scale, limit=options.limit, quiet=not options.verbose)
    if "alone" in names and list(results.counts) == workloads:
        _note("alone")
        results.single |= alone.start_up(directory, 5 if options.quick else 15)
        results.single |= alone.folders(directory, 200 if options.quick else 2_000)
        from benchmarks import slices  # here, because it needs h5py

        results.single |= slices.figures(4 if options.quick else 64)
        if options.huge:
            results.single |= alone.memory(directory, 10_000_000)
            results.single |= alone.start_of_epochs(directory, 1_000_000, 10_000_000)
    return results


if __name__ == "__main__":
    sys.exit(main())
