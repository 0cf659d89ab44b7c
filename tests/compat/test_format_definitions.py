"""What the format specification defines by its examples is what the code computes, for any input."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hangar.backends.file import encode_file_header
from hangar.backends.location import Locations
from hangar.blobs.index import Index, sort_digests
from hangar.blobs.run import run_bytes, write_run
from hangar.db.tables import TABLES, add_checksum, add_checksums
from hangar.digest import Digest, Header, RecordClass, blob_digest, checksum, digest_array, record_digest
from hangar.objects.attributes import encode_attributes
from hangar.objects.build import build
from hangar.objects.commit import ColumnEntry, Commit, column_id, tree_digest
from hangar.objects.node import TreeForm
from hangar.objects.samples import sample_of
from hangar.objects.split import cuts, marks
from hangar.refs.rows import RefRow
from hangar.refs.rows import encode as encode_ref
from hangar.schema import NdarraySchema
from hangar.schema.keys import encode_key, encode_nested_key
from tests.compat import independent_reader as independent
from tests.compat.specification import PAGE_NAMES, column
from tests.objects.memory import FORMS, cell_of, memory_store

page: Any = type(
    "Page", (), {name: staticmethod(value) if callable(value) else value for name, value in PAGE_NAMES.items()}
)

keys = st.one_of(
    st.integers(0, 2**64 - 1), st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
)
digests = st.binary(min_size=32, max_size=32)
headers = st.one_of(
    st.sampled_from([Header(2, 0, ()), Header(3, 0, ())]),
    st.builds(Header, st.just(1), st.integers(1, 255), st.lists(st.integers(0, 40), max_size=5).map(tuple)),
)


@given(st.sampled_from(TABLES), st.binary(min_size=1, max_size=511), st.binary())
def test_rows(table: Any, key: bytes, payload: bytes) -> None:
    assert (
        page.row(table.number, key, payload)
        == add_checksum(table, key, payload)
        == add_checksums(table, [(key, payload)])[0][1]
    )


@given(st.binary())
def test_record_digests(data: bytes) -> None:
    for name in column("record-classes", "class"):
        assert page.record_digest(name, data) == record_digest(cast("RecordClass", name), data)


@given(headers, st.binary())
def test_blobs(header: Header, data: bytes) -> None:
    encoded = page.header(header.kind, header.dtype, header.shape)
    assert encoded == header.encode()
    assert page.blob_digest(encoded, data) == blob_digest(header, data)
    assert page.blob_check(encoded, data) == checksum(data, header.id)


@given(keys, keys)
def test_keys(sample: int | str, subsample: int | str) -> None:
    assert page.sample_key(sample) == encode_key(sample)
    nested = page.nested_key(sample, subsample)
    assert nested == encode_nested_key(sample, subsample)
    assert page.sample_part(nested) == sample_of(nested)
    assert independent.decode_key(nested, True) == (sample, subsample)


@given(st.lists(keys))
def test_keys_sort_as_people_see_them(many: list[int | str]) -> None:
    seen = sorted(many, key=lambda key: (type(key) is str, key))
    assert sorted(map(page.sample_key, many)) == list(map(page.sample_key, seen))


KEY_LISTS = {
    "counting": lambda count: [encode_key(i) for i in range(count)],
    "text": lambda count: sorted(encode_key(f"sample/{i}") for i in range(count)),
    "long": lambda count: sorted(encode_key(f"{i}" * 300) for i in range(count)),
}


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("kind", KEY_LISTS)
@pytest.mark.parametrize("count", [1, 16, 400, 3_000])
def test_ends_of_nodes(kind: str, count: int, level: int) -> None:
    many = KEY_LISTS[kind](count)
    ends = cuts(many, marks(many, level))
    assert independent.cuts(many, level) == ends
    assert page.ends(many, level) == (ends if ends[-1:] == [count] else [*ends, count])


def encoded_keys(form: TreeForm, count: int) -> list[bytes]:
    if not form.nested:
        return sorted([encode_key(i * 3) for i in range(count // 2)] + [encode_key(f"k{i}") for i in range(count // 2)])
    samples: list[int | str] = [*range(count // 20), *(f"s{i}" for i in range(count // 20))]
    return sorted(encode_nested_key(sample, i) for n, sample in enumerate(samples) for i in range(1 + n % 20))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("count", [40, 6_000])
def test_trees(name: str, count: int) -> None:
    form, store = FORMS[name], memory_store()
    many = encoded_keys(form, count)
    cells = [cell_of(form, i) for i in range(len(many))]
    root = build(store, form, many, cells)
    assert root is not None
    nodes = page.tree(form.kind, form.nested, many, cells)
    assert list(nodes)[-1] == root.digest
    assert nodes == store.pending


@settings(max_examples=20)
@given(st.lists(digests, min_size=1, max_size=40, unique=True), st.randoms(use_true_random=False))
def test_runs(tmp_path_factory: pytest.TempPathFactory, names: list[bytes], random: Any) -> None:
    numbers = [[random.getrandbits(bits) for bits in (64, 64, 8, 56, 64, 32, 32)] for _ in names]
    stated = {name: page.location(*row) for name, row in zip(names, numbers, strict=True)}
    rows = []
    for offset, check, codec, stored, header, chunk_row, file_id in numbers:
        one = Locations.at(file=file_id, offset=[offset], length=stored, codec=codec, row=chunk_row)
        one.set_checks(header, check)
        rows.append(one.to_rows()[0])
    assert rows == list(stated.values())
    order, sought, _ = sort_digests(digest_array(names))
    path = tmp_path_factory.mktemp("runs") / "run"
    write_run(path, 9, [Index.build(sought, Locations.from_rows(rows).take(order))])
    assert path.read_bytes() == page.run(9, stated)
    assert len(path.read_bytes()) == run_bytes(len(names))


@given(st.sampled_from(["10", "30", "31", "00", "a1b2c3d4"]), st.integers(0, 2**32 - 1))
def test_blob_file_headers(tag: str, file_id: int) -> None:
    assert page.blob_file_header(tag, file_id) == encode_file_header(tag, file_id)


def test_the_records_of_the_examples_are_those_of_the_code() -> None:
    assert page.schema == NdarraySchema(np.dtype(np.uint8), (28, 28)).data
    label = NdarraySchema(np.dtype(np.uint8), ())
    assert page.label_schema == label.digest
    assert page.attributes == encode_attributes({"scale": 0.5, "classes": ["cat", "dog"]})
    entry = ColumnEntry("label", column_id("label", label.digest, 0), label.digest, None, 0, page.root, 2, 2)
    made = Commit(
        parents=[],
        columns=[entry],
        attributes=None,
        author="Ada",
        email="ada@example.com",
        time_ns=10**18,
        tz=60,
        message="Two labels",
        meta={},
    )
    assert page.commit == made.encode()
    assert page.tree_digest([page.label], None) == tree_digest(made)
    assert page.ref == encode_ref(RefRow(made.digest()))
    form = TreeForm(1, 1, False)
    root = build(memory_store(), form, [encode_key(0), encode_key(1)], [b"\x05", b"\x08"])
    assert root is not None
    assert page.root == root.digest


@given(st.text(min_size=1, max_size=30), digests, st.integers(0, 300))
def test_column_ids(name: str, schema: bytes, number: int) -> None:
    assert page.column_id(name, schema, number) == column_id(name, Digest(schema), number)


maps = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), maps, max_size=5))
def test_attributes_have_the_one_encoding(values: dict[str, Any]) -> None:
    def canonical(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: canonical(value[key]) for key in sorted(value, key=str.encode)}
        if isinstance(value, list):
            return list(map(canonical, value))
        return float("nan") if value != value else value

    assert encode_attributes(values) == msgspec.msgpack.encode(canonical(values))
