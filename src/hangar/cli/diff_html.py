"""``hangar diff --html``: choose the samples of the page, and write it."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hangar.cli.output import note
from hangar.cli.patch import ChangedColumn, Patch, attribute_text
from hangar.cli.status import changed_text
from hangar.wording import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hangar.cli.state import State
    from hangar.cli.views import View
    from hangar.diff.html import PageColumn, PageSample
    from hangar.diff.results import AttributeChange

__all__ = ["write_page"]

PICTURES: Final = 24
ROWS: Final = 100
"""Most samples of a column with pictures, and of any other column, unless a number is given."""
_MOST_BYTES: Final = 2**30
"""A larger value is not read."""
PAGE_PICTURES: Final = 240
PAGE_COLUMNS: Final = 200
"""Most samples with pictures, and columns with samples, of a page."""


def write_page(state: State, patch: Patch, path: Path, limit: int | None) -> None:
    """Write the page to ``path``, which is replaced; at most ``limit`` samples of each column are on it."""
    from hangar.diff.html import page
    from hangar.external.safe_io import OutputDirectory

    path = state.resolve(path)
    left = PAGE_PICTURES
    columns = []
    for i, column in enumerate(patch.changed):
        most = 0 if i >= PAGE_COLUMNS else _most(patch, column, limit, left)
        columns.append(_column(patch, column, most))
        left -= most if _has_pictures(patch, column) else 0
    notes = []
    if patch.tolerance is not None:
        notes.append(f"Samples whose numbers changed by no more than {patch.tolerance:g} are left out.")
    if any(one.samples for one in columns):
        notes.append("In pictures of a difference changed pixels are red, the more the stronger; NaNs are magenta.")
    sides = [_side(state, view) for view in (patch.before, patch.after)]
    title = f"Changes of {Path(state.repository.path).name or 'the repository'}"
    about = _attribute_rows(patch.attributes.get(None, {}))
    data = "".join(page(title, sides, columns, about, notes)).encode("utf-8", "backslashreplace")
    with OutputDirectory(path.parent) as directory:
        directory.write((path.name,), data)
    note(
        f"Wrote {path}: {plural(sum(len(one.samples) for one in columns), 'sample')} of {plural(len(columns), 'column')}"
    )


def _has_pictures(patch: Patch, column: ChangedColumn) -> bool:
    from hangar.diff.pictures import picture_kind

    schema = patch.comparison.schema(column.pair.entry.schema)
    if schema.kind_name == "image" or (schema.kind_name == "chunked" and len(schema.shape or ()) in (2, 3)):
        return True
    return not schema.needs and picture_kind(schema.dtype_name, schema.shape) is not None


def _most(patch: Patch, column: ChangedColumn, limit: int | None, left: int) -> int:
    """Most samples of a column on the page."""
    if not _has_pictures(patch, column):
        return ROWS if limit is None else limit
    return min(PICTURES, left) if limit is None else limit


def _column(patch: Patch, column: ChangedColumn, most: int) -> PageColumn:
    from hangar.diff.html import PageColumn

    status = column.status
    before, after = (None if entry is None else patch.schema_text(entry.schema) for entry in column.pair)
    schema = f"{before} -> {after}" if before and after and before != after else after or before or ""
    sizes = patch.column_bytes(column)
    return PageColumn(
        status.name,
        changed_text(status),
        schema,
        status.added,
        status.mutated,
        status.deleted,
        sizes.before,
        sizes.after,
        _attribute_rows(patch.attributes.get(status.name, {})),
        _samples(patch, column, most),
    )


def _samples(patch: Patch, column: ChangedColumn, most: int) -> list[PageSample]:
    """The samples of a column that are shown: changed ones first, then added and deleted ones."""
    from hangar.diff.chunked import preview
    from hangar.diff.html import PageSample

    entry = column.pair.entry
    if not most or patch.comparison.schema(entry.schema).needs:
        return []
    found: dict[str, list[Any]] = {"mutated": [], "added": [], "deleted": []}
    wanted = column.status
    for change in patch.column_keys(column):
        if len(found[change.kind]) < most:
            found[change.kind].append(change.key)
        if len(found["mutated"]) >= min(most, wanted.mutated) and sum(map(len, found.values())) >= most:
            break
    chosen = frozenset(list(chain.from_iterable(found.values()))[:most])
    shown = [
        PageSample(patch.sample_name(change), change, difference, preview(change.before, change.after, difference))
        for change, difference in patch.compared(
            column, replace(patch.reading, chosen=lambda name, key: key in chosen, wanted=_readable)
        )
    ]
    order = {"mutated": 0, "added": 1, "deleted": 2}
    return sorted(shown, key=lambda one: order[one.change.kind])


def _readable(form: Any, kind: str) -> bool:
    return form.kind == "chunked" or bool(form.nbytes <= _MOST_BYTES)


def _attribute_rows(changed: dict[str, AttributeChange]) -> Sequence[tuple[str, str, str]]:
    return [(key, attribute_text(old), attribute_text(new)) for key, (old, new) in changed.items()]


def _side(state: State, view: View) -> tuple[str, str]:
    """Label and description of a state."""
    if view.branch:
        return f"staging area of branch {view.branch}", ""
    if not view.commit:
        return view.label, ""
    info = state.repository.commit_info(view.commit)
    title = info.message.strip().partition("\n")[0]
    return view.label, f"{title} ({info.author}, {info.time[:16].replace('T', ' ')})"
