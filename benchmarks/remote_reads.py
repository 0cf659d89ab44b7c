"""Random reads on demand by many clients of one server, beside plain gRPC from a repository that is on the server's disk.

    python -m benchmarks.remote_reads [--scale 1] [--clients 1 8 32] [--seconds 5]

Each client is a process with a partial clone. It reads random batches of 256 samples that it does not have yet, with
``fetch_on_read``. The baseline is a server process that answers a request of 256 positions with ``column.read`` of the same
repository, and sends the bytes in one message; its clients only receive. CPU time is user and system time of a process for
each batch, and tells more than the rate where other programs use the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.remote_common import fill, server, started
from hangar import Repository

BATCH = 256
_TICKS = os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------------------------------------- processes


def plain_server(path: Path) -> None:
    """The baseline: reads positions of a column that is all here, and sends the bytes."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    column = Repository(path).checkout(branch="master")["data"]

    def read(request: bytes, context: Any) -> bytes:
        return bytes(column.read(np.frombuffer(request, np.int64)).data)

    running = grpc.server(ThreadPoolExecutor(8))
    handlers: dict[str, Any] = {"read": grpc.unary_unary_rpc_method_handler(read)}
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("plain", handlers),))
    print(f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}", flush=True)
    running.start()
    running.wait_for_termination()


def measure(count: int, seconds: float, seed: int, read: Callable[[Any], object]) -> None:
    """Read random batches for some seconds; prints when each began and ended. All clients begin when all are ready."""
    order = np.random.default_rng(seed).permutation(count)
    read(order[:BATCH])  # connects
    print("ready", flush=True)
    sys.stdin.readline()
    times: list[tuple[float, float]] = []
    cpu, begun = time.process_time(), time.perf_counter()
    for start in range(BATCH, len(order) - BATCH, BATCH):
        before = time.perf_counter()
        read(order[start : start + BATCH])
        times.append((before, time.perf_counter()))
        if time.perf_counter() - begun > seconds:
            break
    print(json.dumps([times, time.process_time() - cpu]), flush=True)


def plain_client(address: str, count: int, seconds: float, seed: int) -> None:
    import grpc

    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary("/plain/read")
        measure(count, seconds, seed, lambda keys: call(keys.astype(np.int64).tobytes(), timeout=60))


def read_client(path: Path, seconds: float, seed: int) -> None:
    with Repository(path) as repository, closing(repository.checkout(branch="master", fetch_on_read=True)) as reader:
        column = reader["data"]
        measure(len(column), seconds, seed, column.read)


# ---------------------------------------------------------------------------------------------------- the runs


def cpu_of(pid: int) -> float:
    """User and system time of a process, in seconds."""
    words = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICKS


def together(commands: list[list[str]], pid: int) -> str:
    """Run clients at the same time; the figures of all of them, and the CPU time of the server ``pid``."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.remote_reads", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    for one in running:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    before = cpu_of(pid)
    for one in running:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    found = []
    for one in running:
        assert one.stdout is not None
        found.append(json.loads(one.stdout.readline()))
    served = cpu_of(pid) - before
    for one in running:
        one.communicate()
    spans = [np.array(times) for times, _ in found]
    every = np.concatenate(spans)
    # Until one of them has read all its samples; the clock is that of the machine.
    begin, end = every.min(), min(span[-1, 1] for span in spans)
    rate = BATCH * np.count_nonzero(every[:, 1] <= end) / (end - begin)
    p50, p99 = np.percentile((every[:, 1] - every[:, 0]) * 1e3, (50, 99))
    client = sum(cpu for _, cpu in found) / len(every) * 1e3
    return (
        f"{rate:10,.0f} samples/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   CPU of a batch: client {client:5.2f} ms, "
        f"server {served / len(every) * 1e3:5.2f} ms"
    )


def reads(directory: Path, scale: int, clients: list[int], seconds: float) -> None:
    source = directory / "source"
    count, _ = fill(source, "small", scale)
    with server(source) as (address, pid), started("benchmarks.remote_reads", "--plain", str(source)) as (plain, other):
        for number in clients:
            common = ["--seconds", str(seconds), "--count", str(count)]
            words = [["--address", plain, *common, "--seed", str(one)] for one in range(number)]
            print(f"{number:3} clients, plain gRPC  {together(words, other)}", flush=True)
            paths = [directory / f"reader-{number}-{one}" for one in range(number)]
            for path in paths:
                path.mkdir()
                with Repository(path, exists=False) as repository:
                    repository.clone("Bob", "bob@example.org", address)
            words = [["--read", str(path), *common, "--seed", str(one)] for one, path in enumerate(paths)]
            print(f"{number:3} clients, on demand   {together(words, pid)}", flush=True)
            for path in paths:
                shutil.rmtree(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=int, default=1, help="divide the number of samples by this")
    parser.add_argument("--clients", nargs="*", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain is not None:
        plain_server(options.plain)
    elif options.address is not None:
        plain_client(options.address, options.count, options.seconds, options.seed)
    elif options.read is not None:
        read_client(options.read, options.seconds, options.seed)
    else:
        with tempfile.TemporaryDirectory(prefix="bench-remote-") as directory:
            reads(Path(directory), options.scale, options.clients, options.seconds)


if __name__ == "__main__":
    main()
