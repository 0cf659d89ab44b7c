"""Describe the machine of a run, without its name or paths; write the output files of a run."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.peers import Entry
from benchmarks.results import Results
from benchmarks.tables import Section, as_rst

__all__ = ["BEGIN", "END", "as_text", "describe", "write_json", "write_page"]

BEGIN, END = ".. begin of the table", ".. end of the table"
_ALWAYS = ("hangar", "blake3", "xxhash", "msgspec")


def describe(peers: list[Entry], directory: Path) -> dict[str, str]:
    """Cores, kernel, file system, and the version of everything that was measured."""
    names = dict.fromkeys([*_ALWAYS, *(package for peer in peers for package in peer.packages)])
    return {
        "machine": f"{os.cpu_count()} cores ({_processor()}), {_memory()} of memory",
        "system": f"{platform.system()} {platform.release()}, file system {_file_system(directory)}",
        "python": platform.python_version(),
        "kernel of Hangar": "compiled" if _has_kernel() else "not built",
        "versions": ", ".join(f"{name} {_version(name)}" for name in names),
    }


def _has_kernel() -> bool:
    """Whether Hangar has its compiled kernel, asked in another process: here Hangar must not be imported."""
    asked = [sys.executable, "-c", "import hangar.hashing as h; raise SystemExit(not h.KERNEL)"]
    return subprocess.run(asked, check=False, capture_output=True).returncode == 0


def _version(name: str) -> str:
    if name == "hangar":
        text = (Path(__file__).parent.parent / "src" / "hangar" / "_version.py").read_text()
        found = re.search(r'__version__ = "(.+?)"', text)
        return found.group(1) if found else "unknown"
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    text = _read("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1).strip() if found else platform.machine()


def _memory() -> str:
    found = re.search(r"MemTotal:\s*(\d+) kB", _read("/proc/meminfo"))
    return f"{int(found.group(1)) / 2**20:.0f} GiB" if found else "unknown"


def _file_system(directory: Path) -> str:
    """Kind of the file system that the longest mount point above ``directory`` has."""
    place, kind = str(directory.resolve()), "unknown"
    longest = -1
    for line in _read("/proc/mounts").splitlines():
        _, mount, found = line.split()[:3]
        if (place == mount or place.startswith(mount.rstrip("/") + "/")) and len(mount) > longest:
            longest, kind = len(mount), found
    return kind


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def as_text(about: dict[str, str]) -> str:
    return "\n".join(f"{what}: {value}" for what, value in about.items())


def write_json(file: Path, about: dict[str, str], results: Results) -> None:
    """Every figure of every round."""
    file.write_text(json.dumps({"about": about, **dataclasses.asdict(results)}, indent=1))


def write_page(file: Path, about: dict[str, str], sections: list[Section]) -> None:
    """Put the table between the markers of a page; the text around it stays."""
    text = file.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{file} has no lines {BEGIN!r} and {END!r}")
    made = [f"- {what}: {value}" for what, value in about.items()]
    table = "\n".join([BEGIN, "", *made, "", as_rst(sections).rstrip(), "", END])
    file.write_text(before + table + after)
