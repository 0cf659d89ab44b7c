"""Threads of Hangar that are alive."""

from __future__ import annotations

import threading

__all__ = ["hangar_threads"]


def hangar_threads() -> list[str]:
    """Names of the threads that Hangar started, without those of gRPC servers: their executors keep idle threads until they are dropped."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("hangar") and not name.startswith("hangar-server")]
