"""Result types of a comparison: hashable named tuples, independent of trees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from hangar.names import SampleKey

__all__ = [
    "AttributeChange",
    "AttributeChanges",
    "AttributeConflict",
    "AttributeKey",
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

_SHOWN = 8
"""Maximum number of samples that ``repr`` lists."""
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


class AttributeKey(NamedTuple):
    """One attribute of a column, or of the commit itself (None)."""

    column: str | None
    attribute: str


class DataRecordVal(NamedTuple):
    """The digest of a schema, in hex."""

    digest: str


DataKey: TypeAlias = FlatColumnDataKey | NestedColumnDataKey


class Changes(NamedTuple):
    """Schemas and samples with one kind of change."""

    schema: dict[ColumnSchemaKey, DataRecordVal]
    samples: tuple[DataKey, ...]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.samples[:_SHOWN]))
        more = f", ... {len(self.samples) - _SHOWN:,} more" if len(self.samples) > _SHOWN else ""
        return f"Changes(schema={self.schema!r}, samples=({shown}{more}{',' if len(self.samples) == 1 else ''}))"


class AttributeChange(NamedTuple):
    """Old and new value of one attribute; None if it does not exist on that side."""

    before: Any
    after: Any


AttributeChanges: TypeAlias = "dict[str | None, dict[str, AttributeChange]]"
"""Changed attributes by column and key; those of the commit itself are under None."""


class _DiffFields(NamedTuple):
    added: Changes
    deleted: Changes
    mutated: Changes


class DiffOut(_DiffFields):
    """The differences between two sides.

    A tuple of three :class:`Changes`; renamed columns and attributes are additional properties.

    Attributes
    ----------
    added, deleted, mutated
        All samples of a deleted column are listed as deleted, those of a new column as added.
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
        """Make the tuple; ``renamed`` and ``attributes`` are the values of the properties."""
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
        """Changed attributes by column (its new name; None: the commit itself) and key."""
        return self._attributes

    def rows(self) -> list[tuple[str, ...]]:
        """Table for display: for each changed column the numbers of added, deleted and mutated samples, and notes."""
        numbers = [Counter(key.column for key in part.samples) for part in self]
        words = [{key.column for key in part.schema} for part in self]
        before = {new: old for old, new in self.renamed}
        names = {*before, *(name for found in (*numbers, *words) for name in found)}
        rows: list[tuple[str, ...]] = []
        for name in sorted(names | {name for name in self.attributes if name is not None}):
            notes = [note for note, found in zip(("new", "removed", "widened"), words, strict=True) if name in found]
            notes += [f"renamed from {before[name]}"] if name in before else []
            notes += [f"attributes {', '.join(self.attributes[name])}"] if name in self.attributes else []
            rows.append((name, *(f"{found[name]:,}" for found in numbers), ", ".join(notes)))
        if None in self.attributes:
            rows.append(("", "", "", "", f"attributes {', '.join(self.attributes[None])}"))
        return rows

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, renamed={self.renamed!r}, attributes={self.attributes!r})"

    def _repr_html_(self) -> str:
        from hangar.columns.present import html_table

        return html_table("Changes", ("column", "added", "deleted", "mutated", ""), self.rows())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DiffOut) and (self.renamed, self.attributes) != (other.renamed, other.attributes):
            return False
        return isinstance(other, tuple) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = _DiffFields.__hash__


class AttributeConflict(NamedTuple):
    """The three values of an attribute that both sides changed differently; None if it does not exist there."""

    base: Any
    ours: Any
    theirs: Any


Regions: TypeAlias = "tuple[tuple[tuple[int, int], ...], ...]"
"""Regions of a chunked array: of each the bounds (start, stop) along each axis."""


class _ConflictFields(NamedTuple):
    t1: Changes
    t21: Changes
    t22: Changes
    t3: Changes
    conflict: bool


class Conflicts(_ConflictFields):
    """Conflicts of a merge: changes that cannot be merged automatically.

    A tuple of four :class:`Changes` and a bool; attributes are an additional property. A column in ``schema`` is in
    conflict as a whole: it was deleted on one side and changed on the other, it was renamed to two names, one name
    has two columns, or its schemas cannot be merged.

    Attributes
    ----------
    t1
        Added on both sides with different values.
    t21, t22
        Removed in the first and changed in the second; changed in the first and removed in the second.
    t3
        Changed on both sides to different values.
    conflict
        Whether there are any conflicts.
    """

    _attributes: dict[str | None, dict[str, AttributeConflict]] = {}  # noqa: RUF012 - never changed, and no field
    _regions: Mapping[DataKey, Regions] = {}

    def __new__(
        cls,
        t1: Changes,
        t21: Changes,
        t22: Changes,
        t3: Changes,
        conflict: bool | None = None,
        *,
        attributes: dict[str | None, dict[str, AttributeConflict]] | None = None,
        regions: Mapping[DataKey, Regions] | None = None,
    ) -> Conflicts:
        """Make the tuple; by default ``conflict`` is whether there is something in the others."""
        if conflict is None:
            conflict = bool(attributes) or any(bool(part) for changes in (t1, t21, t22, t3) for part in changes)
        made = super().__new__(cls, t1, t21, t22, t3, conflict)
        made._attributes = attributes or {}
        made._regions = regions or {}
        return made

    @property
    def attributes(self) -> dict[str | None, dict[str, AttributeConflict]]:
        """Conflicts of attributes by column (None: the commit itself) and key."""
        return self._attributes

    @property
    def regions(self) -> Mapping[DataKey, Regions]:
        """Of each chunked array in conflict the regions that both sides changed: bounds (start, stop) along each axis."""
        return self._regions

    @classmethod
    def none(cls) -> Conflicts:
        """No conflict."""
        t1, t21, t22, t3 = (Changes({}, ()) for _ in range(4))
        return cls(t1, t21, t22, t3)

    def total(self) -> int:
        """Number of conflicts: samples, columns and attributes."""
        found = sum(len(part) for changes in (self.t1, self.t21, self.t22, self.t3) for part in changes)
        return found + sum(map(len, self.attributes.values()))

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, attributes={self.attributes!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Conflicts) and self.attributes != other.attributes:
            return False
        return isinstance(other, tuple) and tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = _ConflictFields.__hash__


class DiffAndConflicts(NamedTuple):
    """Differences, and the conflicts among them."""

    diff: DiffOut
    conflict: Conflicts

    def _repr_html_(self) -> str:
        return self.diff._repr_html_()


class Change(NamedTuple):
    """One sample or subsample that changed."""

    column: str
    kind: ChangeKind
    key: DataKey


class ChangeCounts(NamedTuple):
    """Numbers of changed samples (in a nested column: subsamples) of a column."""

    added: int
    deleted: int
    mutated: int
