"""Display of columns at a prompt (``repr``, ``str``) and in a notebook (HTML).

The output is small and bounded: names, schema, counts and the first few keys. No value is read. In HTML all text from
the repository is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.schema import ColumnSchema

__all__ = [
    "column_html",
    "column_lines",
    "column_rows",
    "columns_html",
    "columns_lines",
    "counts",
    "first_keys",
    "holds",
    "html_table",
    "mapping_html",
]

SHOWN_KEYS: Final = 8
SHOWN_COLUMNS: Final = 50
COMPLETED_KEYS: Final = 100


def holds(schema: ColumnSchema) -> str:
    """Type of the values of a schema, such as ``'uint8 (28, 28)'``."""
    if schema.dtype_name is None:
        return schema.kind_text
    sparse = "sparse " if schema.kind_name == "sparse" else ""
    chunks = f" in chunks of {schema.blob_schema.shape}" if schema.blob_schema is not schema else ""
    return f"{sparse}{schema.dtype_name} {'up to ' if schema.variable else ''}{schema.max_shape}{chunks}"


def lacks(column: Any) -> str:
    """Note in parentheses about missing packages; empty if there are none."""
    return f"(cannot be read here: {column.needs})" if column.needs else ""


def counts(column: Any) -> str:
    """Number of samples and subsamples."""
    samples = plural(len(column), "sample")
    return f"{samples}, {plural(column.num_subsamples, 'subsample')}" if column.contains_subsamples else samples


def first_keys(mapping: Iterable[Any], most: int = SHOWN_KEYS) -> str:
    """The first keys, and dots if there are more."""
    keys = list(islice(iter(mapping), most + 1))
    return ", ".join(map(repr, keys[:most])) + (", ..." if len(keys) > most else "") or "none"


def column_rows(column: Any) -> list[tuple[str, str]]:
    """Properties of a column, as pairs of label and text."""
    attributes = ", ".join(
        f"{key if key.isprintable() else repr(key)}={value!r:.60}"
        for key, value in islice(column.attributes.items(), SHOWN_KEYS)
    )
    return [
        ("holds", holds(column.schema)),
        ("layout", column.column_layout),
        ("samples", counts(column)),
        ("keys", first_keys(column)),
        *([("attributes", attributes)] if attributes else []),
        ("backend", f"{column.backend} {column.backend_options or ''}".strip()),
        *([("needs", column.needs)] if column.needs else []),
    ]


def column_lines(column: Any) -> str:
    """Description of a column in several lines, for ``str``."""
    title = f"{type(column).__name__} {column.column!r}"
    return "\n".join([title, *(f"    {word + ':':<12}{text}" for word, text in column_rows(column))])


def columns_lines(title: str, columns: Iterable[tuple[str, Any]], total: int) -> str:
    """A title, and a line for each of the first columns."""
    rows = [
        (repr(name), holds(column.schema), column.column_layout, counts(column), lacks(column))
        for name, column in islice(columns, SHOWN_COLUMNS)
    ]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ["    " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([title, *lines, *([f"    ... and {total - len(rows):,} more"] if total > len(rows) else [])])


# ---------------------------------------------------------------------------------------------------- notebooks


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A small table; every text is escaped."""
    head = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in header)}</tr>" if header else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    caption = f"<caption><strong>{escape(title)}</strong></caption>"
    return f"<table>{caption}{head}{body}</table>"


def column_html(column: Any) -> str:
    """A column as a table."""
    return html_table(f"{type(column).__name__} {column.column}", (), column_rows(column))


def columns_html(title: str, columns: Iterable[tuple[str, Any]], total: int) -> str:
    """The first columns, a row each."""
    rows = [
        (
            name,
            column.column_type,
            column.schema.dtype_name or "",
            "" if column.shape is None else str(column.shape),
            column.column_layout,
            " ".join(filter(None, (counts(column), lacks(column)))),
        )
        for name, column in islice(columns, SHOWN_COLUMNS)
    ]
    if total > len(rows):
        rows.append((f"... and {total - len(rows):,} more", "", "", "", "", ""))
    return html_table(title, ("column", "kind", "dtype", "shape", "layout", "samples"), rows)


def mapping_html(title: str, mapping: Any) -> str:
    """The first keys of a mapping, and how many there are."""
    return html_table(title, (), [("keys", first_keys(mapping)), ("length", f"{len(mapping):,}")])
