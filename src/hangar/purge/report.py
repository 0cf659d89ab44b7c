"""Report of a planned or finished purge: frozen records for callers."""

from __future__ import annotations

from dataclasses import dataclass, field

from hangar.names import SampleKey

__all__ = ["PurgeReport", "PurgedSample", "SampleName", "SharedSample"]

SampleName = tuple[SampleKey, ...]
"""Key of a sample, or of a sample and a subsample."""


@dataclass(frozen=True, slots=True)
class PurgedSample:
    """One chosen sample (or subsample).

    Attributes
    ----------
    key
        Its key: one key, or two for a subsample.
    digests
        Digests (hex) of its stored values, in all versions that are purged.
    inline
        Whether some of its values lie inline in the tree: they have no digest of their own.
    """

    key: SampleName
    digests: tuple[str, ...]
    inline: bool


@dataclass(frozen=True, slots=True)
class SharedSample:
    """Another sample with the same data.

    Attributes
    ----------
    digest
        Digest (hex) of the data.
    column, key
        The sample, by the name of its column in ``commit``.
    commit
        The newest commit in which it has this data (hex); ``''`` for the staging area.
    """

    digest: str
    column: str
    key: SampleName
    commit: str


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """Plan or result of a purge.

    Attributes
    ----------
    column
        Name of the column.
    samples
        The chosen samples.
    commits
        Commits (hex) that contain one of their values, children before parents.
    staged
        Whether the staging area contains one.
    shared, shared_count
        Other samples with the same data: some of them, and their number.
    rewritten
        New digest by old digest (hex) of each commit that is rewritten, parents before children.
    refs
        Full names of the branches and tags that move to rewritten commits.
    dry_run
        Whether nothing was changed.
    size_before, size_after
        Bytes below ``.hangar``.
    unfinished
        Reasons why bytes are still on disk; empty if everything was removed. ``continue_purge`` removes the rest.
    """

    column: str
    samples: tuple[PurgedSample, ...] = ()
    commits: tuple[str, ...] = ()
    staged: bool = False
    shared: tuple[SharedSample, ...] = ()
    shared_count: int = 0
    rewritten: dict[str, str] = field(default_factory=dict)
    refs: tuple[str, ...] = ()
    dry_run: bool = False
    size_before: int = 0
    size_after: int = 0
    unfinished: tuple[str, ...] = ()

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests (hex) of all values concerned, sorted."""
        return tuple(sorted({digest for sample in self.samples for digest in sample.digests}))

    @property
    def inline(self) -> tuple[SampleName, ...]:
        """Samples with values inline in the tree."""
        return tuple(sample.key for sample in self.samples if sample.inline)
