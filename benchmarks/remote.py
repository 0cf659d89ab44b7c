"""Clone, fetch-data and push over loopback, beside plain gRPC streaming of the same bytes; and random reads on demand by many clients.

    python -m benchmarks.remote [--scale 1] [--workload small medium large] [--clients 1 8 32] [--seconds 5]

Servers run in processes of their own. The baseline streams the bytes of the data in messages of 1 MiB, by a server and a client that do
nothing else. Each client of the reads is a process; it fetches random batches of 256 samples that it does not have yet.
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
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workloads import make
from hangar import Repository

MESSAGE = 2**20
BATCH = 256


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def process(*words: str) -> Iterator[str]:
    """A server in another process, and its address."""
    command = [sys.executable, "-m", *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        try:
            yield running.stdout.readline().split()[-1].removeprefix("grpc://")
        finally:
            running.terminate()
            running.wait()


def server(path: Path) -> Any:
    return process("hangar", "-C", str(path), "server", "--port", "0", "--ip", "127.0.0.1")


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


def plain(nbytes: int) -> tuple[float, float]:
    """Bytes a second of the baseline, down and up."""
    import grpc

    data = os.urandom(MESSAGE)
    with process("benchmarks.remote", "--plain", str(nbytes)) as address, grpc.insecure_channel(address) as channel:
        down: Any = channel.unary_stream("/plain/down")
        up: Any = channel.stream_unary("/plain/up")
        one = timed(lambda: sum(map(len, down(b"", timeout=600))))
        other = timed(lambda: up((data for _ in range(nbytes // MESSAGE)), timeout=600))
    return nbytes / one, nbytes / other


def fill(path: Path, name: str, scale: int) -> tuple[int, int]:
    """A repository with the first column of a workload; number of samples and bytes."""
    column = make(name, scale).main
    assert isinstance(column, np.ndarray)
    path.mkdir()
    with Repository(path, exists=False) as repository:
        repository.init("Ann", "ann@example.org")
        with closing(repository.checkout(write=True)) as writer:
            kept = writer.add_ndarray_column("data", column.shape[1:], column.dtype)
            step = max(1, 2**28 // max(1, column[0].nbytes))
            for start in range(0, len(column), step):
                kept.write(range(start, min(start + step, len(column))), column[start : start + step])
            writer.commit("All")
    return len(column), column.nbytes


def transfers(directory: Path, name: str, scale: int) -> None:
    source, clone, target = (directory / one for one in ("source", "clone", "target"))
    count, nbytes = fill(source, name, scale)
    down, up = plain(max(nbytes, 2**28))
    clone.mkdir()
    target.mkdir()
    with server(source) as address, server(target) as other, Repository(clone, exists=False) as repository:
        history = timed(lambda: repository.clone("Bob", "bob@example.org", address))
        fetch = timed(lambda: repository.remote.fetch_data("origin", branch="origin/master"))
        repository.remote.add("target", other)
        push = timed(lambda: repository.remote.push("target", "master"))
    print(
        f"{name:8} {count:>8,} samples, {nbytes / 1e6:,.0f} MB; plain gRPC {down / 1e6:,.0f} MB/s down, {up / 1e6:,.0f} up"
    )
    print(f"{'':8} clone of history {history:.2f} s")
    for what, seconds, floor in (("fetch-data", fetch, down), ("clone", history + fetch, down), ("push", push, up)):
        rate = nbytes / seconds
        print(f"{'':8} {what:10} {seconds:6.2f} s {rate / 1e6:8,.0f} MB/s {rate / floor:6.2f} of plain", flush=True)


# ---------------------------------------------------------------------------------------------------- reads on demand


def read_client(path: Path, seconds: float, seed: int) -> None:
    """Read random batches on demand for some seconds; prints the time of each. All clients begin when all are ready."""
    random = np.random.default_rng(seed)
    times = []
    with Repository(path) as repository, closing(repository.checkout(branch="master", fetch_on_read=True)) as reader:
        column = reader["data"]
        order = random.permutation(len(column))
        column.read(order[:BATCH].tolist())  # connects
        print("ready", flush=True)
        sys.stdin.readline()
        end = time.perf_counter() + seconds
        for start in range(BATCH, len(order) - BATCH, BATCH):
            keys = order[start : start + BATCH].tolist()
            times.append(timed(lambda keys=keys: column.read(keys)))  # type: ignore[misc]
            if time.perf_counter() > end:
                break
    print(json.dumps(times))


def reads(directory: Path, scale: int, clients: list[int], seconds: float) -> None:
    source = directory / "source"
    fill(source, "small", scale)
    with server(source) as address:
        for number in clients:
            paths = [directory / f"reader-{number}-{one}" for one in range(number)]
            for path in paths:
                path.mkdir()
                with Repository(path, exists=False) as repository:
                    repository.clone("Bob", "bob@example.org", address)
            running = [
                subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "benchmarks.remote",
                        "--read",
                        str(path),
                        "--seconds",
                        str(seconds),
                        "--seed",
                        str(one),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for one, path in enumerate(paths)
            ]
            for one in running:
                assert one.stdout is not None
                assert one.stdout.readline() == "ready\n"
            for one in running:
                assert one.stdin is not None
                one.stdin.write("\n")
                one.stdin.flush()
            found = [json.loads(one.communicate()[0].splitlines()[-1]) for one in running]
            rate = sum(BATCH * len(times) / sum(times) for times in found)
            every = np.concatenate([np.array(times) for times in found]) * 1e3
            p50, p99 = np.percentile(every, (50, 99))
            print(f"{number:3} clients {rate:10,.0f} samples/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms", flush=True)
            for path in paths:
                shutil.rmtree(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=int, default=1, help="divide the number of samples by this")
    parser.add_argument("--workload", nargs="*", default=["small", "medium", "large"])
    parser.add_argument("--clients", nargs="*", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--plain", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain is not None:
        plain_server(options.plain)
    elif options.read is not None:
        read_client(options.read, options.seconds, options.seed)
    else:
        for name in options.workload:
            with tempfile.TemporaryDirectory(prefix="bench-remote-") as directory:
                transfers(Path(directory), name, options.scale)
        if options.clients:
            with tempfile.TemporaryDirectory(prefix="bench-remote-") as directory:
                reads(Path(directory), options.scale, options.clients, options.seconds)


if __name__ == "__main__":
    main()
