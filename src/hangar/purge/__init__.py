"""Purging: removes the bytes of chosen samples from every commit, and leaves tombstones, so that history still verifies.

``plan`` finds the stored values and the samples that share them. ``run`` makes the purge take effect in one transaction,
and ``removal`` removes the bytes from all files. ``rewrite`` replaces commits that hold values inline in their trees.
``lifting`` lists and lifts tombstones. An unfinished purge is recorded by :mod:`hangar.pending_purge`. This package
re-exports nothing, because most commands need none or one of its modules.
"""
