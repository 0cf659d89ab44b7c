"""Records of the problems that a check found, and of the repairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hangar.errors import CorruptionError
from hangar.history.usage import Use

__all__ = ["FsckReport", "Problem", "Repair", "Rescue", "require_sound", "sorted_problems"]

_SHOWN: Final = 5
_RANKS: Final = (
    "page",
    "format",
    "config",
    "lock",
    "table",
    "file",
    "location",
    "ref",
    "reflog",
    "commit",
    "graph",
    "schema",
    "attributes",
    "node",
    "array",
    "blob",
    "staging",
    "conflict",
    "tombstone",
    "bisection",
    "preference",
    "promise",
    "remote",
)
"""Kinds of problems: a cause comes before its consequences."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem.

    Attributes
    ----------
    kind
        What is damaged or missing: ``'page'``, ``'format'``, ``'config'``, ``'lock'``, ``'table'``, ``'file'``,
        ``'location'``, ``'ref'``, ``'reflog'``, ``'commit'``, ``'graph'``, ``'schema'``, ``'attributes'``, ``'node'``,
        ``'blob'``, ``'staging'``, ``'conflict'``, ``'tombstone'``, ``'bisection'``, ``'preference'``,
        ``'promise'`` or ``'remote'``.
    digest
        The digest concerned (hex), or empty.
    file
        The file below ``.hangar``, or empty.
    detail
        Description.
    uses
        The first places that name the digest: commit, column, sample.
    places
        Number of all these places.
    remedy
        What can be done about it, where that is known.
    """

    kind: str
    digest: str
    file: str
    detail: str
    uses: tuple[Use, ...] = ()
    places: int = 0
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that was repaired.

    Attributes
    ----------
    kind
        As in :class:`Problem`.
    detail
        What was done.
    kept
        Where the old content was kept, below ``.hangar``; empty if there was none of value.
    """

    kind: str
    detail: str
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Rescue:
    """The newest intact commit of a damaged branch: all of its data can be read.

    Attributes
    ----------
    branch
        Name of the branch.
    commit
        Digest (hex) of the newest intact commit; empty if there is none.
    behind
        Number of commits that are newer than it.
    """

    branch: str
    commit: str
    behind: int


@dataclass(frozen=True, slots=True)
class FsckReport:
    """Result of a check, and of a repair.

    Attributes
    ----------
    problems
        All problems that are left; a cause comes before its consequences.
    commits, columns, nodes, blobs
        Numbers of checked objects.
    data
        Whether blobs were read.
    notes
        Observations that are not errors. ``rollback``: the database is older than its files. ``kept``: it was
        older, and was written to since. ``surplus``: bytes on disk that the database does not know, from an unfinished batch or a rollback.
        ``cache``: a cache file is damaged, which is not used. ``purged``: a blob that was erased on purpose.
        ``purge``: such an erasure is not finished.
    unchecked
        Data that could not be checked because a package is missing.
    repaired
        What was repaired.
    rescues
        For each branch that names damaged data, its newest intact commit.
    promised
        Number of blobs that are not here, and that a remote has promised. They are not checked.
    """

    problems: tuple[Problem, ...]
    commits: int
    columns: int
    nodes: int
    blobs: int
    data: bool
    notes: tuple[Problem, ...] = ()
    unchecked: tuple[str, ...] = ()
    repaired: tuple[Repair, ...] = ()
    rescues: tuple[Rescue, ...] = ()
    promised: int = 0

    @property
    def sound(self) -> bool:
        """Whether there are no problems (any more)."""
        return not self.problems


def sorted_problems(problems: list[Problem]) -> tuple[Problem, ...]:
    """Problems with causes before their consequences; else in the order in which they were found."""
    ranks = {kind: at for at, kind in enumerate(_RANKS)}
    return tuple(sorted(problems, key=lambda problem: ranks.get(problem.kind, len(_RANKS))))


def require_sound(found: FsckReport) -> bool:
    """Return True, or raise CorruptionError with the first problems."""
    if found.sound:
        return True
    lines = [f"{problem.kind} {problem.digest} {problem.file}: {problem.detail}" for problem in found.problems[:_SHOWN]]
    more = len(found.problems) - len(lines)
    raise CorruptionError("\n".join([*lines, *([f"and {more} more"] if more > 0 else [])]))
