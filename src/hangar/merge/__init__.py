"""Merging: what a merge of two commits does, its place in the staging area, and resolutions of its conflicts.

``plan`` decides what a merge does, ``stage`` puts it into the staging area, ``state`` reads the conflicts of a merge in
progress, and ``resolve`` resolves them. The comparison itself is ``hangar.diff.threeway``, and ``hangar.diff.merge_base`` finds
the merge base; the operations that need the writer lock are in ``hangar.checkout.merging``.
"""
