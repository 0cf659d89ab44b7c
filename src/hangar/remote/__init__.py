"""Remotes: synchronization of repositories.

``peer`` defines what two repositories say to each other, in plain types. ``service`` answers for a repository,
``transfer`` asks. A transport (gRPC, a bundle file) only carries the messages. ``remotes`` is what a user holds. Import
everything else from its file.
"""

from __future__ import annotations

import os

from hangar.remote.remotes import RemoteInfo, Remotes

# What gRPC writes to standard error of its own accord, such as a line for each handshake that fails, is told by our errors.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

__all__ = ["RemoteInfo", "Remotes"]
