"""A second reader of repositories, written from ``docs/format.rst`` alone; it never imports ``hangar``.

It reads everything at once (so: small repositories) and believes nothing: row checksums and counts, digests and canonical encodings,
the order of keys, the cuts of every level, the counts of inner nodes, headers and checksums of every blob, column ids and generations. What
it cannot agree with is a :class:`FormatError`. What the specification leaves out, this reader cannot know; that is its use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import gcd
from pathlib import Path
from typing import Any

import msgspec

from tests.compat.independent_arrays import CHUNKED, read_array
from tests.compat.independent_blobs import BYTES, NDARRAY, PURGED, SPARSE, STR, Blobs, Value, read_sparse
from tests.compat.independent_hdf5 import ITEM_BYTES
from tests.compat.independent_tables import FormatError, Tables, decode, read_record, record_digest, require
from tests.compat.independent_trees import Key, Trees, cuts, decode_key

_encode = msgspec.msgpack.encode


MEDIA: dict[int, dict[str, set[Any]]] = {
    16: {"format": {"JPEG", "WEBP", "TIFF"}, "mode": {"L", "LA", "RGB", "RGBA"}, "quality": set(range(1, 101))},
    17: {},
    18: {},
}
"""Options of columns of encoded files, by kind, and what each of them may be."""


def check_options(kind: int, options: dict[str, Any]) -> None:
    require(list(options) == sorted(options), "options of a schema are not sorted")
    if kind == 17:
        require(set(options) <= {"samplerate"} and 1 <= options.get("samplerate", 1) < 2**32, "a strange samplerate")
        return
    if kind == 18:
        above, _, below = options.get("fps", "1").partition("/")
        require(set(options) <= {"fps"} and int(above) > 0 and gcd(int(above), int(below or 1)) == 1, "a strange rate")
        return
    for name, value in options.items():
        require(value in MEDIA[kind].get(name, ()), f"a schema has an option {name} of {value}")
    require("quality" not in options or options.get("format") in ("JPEG", "WEBP"), "quality without a format")


@dataclass(frozen=True)
class Schema:
    kind: int
    dtype: int
    variable: bool
    shape: tuple[int, ...]
    nested: bool
    inline: bool
    chunks: tuple[int, ...] = ()
    fill: bytes = b""

    @property
    def inline_width(self) -> int:
        """Bytes of one value of a fixed-shape array."""
        width = ITEM_BYTES[self.dtype]
        for extent in self.shape:
            width *= extent
        return width

    @property
    def leaf(self) -> tuple[int, int]:
        """Kind of the leaves, and the width of their entries (0: by entry)."""
        if self.kind == CHUNKED:
            return 3, 32
        if not self.inline:
            return 0, 32
        return (1, self.inline_width) if self.kind == NDARRAY else (2, 0)

    def admits(self, value: Value) -> bool:
        if value.kind == PURGED:
            return True
        kind = BYTES if self.kind in MEDIA else NDARRAY if self.kind == CHUNKED else self.kind
        if (value.kind, value.dtype) != (kind, self.dtype) or len(value.shape) != len(self.shape):
            return False
        if self.variable:
            return all(n <= most for n, most in zip(value.shape, self.shape, strict=True))
        return value.shape == self.shape


@dataclass
class Column:
    id: bytes
    schema: Schema
    schema_digest: bytes
    attributes: dict[str, Any]
    samples: int
    values: dict[Key, Value] = field(default_factory=dict)


@dataclass
class Commit:
    parents: list[bytes]
    columns: dict[str, Column]
    attributes: dict[str, Any]
    author: str
    email: str
    message: str
    meta: dict[str, Any]
    tree_digest: bytes


@dataclass
class Staged:
    branch: str
    parents: list[bytes]
    operation: list[Any] | None
    attributes: dict[str, Any]
    columns: dict[str, Column]
    unresolved: int


class Repository:
    """Everything that the ``.hangar`` directory ``directory`` holds, verified."""

    def __init__(self, directory: Path) -> None:
        self.features = _read_format(directory / "format")
        self.tables = Tables(directory / "db")
        self.blobs = Blobs(directory, self.tables)
        self.refs: dict[str, bytes | None] = {}
        self._read_refs()
        self.commits: dict[bytes, Commit] = {}
        for digest in self.tables["commits"]:
            self.commits[digest] = self._commit(digest)
        for standing in self.refs.values():
            require(standing is None or standing in self.commits, "a ref names a commit that is not here")
        self._check_graph()
        self.staged = self._read_staged()

    # ------------------------------------------------------------------ refs

    def _read_refs(self) -> None:
        rows = dict(self.tables["refs"])
        self.write_branch, self.last_written = decode(rows.pop(b"HEAD"), "HEAD")
        for branch in (self.write_branch, self.last_written):
            require(f"heads/{branch}".encode() in rows, "HEAD names a branch that does not exist")
        for key, row in rows.items():
            name = key.decode()
            kind, _, rest = name.partition("/")
            stash = kind == "stash" and len(rest) == 8 and rest.isdecimal()
            require(stash or kind in ("heads", "tags", "remotes"), f"{name} names no ref")
            digest, annotation = decode(row, name)
            require(not stash or annotation is not None, f"{name} has no annotation")
            require(annotation is None or len(annotation) == 5, f"{name} has a bad annotation")
            self.refs[name] = digest
        self.reflog: dict[str, list[list[Any]]] = {}
        for key, row in self.tables["reflog"].items():
            name, separator, number = key[:-9].decode(), key[-9], int.from_bytes(key[-8:], "big")
            moves = self.reflog.setdefault(name, [])
            require(separator == 0 and number == len(moves), f"the reflog of {name} has a gap")
            moves.append(decode(row, f"reflog of {name}"))
        for name, moves in self.reflog.items():
            require(self.refs.get(name) == moves[-1][1], f"{name} does not stand where its reflog ends")

    def _check_graph(self) -> None:
        for digest in self.commits:
            row = self.tables["graph"].get(digest)  # derived, so it may be missing
            if row is not None:
                generation, changes = decode(row, "a graph row")
                require(generation == self._generation(digest), f"commit {digest.hex()} has the wrong generation")
                require(changes is None or len(changes) == 3, "a graph row has bad change counts")

    def _generation(self, digest: bytes) -> int:
        return 1 + max(map(self._generation, self.commits[digest].parents), default=0)

    # ------------------------------------------------------------------ records

    def _schema(self, digest: bytes) -> Schema:
        version, *fields = read_record(self.tables, "schemas", "schema", digest)
        require(version == 0, f"schema of version {version}")
        kind, dtype, variable, shape, nested, inline, *more = fields
        require(
            len(more) == (1 if kind in MEDIA else 2 if kind == CHUNKED else 0),
            "a schema has fields that its kind does not have",
        )
        if kind == CHUNKED:
            chunks, fill = more
            require(variable and not inline and len(chunks) == len(shape) > 0, "a bad schema of chunked arrays")
            require(min(chunks) > 0 and len(fill) == ITEM_BYTES[dtype], "a bad schema of chunked arrays")
            return Schema(kind, dtype, variable, tuple(shape), nested, inline, tuple(chunks), fill)
        if kind in MEDIA:
            check_options(kind, *more)
            require(not inline, "encoded files lie in the tree")
        if kind == SPARSE:
            require(not (inline and variable), "an inline column of sparse arrays of several shapes")
        elif kind != NDARRAY:
            require(dtype == 0 and not shape and variable, "a str or bytes schema has a dtype or a shape")
        schema = Schema(kind, dtype, variable, tuple(shape), nested, inline)
        if inline and kind == NDARRAY:
            require(not variable and schema.inline_width <= 32, "an inline column of large values")
        return schema

    def _attributes(self, digest: bytes | None) -> dict[str, Any]:
        if digest is None:
            return {}
        values: dict[str, Any] = read_record(self.tables, "attributes", "attributes", digest)
        _check_sorted(values)
        return values

    def _commit(self, digest: bytes) -> Commit:
        version, parents, columns, attributes, author, email, _, _, message, meta = read_record(
            self.tables, "commits", "commit", digest
        )
        require(version == 0, f"commit of version {version}")
        _check_sorted(meta)
        names = [column[0] for column in columns]
        require(names == sorted(set(names)), "columns are not sorted by name")
        require(len({column[1] for column in columns}) == len(columns), "two columns have one id")
        without_ids = [[name, *rest] for name, _, *rest in columns]
        return Commit(
            parents=parents,
            columns={column[0]: self._column(*column[1:]) for column in columns},
            attributes=self._attributes(attributes),
            author=author,
            email=email,
            message=message,
            meta=meta,
            tree_digest=record_digest("tree", _encode([without_ids, attributes])),
        )

    def _column(
        self,
        column_id: bytes,
        schema_digest: bytes,
        attributes: bytes | None,
        layout: int,
        root: bytes | None,
        entries: int,
        samples: int,
        *,
        overlay: dict[bytes, bytes | None] | None = None,
    ) -> Column:
        schema = self._schema(schema_digest)
        require(layout == int(schema.nested) and len(column_id) == 16, "a column contradicts its schema")
        cells = dict(Trees(self.tables, *schema.leaf, schema.nested).entries(root, entries, samples))
        for key, cell in (overlay or {}).items():
            cells.pop(key, None)
            if cell is not None:
                cells[key] = cell
        column = Column(column_id, schema, schema_digest, self._attributes(attributes), samples)
        for key in sorted(cells):
            value = self._value(schema, cells[key])
            require(schema.admits(value), "a sample is not what its column holds")
            column.values[decode_key(key, schema.nested)] = value
        return column

    def _value(self, schema: Schema, cell: bytes) -> Value:
        kind, _ = schema.leaf
        if kind == 3:
            return read_array(self.tables, self.blobs, cell, schema.dtype, schema.chunks, schema.fill)
        if kind == 1:
            return Value(schema.kind, schema.dtype, schema.shape, cell)
        if kind == 2 and cell[0] != 0xFF:
            require(cell[0] == len(cell) - 1 <= 64, "an inline value has the wrong length")
            if schema.kind == SPARSE:
                read_sparse(schema.dtype, schema.shape, cell[1:])
            return Value(schema.kind, schema.dtype, schema.shape, cell[1:])
        value = self.blobs.read(cell[-32:])
        require(kind == 0 or value.kind == PURGED or len(value.data) > 64, "a short value of a mixed leaf is a blob")
        return value

    # ------------------------------------------------------------------ trees

    # ------------------------------------------------------------------ staging

    def _read_staged(self) -> Staged | None:
        rows = dict(self.tables["staging"])
        if not rows:
            return None
        version, branch, parents, next_number, attributes, operation = decode(rows.pop(b"\x00"), "the staging head")
        require(version == 0, f"staging of version {version}")
        kind, applied = (None, []) if operation is None else (operation[0], operation[4])
        require(kind in (None, "merge", "cherry-pick", "revert"), f"an unknown operation {kind!r}")
        require((kind == "merge") == (len(parents) > 1), "parents and operation contradict each other")
        require(
            len(applied) in {None: (0,), "merge": (0,), "cherry-pick": (1, 2), "revert": (2,)}[kind], "commits to apply"
        )
        require(all(commit in self.commits for commit in applied), "a commit that is being applied is not here")
        require(len(set(parents)) == len(parents), "a parent is named twice")
        require(all(parent in self.commits for parent in parents), "a parent of the next commit is not here")
        base = parents[0] if parents else None
        require(self.refs[f"heads/{branch}"] == base, "the staging area does not stand on its branch")
        listed: dict[int, list[Any]] = {}
        overlays: dict[int, dict[bytes, bytes | None]] = {}
        for key, row in rows.items():
            if key[0] == 4:
                _check_progress(key, row)
                continue
            number = int.from_bytes(key[1:5], "big")
            require(0 < number < next_number, f"staging row of column number {number}")
            if key[0] == 1:
                listed[number] = decode(row, "a staged column")
                continue
            require(number in listed, f"staging row of column {number}, which is not listed")
            full, value = (key[5:], row) if key[0] == 2 else decode(row, "a long staging row")
            require(key[0] == 2 or (len(full) > 506 and key[5:] == record_digest("key", full)), "a bad long row")
            require(value[0] == 1 or value == b"\x00", "a staging row of unknown form")
            overlays.setdefault(number, {})[full] = value[1:] if value[0] == 1 else None
        columns = dict(self.commits[base].columns) if base is not None else {}
        replaced = {column[1] for _, column in listed.values()}
        columns = {name: column for name, column in columns.items() if column.id not in replaced}
        for number, (removed, (name, *column)) in listed.items():
            if not removed:
                columns[name] = self._column(*column, overlay=overlays.get(number))
        unresolved = self._read_conflicts(operation is not None)
        return Staged(branch, parents, operation, self._attributes(attributes), columns, unresolved)

    def _read_conflicts(self, merging: bool) -> int:
        """How many conflicts of the operation in progress are open."""
        rows = dict(self.tables["conflicts"])
        if not rows:
            return 0
        require(merging, "conflicts without an operation")
        version, bases, total, unresolved = decode(rows.pop(b"\x00"), "the head of the conflicts")
        require(version == 0, f"conflicts of version {version}")
        require(all(base in self.commits for base in bases), "a merge base is not here")
        still_open = 0
        for key, row in rows.items():
            full, kind, *values, resolution = decode(row, "a conflict")
            require(key[0] in (1, 2) and key[17] < 5 and kind < 4 and len(values) == 3, "a conflict of unknown form")
            require((key[0] == 2) == (full is not None), "the key of a conflict is stored twice, or not at all")
            require(full is None or key[18:] == record_digest("key", full), "a bad long row of the conflicts")
            require(resolution in (None, "ours", "theirs", "base", "value"), f"resolution {resolution!r}")
            for value in values:
                _check_conflict_value(key[17], value)
            still_open += resolution is None
        require((len(rows), still_open) == (total, unresolved), "the conflicts are miscounted")
        return still_open


def _check_progress(key: bytes, row: bytes) -> None:
    version, columns, total, done, failed = decode(row, "the progress of an import")
    require(version == 0 and len(key) == 33, "the progress of an import of an unknown form")
    require(all(len(column) == 16 for column in columns), "the progress of an import names no columns")
    require(0 <= done <= total and sorted(set(failed)) == failed, "the progress of an import contradicts itself")
    require(not failed or 0 <= failed[0] <= failed[-1] < done, "an item failed that was not imported yet")


def _check_conflict_value(subject: int, value: Any) -> None:
    if value is None or subject == 3:
        return
    kinds: dict[int, type] = {0: list, 1: str, 2: list, 4: bytes}
    require(isinstance(value, kinds[subject]), "a value of a conflict is of another type than its subject says")
    for column in {0: [value], 2: value}.get(subject, []):
        require(column is None or (len(column) == 8 and len(column[1]) == 16), "a column in conflict has a bad form")


def _read_format(path: Path) -> list[str]:
    first, *flags = path.read_text("ascii").splitlines()
    require(first == "hangar 0", f"{first!r} is not the format that this reader knows")
    require(not flags, f"unknown feature flags: {flags}")
    return flags


def _check_sorted(value: Any) -> None:
    """Maps are sorted by key, at any depth."""
    if isinstance(value, dict):
        require(list(value) == sorted(value), "a map is not sorted")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_sorted(item)


__all__ = [
    "BYTES",
    "SPARSE",
    "STR",
    "Column",
    "Commit",
    "FormatError",
    "Repository",
    "Schema",
    "Staged",
    "Value",
    "cuts",
    "decode_key",
    "read_sparse",
    "record_digest",
]
