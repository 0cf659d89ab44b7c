"""Integrity check and repair of a repository (``hangar fsck``).

:func:`check` changes nothing. :func:`repair` repairs damage from data that is in the repository itself. ``history``,
``storage`` and ``small_files`` find problems; the ``repair_*`` modules repair them; ``affected`` names the commits,
columns and samples that are affected.
"""

from __future__ import annotations

from hangar.fsck.check import check
from hangar.fsck.repair import repair
from hangar.fsck.report import FsckReport, Problem, Repair, Rescue, require_sound

__all__ = ["FsckReport", "Problem", "Repair", "Rescue", "check", "repair", "require_sound"]
