"""Immutable, content-addressed records: commits, attributes, and the nodes of ordered Merkle maps.

Each column is one such map from encoded keys to values or blob digests. Equal content has the same root digest,
whatever its history, so the cost of commit, diff and sync depends on the size of the change. Each file holds one
algorithm; import from the file.
"""
