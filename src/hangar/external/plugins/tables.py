"""Plugin for tables (CSV, TSV, JSON lines, Parquet): each row is a sample, named by one column, with the value of another.

Tables are read in batches with pyarrow, and converted batch by batch. CSV cells become values of the type that the
column has; where it holds integers and the cells are names, they are class names (:mod:`hangar.external.classes`).
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from hangar.errors import HangarError, InvalidInputError
from hangar.external.classes import NUMBER, holds_classes, look_like_numbers
from hangar.external.expansion import MAX_RATIO, SMALL_BYTES
from hangar.external.fit import ColumnRequirements
from hangar.external.naming import key_text
from hangar.external.plugins._arrow import Values, arrow, scalars, to_values
from hangar.external.plugins._blocks import BlockPlugin
from hangar.external.records import Block, FileHeader, Probe, parse_key
from hangar.external.safe_io import open_input
from hangar.progress import format_bytes

__all__ = ["EXACT_KEYS", "HEADER_FIELD", "TablePlugin"]

BATCH_ROWS: Final = 65_536
CSV_BLOCK_BYTES: Final = 4 * 2**20
HEADER_FIELD: Final = b"hangar"
EXACT_KEYS: Final = ("key", "sample", "subsample")
"""Table columns with these names hold keys as they are; any other is taken for file names."""
_KEY_NAMES: Final[tuple[str, ...]] = ("key", "file", "filename", "file_name", "path", "image", "image_id", "id", "name")
_PLAIN: Final = r"^[A-Za-z0-9_./+-]{1,255}$"
FILE_SUFFIX: Final = re.compile(
    r"\.(png|jpe?g|bmp|tiff?|webp|ppm|pgm|pbm|pnm|gif|npy|npz|txt|wav|flac|nii(\.gz)?|dcm|mp3|mp4|ogg|h5|hdf5)$",
    re.IGNORECASE,
)


class TablePlugin(BlockPlugin):
    """Reads columns of tables."""

    column_types = frozenset(("ndarray", "str", "bytes"))
    describes_others = True

    def blocks(
        self, fpath: str, requirements: ColumnRequirements | None, key: str = "", value: str = "", delimiter: str = ""
    ) -> Iterator[Block]:
        """Read the samples of a table.

        Parameters
        ----------
        fpath
            The file.
        requirements
            Schema of the column.
        key
            The table column with the sample keys or file names. Default: ``key``, ``file``, ``filename`` ...
        value
            The table column with the values; several, with commas between them, make a vector.
        delimiter
            Between the cells of a CSV file; default: a comma, or a tab in .tsv files.
        """
        with self._table(fpath, str(delimiter)) as table:
            keys, values = table.choose(str(key), str(value), fpath, requirements)
            names = None
            if requirements is not None and len(values) == 1 and values[0] in table.texts:
                names = _class_names(table, values[0], requirements)
            first = 0
            for batch in table.batches([*keys, *values]):
                yield _block(batch, keys, values, names, table, requirements, first)
                first += batch.num_rows

    def header(self, fpath: str) -> FileHeader | None:
        """As in the base class."""
        with self._table(fpath, "") as table:
            return table.header

    def probe(self, fpath: str, **options: Any) -> Iterator[Probe]:
        """Describe the value of a table with one column of values."""
        with self._table(fpath, "") as table:
            head = table.header
            if head is not None:
                yield Probe(table.format, head.kind, head.dtype, head.shape or (), samples=table.rows)
                return
            _, values = table.choose(str(options.get("key", "")), str(options.get("value", "")), fpath, None)
            for batch in table.batches(values):
                found = _guessed([batch.column(name) for name in values])
                if isinstance(found, np.ndarray):
                    yield Probe(table.format, "ndarray", found.dtype.name, found.shape[1:], samples=table.rows)
                else:
                    kind = type(found[0]).__name__ if found else "str"
                    names = set(found) if kind == "str" else set()
                    few = 1 < 2 * len(names) <= len(found) and len(names) <= _FEW_CLASSES
                    yield Probe(table.format, kind, mode=f"{len(names)} classes" if few else "", samples=table.rows)
                return

    @contextmanager
    def _table(self, fpath: str, delimiter: str) -> Iterator[_Table]:
        pa = arrow()
        with open_input(fpath) as file:
            try:
                yield _open(pa, file, fpath, delimiter)
            except HangarError:
                raise
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise InvalidInputError(f"{fpath} cannot be read as a table: {error}") from error


class _Table:
    """An open table.

    Attributes
    ----------
    texts
        Names of the columns of texts (in a CSV file all).
    rows
        Number of rows; 0 if it is not known.
    """

    def __init__(
        self, kind: str, names: Sequence[str], texts: set[str], header: FileHeader | None = None, rows: int = 0
    ) -> None:
        self.format, self.names, self.texts, self.header, self.rows = kind, list(names), texts, header, rows

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Record batches with the named columns."""
        raise NotImplementedError

    def choose(
        self, key: str, value: str, fpath: str, requirements: ColumnRequirements | None
    ) -> tuple[list[str], list[str]]:
        """The table columns with the keys (two in a nested column) and with the values."""
        nested = requirements is not None and requirements.nested
        there = ", ".join(self.names[:30])
        if self.header is not None and not key and not value:
            return ["sample", "subsample"] if self.header.nested else ["key"], ["value"]
        keys = [one.strip() for one in key.split(",") if one.strip()]
        if not keys:
            pair = ["sample", "subsample"]
            known = [name for name in _KEY_NAMES if name in self.names]
            keys = pair if nested and set(pair) <= set(self.names) else known[:1]
        if len(keys) != 1 + nested:
            which = "two columns of the table, SAMPLE,SUBSAMPLE" if nested else "a column of the table"
            raise InvalidInputError(f"{fpath}: choose {which}, with --key: it has {there}")
        values = [one.strip() for one in value.split(",") if one.strip()]
        rest = [name for name in self.names if name not in keys]
        if not values:
            values = ["value"] if "value" in rest else rest if len(rest) == 1 or _is_vector(rest) else []
        if not values:
            raise InvalidInputError(f"{fpath}: choose the column of the values with --value: it has {there}")
        for name in (*keys, *values):
            if name not in self.names:
                raise InvalidInputError(f"{fpath} has no column {name!r}: it has {there}")
            if self.names.count(name) > 1:
                raise InvalidInputError(f"{fpath} has several columns {name!r}: rename all but one")
        return keys, values


def _texts_in(pa: Any, schema: Any) -> set[str]:
    """Names of the columns of texts."""
    found = set()
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            found.add(field.name)
    return found


def _is_vector(names: Sequence[str]) -> bool:
    """Whether the columns are ``NAME_0``, ``NAME_1`` ...: a vector that an export wrote."""
    stem = names[0].removesuffix("_0") if names else ""
    return bool(names) and list(names) == [f"{stem}_{at}" for at in range(len(names))]


class _Csv(_Table):
    def __init__(self, pa: Any, file: Any, delimiter: str) -> None:
        from pyarrow import csv as arrow_csv

        file.seek(0)
        self._pa, self._csv, self._file = pa, arrow_csv, file
        self._parse = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        head = file.readline(2**20)
        file.seek(0)
        text = head.decode("utf-8-sig").rstrip("\r\n") + "\n"
        reader = arrow_csv.read_csv(pa.BufferReader(text.encode()), parse_options=self._parse)
        super().__init__("CSV", reader.column_names, set(reader.column_names))

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """As in the base class; all columns are texts."""
        self._check_quotes()
        self._file.seek(0)
        convert = self._csv.ConvertOptions(
            column_types=dict.fromkeys(columns, self._pa.string()), include_columns=columns, strings_can_be_null=False
        )
        read = self._csv.ReadOptions(block_size=CSV_BLOCK_BYTES)
        source = self._pa.PythonFile(self._file, mode="r")
        yield from self._csv.open_csv(source, read, self._parse, convert)

    def _check_quotes(self) -> None:
        """Refuse a file in which a quotation mark is not closed: its cell would hold the rest of the file."""
        self._file.seek(0)
        marks = sum(part.count(b'"') for part in iter(lambda: self._file.read(2**22), b""))
        if marks % 2 == 0:
            return
        self._file.seek(0)
        text = io.TextIOWrapper(self._file, "utf-8-sig", newline="")
        try:
            for _ in csv.reader(text, delimiter=self._parse.delimiter, strict=True):
                pass
        except csv.Error as error:
            raise self._pa.ArrowInvalid(f"a quotation mark is not closed ({error})") from None
        finally:
            text.detach()


class _Json(_Table):
    def __init__(self, pa: Any, file: Any) -> None:
        from pyarrow import json

        self._table = json.read_json(pa.PythonFile(file, mode="r"))
        super().__init__(
            "JSON lines", self._table.column_names, _texts_in(pa, self._table.schema), rows=self._table.num_rows
        )

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """As in the base class."""
        yield from self._table.select(columns).to_batches(max_chunksize=BATCH_ROWS)


class _Parquet(_Table):
    def __init__(self, file: Any, fpath: str) -> None:
        from pyarrow import parquet

        self._file = parquet.ParquetFile(file)
        metadata = self._file.metadata
        size = os.fstat(file.fileno()).st_size
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        declared = max((group.total_byte_size for group in groups), default=0)
        if max(declared, metadata.num_rows) > max(SMALL_BYTES, MAX_RATIO * size):
            raise InvalidInputError(
                f"{fpath} declares {format_bytes(declared)} in {metadata.num_rows:,} rows and has {format_bytes(size)}: it "
                "is not read, as protection against decompression bombs"
            )
        schema = self._file.schema_arrow
        stored = (schema.metadata or {}).get(HEADER_FIELD)
        header = None if stored is None else FileHeader.decode(stored, fpath)
        super().__init__("Parquet", schema.names, _texts_in(arrow(), schema), header, metadata.num_rows)

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """As in the base class."""
        yield from self._file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns), use_threads=True)


def _open(pa: Any, file: Any, fpath: str, delimiter: str) -> _Table:
    start = file.read(4)
    file.seek(0)
    if start == b"PAR1":
        return _Parquet(file, fpath)
    lower = fpath.lower()
    if lower.endswith((".jsonl", ".ndjson")):
        return _Json(pa, file)
    if lower.endswith((".parquet", ".pq")):
        raise InvalidInputError(f"{fpath} is not a Parquet file")
    if len(delimiter) > 1:
        raise InvalidInputError(f"--delimiter is one character, not {delimiter!r}")
    return _Csv(pa, file, delimiter or ("\t" if lower.endswith((".tsv", ".tab")) else ","))


# -------------------------------------------------------------------------------------------------------------- batches


def _block(
    batch: Any,
    keys: Sequence[str],
    values: Sequence[str],
    names: list[str] | None,
    table: _Table,
    requirements: ColumnRequirements | None,
    first: int,
) -> Block:
    columns = [batch.column(batch.schema.get_field_index(name)) for name in values]
    found = to_values(columns, requirements) if names is None else _positions(columns[0], names)
    header = table.header if tuple(keys) in (("key",), ("sample", "subsample")) else None
    parts = [_keys(batch.column(batch.schema.get_field_index(name)), name, header) for name in keys]
    made: list[Any] = parts[0] if len(parts) == 1 else list(zip(*parts, strict=True))
    block = Block(made, found.values, classes=names)
    for at, error in found.faults.items():
        block.failures.append((f"row {first + at + 1}: {made[at]}", error))
    if found.rows is not None:
        block.names = [made[at] for at in found.rows]
    nameless = [at for at, name in enumerate(block.names) if name is None or (type(name) is tuple and None in name)]
    if nameless:
        fault = InvalidInputError(
            f"{len(nameless):,} rows between {first + 1:,} and {first + batch.num_rows:,} have no key"
        )
        block.failures.append(("rows without a key", fault))
        keep = sorted(set(range(len(block.names))).difference(nameless))
        block.names = [block.names[at] for at in keep]
        block.values = block.values[keep] if isinstance(block.values, np.ndarray) else [block.values[at] for at in keep]
    return block


def _keys(column: Any, name: str, header: FileHeader | None) -> list[Any]:
    """The keys of a batch. File names lose the suffix of a known format, as they do when files are imported."""
    pa = arrow()
    from pyarrow import compute

    column = _decoded(column)
    if pa.types.is_integer(column.type):
        return list(column.to_pylist())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise InvalidInputError(f"the column {name!r} has type {column.type}, which cannot be keys")
    if header is not None:
        kind = header.subkeys if name == "subsample" else header.keys
        return column.to_pylist() if kind == "str" else [parse_key(text) for text in column.to_pylist()]
    if name in EXACT_KEYS:
        texts: list[Any] = column.to_pylist()
        special = compute.any(compute.match_substring_regex(column, "^(int|str):")).as_py()
        return [_parsed(text) for text in texts] if special else texts
    column = compute.replace_substring_regex(column, r"^(\./)+", "")
    column = compute.replace_substring_regex(column, f"(?i){FILE_SUFFIX.pattern}", "")
    if compute.all(compute.match_substring_regex(column, _PLAIN)).as_py():
        return list(column.to_pylist())
    return [None if text is None else _file_key(text) for text in column.to_pylist()]


def _parsed(text: str | None) -> Any:
    try:
        return None if text is None else parse_key(text)
    except ValueError:
        return text


def _file_key(text: str) -> Any:
    try:
        return key_text(text, repr(text))
    except InvalidInputError:
        return text  # refused when it is written, with the reason


# -------------------------------------------------------------------------------------------------------------- classes


def _class_names(table: _Table, value: str, requirements: ColumnRequirements) -> list[str] | None:
    """The distinct cells, sorted, if the column holds integers and the cells are names; None if they are numbers.

    Cells are names if none of them is a number: one cell ``n/a`` in a table of numbers is a fault, and makes no classes of
    the numbers. In a column whose classes have numbers as names, such as digits, cells are always names.
    """
    from pyarrow import compute

    if not holds_classes(requirements.kind, requirements.dtype, requirements.shape):
        return None
    names: set[str] = set()
    numeric = not requirements.classes
    for batch in table.batches([value]):
        distinct = compute.unique(_decoded(batch.column(0)))
        found = compute.match_substring_regex(distinct, NUMBER)
        if numeric and compute.any(found).as_py():
            return None
        names.update(distinct.to_pylist())
        if len(names) > _MOST_CLASSES:
            return None
    cells = sorted(name for name in names if name)
    if look_like_numbers(requirements.classes):
        return cells
    return None if all(look_like_numbers([name]) for name in cells) else cells


def _guessed(columns: Sequence[Any]) -> Any:
    """Values as numbers if all cells are numbers, else as they are."""
    if len(columns) == 1 and arrow().types.is_string(columns[0].type):
        try:
            return scalars(columns[0], None).values
        except InvalidInputError:
            pass
    return to_values(columns, None).values


_FEW_CLASSES: Final = 10_000
_MOST_CLASSES: Final = 1_000_000


def _decoded(column: Any) -> Any:
    return column.cast(column.type.value_type) if arrow().types.is_dictionary(column.type) else column


def _positions(column: Any, names: list[str]) -> Values:
    from pyarrow import compute

    found = compute.index_in(_decoded(column), value_set=arrow().array(names))
    if not found.null_count:
        return Values(np.asarray(found))
    valid = np.asarray(found.is_valid())
    faults: dict[int, HangarError] = {
        int(at): InvalidInputError("the class name is missing") for at in np.flatnonzero(~valid)
    }
    return Values(np.asarray(found.drop_null()), np.flatnonzero(valid).tolist(), faults)
