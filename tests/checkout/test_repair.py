"""Writing again what the disk lost: the values in the user's hand heal the repository, under a new key and under the old one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import CorruptionError, RepairedWarning, Repository, ResourceLimitError, StorageError, _fs, limits
from hangar.checkout import WriterCheckout
from tests.blobs.test_damage import flip

SHAPE = (64, 40)


def delete(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 4)


def flip_data(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 8, len(data), 512):
        data[at] ^= 16
    with path.open("r+b") as file:
        file.write(data)


def flip_header(path: Path) -> None:
    flip(path, 20, 3)


DAMAGES = [delete, cut, flip_data, flip_header]
TAGS = ["00", "01", "10", "30", "31"]


def arrays(count: int) -> list[Any]:
    return list(np.random.default_rng(0).integers(0, 2**31, (count, *SHAPE), np.int64))


def values_for(tag: str, count: int = 12) -> list[Any]:
    if tag == "30":
        return [f"text {at} ".ljust(900, chr(97 + at)) for at in range(count)]
    if tag == "31":
        return [(b"bytes %d " % at).ljust(900, b"z") for at in range(count)]
    return arrays(count)


def add_column(writer: WriterCheckout, tag: str, *, nested: bool = False) -> Any:
    kind = {"30": "str", "31": "bytes"}.get(tag)
    if kind is not None:
        add = writer.add_str_column if kind == "str" else writer.add_bytes_column
        return add("data", contains_subsamples=nested)
    return writer.add_ndarray_column("data", SHAPE, np.int64, backend=tag, contains_subsamples=nested)


def make(path: Path, tag: str, *, nested: bool = False) -> tuple[Repository, list[Any]]:
    """A repository with one commit of some values, closed."""
    path.mkdir()
    repo = Repository(path, exists=False)
    repo.init("Ann", "ann@example.org")
    values = values_for(tag)
    with closing(repo.checkout(write=True)) as writer:
        column = add_column(writer, tag, nested=nested)
        assert column.backend == tag
        if nested:
            column.update({at: {"a": value} for at, value in enumerate(values)})
        else:
            column.write(range(len(values)), values)
        writer.commit("values")
    return repo, values


def blob_file(repo: Repository) -> Path:
    (path,) = Path(repo.path).glob(".hangar/blobs/*")
    return path


def write_one_by_one(column: Any, keys: list[int], values: list[Any]) -> None:
    for key, value in zip(keys, values, strict=True):
        column[key] = value


def write_in_block(column: Any, keys: list[int], values: list[Any]) -> None:
    with column:
        for key, value in zip(keys, values, strict=True):
            column[key] = value


def write_batch(column: Any, keys: list[int], values: list[Any]) -> None:
    column.write(keys, values)


def write_update(column: Any, keys: list[int], values: list[Any]) -> None:
    column.update(zip(keys, values, strict=True))


WAYS = [write_one_by_one, write_in_block, write_batch, write_update]


def check(path: Path, keys: list[int], values: list[Any]) -> None:
    """Read by another opening of the repository, and everything is verified."""
    repo = Repository(path)
    with repo.checkout() as reader:
        for key, value in zip(keys, values, strict=True):
            np.testing.assert_array_equal(reader["data"][key], value)
        np.testing.assert_array_equal(np.asarray(reader["data"].read(keys)), np.asarray(values))
    assert repo.verify_repo_integrity()


@pytest.mark.parametrize("way", [write_one_by_one, write_batch])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("tag", TAGS)
def test_values_that_the_disk_lost_are_stored_again(
    tmp_path: Path, tag: str, damage: Callable[[Path], None], way: Callable[[Any, list[int], list[Any]], None]
) -> None:
    repo, values = make(tmp_path / "r", tag)
    damage(blob_file(repo))
    fresh = list(range(100, 100 + len(values)))
    with closing(repo.checkout(write=True)) as writer:
        with pytest.raises(CorruptionError):
            writer["data"].read(range(len(values)))
        with pytest.warns(RepairedWarning, match="stored again"):
            way(writer["data"], fresh, values)
        np.testing.assert_array_equal(np.asarray(writer["data"].read(fresh)), np.asarray(values))
        writer.commit("again")
    # The old keys name the same content, so they read again as well.
    check(Path(repo.path), [*range(len(values)), *fresh], values * 2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("tag", TAGS)
def test_writing_the_same_value_under_its_own_key_repairs(
    tmp_path: Path, tag: str, way: Callable[[Any, list[int], list[Any]], None]
) -> None:
    """No key changes, and there is nothing to commit; the blobs are published all the same."""
    repo, values = make(tmp_path / "r", tag)
    delete(blob_file(repo))
    with closing(repo.checkout(write=True)) as writer, pytest.warns(RepairedWarning):
        way(writer["data"], list(range(len(values))), values)
    check(Path(repo.path), list(range(len(values))), values)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("tag", TAGS)
def test_damage_under_an_open_writer(
    tmp_path: Path, tag: str, damage: Callable[[Path], None], full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer has the damaged file open, to read it and to go on with it, or to begin another because it is full."""
    repo, values = make(tmp_path / "r", tag)
    path = blob_file(repo)
    with closing(repo.checkout(write=True)) as writer:
        column = writer["data"]
        more = values_for(tag, 20)[12:]
        column.write(range(12, 20), more)
        column.read(range(20))
        if full:
            monkeypatch.setattr(limits, "BLOB_FILE_BYTES", 100)
        damage(path)
        with pytest.warns(RepairedWarning):
            column.write(range(100, 120), values + more)
        other = values_for(tag, 24)[20:]
        column.write(range(20, 24), other)  # new values do not go to a file that is lost
        writer.commit("again")
    check(Path(repo.path), [*range(24), *range(100, 120)], values + more + other + values + more)


@pytest.mark.parametrize("tag", ["00", "10", "31"])
def test_nested_samples_are_repaired(tmp_path: Path, tag: str) -> None:
    repo, values = make(tmp_path / "r", tag, nested=True)
    delete(blob_file(repo))
    with closing(repo.checkout(write=True)) as writer:
        with pytest.warns(RepairedWarning):
            writer["data"].update({1000: dict(enumerate(values))})
        writer.commit("again")
    with repo.checkout() as reader:
        for at, value in enumerate(values):
            np.testing.assert_array_equal(reader["data"][at, "a"], value)
            np.testing.assert_array_equal(reader["data"][1000, at], value)
    assert repo.verify_repo_integrity()


@pytest.mark.parametrize("tag", ["00", "10"])
def test_one_damaged_blob_among_many(tmp_path: Path, tag: str) -> None:
    """Only what is damaged is stored again, and the message counts it."""
    repo, values = make(tmp_path / "r", tag)
    path = blob_file(repo)
    flip(path, path.stat().st_size // 2, 2)
    lost = 0
    with closing(repo.checkout(write=True)) as writer:
        for at in range(len(values)):
            try:
                writer["data"][at]
            except CorruptionError:
                lost += 1
        assert 0 < lost < len(values)
        with pytest.warns(RepairedWarning, match=rf"^{lost} values? stored before"):
            writer["data"].write(range(100, 112), values)
        writer.commit("again")
    check(Path(repo.path), [*range(12), *range(100, 112)], values * 2)


def test_another_process_writes_again(tmp_path: Path) -> None:
    repo, values = make(tmp_path / "r", "31")
    delete(blob_file(repo))
    code = f"""if True:
        from hangar import Repository
        with Repository({str(repo.path)!r}).checkout(write=True) as writer:
            for at in range(12):
                writer["data"][100 + at] = (b"bytes %d " % at).ljust(900, b"z")
            writer.commit("again")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "RepairedWarning: " in done.stderr
    assert "<string>" in done.stderr  # the line of the caller, and not one of Hangar
    check(Path(repo.path), [*range(12), *range(100, 112)], values * 2)


def test_a_repair_that_is_refused_leaves_what_was(tmp_path: Path) -> None:
    """Somebody who makes warnings errors gets the error before anything is written."""
    repo, values = make(tmp_path / "r", "10")
    delete(blob_file(repo))
    with closing(repo.checkout(write=True)) as writer:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(RepairedWarning):
                writer["data"][100] = values[0]
        assert 100 not in writer["data"]
        with pytest.warns(RepairedWarning):
            writer["data"][100] = values[0]
        writer.commit("again")
    with repo.checkout() as reader:
        np.testing.assert_array_equal(reader["data"][0], values[0])
        with pytest.raises(CorruptionError):
            reader["data"][1]


def test_a_file_that_goes_while_it_is_written_is_no_success(tmp_path: Path) -> None:
    """Written, deleted, then synced: the write is refused, and nothing of it is visible."""
    repo, _ = make(tmp_path / "r", "10")
    path = blob_file(repo)
    more = arrays(40)[20:]

    def write_and_delete() -> None:
        with writer["data"] as column:
            column.write(range(20, 40), more)
            path.unlink()

    writer = repo.checkout(write=True)
    with pytest.raises(StorageError, match="was deleted, cut or damaged"):
        write_and_delete()
    writer.close()
    with repo.checkout() as reader:
        assert len(reader["data"]) == 12


def test_duplicates_of_what_is_intact_are_not_stored(tmp_path: Path) -> None:
    for tag in TAGS:
        repo, values = make(tmp_path / tag, tag)
        size = blob_file(repo).stat().st_size
        with closing(repo.checkout(write=True)) as writer:
            writer["data"].write(range(100, 112), values)
            writer.commit("again")
        assert blob_file(repo).stat().st_size == size


def test_a_sector_that_cannot_be_read_is_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ann", "ann@example.org")
    large = np.random.default_rng(0).integers(0, 256, 5 * 2**20, np.uint8)

    def refuse(*arguments: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with closing(repo.checkout(write=True)) as writer:
        column = writer.add_ndarray_column("data", large.shape, np.uint8, backend="10")
        column[1] = large
        with monkeypatch.context() as patch:
            patch.setattr(os, "preadv", refuse)
            with pytest.warns(RepairedWarning, match="Input/output error"):
                column[2] = large
            patch.setattr(os, "preadv", lambda *arguments: refuse_for_memory())
            with pytest.raises(ResourceLimitError):
                column[3] = large
        np.testing.assert_array_equal(column[1], large)
        assert 3 not in column


def test_a_file_without_permission_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are stored again, so that they can be read, and no warning says that they were lost."""
    repo, values = make(tmp_path / "r", "10")
    unreadable = blob_file(repo)
    opened = _fs.open_file

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path) == unreadable:
            _fs.raise_for(PermissionError(errno.EACCES, "Permission denied"), "open", path)
        return opened(path, *arguments, **options)

    with closing(repo.checkout(write=True)) as writer, monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr("hangar._fs.open_file", refuse)
        writer["data"].change_backend("00")
        writer["data"].write([100, 101], values[:2])
        np.testing.assert_array_equal(writer["data"][100], values[0])
        writer.commit("again")
    with closing(repo.checkout()) as reader:
        np.testing.assert_array_equal(reader["data"].read(range(12)), values)
    assert repo.fsck(data=True).sound


def refuse_for_memory() -> int:
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


def test_an_import_over_what_was_lost(tmp_path: Path) -> None:
    """The same files again: without --overwrite they cannot be compared, with it they are stored again."""
    files = tmp_path / "files"
    files.mkdir()
    rng = np.random.default_rng(0)
    arrays = {f"a{at}": rng.integers(0, 2**31, SHAPE, np.int64) for at in range(3)}
    for name, array in arrays.items():
        np.save(files / f"{name}.npy", array)
    (tmp_path / "r").mkdir()
    repo = Repository(tmp_path / "r", exists=False)
    repo.init("Ann", "ann@example.org")
    with closing(repo.checkout(write=True)) as writer:
        writer.add_ndarray_column("data", SHAPE, np.int64, backend="10")
    command = [sys.executable, "-m", "hangar", "-C", str(tmp_path / "r"), "import", "data", str(files)]
    subprocess.run(command, check=True, capture_output=True)
    delete(blob_file(repo))
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 6
    assert "--overwrite stores the content of the files again" in refused.stderr
    done = subprocess.run([*command, "--overwrite"], capture_output=True, text=True, check=True)
    assert "Warning: 3 values stored before cannot be read any more" in done.stderr
    with closing(Repository(tmp_path / "r").checkout(write=True)) as writer:
        for name, array in arrays.items():
            np.testing.assert_array_equal(writer["data"][name], array)
