"""Storage backends: write and read the bytes of blobs in files on this machine, in batches.

``base`` defines the interface, ``registry`` finds backends by tag, ``heuristic`` chooses one for a column. ``append``
and ``raw`` are the shared code of append-only backends; ``memmap`` and ``pack`` are such backends. ``file`` defines a
blob file and ``location`` the location of a blob in it. Backends are no part of history: the same commits can be read
whichever backend holds the blobs.
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
