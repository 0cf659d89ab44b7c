"""After a purge no byte of the sample is in any file, whatever the backend; its neighbours in file and chunk read equal."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import warnings
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import PurgedError, Repository, RolledBackWarning, limits
from hangar.backends.location import FILE_MASK, FILE_ROW, Locations
from hangar.digest import digest_array
from hangar.errors import AccessError, DiskFullError
from hangar.pending_purge import is_purge_pending
from hangar.purge.plan import stored_digests
from tests.processes import child, in_child
from tests.purge.searching import files_with

SMALL, LARGE = 1_200, 700_000
CODECS: dict[str, dict[str, Any]] = {
    "10": {},
    "00": {},
    "00 raw": {"complib": None},
    "00 gzip": {"complib": "gzip"},
    "01": {},
    "30": {},
    "31": {},
}


def value(seed: int, tag: str, size: int) -> Any:
    """Half noise, half regular, so that codecs compress it."""
    noise = np.random.default_rng(seed).integers(0, 256, size // 2, np.uint8)
    data = np.concatenate([noise, np.full(size // 2, seed, np.uint8)])
    if tag == "30":
        return f"{seed}: {noise.tobytes().hex()}"
    return data.tobytes() if tag == "31" else data.view(np.uint16)


def raw(held: Any) -> bytes:
    """A stretch of the raw bytes that is in no other value."""
    if isinstance(held, str):
        return held.encode()[:400]
    return (held if isinstance(held, bytes) else held.tobytes())[:400]


def fill(repo: Repository, tag: str, options: dict[str, Any], count: int, size: int) -> None:
    with closing(repo.checkout(write=True)) as writer:
        if tag == "30":
            column: Any = writer.add_str_column("c", backend=tag)
        elif tag == "31":
            column = writer.add_bytes_column("c", backend=tag)
        else:
            column = writer.add_ndarray_column(
                "c", shape=(size // 2,), dtype="uint16", backend=tag, backend_options=options or None
            )
        column.update({key: value(key, tag, size) for key in range(count)})
        writer.commit("First")
        column[count] = value(count, tag, size)
        writer.commit("Second")


def stored_form(repo: Repository, key: int) -> bytes:
    """The bytes that the data file has for a sample: its own, or the chunk that it is in."""
    stores = repo.stores
    words = stores.blobs.locate(digest_array(stored_digests(stores, "c", key))).words
    place, file_id = Locations(words), int(words[0, FILE_ROW] & FILE_MASK)
    (path,) = (Path(repo.path) / ".hangar" / "blobs").glob(f"{file_id:08x}.*")
    start = int(place.offset[0])
    return path.read_bytes()[start : start + int(place.length[0])]


def check_others(repo: Repository, tag: str, keys: range, size: int, gone: set[int]) -> None:
    with closing(repo.checkout()) as co:
        for key in keys:
            if key in gone:
                with pytest.raises(PurgedError):
                    co["c"][key]
            else:
                assert np.array_equal(co["c"][key], value(key, tag, size))
    assert repo.fsck(data=True).sound


@pytest.mark.parametrize(("count", "size"), [(40, SMALL), (3, LARGE)], ids=["small", "large"])
@pytest.mark.parametrize("codec", CODECS)
def test_every_backend(repo: Repository, codec: str, count: int, size: int) -> None:
    tag = codec[:2]
    fill(repo, tag, CODECS[codec], count, size)
    first = repo.rev_parse("master~1")
    needles = stored_form(repo, 1), raw(value(1, tag, size))
    assert files_with(Path(repo.path), needles[0]) != []
    assert repo.purge("c", [1, count], reason="").unfinished == ()
    assert files_with(Path(repo.path), *needles, raw(value(count, tag, size))) == []
    check_others(repo, tag, range(count + 1), size, {1, count})
    assert repo.rev_parse("master~1") == first


def test_old_copies_that_a_conversion_left(repo: Repository) -> None:
    """A reader has the old file open, so that the conversion could not remove it."""
    fill(repo, "10", {}, 20, SMALL)
    path = repo.path
    repo.close()

    def read(talk: Connection) -> None:
        with Repository(path) as other, closing(other.checkout()) as co:
            before = co["c"][1]
            talk.send("open")
            assert talk.recv() == "purged"
            seen = []
            for _ in range(3):
                try:
                    seen.append(co["c"][1])
                except PurgedError:
                    seen.append(None)
            assert all(one is None or np.array_equal(one, before) for one in seen)
            assert np.array_equal(co["c"].read([0, 2]), [value(0, "10", SMALL), value(2, "10", SMALL)])

    with child(read) as process:
        assert process.receive() == "open"
        with Repository(path) as repo:
            repo.convert_backend("c", "00", {"complib": None})
            assert len(files_with(Path(path), raw(value(1, "10", SMALL)))) >= 1
            assert repo.purge("c", 1, reason="").unfinished == ()
            assert files_with(Path(path), raw(value(1, "10", SMALL))) == []
            process.send("purged")
            process.result()
            check_others(repo, "10", range(21), SMALL, {1})


def test_what_killed_writers_left(repo: Repository) -> None:
    """Bytes behind the recorded end of a file, and files that no row names."""
    fill(repo, "10", {}, 5, SMALL)
    path = repo.path
    repo.close()

    def die(talk: Connection) -> None:
        with Repository(path) as other:
            writer = other.checkout(write=True)
            big = writer.add_ndarray_column("other", shape=(SMALL // 2,), dtype="uint16", backend="00")
            writer.__enter__()
            for _ in range(2):
                column = writer["c"]
                column.update({100 + i: value(100 + i, "10", SMALL) for i in range(50)})
                big.update({i: value(200 + i, "00", SMALL) for i in range(50)})
            os.kill(os.getpid(), signal.SIGKILL)

    with child(die) as process:
        process.wait()
    secret = raw(value(110, "10", SMALL))
    assert files_with(Path(path), secret) != []
    with Repository(path) as repo:
        with closing(repo.checkout(write=True)) as writer:
            writer["c"][110] = value(110, "10", SMALL)
        repo.purge("c", 110, reason="")
        assert files_with(Path(path), secret) == []
        check_others(repo, "10", range(6), SMALL, set())


def test_files_that_were_kept_for_a_newer_database(repo: Repository, tmp_path: Path) -> None:
    fill(repo, "10", {}, 5, SMALL)
    path, held = Path(repo.path), tmp_path.parent / f"{tmp_path.name}.old"
    repo.close()
    database = path / ".hangar" / "db" / "data.mdb"
    shutil.copy(database, held)

    def write(seeds: range) -> None:
        with Repository(path) as other, closing(other.checkout(write=True)) as writer:
            writer["c"].update({key: value(key, "10", SMALL) for key in seeds})
            writer.commit("More")

    in_child(lambda: write(range(10, 20)))
    shutil.copy(held, database)
    held.unlink()

    def go_on() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RolledBackWarning)
            write(range(12, 14))

    in_child(go_on)
    secret = raw(value(12, "10", SMALL)), raw(value(15, "10", SMALL))
    assert len(files_with(path, secret[0])) == 2
    with Repository(path) as repo:
        repo.purge("c", [0, 12], reason="")
        assert files_with(path, raw(value(0, "10", SMALL)), *secret) == []
        check_others(repo, "10", range(6), SMALL, {0})
        assert not [note for note in repo.fsck().notes if note.kind == "kept"]


def test_cache_files(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SAVED_TABLE_ENTRIES", 100)
    fill(repo, "10", {}, 200, 64)
    cache = Path(repo.path) / ".hangar" / "cache"
    with closing(repo.checkout()) as co:
        for _ in range(3):
            co["c"].read(range(150))
    assert list(cache.glob("*.table"))
    repo.purge("c", 3, reason="")
    assert list(cache.glob("*.table")) == []
    with closing(repo.checkout()) as co:
        for _ in range(3):
            assert np.array_equal(co["c"].read([5, 6]), [value(5, "10", 64), value(6, "10", 64)])
        with pytest.raises(PurgedError):
            co["c"].read(range(150))


def test_values_of_every_size_in_one_column(repo: Repository) -> None:
    """Bytes up to 64 lie inline, longer ones in a file."""
    held = {n: bytes([n % 251]) * 3 + os.urandom(n) for n in (0, 10, 61, 62, 63, 200, 70_000, 3_000_000)}
    with closing(repo.checkout(write=True)) as writer:
        writer.add_bytes_column("c").update(held)
        writer.commit("First")
    chosen = [10, 61, 62, 70_000, 3_000_000]
    repo.purge("c", chosen, reason="", rewrite_history=True)
    assert files_with(Path(repo.path), *(held[n][:300] for n in chosen)) == []
    with closing(repo.checkout()) as co:
        assert {n: co["c"][n] for n in (0, 63, 200)} == {n: held[n] for n in (0, 63, 200)}
        assert list(co["c"]) == [0, 62, 63, 200, 70_000, 3_000_000]


def test_a_full_disk(repo: Repository) -> None:
    """The purge has taken effect, and goes on when there is room; nothing else is lost."""
    fill(repo, "10", {}, 3, LARGE)
    path = Path(repo.path)
    repo.close()
    room = (path / ".hangar" / "db" / "data.mdb").stat().st_size + LARGE // 2

    def purge() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        with Repository(path) as other, pytest.raises(DiskFullError):
            other.purge("c", 1, reason="")

    in_child(purge)
    with Repository(path) as repo:
        assert is_purge_pending(repo.stores.db)
        assert len(repo.list_purged()) == 1
        with closing(repo.checkout()) as co:
            assert np.array_equal(co["c"][2], value(2, "10", LARGE))
        assert repo.continue_purge() == ()
        assert files_with(path, raw(value(1, "10", LARGE))) == []
        check_others(repo, "10", range(4), LARGE, {1})


def test_a_read_only_repository(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(repo, "10", {}, 3, SMALL)
    repo.close()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and not mode & os.W_OK)
    with pytest.warns(RuntimeWarning, match="cannot lock"):
        assert repo.purge("c", 1, reason="", dry_run=True).commits
    with pytest.raises(AccessError):
        repo.purge("c", 1, reason="")
    assert repo.list_purged() == []
