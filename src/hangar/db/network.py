"""Detect network file systems.

The locks and shared memory maps that the database needs are not reliable there. A repository on a network file system
can be read, and written only if this is forced.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from hangar import _fs

__all__ = ["FORCE_NETWORK", "network_file_system"]

FORCE_NETWORK: Final = "HANGAR_WRITE_ON_NETWORK"
"""Environment variable: ``1`` allows writing on a network file system."""
_TYPES: Final = frozenset(
    (
        "9p",
        "afs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "gfs2",
        "lustre",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
    )
)


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    """Type of the network file system of ``path``; None for a local file system, or if it cannot be determined.

    Parameters
    ----------
    path
        An existing path.
    mounts
        Content of ``/proc/self/mountinfo`` of Linux (see ``proc(5)``); by default that file is read.
    """
    if mounts is None:
        try:
            mounts = _fs.retried(lambda: Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
        except OSError:
            return None
    real = os.path.realpath(path)
    longest, found = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.partition(" ")[0]
        if len(fields) < 5 or not kind:
            continue
        place = _unescape(fields[4])
        inside = place == "/" or real == place or real.startswith(f"{place}/")
        # A later mount at the same path hides the earlier one.
        if inside and len(place) >= longest:
            longest, found = len(place), kind
    return found if found in _TYPES else None


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
