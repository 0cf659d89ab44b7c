"""``hangar conflicts``, and conflicts as text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from hangar.cli.groups import Command
from hangar.cli.output import (
    SHORT_DIGEST,
    echo,
    echo_lines,
    json_option,
    style,
    table,
    visible,
    visible_name,
    write_json,
)
from hangar.cli.pager import paged
from hangar.cli.records import sample_record
from hangar.cli.state import State, pass_state
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.diff import Conflicts
    from hangar.diff.threeway import Conflict
    from hangar.merge.state import MergeState
    from hangar.names import SampleKey
    from hangar.schema import ColumnSchema

__all__ = ["all_resolved", "command", "conflict_lines", "conflict_names", "conflict_records", "sample_of", "state_of"]

KINDS: Final = {"t1": "both added", "t21": "deleted by us", "t22": "deleted by them", "t3": "both modified"}
"""Kinds of conflict in the words of git."""
_KINDS_OF_NAMES: Final = {"clash": "one name", "name": "both renamed"}
_WIDTH: Final = 24
"""Maximum characters of a value in a line."""


def state_of(state: State) -> MergeState | None:
    """The merge, cherry-pick or revert in progress."""
    from hangar.merge.state import read_state

    return read_state(state.stores.db)


def sample_of(conflict: Conflict, nested: bool) -> SampleKey | list[SampleKey]:
    """Key of the sample in conflict; in a nested column of sample and subsample."""
    from hangar.schema.keys import decode_key, split_nested_key

    return list(split_nested_key(conflict.key)) if nested else decode_key(conflict.key)


def conflict_records(state: State, merge: MergeState) -> Iterator[dict[str, Any]]:
    """Each conflict, resolved ones too, as JSON shows it."""
    from hangar.diff.chunks import conflict_regions
    from hangar.merge.stage import conflict_of
    from hangar.merge.state import label
    from hangar.objects.commit import NESTED

    schemas: dict[bytes, ColumnSchema] = {}
    for name, row in merge.ordered():
        conflict = conflict_of(name, row)
        record: dict[str, Any] = {
            "column": label(conflict, merge.columns),
            "subject": conflict.subject,
            "sample": None,
            "subsample": None,
            "attribute": conflict.key.decode() if conflict.subject == "attribute" else None,
            "kind": conflict.kind,
        }
        schema = None
        if conflict.subject == "sample":
            assert conflict.column is not None
            found = sample_of(conflict, merge.columns[conflict.column].layout == NESTED)
            record |= sample_record(found if isinstance(found, list) else [found])
            if conflict.column not in schemas:
                schemas[conflict.column] = merge.schema(state.stores.db, conflict.column)
            schema = schemas[conflict.column]
        values = (conflict.base, conflict.ours, conflict.theirs)
        record |= {side: _value(merge, conflict, value, schema) for side, value in zip(_SIDES, values, strict=True)}
        regions = conflict_regions(merge.staged.nodes, lambda column: schemas[column], conflict)
        yield record | {"resolution": row.resolution} | ({"regions": regions} if regions else {})


_SIDES: Final = ("base", "ours", "theirs")


def _value(merge: MergeState, conflict: Conflict, value: Any, schema: ColumnSchema | None) -> Any:
    """A value as JSON has it: an inline value itself, a blob as ``{"blob": digest}``, a chunked array by digest and shape."""
    if conflict.subject == "clash":
        value = value[0] if conflict.ours[0] is not None and value[0] is not None else value[1]
    if value is None or conflict.subject in ("name", "attribute"):
        return value
    if schema is None:
        return f"column {value.name} ({plural(value.entries, 'sample')})"
    if schema.needs:
        return "a value that cannot be read here"
    from hangar.schema import ChunkedSchema, SparseSchema

    if isinstance(schema, ChunkedSchema):
        return {"array": value.hex(), "shape": list(merge.staged.nodes.load_arrays([value])[0].shape)}
    digest = schema.digest_of(value)
    if digest is not None:
        return {"blob": digest.hex()}
    if isinstance(schema, SparseSchema):
        where, values, shape = schema.as_coordinates().decode_cell(value)
        return {"coordinates": where.tolist(), "values": values.tolist(), "shape": list(shape)}
    found = schema.decode_cell(value)
    return found if isinstance(found, (str, bytes)) else found.tolist()


def _short(value: Any, *, quote: bool) -> str:
    """A value in a line, as `hangar diff` shows it: texts of samples in quotes, bytes in hex."""
    if value is None:
        return "-"
    if isinstance(value, bytes):
        text = value.hex()
    elif isinstance(value, dict) and value.keys() == {"blob"}:
        text = f"blob {value['blob'][:SHORT_DIGEST]}"
    elif isinstance(value, dict) and value.keys() == {"array", "shape"}:
        text = f"array {' x '.join(map(str, value['shape']))}"
    elif isinstance(value, str) and not quote:
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False, default=lambda data: data.hex())
    return visible(text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "...")


def conflict_lines(records: list[dict[str, Any]]) -> list[str]:
    """A line for each conflict."""
    from hangar.diff.chunks import regions_text

    rows: list[tuple[str, ...]] = [("", "", "base", "ours", "theirs", "")]
    for record in records:
        parts = [part for part in (record["sample"], record["subsample"]) if part is not None]
        what = "/".join([visible(record["column"] or "(commit)"), *(visible(str(part)) for part in parts)])
        if record["attribute"] is not None:
            what += f" attribute {visible_name(record['attribute'])}"
        what += regions_text(record.get("regions", ()))
        kind = _KINDS_OF_NAMES.get(record["subject"], KINDS[record["kind"]])
        quote = record["subject"] in ("sample", "attribute")
        done = "" if record["resolution"] is None else style(f"resolved: {record['resolution']}", "green")
        colour = "red" if record["resolution"] is None else "green"
        rows.append((style(what, colour), kind, *(_short(record[side], quote=quote) for side in _SIDES), done))
    return table(rows, indent=2)


def conflict_names(conflicts: Conflicts) -> Iterator[tuple[str, str]]:
    """What is in conflict, and the kind of conflict: columns, samples, then attributes."""
    from hangar.diff.chunks import regions_text

    for field, kind in KINDS.items():
        changes = getattr(conflicts, field)
        for key in (*changes.schema, *changes.samples):
            parts = key[:1] if key in changes.schema else key
            yield "/".join(visible(str(part)) for part in parts) + regions_text(conflicts.regions.get(key, ())), kind
    for column, found in conflicts.attributes.items():
        for name in found:
            yield f"{visible(column or '(commit)')} attribute {visible_name(name)}", "attribute"


def all_resolved(kind: str) -> str:
    """What to do when no conflict is left."""
    return f"All conflicts are resolved: conclude the {kind} with `hangar {kind} --continue`"


@click.command("conflicts", cls=Command)
@click.option("-a", "--all", "every", is_flag=True, help="List resolved conflicts too.")
@json_option
@pass_state
@paged
def command(state: State, every: bool, as_json: bool) -> None:
    """List the conflicts of the merge, cherry-pick or revert in progress: what both sides changed in different ways.

    Values are those of the common ancestor (base), of the current branch (ours) and of the merged revision (theirs);
    "-" where there is none. Of a cherry-pick, theirs is the picked commit and base its parent; of a revert, base is the
    reverted commit and theirs its parent. Resolve them with `hangar resolve`.

    JSON: branch, operation (merge, cherry-pick, revert, or null if nothing is in progress), revision, unresolved, total, conflicts (column, subject: sample, column,
    name, clash or attribute, sample, in a nested column subsample, attribute, kind: t1 both added, t21 deleted by us, t22 deleted by them, t3 both
    modified, base, ours, theirs: values, of large ones the digest of the blob, resolution, of a chunked array also regions:
    those that both sides changed, as [start, stop] along each axis), with resolved ones.
    """
    merge = state_of(state)
    found = [] if merge is None else list(conflict_records(state, merge))
    left = [one for one in found if one["resolution"] is None]
    if as_json:
        write_json(
            {
                "branch": state.repository.head().write_branch if merge is None else merge.staged.branch,
                "operation": None if merge is None else merge.operation.kind,
                "revision": None if merge is None else merge.operation.name,
                "unresolved": len(left),
                "total": len(found),
                "conflicts": found,
            }
        )
        return
    if merge is None:
        echo("No merge, cherry-pick or revert is in progress")
        return
    shown = found if every else left
    if shown:
        echo_lines(conflict_lines(shown))
    if left:
        echo(f"{plural(len(left), 'conflict')} left of {len(found):,}: resolve them with `hangar resolve`")
    else:
        echo(all_resolved(merge.operation.kind))
