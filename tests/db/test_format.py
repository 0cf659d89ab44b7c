from __future__ import annotations

import os
from pathlib import Path

import pytest

from hangar.db import Database
from hangar.db.format import FILE_NAME, VERSION_KEY, check_format, write_format
from hangar.db.tables import META
from hangar.errors import CorruptionError, RepositoryNotFoundError, UnsupportedVersionError
from tests.db.conftest import make


def everything(directory: Path) -> dict[str, bytes]:
    return {
        os.fspath(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_the_file_of_this_version(tmp_path: Path) -> None:
    write_format(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == b"hangar 0\n"
    assert check_format(tmp_path) == frozenset()


def test_known_features_are_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar.db.format.KNOWN_FEATURES", frozenset(("one", "two-2", "three")))
    write_format(tmp_path, frozenset(("two-2", "one")))
    assert (tmp_path / FILE_NAME).read_bytes() == b"hangar 0\none\ntwo-2\n"
    assert check_format(tmp_path) == {"one", "two-2"}


@pytest.mark.parametrize(
    "text",
    [b"hangar 1\n", b"hangar 999999999\n", b"hangar 1\n\x00whatever comes then", b"hangar 0\nsome-feature\n"],
)
def test_a_newer_format_is_refused_and_no_byte_changes(directory: Path, text: bytes) -> None:
    record_version(directory, b"999999999" if text.startswith(b"hangar 9") else b"1")
    (directory / FILE_NAME).write_bytes(text)
    before = everything(directory)
    with pytest.raises(UnsupportedVersionError, match="install a newer Hangar"):
        Database.open(directory)
    assert everything(directory) == before


def record_version(directory: Path, version: bytes | None) -> None:
    """Have the database say that it has a version; None: say nothing, as one made by an early development version."""
    db = Database.open(directory)
    if version is None:
        db.update(lambda transaction: transaction.delete(META, VERSION_KEY))
    else:
        db.update(lambda transaction: transaction.put(META, VERSION_KEY, version))
    db.close()


@pytest.mark.parametrize("bit", [1, 2, 4, 8])
def test_a_flipped_digit_is_no_newer_format(directory: Path, bit: int) -> None:
    """The database repeats the version, under a checksum: what differs from it is damage, and says how to mend it."""
    flipped = f"hangar {chr(ord('0') ^ bit)}\n".encode()
    (directory / FILE_NAME).write_bytes(flipped)
    before = everything(directory)
    with pytest.raises(CorruptionError, match="hangar fsck --repair") as caught:
        Database.open(directory)
    assert "newer" not in str(caught.value)
    assert everything(directory) == before
    (directory / FILE_NAME).write_bytes(b"hangar 0\n")
    Database.open(directory).close()
    record_version(directory, None)
    (directory / FILE_NAME).write_bytes(flipped)
    with pytest.raises(UnsupportedVersionError):
        Database.open(directory)


def test_a_database_that_cannot_be_asked_leaves_the_word_to_the_file(directory: Path) -> None:
    (directory / FILE_NAME).write_bytes(b"hangar 1\n")
    (directory / "db" / "data.mdb").write_bytes(b"no database")
    with pytest.raises(UnsupportedVersionError):
        Database.open(directory)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"hangar",
        b"hangar 0",
        b"hangar 00\n",
        b"hangar -1\n",
        b"hangar 0 \n",
        b"hangar 0\nFeature\n",
        b"hangar 0\nfeature",
        b"hangar 0\n\n",
        b"hangar 0\n\xff\n",
        b"hangar 0\n" + b"a\n" * 5000,
        b"\x00" * 512,
        bytes(range(64)),
    ],
)
def test_garbage_is_corruption_and_no_byte_changes(directory: Path, text: bytes) -> None:
    (directory / FILE_NAME).write_bytes(text)
    before = everything(directory)
    with pytest.raises(CorruptionError, match="format"):
        Database.open(directory)
    assert everything(directory) == before


def test_without_the_file_there_is_no_repository(tmp_path: Path) -> None:
    make(tmp_path / ".hangar")
    (tmp_path / ".hangar" / FILE_NAME).unlink()
    with pytest.raises(RepositoryNotFoundError, match="hangar fsck --repair") as caught:
        Database.open(tmp_path / ".hangar")
    assert "init" not in str(caught.value)
    for directory in (tmp_path, tmp_path / "nowhere", tmp_path / ".hangar" / "db.lock"):
        with pytest.raises(RepositoryNotFoundError, match="hangar init"):
            Database.open(directory)
