"""A reader written from the specification alone reads what Hangar writes, and finds what is wrong."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.digest import Digest, record_digest
from hangar.objects.attributes import encode_attributes
from hangar.objects.build import build
from hangar.objects.commit import ColumnEntry, Commit, column_id
from hangar.objects.store import NodeStore
from hangar.schema import BytesSchema, NdarraySchema, StrSchema
from hangar.schema.base import ColumnSchema
from hangar.schema.keys import encode_nested_key
from tests.compat import independent_reader as independent
from tests.compat.content import Contents, content, read_by_hangar, read_independently
from tests.compat.rewriting import Rows, decode, encode, rewriting
from tests.objects.golden import PIXEL

Everything = tuple[Path, dict[str, Any]]


def read(path: Path) -> independent.Repository:
    return independent.Repository(path / ".hangar")


def staged_by_hangar(repo: Repository) -> Contents:
    writer = repo.checkout(write=True)
    try:
        return {name: content(column.items()) for name, column in writer.items()}
    finally:
        writer.close()


def test_everything_is_read_as_it_was_written(everything: Everything) -> None:
    path, expected = everything
    found = read(path)
    for commit, (message, columns) in expected["commits"].items():
        assert found.commits[bytes.fromhex(commit)].message == message
        assert read_independently(found.commits[bytes.fromhex(commit)].columns) == columns
    assert found.staged is not None
    parents = [found.refs["heads/master"], found.refs["heads/relabel"]]
    assert (found.staged.branch, found.staged.parents) == ("master", parents)
    assert read_independently(found.staged.columns) == expected["staged"]


def test_what_hangar_says_of_a_commit(everything: Everything) -> None:
    path, _ = everything
    found = read(path)
    with Repository(path) as repo:
        for digest, commit in found.commits.items():
            info = repo.commit_info(digest.hex())
            assert (info.author, info.email, info.message) == (commit.author, commit.email, commit.message)
            assert (info.tree, info.parents) == (commit.tree_digest.hex(), tuple(map(bytes.hex, commit.parents)))
            assert info.meta == commit.meta


def test_ids_of_columns(everything: Everything) -> None:
    for commit in read(everything[0]).commits.values():
        for name, column in commit.columns.items():
            parts = encode([name, column.schema_digest, 0])
            assert column.id == independent.record_digest("column", parts)[:16]


def test_chunked_arrays_are_read_as_hangar_reads_them(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.com")
    writer = repo.checkout(write=True)
    volume = writer.add_chunked_column("volume", np.float32, (4, 5, 6), fill_value=-0.5, backend="01")
    small = writer.add_chunked_column("small", np.uint8, (4, 8), (20, None))
    for i in range(3):
        array = volume.create(f"a{i}", (9, 11 + i, 8))
        array[i:5, ::2, 3] = np.arange(9, dtype=np.float32)[: 5 - i, None]
        small[i] = np.eye(5 + i, 9, dtype=np.uint8)
    volume["empty"] = np.zeros((0, 3, 1), np.float32)
    writer.commit("arrays")
    volume["a0"].resize(5, 7, 7)
    volume["a1"].append(np.ones((3, 12, 8), np.float32))
    small[1][2, 3:5] = 7
    writer.close()
    repo.close()
    found = read(tmp_path)
    (commit,) = found.commits
    assert found.staged is not None
    with Repository(tmp_path) as repo:
        assert read_independently(found.commits[commit].columns) == read_by_hangar(repo, commit.hex())
        assert read_independently(found.staged.columns) == staged_by_hangar(repo)


@pytest.mark.parametrize("seed", range(3))
def test_any_history_is_read_as_hangar_reads_it(seed: int, tmp_path: Path) -> None:
    """Random changes and commits, with the real bounds: staged rows, staged trees, rows of locations and runs."""
    chance = random.Random(seed)
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.com")
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("image", (5, 9), np.uint8)
    writer.add_ndarray_column("label", (2,), np.int16)
    writer.add_str_column("text")
    for step in range(6):
        rows = np.random.default_rng([seed, step])
        keys = chance.sample(range(9_000), chance.choice([1, 40, 1_500, 5_000]))
        name = chance.choice(["image", "label", "text"])
        if name == "text":
            writer[name].update({f"t/{key}": str(key) * chance.randrange(30) for key in keys})
        elif name == "label":
            writer[name].write(keys, rows.integers(0, 9, (len(keys), 2)).astype(np.int16))
        else:
            writer[name].write(keys, rows.integers(0, 3, (len(keys), 5, 9)).astype(np.uint8))
        present = list(writer[name])
        writer[name].delete(chance.sample(present, len(present) // 3))
        if chance.random() < 0.4 and step < 5:
            writer.commit(f"step {step}")
    repo.close()
    found = read(tmp_path)
    with Repository(tmp_path) as repo:
        for digest, commit in found.commits.items():
            assert read_independently(commit.columns) == read_by_hangar(repo, digest.hex())
        assert found.staged is not None
        assert read_independently(found.staged.columns) == staged_by_hangar(repo)


def test_encoded_files_are_blobs_of_bytes(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.com")
    with closing(repo.checkout(write=True)) as writer:
        flat = writer.add_image_column("flat", mode="RGB")
        nested = writer.add_image_column("nested", format="JPEG", quality=50, contains_subsamples=True)
        plain = writer.add_bytes_column("plain")
        flat["a"] = plain["a"] = PIXEL
        nested["s"] = {"x": PIXEL, 3: np.zeros((4, 6, 3), np.uint8)}
        stored = nested.encoded(("s", 3))
        assert stored[:2] == b"\xff\xd8"
        commit = writer.commit("Files")
    repo.close()
    found = read(tmp_path).commits[bytes.fromhex(commit)].columns
    assert {name: column.schema.kind for name, column in found.items()} == {"flat": 16, "nested": 16, "plain": 3}
    assert found["flat"].values["a"] == found["plain"].values["a"] == found["nested"].values["s", "x"]
    assert (found["flat"].values["a"].kind, found["flat"].values["a"].data) == (3, PIXEL)
    assert found["nested"].values["s", 3].data == stored


NESTED: dict[str, tuple[ColumnSchema, bytes]] = {
    "boxes": (NdarraySchema(np.dtype(np.int32), (2,), nested=True), np.array([3, 4], "<i4").tobytes()),
    "notes": (StrSchema(nested=True), b"\x05hello"),
    "parts": (BytesSchema(nested=True), b"\x00"),
}


def test_nested_columns_and_attributes(copied: Path) -> None:
    """What no release makes yet: a commit with nested columns and attributes, put together from the parts there are."""
    samples = [*range(150), *sorted(f"s/{i}" for i in range(150))]
    pairs = [(sample, sub) for sample in samples for sub in range(7)]
    keys = [encode_nested_key(sample, sub) for sample, sub in pairs]
    with Repository(copied) as repo:
        db = repo._open().db
        nodes = NodeStore(db)
        entries, schemas = [], []
        for name, (schema, cell) in NESTED.items():
            root = build(nodes, schema.form, keys, [cell] * len(keys))
            assert root is not None
            identity = column_id(name, schema.digest, 0)
            note = record_digest("attributes", encode_attributes({"unit": name}))
            entries.append(ColumnEntry(name, identity, schema.digest, note, 1, root.digest, root.entries, root.samples))
            schemas.append(schema.data)
        db.update(nodes.flush)
    about = {"split": {"train": [1, 2.5, b"x", True]}}
    with rewriting(copied) as rows:
        for data in schemas:
            rows.store("schema", data)
        for name in NESTED:
            rows.store("attributes", encode_attributes({"unit": name}))
        made = Commit(
            parents=[Digest(rows.head())],
            columns=entries,
            attributes=Digest(rows.store("attributes", encode_attributes(about))),
            author="Ada",
            email="ada@example.com",
            time_ns=1,
            tz=-60,
            message="",
            meta={},
        )
        digest = rows.move(made.encode())
    with Repository(copied) as repo:
        assert repo.fsck(data=True).problems == ()
    commit = read(copied).commits[digest]
    assert commit.attributes == about
    assert [column.attributes for column in commit.columns.values()] == [{"unit": name} for name in NESTED]
    for column in commit.columns.values():
        assert list(column.values) == pairs
        assert column.samples == 300
    assert commit.columns["notes"].values[0, 0].data == b"hello"


def test_renamed_and_widened_columns_and_their_attributes(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.com")
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("old", (2, 2), np.uint8, variable_shape=True)
    column[1] = np.ones((2, 1), np.uint8)
    identity = column_id("old", read_schema(writer, "old"), 0)
    about = {"unit": "mm", "scale": 0.5, "classes": ["cat", b"x", True], "more": {"n": -1}}
    column.attributes.update(about)
    first = writer.commit("first")
    writer.rename_column("old", "new")
    column.widen((5, 5))
    column[2] = np.ones((5, 4), np.uint8)
    column.attributes["unit"] = "cm"
    writer.attributes["licence"] = "CC0"
    repo.close()
    staged = read(tmp_path).staged
    assert staged is not None
    with repo:
        second = repo.checkout(write=True).commit("second")
        tree = repo.commit_info(second).tree
    found = read(tmp_path)
    before, after = (found.commits[bytes.fromhex(digest)] for digest in (first, second))
    assert (before.columns["old"].attributes, before.attributes) == (about, {})
    for side in (staged, after):
        assert list(side.columns) == ["new"]
        assert (side.columns["new"].attributes, side.attributes) == (about | {"unit": "cm"}, {"licence": "CC0"})
        assert {key: value.shape for key, value in side.columns["new"].values.items()} == {1: (2, 1), 2: (5, 4)}
        assert side.columns["new"].schema.shape == (5, 5)
    assert {before.columns["old"].id, staged.columns["new"].id, after.columns["new"].id} == {identity}
    assert after.tree_digest.hex() == tree


def read_schema(writer: WriterCheckout, name: str) -> Digest:
    return writer.session.staging.columns[name].schema.digest


# ------------------------------------------------------------------------------------------- what it finds


def flip(path: Path, glob: str, offset: int) -> None:
    file = min((path / ".hangar").glob(glob))
    data = bytearray(file.read_bytes())
    data[offset] ^= 1
    file.write_bytes(data)


def test_a_flipped_bit_of_any_live_byte_is_found(copied: Path) -> None:
    ends = {"b": len(min((copied / ".hangar").glob("blobs/*.10")).read_bytes()) - len(b"never acknowledged")}
    ends["r"] = len(min((copied / ".hangar").glob("runs/*.run")).read_bytes())
    for glob, end in (("blobs/*.10", ends["b"]), ("runs/*.run", ends["r"])):
        for offset in random.Random(1).sample(range(end), 25):
            flip(copied, glob, offset)
            with pytest.raises(independent.FormatError):
                read(copied)
            flip(copied, glob, offset)
    read(copied)


def lie(change: Any) -> Any:
    """A node of the column ``label`` that says something false under a right digest."""

    def apply(rows: Rows) -> None:
        node = decode(rows.get("nodes", rows.column("label")[5]))
        assert node[1] == 1
        change(node, rows)
        rows.replace_column("label", root=rows.store("node", encode(node)))

    return apply


def leaf_of(node: Any, rows: Rows) -> Any:
    return decode(rows.get("nodes", node[4][:32]))


def swap_two_keys(node: Any, rows: Rows) -> None:
    leaf = leaf_of(node, rows)
    leaf[3][0], leaf[3][1] = leaf[3][1], leaf[3][0]
    node[4] = rows.store("node", encode(leaf)) + node[4][32:]


def cut_early(node: Any, rows: Rows) -> None:
    leaf = leaf_of(node, rows)
    leaf[3], leaf[4] = leaf[3][1:], leaf[4][8:]
    node[4] = rows.store("node", encode(leaf)) + node[4][32:]
    node[6][0] -= 1


def move_the_cut(node: Any, rows: Rows) -> None:
    """The first leaf gives its last entry to the second."""
    first, second = leaf_of(node, rows), decode(rows.get("nodes", node[4][32:64]))
    second[3].insert(0, first[3].pop())
    second[4], first[4] = first[4][-8:] + second[4], first[4][:-8]
    node[3][0] = first[3][-1]
    node[4] = rows.store("node", encode(first)) + rows.store("node", encode(second)) + node[4][64:]
    node[6][0], node[6][1] = node[6][0] - 1, node[6][1] + 1


LIES: dict[str, Any] = {
    "a count that is not so": lie(lambda node, _: node[6].__setitem__(0, node[6][0] + 1)),
    "a last key that is not so": lie(lambda node, _: node[3].__setitem__(0, node[3][0][:-1] + b"\x00")),
    "sample counts in a flat column": lie(lambda node, _: node.__setitem__(7, node[6])),
    "keys that do not ascend": lie(swap_two_keys),
    "an entry less": lie(cut_early),
    "a leaf that ends one entry early": lie(move_the_cut),
    "more entries than there are": lambda rows: rows.replace_column("label", entries=999, samples=999),
    "another schema": lambda rows: rows.replace_column("label", schema=rows.column("image")[2]),
    "a lost staging row": lambda rows: rows.delete("staging", rows.keys("staging")[-1]),
    "a lost run": lambda rows: rows.delete("files", rows.keys("files")[-1]),
    "a ref to nowhere": lambda rows: rows.put("refs", b"heads/master", encode([bytes(32), None])),
    "a wrong generation": lambda rows: rows.put("graph", rows.head(), encode([99, None])),
    "two columns of one id": lambda rows: rows.replace_column("label", id=rows.column("image")[1]),
    "a head that names no branch": lambda rows: rows.put("refs", b"HEAD", encode(["master", "none"])),
    "a row under another key": lambda rows: rows.raw("refs", b"heads/other", rows.get("refs", b"HEAD") + bytes(8)),
    "a header of another number": lambda rows: rows.put("headers", rows.keys("headers")[0], b"\x02\x00\x00"),
}


@pytest.mark.parametrize("what", LIES)
def test_a_lie_is_found(what: str, copied: Path) -> None:
    read(copied)
    with rewriting(copied) as rows:
        LIES[what](rows)
    with pytest.raises((independent.FormatError, KeyError)):
        read(copied)
