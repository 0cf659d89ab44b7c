"""Refs: branches, tags, remote-tracking branches, HEAD, and the reflog with the history of each ref.

A ref is a name (``heads/NAME``, ``tags/NAME``, ``remotes/REMOTE/NAME``, ``stash/NUMBER``) and the digest of a commit; a
branch without a commit has none. A ref moves only by compare-and-swap inside a write transaction of the caller, which also publishes
the records of the new commit; each move adds one entry to the reflog in the same transaction. Entries are
rewritten only together with the history that they name. They are kept when their ref is deleted. The oldest ones expire
first, so their numbers have no gaps. HEAD names two branches: the branch to write, and the branch last written. Refs
check only that garbage collection has not removed a commit, not that it exists. An invalid row raises
``CorruptionError``.
"""

from __future__ import annotations

from hangar.refs.rows import BRANCHES, REMOTES, STASHES, TAGS, Annotation, Head, ReflogEntry, check_ref, describe
from hangar.refs.store import Refs

__all__ = [
    "BRANCHES",
    "REMOTES",
    "STASHES",
    "TAGS",
    "Annotation",
    "Head",
    "ReflogEntry",
    "Refs",
    "check_ref",
    "describe",
]
