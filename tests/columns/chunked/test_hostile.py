"""Array records and chunk maps that are damaged or hostile: an error, before anything is allocated; nothing else comes out."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar import Repository
from hangar.columns.chunked.grid import chunk_key
from hangar.db.tables import NODES
from hangar.digest import Digest, record_digest
from hangar.errors import CorruptionError, HangarError
from hangar.objects.arrays import ArrayRecord, decode_array, encode_array
from hangar.objects.build import build
from hangar.objects.children import children_of, class_of, digest_of
from hangar.objects.node import decode_node, encode_node
from hangar.schema import ChunkedSchema, load_schema

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout

SCHEMA = ChunkedSchema(np.dtype(np.float32), (4, 4), (2**40, 2**63 - 1))


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    for decode in (decode_array, children_of, load_schema):
        try:
            decode(data)
        except HangarError:
            continue


@given(st.data())
def test_changed_records(data: st.DataObject) -> None:
    """Of any record with other bytes, only those come out that encode to the same bytes again."""
    good = [encode_array(ArrayRecord(0, (5, 9), 3, b"r" * 32)), SCHEMA.data]
    changed = bytearray(data.draw(st.sampled_from(good)))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        record = decode_array(bytes(changed))
    except HangarError:
        return
    assert encode_array(record) == bytes(changed)
    with pytest.raises(CorruptionError) if len(record.shape) != 2 else _either():
        SCHEMA.check_record(record)


class _either:  # noqa: N801
    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        return error is None or isinstance(error, CorruptionError)


@pytest.mark.parametrize(
    "parts",
    [
        [0, [], 0, None],
        [0, [1] * 32, 0, None],
        [0, [-1], 0, None],
        [0, [2**63], 0, None],
        [0, [4], 1, None],
        [0, [4], 0, b"r" * 32],
        [0, [4], 1, b"r" * 31],
        [0, [4], -1, None],
        [0, [4], 0],
        [0, [4], 0, None, 0],
        [0, [4.0], 0, None],
    ],
    ids=repr,
)
def test_records_that_are_refused(parts: Any) -> None:
    with pytest.raises(CorruptionError):
        decode_array(msgspec.msgpack.encode(parts))


def put_array(repo: Repository, writer: WriterCheckout, record: Any, keys: list[bytes]) -> None:
    """Stage a record at the key ``a``, whose chunk map has ``keys``."""
    session = writer.session
    chunk = session.staging.columns["x"].schema.chunk  # type: ignore[attr-defined]
    root = build(session.nodes, chunk.form, keys, [b"d" * 32] * len(keys))
    record = msgspec.structs.replace(record, root=None if root is None else root.digest)
    digest = session.nodes.add_array(record)
    with session.writing():
        session.staging.columns["x"].set(b"\x20a", digest)


@pytest.mark.parametrize(
    ("record", "keys"),
    [
        (ArrayRecord(0, (8, 8), 1, b""), [chunk_key((2, 0))]),
        (ArrayRecord(0, (8, 8), 1, b""), [chunk_key((0, 2**32 - 1))]),
        (ArrayRecord(0, (8, 8), 1, b""), [b"\x00" * 7]),
        (ArrayRecord(0, (8, 8), 2, b""), [chunk_key((0, 0))]),
        (ArrayRecord(0, (8, 8), 5, b""), [chunk_key((i, j)) for i in range(2) for j in range(2)]),
        (ArrayRecord(0, (8,), 1, b""), [chunk_key((0, 0))]),
        (ArrayRecord(0, (2**62, 2**62), 1, b""), [chunk_key((0, 0))]),
        (ArrayRecord(0, (2**40 + 1, 1), 1, b""), [chunk_key((0, 0))]),
    ],
    ids=repr,
)
def test_chunk_maps_that_contradict_their_array(
    repo: Repository, writer: WriterCheckout, record: ArrayRecord, keys: list[bytes]
) -> None:
    writer.add_chunked_column("x", np.float32, (4, 4), (2**40, None))
    put_array(repo, writer, record, keys)
    with pytest.raises(CorruptionError):
        writer["x"]["a"][:1, :1]
    problems = repo.fsck().problems
    assert {"array", "node", "staging"} & {problem.kind for problem in problems}


def test_a_damaged_record_names_what_it_affects(repo: Repository, writer: WriterCheckout) -> None:
    column = writer.add_chunked_column("x", np.float32, (4, 4))
    column["a"] = np.ones((9, 9), np.float32)
    column["b"] = np.ones((5, 5), np.float32)
    digest = bytes.fromhex(column["a"].digest)
    writer.commit("arrays")
    writer.close()
    db = repo._open().db
    with db.read() as transaction:
        data = transaction.get(NODES, digest)
    assert data is not None
    assert (class_of(data), digest_of(data)) == ("array", digest)
    broken = bytearray(data)
    broken[-1] ^= 1
    db.update(lambda transaction: transaction.put(NODES, digest, bytes(broken)))
    reader = repo.checkout()
    with pytest.raises(CorruptionError, match=f"array record {digest.hex()} is damaged"):
        reader["x"]["a"]
    assert reader["x"]["b"][0, 0] == 1
    (problem,) = repo.fsck().problems
    assert (problem.kind, problem.digest) == ("array", digest.hex())
    assert [(use.column, use.sample) for use in problem.uses] == [("x", "a")]
    with pytest.raises(CorruptionError):
        repo.gc()
    assert repo.fsck(repair=True).problems == ()
    assert repo.checkout()["x"]["a"][8, 8] == 1


def test_every_flip_in_live_data_is_found(repo: Repository, writer: WriterCheckout) -> None:
    """Of records, chunk maps and chunks: a read gives the right values or an error."""
    column = writer.add_chunked_column("x", np.uint8, (8, 8), backend="10")
    value = np.random.default_rng(0).integers(0, 255, (40, 40)).astype(np.uint8)
    column["a"] = value
    writer.commit("array")
    writer.close()
    chance = random.Random(0)
    stores = repo._open()
    with stores.db.read() as transaction:
        rows = dict(transaction.scan(NODES))
    for key, row in rows.items():
        for _ in range(5):
            broken = bytearray(row)
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
            stores.db.update(lambda transaction: transaction.put(NODES, key, bytes(broken)))  # noqa: B023
            stores.nodes.forget()
            stores.tables.clear()
            with pytest.raises(CorruptionError):
                repo.checkout()["x"]["a"][...]
        stores.db.update(lambda transaction: transaction.put(NODES, key, row))  # noqa: B023
    stores.nodes.forget()
    assert np.array_equal(repo.checkout()["x"]["a"], value)


def test_nodes_of_kind_3() -> None:
    node = decode_node(encode_node([0, 0, 3, [b"\x20a"], b"d" * 32, b"", [], []]))
    assert node.width == 32
    assert node.cells() == [b"d" * 32]
    assert children_of(encode_node(node)).arrays.tobytes() == b"d" * 32
    with pytest.raises(AssertionError, match="not expanded"):
        node.blobs()
    with pytest.raises(CorruptionError):
        decode_node(encode_node([0, 0, 3, [b"\x20a"], b"d" * 31, b"", [], []]))
    record = encode_array(ArrayRecord(0, (4,), 1, b"r" * 32))
    assert children_of(record).nodes.tobytes() == b"r" * 32
    assert digest_of(record) == Digest(record_digest("array", record)) != record_digest("node", record)
