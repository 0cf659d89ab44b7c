"""Folders of Parquet or Arrow files, as Hugging Face datasets are published and saved.

The fields of the files become columns, see :mod:`hangar.bulk_importer.layouts.fields`. A sample is named by the number
of its row; with several splits (``train-00000-of-00002.parquet``, ``test/...``) by ``train/0``, ``train/1`` ... One
item is a row group (of Parquet) or a record batch (of Arrow), so memory is bounded by one for each process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from hangar.bulk_importer.layouts.classification import split_of
from hangar.bulk_importer.layouts.fields import column_values, pack, plan_fields, require_pyarrow
from hangar.bulk_importer.layouts.plan import DatasetPlan
from hangar.bulk_importer.udf import UDF_Return
from hangar.errors import HangarError, InvalidInputError, ResourceLimitError
from hangar.external.naming import Source
from hangar.wording import plural

__all__ = ["find_tables"]

_SHARD: Final = re.compile(r"(.+?)-\d+(-of-\d+)?$")
READ_ROWS: Final = 1024
MOST_GROUP_BYTES: Final = 4 * 2**30
"""Largest row group, not compressed."""


class _Piece(NamedTuple):
    """A part of a file that is read at once."""

    path: str
    part: int
    split: str
    first: int
    """Number of its first row in its split."""


def find_tables(path: str, sources: Sequence[Source], *, arrays: bool, prefix: str) -> DatasetPlan | None:
    """The plan for a folder of Parquet or Arrow files; None if it has none.

    Raises
    ------
    InvalidInputError
        A file is invalid, or their fields differ.
    MissingPackageError
        pyarrow is not installed.
    """
    files = [one for one in sources if PurePosixPath(one.relative).suffix.lower() in (".parquet", ".arrow")]
    if not files:
        return None
    require_pyarrow()
    splits = {file.relative: _split(file) for file in files}
    several = len(set(splits.values())) > 1
    pieces: list[_Piece] = []
    rows: dict[str, int] = {}
    schema: Any = None
    for file in files:
        found, counts = _parts(file.path)
        if schema is None:
            schema = found
        elif not found.equals(schema):
            raise InvalidInputError(f"{file.path} has other fields than {files[0].path}: import them one by one")
        split = splits[file.relative]
        for part, count in enumerate(counts):
            pieces.append(_Piece(file.path, part, split if several else "", rows.get(split, 0)))
            rows[split] = rows.get(split, 0) + count
    fields, notes = plan_fields(schema, prefix, lambda: _all_batches(pieces), arrays=arrays)
    text = ", ".join(f"{name} ({count:,})" for name, count in rows.items()) if several else f"{sum(rows.values()):,}"
    notes = [f"{plural(len(files), 'file')}, rows: {text}", *notes]
    load = partial(read_piece, [field.packed() for field in fields], arrays)
    return DatasetPlan(
        "a folder of Parquet or Arrow files",
        path,
        tuple(field.column for field in fields),
        pieces,
        load,
        tuple(notes),
    )


def read_piece(fields: Sequence[Any], arrays: bool, piece: tuple[str, int, str, int]) -> Iterator[UDF_Return]:
    """The values of one part of a file."""
    path, part, split, first = piece
    unpacked = [pack(one) for one in fields]
    for batch in _batches(path, part):
        for field in unpacked:
            for row, value in column_values(field, batch, arrays=arrays):
                number = first + row
                yield UDF_Return(field.column.name, f"{split}/{number}" if split else number, value)
        first += batch.num_rows


def _all_batches(pieces: Sequence[_Piece]) -> Iterator[Any]:
    for piece in pieces:
        yield from _batches(piece.path, piece.part)


def _batches(path: str, part: int) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import ipc, parquet

    try:
        if path.lower().endswith(".parquet"):
            with parquet.ParquetFile(path) as file:
                yield from file.iter_batches(READ_ROWS, row_groups=[part])
        else:
            with pa.memory_map(path) as memory:
                batch = _stream_batches(ipc, memory)[part]
                batch.validate(full=True)  # offsets of an untrusted file may lead out of its memory
                yield batch
    except HangarError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from None


def _stream_batches(ipc: Any, memory: Any) -> Any:
    """The record batches of an Arrow file of either form. Hugging Face writes the form of a stream."""
    import pyarrow as pa

    try:
        reader = ipc.open_file(memory)
        return [reader.get_batch(i) for i in range(reader.num_record_batches)]
    except pa.ArrowInvalid:
        memory.seek(0)
        return list(ipc.open_stream(memory))


def _parts(path: str) -> tuple[Any, list[int]]:
    """The Arrow schema of a file, and the rows of each of its parts."""
    import pyarrow as pa
    from pyarrow import ipc, parquet

    try:
        if path.lower().endswith(".parquet"):
            with parquet.ParquetFile(path) as file:
                groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
                if any(not 0 <= group.total_byte_size <= MOST_GROUP_BYTES for group in groups):
                    raise ResourceLimitError(
                        f"{path} has row groups of more than {MOST_GROUP_BYTES // 2**30} GiB: write it again with smaller ones"
                    )
                return file.schema_arrow, [group.num_rows for group in groups]
        with pa.memory_map(path) as memory:
            batches = _stream_batches(ipc, memory)
            return batches[0].schema if batches else pa.schema([]), [batch.num_rows for batch in batches]
    except HangarError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from None


def _split(file: Source) -> str:
    """The split that a file belongs to: its name without the number of the shard, or its folder."""
    path = PurePosixPath(file.relative)
    stem = path.stem
    match = _SHARD.match(stem)
    name = match.group(1) if match else stem
    if split_of(name):
        return name
    for part in reversed(path.parts[:-1]):
        if split_of(part):
            return part
    return ""
