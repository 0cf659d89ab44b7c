"""Where the bytes of blobs lie on this machine, and how a batch of them is written and read.

``base`` is the contract, ``registry`` finds backends by tag, ``heuristic`` chooses one for a column. ``append`` and ``raw`` are what
append-only backends share, ``memmap`` and ``pack`` are such backends. ``file`` and ``location`` say what a blob file and a location are. Nothing here is part of
history: a repository reads the same whatever backend holds its blobs.
"""

from __future__ import annotations

from hangar.backends.base import Backend, Blob, Capabilities, FileWriter, Options, Payload, Rows
from hangar.backends.file import BlobFile
from hangar.backends.location import Locations
from hangar.backends.registry import backend_tags, get_backend

__all__ = [
    "Backend",
    "Blob",
    "BlobFile",
    "Capabilities",
    "FileWriter",
    "Locations",
    "Options",
    "Payload",
    "Rows",
    "backend_tags",
    "get_backend",
]
