"""Cells of each form: what is split comes together again, one at a time and in batches; and a new kind needs no other room."""

from __future__ import annotations

import zlib
from typing import Any, ClassVar

import numpy as np
import pytest

from hangar.checkout import WriterCheckout
from hangar.columns.base import StagedSource
from hangar.columns.opening import open_writer
from hangar.digest import Header, blob_digest
from hangar.objects.node import DIGEST_TAG
from hangar.schema import BytesSchema, ColumnSchema, NdarraySchema, StrSchema

CASES: list[tuple[ColumnSchema, list[Any]]] = [
    (NdarraySchema(np.dtype("i2"), (3,)), [np.arange(i, i + 3, dtype="i2") for i in range(5)]),
    (NdarraySchema(np.dtype("i2"), (30,)), [np.arange(i, i + 30, dtype="i2") for i in range(5)]),
    (NdarraySchema(np.dtype("i2"), (0,), inline=False), [np.empty(0, "i2")] * 3),
    (NdarraySchema(np.dtype("i2"), (9,), variable=True), [np.arange(i, dtype="i2") for i in range(5)]),
    (StrSchema(), ["", "a", "b" * 64, "c" * 65, "d" * 300, "e"]),
    (StrSchema(inline=False), ["", "a" * 70]),
    (BytesSchema(), [b"", bytes((DIGEST_TAG,)) * 33, b"x" * 64, b"y" * 65]),
    (BytesSchema(), [b"z" * 99]),
    (BytesSchema(), []),
]


@pytest.mark.parametrize(("schema", "values"), CASES)
def test_cells_one_at_a_time_and_in_batches(schema: ColumnSchema, values: list[Any]) -> None:
    batch = schema.encode_batch(values, len(values))
    pairs = [schema.encode(value) for value in values]
    stored = {blob_digest(header, buffer): (header, bytes(buffer)) for header, buffer in pairs}
    single = [schema.cell(buffer) for _, buffer in pairs]
    cells = schema.cells(batch)
    places = [i for i, cell in enumerate(single) if cell is None]
    assert len(cells.blobs) == len(places)
    digests: Any = [blob_digest(*pairs[i]) for i in places]
    if cells.blobs.rows is not None:
        digests = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
    filled = cells.filled(digests)
    listed = [cell.tobytes() if isinstance(cell, np.ndarray) else cell for cell in filled]
    for i, pair in enumerate(pairs):
        cell = schema.digest_cell(blob_digest(*pair)) if single[i] is None else single[i]
        assert listed[i] == cell
    decoded, at, found = schema.decode_cells(listed)
    assert (list(at), [stored[digest] for digest in found]) == (  # type: ignore[index]
        places,
        [(pairs[i][0], bytes(pairs[i][1])) for i in places],
    )
    for i, (cell, value) in enumerate(zip(listed, values, strict=True)):
        digest = schema.digest_of(cell)
        assert (digest is None) == (single[i] is not None)
        again = schema.decode_cell(cell) if digest is None else schema.decode(*stored[digest])  # type: ignore[index]
        assert np.array_equal(again, value)
        assert digest is not None or np.array_equal(decoded[i], value)
    if schema.uniform and values:
        rows = schema.inline_rows(np.frombuffer(b"".join(listed), np.uint8).reshape(len(listed), -1))
        assert (rows is None) == (schema.inline_bytes < 0 and schema.nbytes > 0)
        if rows is not None:
            stacked = schema.decode_rows(schema.header, rows)
            assert np.array_equal(stacked, np.stack(values))
            assert all(map(np.array_equal, schema.separate(stacked), values))


class ZippedSchema(StrSchema):
    """A kind of its own, as images will be: what is stored is encoded, what comes out is an array."""

    stacks: ClassVar[bool] = True

    def _bytes(self, value: object) -> bytes:
        return zlib.compress(np.asarray(value).tobytes())

    def decode(self, header: Header | None, buffer: Any) -> Any:
        return np.frombuffer(bytearray(zlib.decompress(buffer)), np.uint8)

    def stack(self, values: list[Any], out: Any) -> Any:
        return np.stack(values, out=out)


def test_a_new_kind_is_a_new_schema_and_nothing_else(writer: WriterCheckout) -> None:
    schema = ZippedSchema(inline=False)
    staging = writer.session.staging
    with writer.session.writing():
        working = staging.add("zipped", bytes(16), schema)
    column: Any = open_writer(writer.session, StagedSource(staging, working))
    values = [np.random.default_rng(i).integers(0, 255, 500, np.uint8) for i in range(6)]
    column[0] = values[0]
    column.write(range(1, 6), values[1:])
    assert np.array_equal(column[3], values[3])
    assert all(map(np.array_equal, column.values(), values))
    assert np.array_equal(column.read([5, 0]), np.stack([values[5], values[0]]))
    assert np.array_equal(column.read(slice(1, 3)), np.stack(values[1:3]))
    out = np.empty((2, 500), np.uint8)
    assert column.read([1, 2], out=out) is out
    assert np.array_equal(np.asarray(column), np.stack(values))
