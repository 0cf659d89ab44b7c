"""Remotes: synchronization of repositories.

``peer`` defines what two repositories say to each other, in plain types. ``service`` answers for a repository,
``transfer`` asks. A transport (gRPC, a bundle file) only carries the messages. ``remotes`` is what a user holds. Import
everything else from its file.
"""

from __future__ import annotations

from hangar.remote.remotes import RemoteInfo, Remotes

__all__ = ["RemoteInfo", "Remotes"]
