"""Garbage collection: removes data that no branch, tag, reflog entry or staged change reaches, and frees its disk space.

``mark`` finds reachable data, and ``sweep`` deletes all other records in one transaction. :mod:`hangar.blobs.repack`
removes the blobs and rewrites their files. ``trim`` removes small files and free pages. ``expire`` selects reflog
entries to delete, ``policy`` the files to rewrite, and ``why`` explains why something is kept. The repository is intact
after every step: a crash only leaves disk space that is not freed yet.
"""

from __future__ import annotations

from hangar.gc.collect import collect
from hangar.gc.report import Amount, GcReport
from hangar.gc.why import Why, why_kept

__all__ = ["Amount", "GcReport", "Why", "collect", "why_kept"]
