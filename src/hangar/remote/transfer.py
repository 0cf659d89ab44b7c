"""The client's half of synchronization: fetch history, fetch blobs, push.

Each function is in a module of its own. They ask a :class:`~hangar.remote.peer.Peer`, verify all that it sends, and change
this repository in transactions, without the writer lock.
"""

from __future__ import annotations

from hangar.remote.transfer_blobs import fetch_blobs
from hangar.remote.transfer_history import fetch_history
from hangar.remote.transfer_push import push
from hangar.remote.transfer_types import ColumnBlobs, FetchedBlobs, FetchedHistory, Pushed

__all__ = [
    "ColumnBlobs",
    "FetchedBlobs",
    "FetchedHistory",
    "Pushed",
    "fetch_blobs",
    "fetch_history",
    "push",
]
