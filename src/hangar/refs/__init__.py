"""Branches, tags, remote-tracking refs, HEAD, and the reflog that remembers where each of them stood.

A ref is a name (``heads/NAME``, ``tags/NAME``, ``remotes/REMOTE/NAME``) and the digest of a commit; a branch without a commit has none.
A ref moves only by compare-and-swap inside a write transaction of the caller, who publishes in it whatever the new commit
needs; each move leaves one entry in the reflog in the same transaction. Entries are never rewritten; they outlive their ref,
and are expired oldest first, so that their numbers have no gaps. HEAD is two facts: the branch to write, and the branch
last written. Whether a commit exists is for the caller to know. A row that cannot be right is a ``CorruptionError``.
"""

from __future__ import annotations

from hangar.refs.rows import BRANCHES, REMOTES, TAGS, Annotation, Head, ReflogEntry, check_ref, describe
from hangar.refs.store import Refs

__all__ = ["BRANCHES", "REMOTES", "TAGS", "Annotation", "Head", "ReflogEntry", "Refs", "check_ref", "describe"]
