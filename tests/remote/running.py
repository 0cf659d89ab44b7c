"""A server in a process of its own, as an operator starts it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def served(path: Path, *words: str, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process, and its port. Its log goes to ``path.log``."""
    command = [sys.executable, "-m", "hangar", "-C", str(path), "server", "--port", str(port), "--ip", "127.0.0.1"]
    with (
        path.with_suffix(".log").open("a") as log,
        subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, path.with_suffix(".log").read_text()
            yield process, int(line.rsplit(":", 1)[1])
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()
