"""Resolves conflicts: by a side, by a given value, or by a driver, a function of the three values.

Only a driver needs the bytes of arrays, and only those of the samples in conflict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, cast

from msgspec.structs import replace

from hangar.columns.base import StagedSource
from hangar.columns.chunked.values import open_values
from hangar.columns.chunkedentries import open_entry_writer
from hangar.digest import Digest
from hangar.errors import InvalidInputError, NameTakenError
from hangar.names import check_name
from hangar.objects.attributes import AttributeMap
from hangar.objects.commit import ColumnEntry
from hangar.objects.records import load_record
from hangar.schema import ColumnSchema, open_schema

if TYPE_CHECKING:
    from hangar.columns.base import WriteSession
    from hangar.diff.threeway import Conflict
    from hangar.staging import WorkingColumn

__all__ = ["SIDES", "STAGED", "Choice", "Driver", "Value", "choice_of", "resolution_of", "resolve_conflicts"]

Sided: TypeAlias = Literal["ours", "theirs", "base", "staged"]
Driver: TypeAlias = Callable[[Any, Any, Any], Any]
"""Function of the values of a sample in base, ours and theirs, None where it does not exist. It returns the value of the
merge, None to remove the sample, or ``NotImplemented`` to leave the conflict open."""
SIDES: Final = ("ours", "theirs", "base")
STAGED: Final = "staged"
"""Resolution with what is staged now, for example a value that the user wrote."""


class Value(NamedTuple):
    """A value given by the user: the value of a sample or attribute, or the new name of a column."""

    value: Any


Choice: TypeAlias = "Sided | Value | Driver"


def choice_of(with_: Any) -> Choice:
    """Classify the argument of a user as a side, a driver, or a value."""
    if isinstance(with_, str) and with_ in (*SIDES, STAGED):
        return cast("Sided", with_)
    return with_ if isinstance(with_, Value) or callable(with_) else Value(with_)


def resolution_of(choice: Choice) -> str:
    """Text that records a resolution in its conflict row: a side, or ``'value'``."""
    return choice if isinstance(choice, str) and choice != STAGED else "value"


def resolve_conflicts(session: WriteSession, conflicts: Sequence[Conflict], choice: Choice) -> list[Conflict]:
    """Stage the resolution of conflicts, and return those that were resolved; a driver resolves samples only.

    The caller is in ``session.batch()``.

    Raises
    ------
    InvalidInputError
        A value is not what the column holds, or the conflict of a whole column cannot be resolved by a value.
    NameTakenError
        Another column has a name that a column would get.
    """
    if choice == STAGED:
        return list(conflicts)
    by_driver = callable(choice) and not isinstance(choice, Value)
    columns: list[Conflict] = []
    attributes: dict[bytes | None, list[Conflict]] = {}
    samples: dict[bytes | None, list[Conflict]] = {}
    for conflict in conflicts:
        if conflict.subject == "sample":
            samples.setdefault(conflict.column, []).append(conflict)
        elif conflict.subject == "attribute":
            attributes.setdefault(conflict.column, []).append(conflict)
        else:
            columns.append(conflict)
    done: list[Conflict] = []
    if not by_driver:
        _resolve_columns(session, columns, cast("Sided | Value", choice))
        done += columns
        for column, found in attributes.items():
            _resolve_attributes(session, column, found, cast("Sided | Value", choice))
            done += found
    for column, found in samples.items():
        working = session.staging.by_id.get(column or b"")
        # A column that was removed in the meantime has no conflicts any more.
        done += found if working is None else _resolve_samples(session, working, found, choice)
    return done


# ---------------------------------------------------------------------------------------------------- samples


def _resolve_samples(
    session: WriteSession, working: WorkingColumn, conflicts: list[Conflict], choice: Choice
) -> list[Conflict]:
    keys = [conflict.key for conflict in conflicts]
    if isinstance(choice, str):
        with session.writing():
            working.set_many(keys, [getattr(conflict, choice) for conflict in conflicts])
            session.spill_if_large()
        return conflicts
    working.schema.require()
    source = StagedSource(session.staging, working)
    writer = open_entry_writer(session, source, working.schema)
    if isinstance(choice, Value):
        writer.put_entries(keys, [choice.value] * len(keys))
        return conflicts
    values = _driven(session, working.schema, conflicts, choice)
    done = [i for i, value in enumerate(values) if value is not NotImplemented]
    there = [i for i in done if values[i] is not None]
    writer.put_entries([keys[i] for i in there], [values[i] for i in there])
    writer.remove_entries([keys[i] for i in done if values[i] is None])
    return [conflicts[i] for i in done]


def _driven(session: WriteSession, schema: ColumnSchema, conflicts: list[Conflict], driver: Driver) -> list[Any]:
    """The return value of the driver for each conflict."""
    reader = open_values(session.stores, session.nodes, schema)
    found = []
    for conflict in conflicts:
        cells = conflict.base, conflict.ours, conflict.theirs
        found.append(driver(*(None if cell is None else reader.one(cell) for cell in cells)))
    return found


# ---------------------------------------------------------------------------------------------------- attributes


def _resolve_attributes(
    session: WriteSession, column: bytes | None, conflicts: list[Conflict], choice: Sided | Value
) -> None:
    staging = session.staging
    working = None if column is None else staging.by_id.get(column)
    if working is None and column is not None:
        return
    digest = staging.attributes if working is None else working.attributes
    values: AttributeMap = {} if digest is None else dict(session.load_attributes(Digest(digest)))
    for conflict in conflicts:
        key = conflict.key.decode()
        value = choice.value if isinstance(choice, Value) else getattr(conflict, choice)
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
    with session.writing():
        staging.set_attributes(working, values)


# ---------------------------------------------------------------------------------------------------- columns


def _resolve_columns(session: WriteSession, conflicts: list[Conflict], choice: Sided | Value) -> None:
    """Restore, remove and rename columns as chosen, all at once."""
    staging = session.staging
    wanted: dict[bytes, ColumnEntry | str | None] = {}
    for conflict in conflicts:
        wanted.update(_wanted(conflict, choice, staging.by_id))
    names = {one: working.name for one, working in staging.by_id.items() if one not in wanted}
    names |= {
        one: target if isinstance(target, str) else target.name for one, target in wanted.items() if target is not None
    }
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise NameTakenError(
            f"two columns would have the name {twice[0]!r}: rename the one that has it first (`hangar column rename`), or "
            "give another name (`hangar resolve COLUMN --value NAME`)"
        )
    here = {one: staging.by_id[one].name for one in wanted if one in staging.by_id}
    with session.writing():
        for one, name in here.items():
            if one not in names:
                staging.remove(name)
        staging.rename_all({old: names[one] for one, old in here.items() if one in names and names[one] != old})
        for target in wanted.values():
            if isinstance(target, ColumnEntry):
                staging.restore(target, open_schema(load_record(session.stores.db, "schema", target.schema)))


def _wanted(
    conflict: Conflict, choice: Sided | Value, present: Collection[bytes]
) -> Mapping[bytes, ColumnEntry | str | None]:
    """By column id: a new name, the column as it is to be restored, or None to remove it."""
    column, subject = conflict.column, conflict.subject
    assert column is not None
    if isinstance(choice, Value):
        if subject == "column":
            raise InvalidInputError("a whole column is in conflict: resolve it with 'ours', 'theirs' or 'base'")
        name = check_name(choice.value, "column")
        if subject == "name":
            return {column: name}
        first, second = conflict.ours[0], replace(conflict.theirs[1], name=name)
        return {
            first.id: first.name if first.id in present else first,
            second.id: name if second.id in present else second,
        }
    value = getattr(conflict, choice)
    if subject != "clash":
        return {column: value}
    ids = conflict.ours[0].id, conflict.theirs[1].id
    return {
        one: entry.name if entry is not None and one in present else entry
        for one, entry in zip(ids, value, strict=True)
    }
