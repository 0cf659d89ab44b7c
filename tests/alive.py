"""Threads of Hangar that are alive."""

from __future__ import annotations

import threading
import time

from hangar.threads import IDLE_SECONDS

__all__ = ["hangar_threads"]


def hangar_threads() -> list[str]:
    """Names of the threads that Hangar started and that do not end soon, idle ones included.

    Without those of gRPC servers: their executors keep idle threads until they are dropped.
    """
    deadline = time.monotonic() + 20 * IDLE_SECONDS
    while True:
        names = [thread.name for thread in threading.enumerate()]
        names = [name for name in names if name.startswith("hangar") and not name.startswith("hangar-server")]
        if not names or time.monotonic() > deadline:
            return names
        time.sleep(IDLE_SECONDS / 10)
