"""Whether a directory lies on a network file system.

Locks and shared memory maps, on which the database stands, are not what they should be there: a repository is read from such a place, and written to
only when that is forced.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from hangar import _fs

__all__ = ["FORCE_NETWORK", "network_file_system"]

FORCE_NETWORK: Final = "HANGAR_WRITE_ON_NETWORK"
"""Environment variable that allows writing on a network file system when it is ``1``."""
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
    """Type of the network file system that ``path`` lies on; None for a local one, or where that cannot be told.

    Parameters
    ----------
    path
        An existing path.
    mounts
        What Linux says in ``/proc/self/mountinfo`` (see ``proc(5)``), which is read where it is not given.
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
        # Of two mounts on one place the later one is seen.
        if inside and len(place) >= longest:
            longest, found = len(place), kind
    return found if found in _TYPES else None


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
