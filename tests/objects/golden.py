"""Content whose digests never change: a repository written by any release opens in every later one.

Run as a module, this writes ``golden.json`` anew. Do that for a new format version, and say so in the changelog; a digest that
changed for any other reason is a defect.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hangar.digest import BYTES, NDARRAY, SPARSE, STR, Header, blob_digest, checksum, record_digest
from hangar.objects.arrays import ArrayRecord, encode_array
from hangar.objects.attributes import encode_attributes
from hangar.objects.build import build
from hangar.objects.commit import FLAT, NESTED, ColumnEntry, Commit, column_id, tree_digest
from hangar.schema import AudioSchema, ChunkedSchema, ImageSchema, MediaSchema, SparseSchema, VideoSchema
from tests.objects.memory import FORMS, cell_of, int_key, memory_store, nested_key, text_key

PATH = Path(__file__).with_name("golden.json")

TREES: dict[str, tuple[str, list[bytes]]] = {
    "one label": ("label", [int_key(0)]),
    "300 labels": ("label", [int_key(i) for i in range(300)]),
    "20,000 labels": ("label", [int_key(i) for i in range(20_000)]),
    "labels far apart": ("label", [int_key(i * 7919**3 % 2**64) for i in range(4_000)]),
    "the least and the highest key": ("label", [int_key(0), int_key(2**64 - 1)]),
    "one digest": ("digest", [text_key("a")]),
    "20,000 digests": ("digest", [int_key(i) for i in range(20_000)]),
    "digests by int and str": ("digest", [int_key(i) if i % 2 else text_key(f"k{i}") for i in range(3_000)]),
    "digests by path": ("digest", [text_key(f"train/class-{i % 10}/{i:05d}.png") for i in range(3_000)]),
    "digests by any script": ("digest", [text_key(chr(0x400 + i)) for i in range(900)]),
    "digests by long keys": ("digest", [text_key("é" * 255 + str(i)) for i in range(400)]),
    "values of no bytes": ("empty", [int_key(i) for i in range(1_000)]),
    "one text": ("text", [int_key(1)]),
    "5,000 texts": ("text", [text_key(f"{i:04d}") for i in range(5_000)]),
    "nested digests": ("nested digest", [nested_key(i // 30, i % 30) for i in range(9_000)]),
    "nested labels, str samples": ("nested label", [nested_key(f"s{i % 7}", i) for i in range(4_000)]),
    "nested labels, one sample": ("nested label", [nested_key(5, f"frame-{i:05d}") for i in range(3_000)]),
    "nested texts, mixed samples": (
        "nested text",
        [nested_key(i if i % 3 else f"x{i}", "only") for i in range(3_000)],
    ),
}

HEADERS = {
    "scalar": Header(NDARRAY, 12, ()),
    "image": Header(NDARRAY, 6, (28, 28)),
    "no elements": Header(NDARRAY, 11, (0, 4)),
    "str": Header(STR, 0, ()),
    "bytes": Header(BYTES, 0, ()),
    "sparse": Header(SPARSE, 11, (100, 300)),
    "sparse of huge extents": Header(SPARSE, 5, (2**63 - 1, 0, 7)),
}

SPARSE_ARRAYS: dict[str, tuple[str, tuple[int, ...], list[list[int]], list[complex]]] = {
    "matrix": ("float32", (100, 300), [[7, 0, 7], [260, 2, 1]], [4.5, 1.0, -2.0]),
    "rank 3, sums and zeros": ("int64", (5, 70_000, 2**40), [[4, 4, 0], [9, 9, 1], [2**39] * 3], [2, 3, 0]),
    "vector of bools": ("bool", (9,), [[8, 0]], [True, True]),
    "complex": ("complex64", (3, 3), [[2], [0]], [1 - 2j]),
    "no elements": ("uint8", (4, 4), [[], []], []),
}

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154785e6360000000020001de9e8fbf0000000049454e44ae426082"
)
"""A PNG of one pixel."""
SMALL_FILES = {
    "image": PIXEL,
    "audio": b"fLaC" + bytes(38),
    "video": b"\x1a\x45\xdf\xa3" + bytes(8),
}
MEDIA: dict[str, MediaSchema] = {
    "images": ImageSchema(),
    "images, nested, read as RGB, written as JPEG": ImageSchema("RGB", "jpg", 90, nested=True),
    "audio": AudioSchema(16_000),
    "video": VideoSchema("30000/1001", nested=True),
}

ATTRIBUTES = {
    "no attributes": {},
    "attributes": {
        "unit": "mm",
        "classes": ["cat", "dog", "été"],
        "mean": [0.5, -0.0, float("nan")],
        "split": {"train": 0.8, "test": 0.2},
        "raw": b"\x00\xff",
        "numbers": [0, -1, 127, 128, 2**32, 2**64 - 1, -(2**63)],
        "final": True,
    },
}


def commits() -> dict[str, Commit]:
    """Two commits."""
    schema, root = record_digest("schema", b"schema"), record_digest("node", b"root")
    columns = [
        ColumnEntry("boxes", column_id("boxes", schema, 0), schema, None, NESTED, root, 30, 10),
        ColumnEntry("empty", column_id("empty", schema, 1), schema, None, FLAT, None, 0, 0),
        ColumnEntry(
            "images", column_id("images", schema, 0), schema, record_digest("attributes", b""), FLAT, root, 7, 7
        ),
    ]
    first = Commit(
        parents=[],
        columns=columns,
        attributes=None,
        author="Ada Lovelace",
        email="ada@example.org",
        time_ns=1_700_000_000_123_456_789,
        tz=60,
        message="First",
        meta={},
    )
    merge = Commit(
        parents=[first.digest(), record_digest("commit", b"other")],
        columns=columns[1:],
        attributes=record_digest("attributes", b"\x80"),
        author="Émilie",
        email="",
        time_ns=-1,
        tz=-720,
        message="Merge\n\nof two",
        meta={"tool": {"name": "import", "files": 3}},
    )
    return {"first commit": first, "merge commit": merge}


def digests() -> Iterator[tuple[str, str]]:
    """Name and digest of everything."""
    for name, (form, keys) in TREES.items():
        keys = sorted(keys)
        root = build(memory_store(), FORMS[form], keys, [cell_of(FORMS[form], i) for i in range(len(keys))])
        assert root is not None
        yield f"tree: {name}", f"{root.digest.hex()} {root.entries} {root.samples}"
    for name, commit in commits().items():
        yield f"record: {name}", commit.digest().hex()
        yield f"tree digest: {name}", tree_digest(commit).hex()
    yield "record: schema", record_digest("schema", b"any bytes").hex()
    for name, values in ATTRIBUTES.items():
        yield f"record: {name}", record_digest("attributes", encode_attributes(values)).hex()
    yield "column id", column_id("labels", record_digest("schema", b"any bytes"), 0).hex()
    for name, header in HEADERS.items():
        yield f"header: {name}", header.encode().hex()
        yield f"blob: {name}", blob_digest(header, b"logical bytes").hex()
        yield f"checksum: {name}", f"{checksum(b'logical bytes', header.id):016x}"
    for name, (dtype, shape, where, elements) in SPARSE_ARRAYS.items():
        schema = SparseSchema(np.dtype(dtype), shape, inline=False)
        found, data = schema.encode((where, np.array(elements, dtype), shape))
        yield f"sparse: {name}", f"{data.hex()} {blob_digest(found, data).hex()}"
        yield f"sparse schema: {name}", schema.digest.hex()
    # Files of all kinds have one header. The last file is only the beginning of a video, which a column does not take.
    found, _ = MEDIA["images"].encode(PIXEL)
    for name, media in MEDIA.items():
        data = SMALL_FILES[media.kind_name]
        yield f"media: {name}", f"{media.digest.hex()} {blob_digest(found, data).hex()}"

    yield from chunked()


CHUNKED = {
    "chunked arrays": ChunkedSchema(np.dtype("float32"), (16, 64, 64), (2**63 - 1,) * 3),
    "bounded, with a fill value": ChunkedSchema(
        np.dtype("int16"), (2, 5), (100, 2**63 - 1), fill_value=-1, nested=True
    ),
}


def chunked() -> Iterator[tuple[str, str]]:
    """Schemas, a chunk map, and array records."""
    for name, schema in CHUNKED.items():
        yield f"chunked schema: {name}", f"{schema.data.hex()} {schema.digest.hex()}"
    keys = [i.to_bytes(4, "big") + j.to_bytes(4, "big") for i in range(40) for j in range(0, 90, 3)]
    root = build(memory_store(), FORMS["digest"], keys, [cell_of(FORMS["digest"], i) for i in range(len(keys))])
    assert root is not None
    yield "chunk map", f"{root.digest.hex()} {root.entries}"
    for name, record in {
        "some chunks": ArrayRecord.of((80, 450), root),
        "none": ArrayRecord.of((0, 2**40), None),
    }.items():
        data = encode_array(record)
        yield f"array: {name}", f"{data.hex()} {record_digest('array', data).hex()}"


if __name__ == "__main__":
    PATH.write_text(json.dumps(dict(digests()), indent=1) + "\n")
