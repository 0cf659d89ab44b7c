"""What a comparison gives: named tuples that hash, unpack and read well, and know nothing of trees."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from hangar.names import SampleKey

__all__ = [
    "AttributeChange",
    "AttributeChanges",
    "Change",
    "ChangeCounts",
    "ChangeKind",
    "Changes",
    "ColumnSchemaKey",
    "Conflicts",
    "DataKey",
    "DataRecordVal",
    "DiffAndConflicts",
    "DiffOut",
    "FlatColumnDataKey",
    "NestedColumnDataKey",
]

Layout: TypeAlias = Literal["flat", "nested"]
ChangeKind: TypeAlias = Literal["added", "deleted", "mutated"]


class FlatColumnDataKey(NamedTuple):
    """One sample of a flat column."""

    column: str
    sample: SampleKey

    @property
    def layout(self) -> Layout:
        """``'flat'``."""
        return "flat"


class NestedColumnDataKey(NamedTuple):
    """One subsample of a nested column."""

    column: str
    sample: SampleKey
    subsample: SampleKey

    @property
    def layout(self) -> Layout:
        """``'nested'``."""
        return "nested"


class ColumnSchemaKey(NamedTuple):
    """One column."""

    column: str
    layout: Layout


class DataRecordVal(NamedTuple):
    """The digest of a schema, in hex."""

    digest: str


DataKey: TypeAlias = FlatColumnDataKey | NestedColumnDataKey


class Changes(NamedTuple):
    """Schemas and samples that changed in one way."""

    schema: dict[ColumnSchemaKey, DataRecordVal]
    samples: tuple[DataKey, ...]


class AttributeChange(NamedTuple):
    """Values of one attribute; None where there is none."""

    before: Any
    after: Any


AttributeChanges: TypeAlias = "dict[str | None, dict[str, AttributeChange]]"
"""Changed attributes by column and key; those of the commit as a whole are under None."""


class _DiffFields(NamedTuple):
    added: Changes
    deleted: Changes
    mutated: Changes


class DiffOut(_DiffFields):
    """What changed from one side to the other.

    A tuple of three :class:`Changes`; renamed columns and attributes are properties beside them.

    Attributes
    ----------
    added, deleted, mutated
        Of a deleted column all samples are listed as deleted, of a new one as added.
    """

    _renamed: tuple[tuple[str, str], ...] = ()
    _attributes: AttributeChanges = {}  # noqa: RUF012 - never changed, and no field

    def __new__(
        cls,
        added: Changes,
        deleted: Changes,
        mutated: Changes,
        *,
        renamed: tuple[tuple[str, str], ...] = (),
        attributes: AttributeChanges | None = None,
    ) -> DiffOut:
        """Make one; ``renamed`` and ``attributes`` are what the properties give."""
        made = super().__new__(cls, added, deleted, mutated)
        made._renamed = renamed
        made._attributes = attributes or {}
        return made

    @property
    def renamed(self) -> tuple[tuple[str, str], ...]:
        """Old and new name of each column that was renamed, sorted by the new one."""
        return self._renamed

    @property
    def attributes(self) -> AttributeChanges:
        """Changed attributes by column (its new name; None: the commit as a whole) and key."""
        return self._attributes

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DiffOut) and (self.renamed, self.attributes) != (other.renamed, other.attributes):
            return False
        return isinstance(other, tuple) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = _DiffFields.__hash__


class Conflicts(NamedTuple):
    """What a merge could not decide by itself.

    Attributes
    ----------
    t1
        Added on both sides with different values.
    t21, t22
        Removed in the first and changed in the second; changed in the first and removed in the second.
    t3
        Changed on both sides to different values.
    conflict
        Whether there is any.
    """

    t1: Changes
    t21: Changes
    t22: Changes
    t3: Changes
    conflict: bool

    @classmethod
    def none(cls) -> Conflicts:
        """No conflict."""
        t1, t21, t22, t3 = (Changes({}, ()) for _ in range(4))
        return cls(t1, t21, t22, t3, conflict=False)


class DiffAndConflicts(NamedTuple):
    """What changed, and what of it conflicts."""

    diff: DiffOut
    conflict: Conflicts


class Change(NamedTuple):
    """One sample or subsample that changed."""

    column: str
    kind: ChangeKind
    key: DataKey


class ChangeCounts(NamedTuple):
    """How many samples (in a nested column: subsamples) of a column changed."""

    added: int
    deleted: int
    mutated: int
