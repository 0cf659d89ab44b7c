"""Clone, fetch-data and push over loopback, beside plain gRPC streaming of the same bytes; and random reads on demand by many clients.

    python -m benchmarks.remote [--scale 1] [--workload small medium large] [--times 3] [--clients 1 8 32] [--seconds 5]

Servers run in processes of their own. The baseline streams the bytes of the data in messages of 1 MiB, by a server and a client that do
nothing else; with a disk, the client writes them to a file and syncs it. Transfers and baselines take turns, and the medians of their times are
shown, with the processor time of client and server together. The reads are those of ``benchmarks.remote_reads``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.remote_common import fill, server, started
from benchmarks.remote_reads import cpu_of, reads
from hangar import Repository

MESSAGE = 2**20


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def plain_server(nbytes: int) -> None:
    """The baseline: streams so many bytes, and takes streams of bytes."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    data = os.urandom(MESSAGE)

    def down(request: bytes, context: Any) -> Iterator[bytes]:
        for _ in range(nbytes // MESSAGE):
            yield data

    def up(messages: Any, context: Any) -> bytes:
        for _ in messages:
            pass
        return b""

    running = grpc.server(ThreadPoolExecutor(4))
    handlers: dict[str, Any] = {
        "down": grpc.unary_stream_rpc_method_handler(down),
        "up": grpc.stream_unary_rpc_method_handler(up),
    }
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("plain", handlers),))
    print(f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}", flush=True)
    running.start()
    running.wait_for_termination()


class Times:
    """Times of several runs of each of some works: seconds on the clock and of the processors, of this process and a server."""

    def __init__(self) -> None:
        self.found: dict[str, list[tuple[float, float]]] = {}

    def note(self, what: str, server: int, work: Callable[[], object]) -> None:
        used = time.process_time() + cpu_of(server)
        seconds = timed(work)
        self.found.setdefault(what, []).append((seconds, time.process_time() + cpu_of(server) - used))

    def median(self, what: str) -> tuple[float, float]:
        seconds, used = zip(*self.found[what], strict=True)
        return statistics.median(seconds), statistics.median(used)


def write_out(messages: Iterable[bytes], path: Path) -> None:
    """Write messages to a file, and sync it."""
    with path.open("wb", buffering=0) as file:
        for message in messages:
            file.write(message)
        os.fsync(file.fileno())
    path.unlink()


def plain(directory: Path, nbytes: int, times: Times) -> None:
    """The baselines: down, up, and down to a disk."""
    import grpc

    data = os.urandom(MESSAGE)
    with (
        started("benchmarks.remote", "--plain", str(nbytes)) as (address, pid),
        grpc.insecure_channel(address) as channel,
    ):
        down: Any = channel.unary_stream("/plain/down")
        up: Any = channel.stream_unary("/plain/up")
        times.note("down", pid, lambda: sum(map(len, down(b"", timeout=600))))
        times.note("up", pid, lambda: up((data for _ in range(nbytes // MESSAGE)), timeout=600))
        times.note("down to a disk", pid, lambda: write_out(down(b"", timeout=600), directory / "written"))


def transfers(directory: Path, name: str, scale: int, repeats: int) -> None:
    source = directory / "source"
    count, nbytes = fill(source, name, scale)
    streamed = max(nbytes, 2**28)
    times = Times()
    for repeat in range(repeats):
        plain(directory, streamed, times)
        clone, target = directory / f"clone-{repeat}", directory / f"target-{repeat}"
        clone.mkdir()
        target.mkdir()
        with (
            server(source) as (address, pid),
            server(target) as (other, third),
            Repository(clone, exists=False) as repository,
        ):
            times.note("history", pid, partial(repository.clone, "Bob", "bob@example.org", address))
            remote = repository.remote
            times.note("fetch-data", pid, partial(remote.fetch_data, "origin", branch="origin/master"))
            remote.add("target", other)
            times.note("push", third, partial(remote.push, "target", "master"))
        shutil.rmtree(clone)
        shutil.rmtree(target)
    print(f"{name:8} {count:>8,} samples, {nbytes / 1e6:,.0f} MB, median of {repeats}; load {os.getloadavg()[0]:.1f}")
    history = times.median("history")
    print(f"{'':8} clone of history {history[0]:.2f} s")
    for floor in ("down", "up", "down to a disk"):
        seconds, used = (value * nbytes / streamed for value in times.median(floor))
        print(
            f"{'':8} plain {floor:16} {seconds:6.2f} s {nbytes / seconds / 1e6:8,.0f} MB/s {used:6.2f} s of processors"
        )
    for what, floor in (("fetch-data", "down"), ("clone", "down"), ("push", "up")):
        seconds, used = times.median("fetch-data" if what == "clone" else what)
        if what == "clone":
            seconds, used = seconds + history[0], used + history[1]
        basis = [value * nbytes / streamed for value in times.median(floor)]
        print(
            f"{'':8} {what:22} {seconds:6.2f} s {nbytes / seconds / 1e6:8,.0f} MB/s {used:6.2f} s of processors: "
            f"{basis[0] / seconds:.2f} of plain, {basis[1] / used:.2f} by processor time",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=int, default=1, help="divide the number of samples by this")
    parser.add_argument("--workload", nargs="*", default=["small", "medium", "large"])
    parser.add_argument("--times", type=int, default=3, help="how often each transfer is made")
    parser.add_argument("--clients", nargs="*", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--plain", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain is not None:
        plain_server(options.plain)
    else:
        for name in options.workload:
            with tempfile.TemporaryDirectory(prefix="bench-remote-") as directory:
                transfers(Path(directory), name, options.scale, options.times)
        if options.clients:
            with tempfile.TemporaryDirectory(prefix="bench-remote-") as directory:
                reads(Path(directory), options.scale, options.clients, options.seconds)


if __name__ == "__main__":
    main()
