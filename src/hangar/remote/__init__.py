"""Remotes: synchronization of repositories.

``peer`` defines what two repositories say to each other, in plain types. ``service`` answers for a repository,
``transfer`` asks. A transport (gRPC, a bundle file) only carries the messages. Import from the file.
"""
