from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hangar import _fs
from hangar.errors import (
    AccessError,
    DiskFullError,
    HangarError,
    PathNotFoundError,
    ResourceLimitError,
    StorageError,
)
from tests.processes import child


class Events:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def point(self, name: str) -> None:
        self.seen.append(name)

    def synced_file(self, path: str) -> None:
        self.seen.append(f"file {os.path.basename(path)}")

    def synced_directory(self, path: str) -> None:
        self.seen.append(f"directory {os.path.basename(path)}")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    observer = Events()
    monkeypatch.setattr(_fs, "observer", observer)
    return observer.seen


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """What was given to ``os.fsync``: whether it was a directory, and its inode."""
    calls: list[tuple[bool, int]] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        status = os.fstat(descriptor)
        calls.append((stat.S_ISDIR(status.st_mode), status.st_ino))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return calls


def inode(path: Path) -> int:
    return path.stat().st_ino


# --------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize(
    "buffers",
    [
        [],
        [b""],
        [b"abc", b"", bytearray(b"defg"), memoryview(b"xhix")[1:3]],
        [np.arange(12, dtype="<f8").reshape(3, 4), np.zeros((0, 5), np.int16), np.array(7, np.uint8)],
        [bytes((i % 256,)) * (i % 7) for i in range(5_000)],
        [b"x" * 10_000_000],
    ],
)
def test_buffers_are_written_one_after_the_other(tmp_path: Path, buffers: list[bytes]) -> None:
    descriptor = _fs.create_file(tmp_path / "file")
    expected = b"".join(memoryview(buffer).tobytes() for buffer in buffers)
    assert _fs.write_at(descriptor, buffers, 5, tmp_path / "file") == len(expected)
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == (b"\0" * 5 + expected if expected else b"")


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwritev", lambda fd, views, offset: pwrite(fd, b"".join(views)[:3], offset))
    descriptor = _fs.create_file(tmp_path / "file")
    assert _fs.write_at(descriptor, [b"a", b"bcdefgh", b"", b"ij", b"k"], 0, tmp_path / "file") == 11
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"abcdefghijk"


def test_large_writes_are_made_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends at a multiple of 512 KiB in the file: larger ones cost a multiple of the processor time."""
    pwritev = os.pwritev
    ends: list[int] = []

    def counted(descriptor: int, views: list[memoryview], offset: int) -> int:
        ends.append(offset + sum(view.nbytes for view in views))
        return pwritev(descriptor, views, offset)

    monkeypatch.setattr(os, "pwritev", counted)
    descriptor = _fs.create_file(tmp_path / "file")
    buffers = [bytes([at]) * size for at, size in enumerate((70_000, 2_000_000, 1, 600_000, 3, 500_000))]
    assert _fs.write_at(descriptor, buffers, 100, tmp_path / "file") == 3_170_004
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"\0" * 100 + b"".join(buffers)
    assert ends == [*range(2**19, 3_170_104, 2**19), 3_170_104]


def test_a_buffer_that_is_not_contiguous_is_refused(tmp_path: Path) -> None:
    descriptor = _fs.create_file(tmp_path / "file")
    with pytest.raises((TypeError, BufferError)):
        _fs.write_at(descriptor, [memoryview(b"abcdefgh")[::2]], 0, tmp_path / "file")
    os.close(descriptor)


def test_files_are_not_inherited_by_programs(tmp_path: Path) -> None:
    made = _fs.create_file(tmp_path / "file")
    opened = _fs.open_file(tmp_path / "file")
    for descriptor in (made, opened):
        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        os.close(descriptor)


def test_open_file_is_readonly_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    descriptor = _fs.open_file(tmp_path / "file")
    with pytest.raises(StorageError):
        _fs.write_at(descriptor, [b"x"], 0, tmp_path / "file")
    os.close(descriptor)
    descriptor = _fs.open_file(tmp_path / "file", write=True)
    _fs.write_at(descriptor, [b"x"], 1, tmp_path / "file")
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"axc"


# --------------------------------------------------------------------------------------------------------- durable


def test_write_new_file(tmp_path: Path, synced: list[tuple[bool, int]], events: list[str]) -> None:
    _fs.write_new_file(tmp_path / "file", [b"abc", b"def"])
    assert (tmp_path / "file").read_bytes() == b"abcdef"
    assert synced == [(False, inode(tmp_path / "file")), (True, inode(tmp_path))]
    assert events == [
        "fs.create_file.before",
        "fs.create_file.after",
        "fs.write_at.before",
        "fs.write_at.after",
        "fs.sync_file.before",
        "file file",
        "fs.sync_file.after",
        "fs.sync_directory.before",
        f"directory {tmp_path.name}",
        "fs.sync_directory.after",
    ]


def test_write_new_file_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(StorageError) as caught:
        _fs.write_new_file(tmp_path / "file", [b"new"])
    assert caught.value.errno == errno.EEXIST
    assert (tmp_path / "file").read_bytes() == b"old"


def test_replace_file(tmp_path: Path, synced: list[tuple[bool, int]], events: list[str]) -> None:
    _fs.replace_file(tmp_path / "file", b"one")
    _fs.replace_file(str(tmp_path / "file"), b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"two")]
    assert [is_directory for is_directory, _ in synced] == [False, True, False, True]
    assert synced[2] == (False, inode(tmp_path / "file"))
    moved = events.index("fs.replace_file.before")
    assert events.index("fs.sync_file.after") < moved < events.index("fs.replace_file.after") < len(events) - 1
    assert events[-1] == "fs.sync_directory.after"


def test_a_reader_sees_the_old_or_the_new_file(tmp_path: Path) -> None:
    _fs.replace_file(tmp_path / "file", b"0" * 50_000)

    def replace() -> None:
        for digit in range(100):
            _fs.replace_file(tmp_path / "file", b"%d" % (digit % 10) * 50_000)

    with child(lambda _: replace()) as process:
        while process.poll() is None:
            content = (tmp_path / "file").read_bytes()
            assert len(content) == 50_000
            assert len(set(content)) == 1
        process.result()


def test_remove_file(tmp_path: Path, synced: list[tuple[bool, int]]) -> None:
    (tmp_path / "file").touch()
    _fs.remove_file(tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert synced == [(True, inode(tmp_path))]
    with pytest.raises(PathNotFoundError, match="file"):
        _fs.remove_file(tmp_path / "file")


def test_make_directory(tmp_path: Path, synced: list[tuple[bool, int]]) -> None:
    for _ in range(2):
        _fs.make_directory(tmp_path / "made")
        assert (tmp_path / "made").is_dir()
        assert synced.pop() == (True, inode(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        _fs.make_directory(tmp_path / "file")


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _fs.write_new_file("one", [b"1"])
    _fs.replace_file("one", b"2")
    _fs.make_directory("two")
    _fs.remove_file("one")
    assert [path.name for path in tmp_path.iterdir()] == ["two"]


def test_a_failed_sync_is_an_error_and_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(os, "fsync", fail)
    operations: list[Callable[[], object]] = [
        lambda: _fs.write_new_file(tmp_path / "file", [b"abc"]),
        lambda: _fs.replace_file(tmp_path / "file", b"abc"),
        lambda: _fs.sync_directory(tmp_path),
    ]
    for operation in operations:
        with pytest.raises(StorageError, match="cannot sync") as caught:
            operation()
        assert caught.value.errno == errno.EIO
        assert len(calls) == 1
        calls.clear()
        assert list(tmp_path.iterdir()) == []


def test_a_new_file_whose_name_is_not_safe_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "no")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError):
        _fs.write_new_file(tmp_path / "file", [b"abc"])
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------------------- errors


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_what_was(tmp_path: Path, file_size_limit: Callable[[int], None]) -> None:
    (tmp_path / "old").write_bytes(b"old")
    file_size_limit(1000)
    operations: list[Callable[[], object]] = [
        lambda: _fs.write_new_file(tmp_path / "new", [b"x" * 600, b"x" * 600]),
        lambda: _fs.replace_file(tmp_path / "old", b"x" * 1200),
    ]
    for operation in operations:
        with pytest.raises(DiskFullError, match="free space and try again") as caught:
            operation()
        assert caught.value.errno == errno.EFBIG
    file_size_limit(resource.RLIM_INFINITY)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("old", b"old")]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EFBIG, DiskFullError),
        (errno.EACCES, AccessError),
        (errno.EPERM, AccessError),
        (errno.EROFS, AccessError),
        (errno.ENOENT, PathNotFoundError),
        (errno.EIO, StorageError),
        (errno.EMFILE, ResourceLimitError),
        (errno.ENFILE, ResourceLimitError),
        (errno.ENOMEM, ResourceLimitError),
    ],
)
def test_each_error_has_its_class_and_keeps_its_number(number: int, expected: type[HangarError]) -> None:
    with pytest.raises(expected, match="cannot move it/there") as caught:
        _fs.raise_for(OSError(number, "reason"), "move", "it/there")
    assert type(caught.value) is expected
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == number
    assert os.strerror(number) in str(caught.value)


def test_missing_paths(tmp_path: Path) -> None:
    operations: list[Callable[[], object]] = [
        lambda: _fs.open_file(tmp_path / "nothing"),
        lambda: _fs.create_file(tmp_path / "nothing" / "file"),
        lambda: _fs.sync_directory(tmp_path / "nothing"),
        lambda: _fs.make_directory(tmp_path / "nothing" / "below"),
    ]
    for operation in operations:
        with pytest.raises(PathNotFoundError, match="nothing"):
            operation()


# ----------------------------------------------------------------------------------------------------------- locks


def test_locks_are_shared_or_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    one, two, three = (_fs.open_file(tmp_path / "lock") for _ in range(3))
    assert _fs.try_lock(one, shared=True)
    assert _fs.try_lock(two, shared=True)
    assert not _fs.try_lock(three, shared=False)
    _fs.unlock(one)
    assert not _fs.try_lock(three, shared=False)
    os.close(two)
    assert _fs.try_lock(three, shared=False)
    assert not _fs.try_lock(one, shared=True)
    os.close(one)
    os.close(three)


def test_a_lock_that_cannot_be_taken_at_all_is_an_error() -> None:
    with pytest.raises(StorageError, match="lock"):
        _fs.try_lock(10_000, shared=True)


# ---------------------------------------------------------------------------------------------------- crash points


def test_every_point_has_a_name_of_its_kind() -> None:
    points = {point for point in _fs.points if point.startswith("fs.")}
    assert points
    for point in points:
        function, when = point.removeprefix("fs.").split(".")
        assert callable(getattr(_fs, function))
        assert when in ("before", "after")


def test_points_are_reported_only_to_an_observer(events: list[str]) -> None:
    _fs.crash_point("here")
    _fs.report_file_sync(Path("some/file"))
    assert events == ["here", "file file"]
    _fs.observer = None
    _fs.crash_point("here")
    _fs.report_file_sync("file")
    assert len(events) == 2
