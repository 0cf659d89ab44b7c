"""Merging: the base of two commits, what a merge changes, and resolutions of conflicts.

``bases`` finds the merge base, ``stage`` puts a merge into the staging area, ``resolve`` resolves its conflicts. The
comparison itself is ``hangar.diff.threeway``; the commands that hold the writer lock are ``hangar.checkout.merging``.
"""

from __future__ import annotations

from hangar.merge.bases import merge_base

__all__ = ["merge_base"]
