"""What the format specification says must be refused is refused, with the error it names and without a changed byte (row 33)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet
from xxhash import xxh3_64_intdigest

from hangar import Repository, errors, make_numpy_dataset
from tests.cli.shell import Shell
from tests.compat.rewriting import Rows, decode, encode, rewriting
from tests.compat.specification import TABLES_OF_PAGE

LEAF = [0, 0, 1, [b"\x10" + bytes(8)], bytes(8), b"\x08", [], []]
"""A leaf of the column ``label``, as a record."""


def files(path: Path, *leave_out: str) -> dict[str, str]:
    """A hash of every file of a repository."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in leave_out
    }


def read_everything(path: Path, *, write: bool = False) -> None:
    with Repository(path, exists=False) as repo:
        repo.list_branches()
        for column in repo.checkout(write=write).columns.values():
            dict(column.items())


# ------------------------------------------------------------------------------------------------- what is done to it


def in_format_file(text: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        (path / ".hangar" / "format").write_text(text)

    return damage


def newer_format(path: Path) -> None:
    with rewriting(path) as rows:
        rows.put("meta", b"format version", b"1")
    in_format_file("hangar 1\n")(path)


def in_rows(change: Callable[[Rows], None]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with rewriting(path) as rows:
            change(rows)

    return damage


def label_root(record: list[object]) -> Callable[[Path], None]:
    return in_rows(
        lambda rows: rows.replace_column("label", root=rows.store("node", encode(record)), entries=1, samples=1)
    )


def label_schema(record: list[object]) -> Callable[[Path], None]:
    return in_rows(lambda rows: rows.replace_column("label", schema=rows.store("schema", encode(record))))


def in_file(pattern: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        file = min((path / ".hangar").glob(pattern))
        file.write_bytes(change(file.read_bytes()))

    return damage


def newer(data: bytes) -> bytes:
    """A blob file or run of version 1, its header as it must be."""
    head = data[:8] + struct.pack("<I", 1) + data[12:56]
    return head + struct.pack("<Q", xxh3_64_intdigest(head)) + data[64:]


def damage_a_row(rows: Rows) -> None:
    rows.raw("refs", b"HEAD", rows.get("refs", b"HEAD") + bytes(8))


def newer_commit(rows: Rows) -> None:
    rows.move(encode([1, *rows.commit()[1:], "what is new"]))


def swapped_node(rows: Rows) -> None:
    rows.put("nodes", rows.column("label")[5], rows.get("nodes", rows.column("image")[5]))


def commit_in_longer_form(rows: Rows) -> None:
    data = encode(rows.commit())
    assert data[1] == 0
    rows.move(data[:1] + b"\xcc\x00" + data[2:])


def far_away(rows: Rows) -> bytes:
    """Digest of a blob whose location is in the table."""
    leaf = decode(rows.get("nodes", rows.column("far")[5]))
    digest: bytes = leaf[4][64:]
    return digest


def far_location(change: Callable[[list[int], Rows], None]) -> Callable[[Path], None]:
    def damage(rows: Rows) -> None:
        location = list(struct.unpack("<5Q", rows.get("locations", far_away(rows))))
        change(location, rows)
        rows.put("locations", far_away(rows), struct.pack("<5Q", *location))

    return in_rows(damage)


def under_another_header(location: list[int], rows: Rows) -> None:
    location[3] = next(
        int.from_bytes(key, "big") for key in rows.keys("headers") if key != location[3].to_bytes(8, "big")
    )


def beyond_the_end(location: list[int], _: Rows) -> None:
    location[0] = 2**40


def lose_a_location(rows: Rows) -> None:
    count = len(rows.keys("locations")) - 1
    rows.delete("locations", far_away(rows))
    rows.put("meta", b"rows:locations", count.to_bytes(8, "little"))


def newer_staging(rows: Rows) -> None:
    rows.put("staging", b"\x00", encode([1, *decode(rows.get("staging", b"\x00"))[1:]]))


def unknown_staged_row(rows: Rows) -> None:
    rows.put("staging", b"\x04\x00\x00\x00\x01a", b"what is new")
    rows.put("meta", b"rows:staging", len(rows.keys("staging")).to_bytes(8, "little"))


def unknown_changed_entry(rows: Rows) -> None:
    key = next(key for key in rows.keys("staging") if key[:1] == b"\x02")
    rows.put("staging", key, b"\x02" + rows.get("staging", key)[1:])


DAMAGE: dict[str, Callable[[Path], None]] = {
    "no format file": lambda path: (path / ".hangar" / "format").unlink(),
    "a format file of another form": in_format_file("hangar  0\n"),
    "a newer version in format": newer_format,
    "an unknown feature flag": in_format_file("hangar 0\nchunked-arrays\n"),
    "a node of a newer version": label_root([1, *LEAF[1:], "what is new"]),
    "a node of an unknown kind": label_root([0, 0, 4, LEAF[3], bytes(32), b"", [], []]),
    "a commit of a newer version": in_rows(newer_commit),
    "a schema of a newer version": label_schema([1, 1, 5, False, [], False, True]),
    "a schema of an unknown kind": label_schema([0, 99, 0, True, [], False, True]),
    "a schema of an unknown element type": label_schema([0, 1, 41, False, [], False, True]),
    "a schema of a newer version, with further fields": label_schema([1, 1, 5, False, [], False, True, "new"]),
    "a staging area of a newer version": in_rows(newer_staging),
    "a blob file of a newer version": in_file("blobs/*.10", newer),
    "a run of a newer version": in_file("runs/*.run", newer),
    "a row with a wrong checksum": in_rows(damage_a_row),
    "a counted table that lost a row": in_rows(lambda rows: rows.delete("refs", b"heads/relabel")),
    "a record that is missing": in_rows(lambda rows: rows.delete("nodes", rows.column("label")[5])),
    "a record with another digest than its key": in_rows(swapped_node),
    "a row of the staging area of an unknown kind": in_rows(unknown_staged_row),
    "a changed entry of an unknown form": in_rows(unknown_changed_entry),
    "a commit that is not canonical": in_rows(commit_in_longer_form),
    "a node beyond a limit": label_root([*LEAF[:3], [b"\x20" + b"a" * 2100], *LEAF[4:]]),
    "a blob without a location": in_rows(lose_a_location),
    "a blob with a wrong check": in_file("blobs/*.10", lambda data: data[:64] + bytes(len(data) - 64)),
    "a location under the header of another shape": far_location(under_another_header),
    "a location beyond the end of its file": far_location(beyond_the_end),
    "a blob file with a damaged header": in_file("blobs/*.10", lambda data: data[:40] + b"\x01" + data[41:]),
    "a run of the wrong length": in_file("runs/*.run", lambda data: data[:-1]),
}
IN_STAGING = {
    "a staging area of a newer version",
    "a row of the staging area of an unknown kind",
    "a changed entry of an unknown form",
}
"""What a writer alone meets."""
NOT_YET_REFUSED: set[str] = set()
"""Faults of the code that are known; when one is mended, the strict mark turns red until its line goes."""
REFUSALS = {row["what is found"]: row for row in TABLES_OF_PAGE["spec-refusals"]}


def cases(names: Iterable[str]) -> list[ParameterSet]:
    fault = pytest.mark.xfail(reason="the code does not refuse it yet", strict=True)
    return [pytest.param(name, marks=[fault] if name in NOT_YET_REFUSED else []) for name in names]


def test_every_refusal_of_the_page_is_tried() -> None:
    assert list(REFUSALS) == list(DAMAGE)


def test_the_repository_can_be_read_before_it_is_damaged(copied: Path) -> None:
    read_everything(copied)


@pytest.mark.parametrize("what", cases(DAMAGE))
def test_refusal(what: str, copied: Path) -> None:
    DAMAGE[what](copied)
    before = files(copied, "lock.mdb", "lock.1")
    with pytest.raises(errors.HangarError) as caught:
        read_everything(copied, write=what in IN_STAGING)
    assert type(caught.value).__name__ == REFUSALS[what]["error"], caught.value
    assert errors.exit_code(caught.value) == int(REFUSALS[what]["exit code"])
    assert files(copied, "lock.mdb", "lock.1") == before


@pytest.mark.parametrize("what", ["a newer version in format", "an unknown feature flag"])
def test_nothing_of_a_newer_format_is_touched(what: str, copied: Path) -> None:
    """By nothing that a person may do: neither a byte of any file, nor which files there are."""
    DAMAGE[what](copied)
    before = files(copied)
    shell = Shell(copied)
    for words in ("ls", "log", "status", "summary", "fsck", "branch", "commit -m x", "rm label 0", "writer-lock"):
        shell.fails(10, *words.split(), text="install a newer Hangar")
    for write in (False, True):
        with Repository(copied) as repo, pytest.raises(errors.UnsupportedVersionError):
            repo.checkout(write=write)
    with pytest.raises(errors.UnsupportedVersionError):
        Repository(copied).init("Eve", "eve@example.com", remove_old=True)
    assert files(copied) == before


@pytest.mark.parametrize("what", cases(what for what, row in REFUSALS.items() if row["exit code"] == "10"))
def test_a_writer_refuses_what_is_newer(what: str, copied: Path) -> None:
    """It may take the lock to look, but it leaves the data as it was, and the lock free."""
    DAMAGE[what](copied)
    before = files(copied, "lock.mdb", "lock.1")
    with pytest.raises(errors.UnsupportedVersionError):
        read_everything(copied, write=True)
    assert files(copied, "lock.mdb", "lock.1") == before


WAYS: dict[str, Callable[[Any], Any]] = {
    "one": lambda column: column[next(iter(column))],
    "list": lambda column: column[[next(iter(column))]],
    "items": lambda column: list(column.items()),
    "positions": lambda column: column.read(slice(0, 1)),
    "keys": lambda column: column.read([next(iter(column))]),
    "data set": lambda column: list(make_numpy_dataset(column, batch_size=1)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [0, 2, 3])
def test_a_leaf_of_another_form_than_the_schema_has(kind: int, way: str, copied: Path) -> None:
    """A tree that no Hangar writes, although its digests are right: no value is made of its bytes."""
    label_root([0, 0, kind, LEAF[3], bytes(32), b"\xff" if kind == 2 else b"", [], []])(copied)
    with pytest.raises(errors.CorruptionError):
        WAYS[way](Repository(copied).checkout()["label"])
