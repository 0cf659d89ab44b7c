"""The recorder: what the system holds, and what of it is on disk, at each step of a scenario.

Files and directories are known by their inode, so that a file keeps its history under any name. The recorder holds every inode it
has seen open, or a number could be given again to another file.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from hangar import _fs
from tests.crash.power import COMMIT, END, LMDB_DATA, LMDB_LOCK, META_BYTES, Moment, Recording


class Recorder:
    """An observer that records; everything in ``root`` at the start is taken to be on disk."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        self._held: dict[int, int] = {}
        self._directories: dict[int, dict[str, int]] = {}
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, str] = {}
        self._acknowledged: tuple[Any, ...] = ()
        self._recording = Recording(os.stat(root).st_ino)
        self._scan(self._root)
        self._disk_directories = {inode: dict(entries) for inode, entries in self._directories.items()}
        self._disk_contents = dict(self._contents)

    # ----------------------------------------------------------------------------------------------- the observer

    def point(self, name: str) -> None:
        assert name in _fs.points, f"crash point {name} is not registered"
        self._scan(self._root)
        self._note(name)

    def synced_file(self, path: str) -> None:
        inode = os.stat(path).st_ino
        before = self._disk_contents.get(inode)
        self._scan(self._root)
        content = self._contents[inode]
        if os.path.basename(path) == LMDB_DATA:
            # Between the sync of the data pages and that of the meta page, which LMDB makes in this order: all of the
            # new pages may be on disk, or some, with the old meta pages.
            self._contents[inode] = (before or b"")[:META_BYTES].ljust(META_BYTES, b"\0") + content[META_BYTES:]
            self._note(COMMIT)
            self._contents[inode] = content
        self._disk_contents[inode] = content

    def synced_directory(self, path: str) -> None:
        self._scan(self._root)
        inode = os.stat(path).st_ino
        if inode in self._directories:
            self._disk_directories[inode] = dict(self._directories[inode])

    def acknowledge(self, value: Any) -> None:
        """Note what the scenario promises from here on."""
        self._acknowledged = (*self._acknowledged, value)
        self._scan(self._root)
        self._note("acknowledged")

    def finish(self) -> Recording:
        """The recording, with the state at the end."""
        self._scan(self._root)
        self._note(END)
        for descriptor in self._held.values():
            os.close(descriptor)
        return self._recording

    # ----------------------------------------------------------------------------------------------------- inside

    def _note(self, name: str) -> None:
        self._recording.moments.append(
            Moment(
                name=name,
                acknowledged=self._acknowledged,
                root=self._recording.root,
                directories={inode: dict(entries) for inode, entries in self._directories.items()},
                contents=dict(self._contents),
                names=dict(self._names),
                disk_directories={inode: dict(entries) for inode, entries in self._disk_directories.items()},
                disk_contents=dict(self._disk_contents),
            )
        )

    def _scan(self, directory: Path) -> None:
        inode = self._hold(os.fspath(directory), os.stat(directory).st_ino, os.O_DIRECTORY)
        entries: dict[str, int] = {}
        for entry in os.scandir(directory):
            status = entry.stat(follow_symlinks=False)
            entries[entry.name] = status.st_ino
            self._names[status.st_ino] = entry.name
            if stat.S_ISDIR(status.st_mode):
                self._scan(Path(entry.path))
            elif entry.name != LMDB_LOCK:
                descriptor = self._held[self._hold(entry.path, status.st_ino, 0)]
                content = _read(descriptor)
                # Equal contents stay one object, so that a recording holds each version once.
                if self._contents.get(status.st_ino) != content:
                    self._contents[status.st_ino] = content
        self._directories[inode] = entries

    def _hold(self, path: str, inode: int, flags: int) -> int:
        if inode not in self._held:
            self._held[inode] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
        return inode


def _read(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, size, 0)
    assert len(content) == size
    return content
