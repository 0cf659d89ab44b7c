"""Erasure: removes the bytes of chosen samples from every commit, and leaves tombstones, so that history still verifies.

``plan`` finds the stored values and who shares them, ``run`` makes the purge take effect in one transaction, ``removal``
removes the bytes from all files, ``rewrite`` replaces the history that holds values inline in its trees, and ``lifting``
lists and lifts tombstones. Import from these modules: most commands need none or one of them.
"""
