"""Where nobody writes, or nobody may."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import pytest

from hangar.db import Database
from hangar.db.tables import NODES, REFS
from hangar.errors import (
    AccessError,
)
from tests.db.rows import get
from tests.processes import in_child

# -------------------------------------------------------------------------------------------------------- readonly


def test_readonly_reads_and_refuses_to_write(directory: Path) -> None:
    writer = Database.open(directory)
    reader = Database.open(directory, readonly=True)
    writer.update(lambda t: t.put(REFS, b"a", b"1"))
    assert reader.readonly
    assert not writer.readonly
    assert get(reader, b"a") == b"1"
    with pytest.raises(AccessError, match="read-only"):
        reader.update(lambda t: None)
    writer.close()
    assert get(reader, b"a") == b"1"
    reader.close()


def test_a_handle_opened_readonly_is_opened_anew_for_a_writer(directory: Path) -> None:
    reader = Database.open(directory, readonly=True)
    assert get(reader, b"a") is None
    writer = Database.open(directory)
    writer.update(lambda t: t.put(REFS, b"a", b"1"))
    assert get(reader, b"a") == b"1"
    writer.close()
    reader.close()


def test_readonly_follows_a_writer_in_another_process(directory: Path) -> None:
    reader = Database.open(directory, readonly=True)

    def write() -> None:
        db = Database.open(directory)
        db.update(lambda t: t.put(REFS, b"a", b"1"))
        db.update(lambda t: t.put(NODES, b"n", bytes(2_000_000)))
        db.close()

    in_child(write)
    assert get(reader, b"a") == b"1"
    reader.close()


@pytest.fixture
def unwritable(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that this user cannot write to, as far as ``os.access`` says (the tests may run as root)."""
    access = os.access

    def denied(path: str | Path, mode: int) -> bool:
        inside = Path(path).resolve().is_relative_to(directory.resolve())
        return access(path, mode) and not (inside and mode & os.W_OK)

    monkeypatch.setattr(os, "access", denied)
    return directory


def test_where_this_user_cannot_write_it_opens_readonly_without_locks(unwritable: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in unwritable.rglob("*")}
    with pytest.warns(RuntimeWarning, match="cannot lock"):
        db = Database.open(unwritable)
    assert db.readonly
    assert get(db, b"a") is None
    with pytest.raises(AccessError):
        db.update(lambda t: None)
    db.close()
    assert {path: path.stat().st_mtime_ns for path in unwritable.rglob("*")} == before


def test_a_readonly_mount_opens(directory: Path, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    if os.geteuid() != 0 or os.system(f"mount --bind -o ro {directory} {mount} 2> /dev/null") != 0:
        # Without the right to mount, the test above stands in.
        mount.rmdir()
        shutil.copytree(directory, mount)
        mount.chmod(0o555)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            db = Database.open(mount, readonly=True)
        assert get(db, b"a") is None
        db.close()
    finally:
        os.system(f"umount {mount} 2> /dev/null")
        mount.chmod(0o755)
