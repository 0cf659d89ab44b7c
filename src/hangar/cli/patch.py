"""Changes of a commit since its first parent: counts by column, or samples with old and new values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from hangar.cli.ls import MARKS
from hangar.cli.output import style, visible, visible_name
from hangar.cli.samples import address_of, sample_text
from hangar.cli.views import View, open_commit

if TYPE_CHECKING:
    from hangar.cli.state import State
    from hangar.describe import ColumnStatus
    from hangar.diff import Change
    from hangar.objects.commit import ColumnEntry

__all__ = ["Patch"]

_SMALL: Final = 8
"""Most elements of an array that is shown."""
_CHARACTERS: Final = 60
"""Most characters of a text that are shown; of bytes, twice their number."""


class Patch:
    """Changes of one commit.

    Parameters
    ----------
    commit
        Its digest in hex.
    parents
        Digests of its parents; it is compared with the first.
    """

    def __init__(self, state: State, commit: str, parents: Sequence[str]) -> None:
        self._state = state
        self._commit = commit
        self._parent = next(filter(None, parents), "")

    def _entries(self, commit: str) -> Sequence[ColumnEntry]:
        from hangar.digest import Digest
        from hangar.objects.records import load_commit

        return load_commit(self._state.stores.db, Digest(bytes.fromhex(commit))).columns if commit else ()

    def columns(self) -> list[ColumnStatus]:
        """Changes of each changed column."""
        from hangar.describe import column_states
        from hangar.objects.attributes import load_attributes

        db, nodes = self._state.stores.db, self._state.stores.nodes
        sides = self._entries(self._parent), self._entries(self._commit)
        states = column_states(nodes, *sides, lambda digest: load_attributes(db, digest))
        return [one for one in states if one.state != "unchanged"]

    def samples(self) -> Iterator[Change]:
        """The changed samples, by column and in key order."""
        from hangar.diff import changes

        return changes(self._state.stores.nodes, self._entries(self._parent), self._entries(self._commit))

    def lines(self) -> Iterator[str]:
        """A line for each changed sample."""
        after = open_commit(self._state, self._commit)
        before = open_commit(self._state, self._parent) if self._parent else None
        names = _names_before(before, after)
        for change in self.samples():
            new: Any = after.get(change.column) if change.kind != "deleted" else None
            old_name = names.get(change.column, change.column)
            old: Any = before.get(old_name) if before is not None and change.kind != "added" else None
            yield _line(change, old, new)


def _names_before(before: View | None, after: View) -> dict[str, str]:
    """Map from the current name of each column to its earlier name."""
    known = {} if before is None else {entry.id: entry.name for entry in before.entries}
    return {entry.name: known[entry.id] for entry in after.entries if entry.id in known}


def _line(change: Change, old: Any, new: Any) -> str:
    mark, colour = MARKS[change.kind]
    address = address_of(change.key)
    held = new if new is not None else old
    text = style(f"{mark} {visible(change.column)}/{sample_text(address, held)}", colour)
    shown = [_value(column, address) for column in (old, new) if column is not None]
    return f"{text}  {' -> '.join(shown)}" if all(shown) else text


def _value(column: Any, address: Any) -> str:
    """A value as short text; ``''`` for a large array, which is not read, and for a value that cannot be read here."""
    if column.needs:
        return ""
    if column.column_type == "ndarray" and math.prod(column.shape) > _SMALL:
        return ""
    value = column.get(address)
    if column.column_type == "str":
        short = visible_name(value[:_CHARACTERS])
        return f'"{short}"' + ("..." if len(value) > _CHARACTERS else "")
    if column.column_type == "bytes":
        return f"{value[: _CHARACTERS // 2].hex()}" + ("..." if len(value) > _CHARACTERS // 2 else "") or "(no bytes)"
    return " ".join(str(value.tolist()).split())
