"""Measurements of Hangar alone, each in processes of its own: start-up, folders of images, the memory of ten million samples."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["folders", "memory", "start_of_epochs", "start_up"]

_INIT = "import sys, hangar; hangar.Repository(sys.argv[1], exists=False).init('bench', 'bench@example.org')"


def _run(*command: str, where: Path) -> str:
    """Output of a Python command. Modules are compiled once, as an installer does, whatever the user's settings are."""
    around = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**around, "PYTHONPYCACHEPREFIX": str(where / "compiled")}
    command = (sys.executable, *command)
    return subprocess.run(command, check=True, capture_output=True, cwd=where, text=True, env=environment).stdout


def start_up(directory: Path | None, turns: int) -> dict[str, float | str]:
    """``import hangar``, opening a checkout and ``hangar status``, alternating with ``import numpy``; ratios of the best."""
    commands = {
        "python": ("-c", "pass"),
        "import numpy": ("-c", "import numpy"),
        "import hangar": ("-c", "import hangar"),
        "open a checkout": ("-c", "import hangar; hangar.Repository('.').checkout(write=True)"),
        "hangar status": ("-m", "hangar", "status"),
    }
    with tempfile.TemporaryDirectory(dir=directory) as path:
        _run("-c", _INIT, path, where=Path(path))
        times: dict[str, list[float]] = {name: [] for name in commands}
        for command in commands.values():
            _run(*command, where=Path(path))
        for _ in range(turns):
            for name, command in commands.items():
                start = time.perf_counter()
                _run(*command, where=Path(path))
                times[name].append(time.perf_counter() - start)
    found: dict[str, float | str] = {f"{name} (ms)": min(taken) * 1e3 for name, taken in times.items()}
    base = min(times["import numpy"])
    for name in ("import hangar", "open a checkout", "hangar status"):
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
    """Resident memory in MB that opening a checkout of many inline samples and reading three adds (mapped pages count)."""
    with tempfile.TemporaryDirectory(dir=directory) as path:
        start = time.perf_counter()
        _run("-c", _FILL, path, str(count), where=Path(path))
        filled = time.perf_counter() - start
        grown = float(_run("-c", _OPEN, path, where=Path(path)))
    name = f"{count / 1e6:g} M inline samples"
    return {f"filling {name} (s)": filled, f"opening a checkout of {name}, memory (MB)": grown}


_MAKE = """
import sys
import numpy as np
from PIL import Image
rng = np.random.default_rng(6)
for i in range(int(sys.argv[2])):
    patches = rng.integers(0, 200, (14, 14, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    Image.fromarray(patches + rng.integers(0, 32, patches.shape, np.uint8)).save(f"{sys.argv[1]}/{i:06d}.png", compress_level=1)
"""
_DECODE = """
import sys, time
from pathlib import Path
import numpy as np
from PIL import Image
start = time.perf_counter()
for file in sorted(Path(sys.argv[1]).iterdir()):
    np.asarray(Image.open(file))
print(time.perf_counter() - start)
"""


def folders(directory: Path | None, count: int) -> dict[str, float | str]:
    """``hangar import`` and ``hangar export`` of a folder of PNG images, starting the program and committing to disk included.

    The baseline is Pillow decoding the same files in one thread, without storing anything.
    """
    with tempfile.TemporaryDirectory(dir=directory) as place:
        path = Path(place)
        images = path / "images"
        images.mkdir()
        try:
            _run("-c", _MAKE, str(images), str(count), where=path)
            baseline = min(float(_run("-c", _DECODE, str(images), where=path)) for _ in range(3))
            times = []
            for command in (
                ("init", "--name", "bench", "--email", "bench@example.org"),
                ("column", "create", "photo", "UINT8", "224", "224", "3"),
                ("import", "photo", str(images)),
                ("commit", "-m", "all"),
                ("export", "photo", "-o", str(path / "out")),
            ):
                start = time.perf_counter()
                _run("-m", "hangar", *command, where=path)
                times.append(time.perf_counter() - start)
        except subprocess.CalledProcessError as error:
            return {"import and export": (str(error.stderr).strip().splitlines() or ["failed"])[-1][:160]}
    return {
        f"decoding {count:,} PNG (224, 224, 3) with Pillow, one thread (images/s)": count / baseline,
        "hangar import of them (images/s)": count / times[2],
        "hangar import, time to that of decoding": times[2] / baseline,
        "hangar export of them (images/s)": count / times[4],
    }


_FILL_IMAGES = """
import sys
import numpy as np
from hangar import Repository
repo = Repository(sys.argv[1], exists=False)
repo.init("bench", "bench@example.org")
writer = repo.checkout(write=True)
column = writer.add_ndarray_column("n", (28, 28), np.uint8)
rng = np.random.default_rng(0)
for start in range(0, int(sys.argv[2]), 100_000):
    count = min(100_000, int(sys.argv[2]) - start)
    column.write(range(start, start + count), rng.integers(0, 256, (count, 28, 28), np.uint8))
writer.commit("all")
writer.close()
"""
_FIRST_BATCH = """
import re, sys, time
from pathlib import Path
import torch
from hangar import Repository, make_torch_dataset
from hangar.dataset import Loader

def resident():
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", text).group(1)) / 1e3

column = Repository(sys.argv[1]).checkout()["n"]
before = resident()
start = time.perf_counter()
data = make_torch_dataset(column)
batches = iter(Loader(data, batch_size=256, shuffle=True))
first = next(batches)
print(time.perf_counter() - start)
assert len(first) == 256
count = 0
for batch in batches:
    count += 1
print((resident() - before) * 1e6 / len(data))
"""


def start_of_epochs(directory: Path | None, images: int, labels: int) -> dict[str, float | str]:
    """From calling ``make_torch_dataset`` in a new process to the first batch of a shuffled epoch, without and with a cache file.

    And the growth of private memory over that epoch, as bytes a sample.
    """
    found: dict[str, float | str] = {}
    for fill, count, what in ((_FILL_IMAGES, images, "images (28, 28)"), (_FILL, labels, "int64 labels")):
        with tempfile.TemporaryDirectory(dir=directory) as path:
            _run("-c", fill, path, str(count), where=Path(path))
            name = f"a shuffled epoch of {count / 1e6:g} M {what}"
            shutil.rmtree(Path(path) / ".hangar" / "cache", ignore_errors=True)
            for cache in ("no cache file", "a cache file"):
                seconds, grown = map(float, _run("-c", _FIRST_BATCH, path, where=Path(path)).split())
                found[f"first batch of {name}, {cache} (s)"] = seconds
                found[f"memory of {name}, {cache} (bytes a sample)"] = grown
    return found
