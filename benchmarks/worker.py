"""One process for each peer and workload, forked with the data in memory; it loads the peer and measures a round on request.

So the peers share no threads, caches or process settings. If one is killed, crashes or never ends, its row says so.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.measure import one_round
from benchmarks.outcome import Outcome, Settings
from benchmarks.peers import Entry
from benchmarks.workloads import Workload

__all__ = ["Worker"]


class Worker:
    """Measures one peer on one workload.

    Parameters
    ----------
    limit
        Seconds a round may take.
    quiet
        Whether what the peer prints is dropped.
    """

    def __init__(self, entry: Entry, workload: Workload, settings: Settings, limit: float, quiet: bool = True) -> None:
        self.entry = entry
        self.workload = workload.name
        self.failure: str | None = None
        self._limit = limit
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(entry, workload, settings, theirs, quiet))
        self._process.start()
        theirs.close()

    def round(self) -> Outcome | None:
        """Measure once; None where the peer failed, now or earlier, and ``failure`` says why."""
        if self.failure is not None:
            return None
        found: Any = None
        try:
            self._pipe.send("round")
            if self._pipe.poll(self._limit):
                found = self._pipe.recv()
            else:
                self.failure = f"took more than {self._limit:.0f} s"
                self._process.kill()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            self.failure = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if isinstance(found, str):
            self.failure, found = found, None
        return found  # type: ignore[no-any-return]

    def close(self, hurry: bool = False) -> None:
        """End the process, even in the middle of a round."""
        with contextlib.suppress(OSError):
            self._pipe.send("")  # closing it is not enough: workers that were forked later hold it too
        self._pipe.close()
        if hurry:
            self._process.kill()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(entry: Entry, workload: Workload, settings: Settings, pipe: Connection, quiet: bool) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    if quiet:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    answer: Outcome | str
    try:
        make = entry.load()
    except ImportError as error:
        _answer(pipe, f"not installed: {error}")
        return
    except Exception as error:  # noqa: BLE001 - whatever a peer raises
        _answer(pipe, f"cannot be imported: {type(error).__name__}: {error}")
        return
    with contextlib.suppress(EOFError, OSError):
        while pipe.recv():
            try:
                answer = one_round(make, workload, settings)
            except Exception as error:  # noqa: BLE001 - whatever a peer raises
                answer = f"{type(error).__name__}: {error}"
            pipe.send(answer)
    os._exit(0)  # threads of a peer may not let go


def _answer(pipe: Connection, answer: str) -> None:
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
        pipe.send(answer)
