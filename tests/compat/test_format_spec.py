"""The format specification is run: its examples compute what they show, and its tables agree with the code."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest

import hangar
from hangar import digest, errors, limits, names
from hangar.backends.hdf5.codecs import COMPLIBS
from hangar.backends.hdf5.frames import LISTING, RAGGED, ROWS, SHAPES
from hangar.backends.registry import backend_tags, get_backend
from hangar.blobs.catalog import BlobFileRow, RunRow
from hangar.blobs.merging import TABLE_ROWS
from hangar.blobs.tombstones import Tombstone
from hangar.db import format as format_file
from hangar.db.tables import TABLES
from hangar.errors import CorruptionError
from hangar.history import leases
from hangar.objects import arrays, attributes, commit, graph, node
from hangar.objects.node import DIGEST_TAG, TreeForm
from hangar.refs import reflog
from hangar.refs import rows as refs
from hangar.remote import policy
from hangar.schema import (
    AudioSchema,
    BytesSchema,
    ChunkedSchema,
    ColumnSchema,
    ImageSchema,
    NdarraySchema,
    SparseSchema,
    StrSchema,
    VideoSchema,
    base,
    chunked,
    load_schema,
)
from hangar.schema.base import SchemaRecord
from hangar.schema.dtypes import DTYPE_NAMES, dtype_of
from hangar.schema.media import MediaRecord
from hangar.staging import conflicts
from hangar.staging import imports as staged_imports
from hangar.staging import rows as staged_rows
from tests.compat.independent_hdf5 import ITEM_BYTES
from tests.compat.specification import EXAMPLES, PAGE, PAGE_NAMES, REPORT, TABLES_OF_PAGE, column

HERE = Path(__file__).parent
MEDIA_SCHEMAS: tuple[type[Any], ...] = (ImageSchema, AudioSchema, VideoSchema)


# ---------------------------------------------------------------------------------------------------------- the page


def test_examples_show_what_they_compute() -> None:
    assert REPORT == ""
    assert EXAMPLES >= 50


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    found = [alias.name for step in ast.walk(tree) if isinstance(step, ast.Import) for alias in step.names]
    found += [step.module or "" for step in ast.walk(tree) if isinstance(step, ast.ImportFrom)]
    return {name if name.startswith("tests") else name.split(".")[0] for name in found}


def test_nothing_of_hangar_is_used_to_say_what_its_format_is() -> None:
    standard = {
        "__future__",
        "collections",
        "dataclasses",
        "functools",
        "itertools",
        "math",
        "pathlib",
        "struct",
        "typing",
        "zlib",
    }
    packages = {"blake3", "lmdb", "msgspec", "numcodecs", "xxhash"}
    parts = list(HERE.glob("independent_*.py"))
    for path in parts:
        transport = {"google", "grpc", "collections", "contextlib"} if path.stem == "independent_remote" else set()
        assert imports(path) <= standard | packages | transport | {f"tests.compat.{part.stem}" for part in parts}
    modules = {str(getattr(value, "__module__", "")) for value in PAGE_NAMES.values()}
    assert not any(module.startswith("hangar") for module in modules)


def test_every_titled_table_is_tested() -> None:
    """A table that no test asks for could say anything."""
    source = "".join(path.read_text("utf-8") for path in HERE.glob("test_*.py"))
    stated = [name.removeprefix("spec-") for name in TABLES_OF_PAGE]
    assert [name for name in stated if f'"spec-{name}"' not in source and f'"{name}"' not in source] == []


# ---------------------------------------------------------------------------------------------------------- records

RECORDS: dict[str, type[msgspec.Struct]] = {
    "node": node.Node,
    "array": arrays.ArrayRecord,
    "schema": SchemaRecord,
    "commit": commit.Commit,
    "column": commit.ColumnEntry,
    "graph": graph.GraphRow,
    "head": refs.Head,
    "ref": refs.RefRow,
    "annotation": refs.Annotation,
    "reflog": refs.ReflogEntry,
    "lease": leases._Row,
    "operation": policy._Operation,
    "staging-head": staged_rows.HeadRow,
    "staging-operation": staged_rows.Operation,
    "staging-column": staged_rows.ColumnRow,
    "staging-import": staged_imports.ImportRow,
    "conflict-head": conflicts.ConflictHead,
    "blob-file-row": BlobFileRow,
    "run-row": RunRow,
    "tombstone": Tombstone,
}
VALUES: dict[str, Any] = {
    "int": 1,
    "bool": True,
    "str": "a",
    "bytes": b"a",
    "map": {},
    "array of int": [1, 1, 1],
    "array of bytes": [b"a"],
    "array of samples": [["a", 1], ["a", "b", 1]],
    "array of columns": [["a", b"a", b"a", None, 0, None, 0, 0]],
    "annotation": ["a", "a", "a", 1, 1],
    "column": ["a", b"a", b"a", None, 0, None, 0, 0],
    "operation": ["a", "a", "a", {}, [b"a"]],
}


def decodes(record: type[msgspec.Struct], values: Sequence[Any]) -> bool:
    try:
        msgspec.msgpack.decode(msgspec.msgpack.encode(values), type=record)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", RECORDS)
def test_record_is_what_its_table_says(name: str) -> None:
    """Its fields, in order; each of the type that is stated, nil where that is stated, and none beside them."""
    rows, record = TABLES_OF_PAGE[f"spec-{name}"], RECORDS[name]
    assert [row["field"] for row in rows] == list(record.__struct_fields__)
    good = [VALUES[row["type"].removesuffix(" | nil")] for row in rows]
    assert decodes(record, good)
    assert not decodes(record, [*good, 1])
    for place, row in enumerate(rows):
        for kind, value in {**VALUES, "nil": None, "float": 1.5}.items():
            if isinstance(value, list) and row["type"].startswith(("array", "annotation", "column", "operation")):
                continue
            stated = kind in row["type"].split(" | ")
            assert decodes(record, [*good[:place], value, *good[place + 1 :]]) == stated, (row["field"], kind)


def test_kinds_of_encoded_files() -> None:
    stated = {int(row["code"]): row["kind"] for row in TABLES_OF_PAGE["spec-media-kinds"]}
    kinds = {kind.kind: kind.kind_name for kind in MEDIA_SCHEMAS}
    assert stated == kinds
    fields = (*SchemaRecord.__struct_fields__, "options")
    assert MediaRecord.__struct_fields__ == fields
    for kind in MEDIA_SCHEMAS:
        parts = msgspec.msgpack.decode(kind(nested=True).data)
        assert parts == [0, kind.kind, 0, True, [], True, False, {}]
        extras: list[list[Any]] = [[], [{}, 1], [[]]]
        for extra in extras:
            with pytest.raises(CorruptionError):
                load_schema(msgspec.msgpack.encode([*parts[:7], *extra]))
    image = ImageSchema("RGB", "jpg", 80)
    assert msgspec.msgpack.decode(image.data)[7] == {"format": "JPEG", "mode": "RGB", "quality": 80}
    assert msgspec.msgpack.decode(AudioSchema(44100).data)[7] == {"samplerate": 44100}
    assert msgspec.msgpack.decode(VideoSchema(29.97).data)[7] == {"fps": "2997/100"}
    for code, wrong in ((17, {"samplerate": 0}), (17, {"samplerate": "x"}), (18, {"fps": "0.5"}), (18, {"mode": "L"})):
        with pytest.raises(CorruptionError):
            load_schema(msgspec.msgpack.encode([0, code, 0, True, [], True, False, wrong]))
    for options in ({"mode": "XYZ"}, {"quality": 5}, {"quality": "5", "format": "JPEG"}, {"new": 1}, {"format": "PNG"}):
        with pytest.raises(CorruptionError):
            load_schema(msgspec.msgpack.encode([0, 16, 0, True, [], True, False, options]))


def test_conflicts() -> None:
    fields = [row["field"] for row in TABLES_OF_PAGE["spec-conflict"]]
    assert fields == list(conflicts.ConflictRow.__struct_fields__)
    assert column("operations", "operation") == list(staged_rows.OPERATIONS)
    subjects = {int(row["code"]): row["subject"] for row in TABLES_OF_PAGE["spec-conflict-subjects"]}
    assert subjects == dict(enumerate(conflicts.SUBJECTS))


def test_versions_are_zero() -> None:
    encoded_schema = msgspec.msgpack.decode(StrSchema().data)
    versions = [format_file.FORMAT_VERSION, node.NODE_VERSION, commit.COMMIT_VERSION, staged_rows.STAGING_VERSION]
    assert [*versions, encoded_schema[0], conflicts.CONFLICTS_VERSION] == [0] * 6
    assert not format_file.KNOWN_FEATURES


# ------------------------------------------------------------------------------------------------------ other tables


def test_tables() -> None:
    yes = {True: "yes", False: "no"}
    stated = [tuple(row.values())[:4] for row in TABLES_OF_PAGE["spec-tables"]]
    assert stated == [(str(t.number), t.name, yes[t.checked], yes[t.counted]) for t in TABLES]


def test_reserved_tables_are_those_that_nothing_uses() -> None:
    reserved = [row["table"] for row in TABLES_OF_PAGE["spec-tables"] if row["a row"].startswith("`Reserved`_")]
    assert column("reserved", "table") == reserved
    source = "".join(path.read_text("utf-8") for path in (Path(hangar.__file__).parent).rglob("*.py"))
    for name in reserved:
        assert f"tables import {name.upper()}" not in source
        assert f"put({name.upper()}" not in source


def test_record_classes() -> None:
    assert column("record-classes", "class") == list(get_args(digest.RecordClass))


def test_blob_kinds() -> None:
    kinds = {int(row["code"]): row["kind"] for row in TABLES_OF_PAGE["spec-blob-kinds"]}
    assert kinds == {digest.NDARRAY: "ndarray", digest.STR: "str", digest.BYTES: "bytes", digest.SPARSE: "sparse"}
    # The chunks of chunked arrays are arrays.
    assert set(base._KINDS) == set(kinds) | {kind.kind for kind in MEDIA_SCHEMAS} | {ChunkedSchema.kind}


def test_dtypes() -> None:
    stated = {int(row["code"]): row["type"] for row in TABLES_OF_PAGE["spec-dtypes"]}
    assert stated == DTYPE_NAMES
    for row in TABLES_OF_PAGE["spec-dtypes"]:
        code, size = int(row["code"]), int(row["bytes"])
        assert ITEM_BYTES[code] == size
        with contextlib.suppress(errors.InvalidStateError):  # ml_dtypes is not installed
            assert dtype_of(code).itemsize == size


def test_node_kinds() -> None:
    assert column("node-kinds", "kind") == [
        str(kind) for kind in (node.BY_DIGEST, node.FIXED_INLINE, node.MIXED, node.ARRAYS)
    ]
    _, fixed, mixed, _ = column("node-kinds", "sizes")
    assert fixed == f"1 byte: the width, 0 to {limits.INLINE_FIXED_BYTES}"
    stated = f"0 to {limits.INLINE_TEXT_BYTES} is the length of an inline value, {DIGEST_TAG} stands for a digest"
    assert mixed == f"1 byte an entry: {stated}"


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        (NdarraySchema(dtype_of(12), (4,)), TreeForm(1, 32, False)),
        (NdarraySchema(dtype_of(12), (5,)), TreeForm(0, 32, False)),
        (NdarraySchema(dtype_of(6), (0,)), TreeForm(1, 0, False)),
        (NdarraySchema(dtype_of(6), (), nested=True), TreeForm(1, 1, True)),
        (NdarraySchema(dtype_of(6), (), inline=False), TreeForm(0, 32, False)),
        (NdarraySchema(dtype_of(6), (1,), variable=True), TreeForm(0, 32, False)),
        (StrSchema(), TreeForm(2, 0, False)),
        (StrSchema(inline=False), TreeForm(0, 32, False)),
        (BytesSchema(nested=True), TreeForm(2, 0, True)),
        (SparseSchema(np.dtype("f4"), (5, 5)), TreeForm(2, 0, False)),
        (SparseSchema(np.dtype("f4"), (5, 5), inline=False), TreeForm(0, 32, False)),
        (SparseSchema(np.dtype("f4"), (5, 5), variable=True), TreeForm(0, 32, False)),
        (ImageSchema(nested=True), TreeForm(0, 32, True)),
        (ChunkedSchema(np.dtype("f4"), (5, 5), (9, 9), nested=True), TreeForm(3, 32, True)),
    ],
)
def test_what_lies_in_the_tree(schema: ColumnSchema, form: TreeForm) -> None:
    assert schema.form == form
    assert schema.inline == (form.kind in (1, 2))


def test_the_schema_of_chunked_arrays_has_further_fields() -> None:
    rows = TABLES_OF_PAGE["spec-chunked"]
    common = len(SchemaRecord.__struct_fields__)
    assert [row["field"] for row in rows] == list(chunked.ChunkedRecord.__struct_fields__[common:])
    record = msgspec.msgpack.decode(ChunkedSchema(np.dtype("f2"), (5, 6), (9, limits.MAX_EXTENT), fill_value=1).data)
    assert record == [0, 4, 10, True, [9, 2**63 - 1], False, False, [5, 6], b"\x00\x3c"]


def test_backends() -> None:
    kinds = {"ndarray": digest.NDARRAY, "str": digest.STR, "bytes": digest.BYTES, "sparse": digest.SPARSE}
    stated = TABLES_OF_PAGE["spec-backends"]
    assert [row["tag"] for row in stated] == ["00", "01", "10", "30", "31", "50"]
    built = [row for row in stated if not row["its files"].startswith("Reserved")]
    assert [row["tag"] for row in built] == backend_tags()
    for row in built:
        capabilities = get_backend(row["tag"]).capabilities
        assert set(capabilities.kinds) == {kinds[one] for one in row["holds"].split(", ")}
        assert capabilities.raw == (row["its files"] == "*Raw*")


def test_codecs_of_hdf5_files() -> None:
    stated = {row["option"]: int(row["codec"]) for row in TABLES_OF_PAGE["spec-hdf5-codecs"]}
    assert stated == {str(name): number for name, number in COMPLIBS.items()}
    assert column("hdf5-roles", "role") == [str(role) for role in (ROWS, RAGGED, SHAPES, LISTING)]


LIMITS = {
    "bytes of an encoded key in a node": limits.MAX_KEY_BYTES,
    "keys of a node": limits.NODE_MAX_ENTRIES,
    "bytes of keys after which a node ends": limits.NODE_MAX_KEY_BYTES,
    "bytes of an encoded node": limits.NODE_MAX_BYTES,
    "level of a node": node.MAX_LEVEL,
    "entries or samples below one child": 2**53,
    "bytes of an inline array": limits.INLINE_FIXED_BYTES,
    "bytes of an inline str, bytes or sparse value": limits.INLINE_TEXT_BYTES,
    "dimensions of an array": limits.MAX_RANK,
    "product of the extents of a header (0 counts as 1)": limits.MAX_ARRAY_BYTES,
    "bytes of an array, exclusively": limits.MAX_ARRAY_BYTES,
    "bytes of a chunk, exclusively": limits.MAX_CHUNK_BYTES,
    "bytes of a chunked array, stored or not (an extent of 0 counts as 1)": limits.MAX_CHUNKED_BYTES,
    "chunks of an array along one dimension": chunked._MAX_INDEX,
    "bytes of a str or bytes value": limits.MAX_TEXT_BYTES,
    "bytes of an attributes record, or of the meta map of a commit": limits.MAX_ATTRIBUTES_BYTES,
    "depth of maps and arrays in attributes": attributes.MAX_DEPTH,
    "columns of a commit": limits.MAX_COLUMNS,
    "parents of a commit": limits.MAX_PARENTS,
    "entries of a column": commit._MOST_ENTRIES,
    "bytes of the message of a commit": limits.MAX_MESSAGE_BYTES,
    "bytes of a column's name, an author's name or an email address": commit._TEXT_BYTES,
    "characters of a name that a user gives": limits.MAX_NAME_CHARACTERS,
    "characters of a sample key that a user gives": limits.MAX_KEY_CHARACTERS,
    "bytes of a row's key": limits.DATABASE_MAX_KEY_BYTES,
    "bytes of the format file": format_file._MAX_BYTES,
}


def test_limits() -> None:
    stated = {row["of what"]: row["at most"].split(" ") for row in TABLES_OF_PAGE["spec-limits"]}
    assert list(stated) == list(LIMITS)
    for what, words in stated.items():
        value = 1
        for word in "".join(words).replace("**", "^").split("*"):
            factor, _, power = word.partition("^")
            value *= int(factor) ** int(power or 1)
        assert value == LIMITS[what], what


def test_numbers_that_the_text_states() -> None:
    text = " ".join((HERE.parent.parent / PAGE).read_text("utf-8").split())
    for number, sentence in {
        limits.DATABASE_MAX_TABLES: "It has 19 named databases without flags, called *tables* here, and room for {}",
        len(TABLES): "has {} named databases",
        limits.MAX_RUNS - 1: "At most {} are registered",
        limits.RUN_BLOBS: "publishes {:,} new blobs or more",
        TABLE_ROWS: "where the table would have {:,} rows",
        staged_rows._LONGEST_ROW_KEY: "a sample key of more than {} bytes",
        reflog.MESSAGE_CHARACTERS: "at most {} characters",
        limits.NODE_MAX_KEY_BYTES: "are more than {:,}",
    }.items():
        assert sentence.format(number) in text
    assert limits.BLOB_FILE_BYTES == 2**30
    assert r"shorter than 2\ :sup:`30` bytes" in text
    assert names.check_key("a" * limits.MAX_KEY_CHARACTERS)


def test_refusals_name_errors_and_their_exit_codes() -> None:
    for row in TABLES_OF_PAGE["spec-refusals"]:
        assert errors.exit_code(getattr(errors, row["error"])()) == int(row["exit code"]), row
