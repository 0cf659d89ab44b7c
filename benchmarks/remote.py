"""Clone, fetch-data and push over loopback, beside plain gRPC streaming of the same bytes; and random reads on demand by many clients.

    python -m benchmarks.remote [--scale 1] [--workload small medium large] [--clients 1 8 32] [--seconds 5]

Servers run in processes of their own. The baseline streams the bytes of the data in messages of 1 MiB, by a server and a client that do
nothing else. The reads are those of ``benchmarks.remote_reads``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.remote_common import fill, server, started
from benchmarks.remote_reads import reads
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


def plain(nbytes: int) -> tuple[float, float]:
    """Bytes a second of the baseline, down and up."""
    import grpc

    data = os.urandom(MESSAGE)
    with (
        started("benchmarks.remote", "--plain", str(nbytes)) as (address, _),
        grpc.insecure_channel(address) as channel,
    ):
        down: Any = channel.unary_stream("/plain/down")
        up: Any = channel.stream_unary("/plain/up")
        one = timed(lambda: sum(map(len, down(b"", timeout=600))))
        other = timed(lambda: up((data for _ in range(nbytes // MESSAGE)), timeout=600))
    return nbytes / one, nbytes / other


def transfers(directory: Path, name: str, scale: int) -> None:
    source, clone, target = (directory / one for one in ("source", "clone", "target"))
    count, nbytes = fill(source, name, scale)
    down, up = plain(max(nbytes, 2**28))
    clone.mkdir()
    target.mkdir()
    with server(source) as (address, _), server(target) as (other, _), Repository(clone, exists=False) as repository:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=int, default=1, help="divide the number of samples by this")
    parser.add_argument("--workload", nargs="*", default=["small", "medium", "large"])
    parser.add_argument("--clients", nargs="*", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--plain", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain is not None:
        plain_server(options.plain)
    else:
        for name in options.workload:
            with tempfile.TemporaryDirectory(prefix="bench-remote-") as directory:
                transfers(Path(directory), name, options.scale)
        if options.clients:
            with tempfile.TemporaryDirectory(prefix="bench-remote-") as directory:
                reads(Path(directory), options.scale, options.clients, options.seconds)


if __name__ == "__main__":
    main()
