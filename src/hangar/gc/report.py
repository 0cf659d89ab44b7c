"""The report of a garbage collection."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Amount", "GcReport"]


@dataclass(frozen=True, slots=True)
class Amount:
    """How much there is of one kind of data.

    Attributes
    ----------
    kept
        Number that is reachable.
    removed, removed_nbytes
        Number that was removed (in a dry run: would be), and its stored bytes.
    """

    kept: int = 0
    removed: int = 0
    removed_nbytes: int = 0


@dataclass(frozen=True, slots=True)
class GcReport:
    """Result of a garbage collection.

    Attributes
    ----------
    dry_run
        Whether nothing was changed; the numbers then say what would be.
    commits, nodes, schemas, attributes, blobs
        Records and blobs.
    reflog_entries
        Number of reflog entries that expired.
    files, files_nbytes
        Number of blob files that were removed or replaced by smaller ones, and their size.
    rewritten, rewritten_nbytes
        Number of blobs that were stored again, because their files were mostly free; and their logical bytes.
    other_files
        Number of other files that were removed: runs, caches, locks and leases of dead processes, unfinished files.
    compacted
        Whether the database was compacted.
    size_before, size_after
        Bytes below ``.hangar``. After a dry run ``size_after`` is an estimate.
    kept
        Reason for each file, process or other thing because of which unreachable data is still stored.
    damaged
        Error message by digest (hex) of blobs that are reachable and cannot be read; their files were kept.
    """

    dry_run: bool
    commits: Amount = Amount()
    nodes: Amount = Amount()
    schemas: Amount = Amount()
    attributes: Amount = Amount()
    blobs: Amount = Amount()
    reflog_entries: int = 0
    files: int = 0
    files_nbytes: int = 0
    rewritten: int = 0
    rewritten_nbytes: int = 0
    other_files: int = 0
    compacted: bool = False
    size_before: int = 0
    size_after: int = 0
    kept: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
