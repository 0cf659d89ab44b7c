"""Immutable, content-addressed records: commits, attributes, and the nodes of ordered Merkle maps.

Each column is one such map from encoded keys to values or blob digests. Equal content has the equal root, whatever its
history, so commit, diff and sync cost what changed. One algorithm a file; import from the file.
"""
