"""Tables of Arrow and pandas as columns, written in batches. A table is written as a whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from hangar.bulk_importer.layouts.fields import FieldPlan, column_values, plan_fields
from hangar.bulk_importer.layouts.plan import DatasetPlan
from hangar.errors import ConflictError, InvalidInputError, InvalidTypeError
from hangar.flags import check_flag
from hangar.interop.export import package

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout

__all__ = ["from_arrow", "from_pandas", "write_pieces"]

BATCH_ROWS: Final = 8192

Piece: TypeAlias = "tuple[Any, Sequence[Any]]"
"""A record batch, and the keys of its rows."""


def from_arrow(
    checkout: WriterCheckout, table: Any, *, key: str | None = None, prefix: str = "", overwrite: bool = False
) -> dict[str, int]:
    """Write an Arrow table to columns, one for each field.

    Numbers, bools and lists of numbers become arrays, text and bytes stay; structs of ``bytes`` and ``path`` (images as
    Hugging Face stores them) become image files. Class names of Hugging Face become the attribute ``classes``. Null
    values are no samples.

    Parameters
    ----------
    checkout
        A write checkout. Columns that do not exist are added.
    table
        A ``pyarrow.Table`` or ``RecordBatch``.
    key
        Field with the sample keys: integers or text, unique. None: the field ``key`` that :func:`to_arrow` writes, or
        the number of the row.
    prefix
        Beginning of the names of all columns.
    overwrite
        Whether samples that exist are replaced.

    Returns
    -------
    dict
        Number of samples written, by column.

    Raises
    ------
    InvalidInputError
        (a ``ValueError``) there is no such key field, a key is unsuitable or repeated, or no field can be a column.
    ColumnExistsError
        (a ``LookupError``) a column of this name holds something else.
    ConflictError
        A sample exists, and ``overwrite`` is False. Nothing was written.
    MissingPackageError
        (an ``ImportError``) pyarrow is not installed.
    """
    pa = package("pyarrow")
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if not isinstance(table, pa.Table):
        raise InvalidTypeError(f"table is a pyarrow.Table, not {type(table).__name__}")
    if key is None and "key" in table.column_names and _suits_as_key(pa, table.schema.field("key").type):
        key = "key"
    keys: Sequence[Any] = range(table.num_rows)
    if key is not None:
        if key not in table.column_names:
            raise InvalidInputError(f"there is no field {key!r} in the table, only: {', '.join(table.column_names)}")
        keys = table.column(key).to_pylist()
        table = table.drop_columns([key])
    return write_table(checkout, table, keys, prefix=prefix, overwrite=overwrite)


def from_pandas(
    checkout: WriterCheckout, frame: Any, *, key: str | None = None, prefix: str = "", overwrite: bool = False
) -> dict[str, int]:
    """Write a pandas ``DataFrame`` to columns, one for each of its columns.

    As :func:`from_arrow`; categories become numbers with the attribute ``classes``. The keys are the index of the frame
    (or the column ``key``).
    """
    pd, pa = package("pandas"), package("pyarrow")
    if not isinstance(frame, pd.DataFrame):
        raise InvalidTypeError(f"frame is a pandas.DataFrame, not {type(frame).__name__}")
    if key is not None and key not in frame.columns:
        raise InvalidInputError(f"there is no column {key!r} in the frame")
    keys = frame.index.tolist() if key is None else frame[key].tolist()
    frame = frame if key is None else frame.drop(columns=[key])
    names = [str(name) for name in frame.columns]
    arrays, fields = [], []
    for name, (_, series) in zip(names, frame.items(), strict=True):
        metadata = None
        try:
            if isinstance(series.dtype, pd.CategoricalDtype):
                codes = series.cat.codes.to_numpy().astype(np.int64)
                array = pa.array(codes, mask=codes < 0)
                metadata = {"hangar": json.dumps({"classes": [str(one) for one in series.cat.categories]})}
            else:
                array = pa.Array.from_pandas(series)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InvalidInputError(f"column {name!r} of the frame has no type in Arrow: {error}") from None
        arrays.append(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array)
        fields.append(pa.field(name, arrays[-1].type, metadata=metadata))
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    return write_table(checkout, table, keys, prefix=prefix, overwrite=overwrite)


def write_table(
    checkout: WriterCheckout, table: Any, keys: Sequence[Any], *, prefix: str, overwrite: bool
) -> dict[str, int]:
    """Write the fields of an Arrow table under given keys, as one batch; errors as of :func:`from_arrow`."""
    if len(set(keys)) != len(keys):
        raise InvalidInputError("the keys of the rows are not unique")

    def pieces() -> Iterator[Piece]:
        start = 0
        for batch in table.to_batches(BATCH_ROWS):
            yield batch, keys[start : start + batch.num_rows]
            start += batch.num_rows

    return write_pieces(checkout, table.schema, pieces, prefix=prefix, overwrite=overwrite)


def write_pieces(
    checkout: WriterCheckout, schema: Any, pieces: Callable[[], Iterator[Piece]], *, prefix: str, overwrite: bool
) -> dict[str, int]:
    """Write record batches of one schema, each with the keys of its rows, as one batch; errors as of :func:`from_arrow`."""
    overwrite = check_flag(overwrite, "overwrite")
    fields, _ = plan_fields(schema, prefix, lambda: (batch for batch, _ in pieces()))
    plan = DatasetPlan("a table", "", tuple(field.column for field in fields), (), lambda _: ())
    made = plan.prepare(checkout)
    written = dict.fromkeys((field.column.name for field in fields), 0)
    try:
        with checkout:
            for batch, keys in pieces():
                for field in fields:
                    written[field.column.name] += _write(checkout, field, batch, keys, overwrite)
    except BaseException:
        for name in made:
            checkout.columns.delete(name)
        raise
    return written


def _write(checkout: WriterCheckout, field: FieldPlan, batch: Any, keys: Sequence[Any], overwrite: bool) -> int:
    column: Any = checkout.columns[field.column.name]
    pairs = list(column_values(field, batch))
    chosen = [keys[row] for row, _ in pairs]
    if not overwrite and len(column):
        taken = next((key for key in chosen if key in column), None)
        if taken is not None:
            raise ConflictError(f"column {column.column!r} has a sample {taken!r} already: overwrite=True replaces it")
    if pairs:
        column.write(chosen, [value for _, value in pairs])
    return len(pairs)


def _suits_as_key(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))
