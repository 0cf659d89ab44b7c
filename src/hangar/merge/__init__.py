"""Merging of two commits: the plan, staging its changes, and resolving its conflicts.

``plan`` decides what a merge does, ``stage`` applies it to the staging area, ``state`` reads the conflicts of a merge in
progress, and ``resolve`` resolves them. Conflicts are stored by ``hangar.staging.conflicts``. The comparison itself is ``hangar.diff.threeway``, and ``hangar.diff.merge_base`` finds
the merge base; the operations that need the writer lock are in ``hangar.checkout.merging``.
"""
