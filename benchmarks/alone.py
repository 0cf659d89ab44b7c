"""What concerns Hangar alone, each measured in processes of its own: start-up, and the memory of opening ten million samples."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["memory", "start_up"]

_INIT = "import sys, hangar; hangar.Repository(sys.argv[1], exists=False).init('bench', 'bench@example.org')"


def _run(*command: str, where: Path) -> str:
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=where, text=True)
    return done.stdout


def start_up(directory: Path | None, turns: int) -> dict[str, float | str]:
    """``import hangar`` and ``hangar status`` beside ``import numpy``, in alternation; ratios of the best."""
    commands = {
        "python": ("-c", "pass"),
        "import numpy": ("-c", "import numpy"),
        "import hangar": ("-c", "import hangar"),
        "hangar status": ("-m", "hangar", "status"),
    }
    with tempfile.TemporaryDirectory(dir=directory) as path:
        _run("-c", _INIT, path, where=Path(path))
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(turns):
            for name, command in commands.items():
                start = time.perf_counter()
                _run(*command, where=Path(path))
                times[name].append(time.perf_counter() - start)
    found: dict[str, float | str] = {f"{name} (ms)": min(taken) * 1e3 for name, taken in times.items()}
    base = min(times["import numpy"])
    for name in ("import hangar", "hangar status"):
        found[f"{name}, to import numpy"] = min(times[name]) / base
    found["import numpy, median to best"] = statistics.median(times["import numpy"]) / base
    return found


_FILL = """
import sys
import numpy as np
from hangar import Repository
repo = Repository(sys.argv[1], exists=False)
repo.init("bench", "bench@example.org")
writer = repo.checkout(write=True)
column = writer.add_ndarray_column("n", (), np.int64)
for start in range(0, int(sys.argv[2]), 1_000_000):
    count = min(1_000_000, int(sys.argv[2]) - start)
    column.write(range(start, start + count), np.arange(count))
writer.commit("all")
writer.close()
"""
_OPEN = """
import re, sys
from pathlib import Path
from hangar import Repository

def resident():
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", text).group(1)) / 1e3

before = resident()
column = Repository(sys.argv[1]).checkout()["n"]
count = len(column)
column[count // 2], column.read([0, count - 1])
print(resident() - before)
"""


def memory(directory: Path | None, count: int) -> dict[str, float | str]:
    """What opening a checkout of many inline samples, and reading three, adds to a process, in MB resident (mapped pages count)."""
    with tempfile.TemporaryDirectory(dir=directory) as path:
        start = time.perf_counter()
        _run("-c", _FILL, path, str(count), where=Path(path))
        filled = time.perf_counter() - start
        grown = float(_run("-c", _OPEN, path, where=Path(path)))
    name = f"{count / 1e6:g} M inline samples"
    return {f"filling {name} (s)": filled, f"opening a checkout of {name}, memory (MB)": grown}
