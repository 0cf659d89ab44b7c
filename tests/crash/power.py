"""What a disk may hold after the power failed.

Each file is as its last sync left it, or a torn mix of that and of what came after: every sector of 512 bytes old or new by itself,
and the size old, new or between. Each name that was made, moved or removed since its directory was last synced is there or not.
Only LMDB's data file is held to more: LMDB syncs its pages before it writes the meta pages, so those are old until a commit is
through. Its lock file, which every start makes anew, is missing, empty or garbage.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SECTOR = 512
META_BYTES = 2 * 4096
LMDB_DATA = "data.mdb"
LMDB_LOCK = "lock.mdb"
COMMIT = "inside an LMDB commit"
END = "the end"

Files = dict[str, "bytes | None"]
"""Path to content; None for a directory."""


@dataclass(frozen=True)
class Moment:
    """One step of a recording: what the system shows, and what of it is on disk, by inode."""

    name: str
    acknowledged: tuple[Any, ...]
    root: int
    directories: dict[int, dict[str, int]]
    contents: dict[int, bytes]
    names: dict[int, str]
    disk_directories: dict[int, dict[str, int]]
    disk_contents: dict[int, bytes]


@dataclass
class Recording:
    """All steps of a scenario."""

    root: int
    moments: list[Moment] = field(default_factory=list)


@dataclass(frozen=True)
class Variant:
    """How a disk decides.

    Parameters
    ----------
    names, contents
        True keeps every change of names (of contents) since the last sync, False none, None lets ``seed`` decide for each.
    """

    name: str
    names: bool | None
    contents: bool | None
    seed: str = ""


KILL = Variant("the process alone ends", names=True, contents=True, seed="kill")
"""No power loss: the system keeps everything."""


def variants(torn: int, seed: str) -> Iterator[Variant]:
    """The four regular variants and ``torn`` random ones."""
    yield Variant("nothing unsynced is kept", names=False, contents=False)
    yield Variant("names are kept, contents are not", names=True, contents=False)
    yield Variant("contents are kept, names are not", names=False, contents=True)
    yield Variant("everything is kept", names=True, contents=True)
    for number in range(torn):
        yield Variant(f"torn {number}", None, None, f"{seed} {number}")


def play_back(moment: Moment, variant: Variant) -> Files:
    """The files of one variant, by their path below the root."""
    generator = random.Random(variant.seed)
    kept: dict[int, bool] = {}

    def is_new(inode: int) -> bool:
        """Whether what happened to the name of an inode reached the disk: decided once, so that a move is one thing."""
        if inode not in kept:
            kept[inode] = variant.names if variant.names is not None else generator.random() < 0.5
        return kept[inode]

    files: Files = {}

    def visit(directory: int, path: str) -> None:
        for name, inode in sorted(_entries(moment, directory, is_new).items()):
            below = os.path.join(path, name)
            if inode in moment.directories:
                files[below] = None
                visit(inode, below)
            elif name == LMDB_LOCK and variant is KILL:
                continue
            elif name == LMDB_LOCK:
                garbage = generator.choice((None, b"", bytes(8192), generator.randbytes(8192)))
                if garbage is not None:
                    files[below] = garbage
            else:
                files[below] = _content(moment, inode, variant, generator)

    visit(moment.root, "")
    return files


def _entries(moment: Moment, directory: int, is_new: Any) -> dict[str, int]:
    now = moment.directories.get(directory, {})
    disk = moment.disk_directories.get(directory, {})
    entries: dict[str, int] = {}
    for name in {*now, *disk}:
        old, new = disk.get(name), now.get(name)
        if old == new and old is not None:
            entries[name] = old
        elif new is not None and is_new(new):
            entries[name] = new
        elif old is not None and (new is not None or not is_new(old)):
            # Replaced by what did not get there, or removed without the disk knowing.
            entries[name] = old
    return entries


def _content(moment: Moment, inode: int, variant: Variant, generator: random.Random) -> bytes:
    new = moment.contents[inode]
    old = moment.disk_contents.get(inode, b"")
    if moment.names.get(inode) == LMDB_DATA:
        # Pages first, meta pages last: LMDB's own promise.
        new = old[:META_BYTES].ljust(META_BYTES, b"\0") + new[META_BYTES:] if len(new) > META_BYTES else new
    if variant.contents is not None:
        return new if variant.contents else old
    return old if old == new else torn(old, new, generator)


def torn(old: bytes, new: bytes, generator: random.Random) -> bytes:
    """A mix of two versions of a file, each sector from one of them."""
    longest = max(len(old), len(new))
    sectors = -(-longest // SECTOR)
    size = generator.choice((len(old), len(new), min(longest, SECTOR * generator.randint(0, sectors))))
    size = max(size, min(len(old), len(new)))
    if not sectors:
        return b""
    before = np.frombuffer(old.ljust(sectors * SECTOR, b"\0"), np.uint8).reshape(sectors, SECTOR)
    after = np.frombuffer(new.ljust(sectors * SECTOR, b"\0"), np.uint8).reshape(sectors, SECTOR)
    chance = generator.choice((0.1, 0.5, 0.9))
    taken = np.array([generator.random() < chance for _ in range(sectors)])
    return np.where(taken[:, None], after, before).tobytes()[:size]


def identity(files: Files, acknowledged: int) -> bytes:
    """Equal for equal states."""
    state = hashlib.blake2b(str(acknowledged).encode())
    for path, content in sorted(files.items()):
        if os.path.basename(path) != LMDB_LOCK:
            kind = b"directory" if content is None else b"file" + len(content).to_bytes(8, "big") + content
            state.update(path.encode() + b"\0" + kind)
    return state.digest()


def materialize(files: Files, directory: Path) -> None:
    """Write a state out."""
    directory.mkdir(parents=True)
    for path, content in sorted(files.items()):
        if content is None:
            (directory / path).mkdir()
        else:
            (directory / path).write_bytes(content)
