"""Changes between two states of the repository as lines of text and JSON: for ``log -p``, ``diff`` and ``show``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from hangar.cli.ls import MARKS
from hangar.cli.output import style, visible, visible_name
from hangar.cli.samples import address_of, sample_text
from hangar.cli.status import staged_lines
from hangar.cli.views import View, open_commit, open_nothing
from hangar.errors import MissingPackageError, UnsupportedVersionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hangar.cli.state import State
    from hangar.describe import ColumnStatus
    from hangar.diff import AttributeChanges, Change, ColumnPair, Comparison, ValueChange
    from hangar.diff.stream import ColumnBytes, Form, Reading
    from hangar.diff.values import ValueDifference
    from hangar.errors import HangarError

__all__ = ["ChangedColumn", "Patch", "commit_patch"]

NOT_HERE: Final = (MissingPackageError, UnsupportedVersionError)
MOST_COMPARED: Final = 256 * 2**20
"""Most bytes of changed chunks of one array that are read to say what changed in them."""
MOST_TEXT: Final = 64 * 2**20
"""Most bytes of a str or bytes value that is read to be shown."""


@dataclass(frozen=True, slots=True)
class ChangedColumn:
    """A column that changed: its status, with the counts of the chosen samples, and its two sides."""

    status: ColumnStatus
    pair: ColumnPair


class Patch:
    """Changes between two states.

    Parameters
    ----------
    before, after
        The states.
    columns
        Selects columns by name, before or after the change; None: all.
    samples
        Selects samples by column and key; None: all.
    tolerance
        Leaves out changed samples whose numbers differ by no more; None: nothing is left out.
    limit
        Most samples of each column that are listed.
    """

    def __init__(
        self,
        state: State,
        before: View,
        after: View,
        *,
        columns: Callable[[str], object] | None = None,
        samples: Callable[[str, Any], object] | None = None,
        tolerance: float | None = None,
        limit: int | None = None,
    ) -> None:
        self._stores = state.stores
        self.before, self.after = before, after
        self._choose, self._chosen = columns, samples
        self.tolerance, self.limit = tolerance, limit
        self.damaged: HangarError | None = None

    @cached_property
    def comparison(self) -> Comparison:
        """The comparison of the chosen columns."""
        from hangar.diff import Comparison

        return Comparison(self._stores, self.before.snapshot, self.after.snapshot, self._choose)

    @cached_property
    def reading(self) -> Reading:
        """Which samples are chosen, and which of their values are read to be listed."""
        from hangar.diff.stream import Reading

        return Reading(self._chosen, _wanted, damage=True, most_bytes=MOST_COMPARED)

    @cached_property
    def changed(self) -> list[ChangedColumn]:
        """The columns that changed, by name."""
        from hangar.describe import column_states
        from hangar.diff.stream import count_changes

        comparison = self.comparison
        states = column_states(comparison.nodes, *comparison.columns, comparison.load_attributes)
        found = []
        for status, pair in zip(states, comparison.pairs, strict=True):
            if status.state == "unchanged":
                continue
            counted = status
            if self._chosen is not None or self.tolerance is not None:
                counts = count_changes(comparison, pair, self.reading, self.tolerance)
                counted = replace(status, **counts._asdict())
            if any((counted.added, counted.deleted, counted.mutated)) or self.changed_itself(status):
                found.append(ChangedColumn(counted, pair))
        return found

    def changed_itself(self, status: ColumnStatus) -> bool:
        """Whether a column changed in more than its samples; never, if samples are chosen."""
        itself = status.state != "changed" or status.renamed_from or status.schema or status.attributes
        return self._chosen is None and bool(itself)

    @cached_property
    def attributes(self) -> AttributeChanges:
        """Changed attributes by column, of the chosen columns; those of the commit are under None, if all are chosen."""
        from hangar.diff import attribute_changes

        comparison = self.comparison
        found: AttributeChanges = {}
        for column in self.changed if self._chosen is None else ():
            old, new = (None if entry is None else entry.attributes for entry in column.pair)
            found.setdefault(column.status.name, {}).update(attribute_changes(old, new, comparison.load_attributes))
        if self._choose is None:
            sides = comparison.before.attributes, comparison.after.attributes
            found[None] = attribute_changes(*sides, comparison.load_attributes)
        return {name: changed for name, changed in found.items() if changed}

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        return bool(self.changed or self.attributes)

    def schema_text(self, digest: bytes) -> str:
        """Short description of a schema."""
        from hangar.columns.present import holds

        schema = self.comparison.schema(digest)
        return f"{holds(schema)}{', nested' if schema.nested else ''}{schema.needs and f' ({schema.needs})'}"

    def column_bytes(self, column: ChangedColumn) -> ColumnBytes:
        """Logical bytes of the changed samples of a column on each side."""
        from hangar.diff.stream import column_bytes

        return column_bytes(self.comparison, column.pair, self.reading, self.tolerance)

    def columns(self) -> list[ColumnStatus]:
        """Changes of each changed column."""
        return [one.status for one in self.changed]

    def stat(self) -> list[str]:
        """A line for each changed column."""
        return staged_lines(self.columns())

    def samples(self) -> Iterator[Change]:
        """The changed samples, by column and in key order; values are read only to compare them with a tolerance."""
        from hangar.diff import changes

        if self.tolerance is None and self._chosen is None:
            yield from changes(self.comparison.nodes, *self.comparison.columns)
            return
        for column in self.changed:
            yield from self.column_keys(column)

    def column_keys(self, column: ChangedColumn) -> Iterator[Change]:
        """The changed samples of a column, in key order; values are read only to compare them with a tolerance."""
        from hangar.diff import Change

        reading = self.reading
        if self.tolerance is None:
            reading = replace(reading, wanted=lambda form, kind: False)
        for change, _ in self.compared(column, reading):
            yield Change(change.column, change.kind, change.key)

    def compared(
        self, column: ChangedColumn, reading: Reading | None = None
    ) -> Iterator[tuple[ValueChange, ValueDifference | None]]:
        """The changed samples of a column in key order, with what is read of their values; notes the first damage."""
        from hangar.diff import Unavailable
        from hangar.diff.stream import compared

        for change, difference in compared(self.comparison, column.pair, reading or self.reading, self.tolerance):
            for value in (change.before, change.after):
                if isinstance(value, Unavailable) and value.damaged:
                    self.damaged = self.damaged or value.error
            yield change, difference

    @cached_property
    def _columns_by_name(self) -> dict[tuple[str, bool], Any]:
        """Columns to look keys up in, by last name and whether that of the second side is meant."""
        found: dict[tuple[str, bool], Any] = {}
        for pair in self.comparison.pairs:
            for view, entry, second in ((self.before, pair.before, False), (self.after, pair.after, True)):
                if entry is not None:
                    found[pair.entry.name, second] = view[entry.name]
        return found

    def sample_name(self, change: Change | ValueChange) -> str:
        """The sample of a change as a user types it."""
        return sample_text(
            address_of(change.key), self._columns_by_name.get((change.column, change.kind != "deleted"), ())
        )

    def lines(self) -> Iterator[str]:
        """A line for each changed sample."""
        for column in self.changed:
            yield from self.sample_lines(column)

    def sample_lines(self, column: ChangedColumn) -> Iterator[str]:
        """A line for each changed sample of a column, and how many more there are."""
        for change, difference in islice(self.compared(column), self.limit):
            yield _line(change, difference, self.sample_name(change))
        more = left_over(column.status, self.limit)
        if more:
            yield f"... and {more:,} more"


def left_over(status: ColumnStatus, limit: int | None) -> int:
    """Number of changed samples beyond a limit."""
    return 0 if limit is None else max(0, status.added + status.deleted + status.mutated - limit)


def commit_patch(state: State, commit: str, parents: Sequence[str]) -> Patch:
    """The changes of a commit since its first parent."""
    parent = next(filter(None, parents), "")
    before, after = (open_commit(state, one) if one else open_nothing(state) for one in (parent, commit))
    return Patch(state, before, after)


def _wanted(form: Form, kind: str) -> bool:
    """Whether a value is read: to be compared, or because it is shown."""
    from hangar.diff.text import is_small

    return form.nbytes <= MOST_TEXT if form.kind in ("str", "bytes") else kind == "mutated" or is_small(form.shape)


def _line(change: ValueChange, difference: ValueDifference | None, name: str) -> str:
    from hangar.diff import Unavailable
    from hangar.diff.text import change_text

    mark, colour = MARKS[change.kind]
    text = style(f"{mark} {visible(change.column)}/{name}", colour)
    if any(isinstance(one, Unavailable) and isinstance(one.error, NOT_HERE) for one in (change.before, change.after)):
        return text  # the same reason for the whole column, which `status` says once
    return f"{text}  {change_text(change.before, change.after, difference)}"


def attribute_text(value: Any) -> str:
    """An attribute as text; ``(none)`` where there is none."""
    return "(none)" if value is None else visible_name(repr(value))
