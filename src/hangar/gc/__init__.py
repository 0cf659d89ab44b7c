"""Garbage collection: removes what no branch, tag, reflog entry or staged change reaches, and gives its space back.

``mark`` finds what is reachable, ``sweep`` deletes the other records in one transaction, :mod:`hangar.blobs.repack`
removes the blobs, ``trim`` what is left. ``expire`` chooses reflog entries to forget, ``policy`` the files to rewrite,
``why`` tells why something is kept. Every step leaves the repository whole, so that a crash costs only the space that was
not given back yet.
"""

from __future__ import annotations

from hangar.gc.collect import collect
from hangar.gc.report import Amount, GcReport
from hangar.gc.why import Why, why_kept

__all__ = ["Amount", "GcReport", "Why", "collect", "why_kept"]
