"""What fsck says of files: lock files, surplus bytes, a lost run before its blobs, and large samples in little memory."""

from __future__ import annotations

import os
import shutil
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository
from hangar.blobs import verify
from hangar.db.opening import DATABASE_LOCK
from hangar.errors import CorruptionError, RevisionNotFoundError
from hangar.lock import force_release
from hangar.revisions import resolve
from tests.cli.shell import Shell
from tests.processes import Child


def fill(repo: Repository, count: int = 2_000, start: int = 0) -> str:
    writer = repo.checkout(write=True)
    if "x" not in writer:
        writer.add_ndarray_column("x", (300,), np.uint8)
    rows = np.random.default_rng(start).integers(0, 256, (count, 300), np.uint8)
    writer["x"].write(range(start, start + count), rows)
    digest = str(writer.commit(f"{count} samples"))
    writer.close()
    return digest


def inside(repo: Repository) -> Path:
    return Path(repo.path) / ".hangar"


# ---------------------------------------------------------------------------------------------------------- locks


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"made by hand")], ids=["lost", "other"]
)
def test_a_lock_file_that_keeps_every_writer_out_is_reported(repo: Repository, damage: object) -> None:
    fill(repo, 3)
    (lock,) = inside(repo).glob("lock.[0-9]*")
    damage(lock)  # type: ignore[operator]
    report = repo.fsck()
    assert [problem.kind for problem in report.problems] == ["lock"]
    assert lock.name in report.problems[0].detail
    assert "hangar writer-lock --force-release" in report.problems[0].detail
    force_release(repo.stores.db)
    assert repo.fsck().sound
    fill(repo, 3, 10)


def test_the_lock_of_the_database_is_reported(repo: Repository) -> None:
    (inside(repo) / DATABASE_LOCK).unlink()
    report = repo.fsck()
    assert [(problem.kind, problem.file) for problem in report.problems] == [("lock", DATABASE_LOCK)]
    (inside(repo) / DATABASE_LOCK).touch()
    assert repo.fsck().sound


# -------------------------------------------------------------------------------------------------------- surplus


def test_a_repository_in_order_has_no_surplus(repo: Repository) -> None:
    for start in range(0, 9_000, 1_500):
        fill(repo, 1_500, start)
    report = repo.fsck(data=True)
    assert report.sound
    assert [note for note in report.notes if note.file.startswith("blobs")] == []


def test_a_database_older_than_its_files_is_a_fact_that_is_named(repo: Repository, tmp_path: Path) -> None:
    """A copy of data.mdb that is put back is a rollback that nobody was told of."""
    fill(repo, 5)
    repo.close()
    data = inside(repo) / "db" / "data.mdb"
    shutil.copy(data, tmp_path / "copy")
    again = Repository(repo.path)
    fill(again, 2_000, 100)
    again.close()
    os.replace(tmp_path / "copy", data)
    restored = Repository(repo.path)
    report = restored.fsck(data=True)
    assert report.sound
    files = {note.file.partition("/")[0]: note.detail for note in report.notes}
    assert "and the database knows of" in files["blobs"]
    assert files["runs"] == "the database does not know this run"
    restored.close()
    shell = Shell(Path(repo.path))
    said = shell.ok("fsck")
    assert "the database is older than the files beside it" in said
    assert "put the newer data.mdb back" in said
    assert {note["file"] for note in shell.json("fsck")["notes"]} == {note.file for note in report.notes}


# ----------------------------------------------------------------------------------------------------------- runs


def test_a_damaged_run_is_named_before_the_blobs_that_it_took_along(repo: Repository) -> None:
    fill(repo)
    (run,) = (inside(repo) / "runs").iterdir()
    run.unlink()
    fresh = Repository(repo.path)
    report = fresh.fsck()
    assert report.problems[0].file == f"runs/{run.name}"
    assert report.problems[0].digest == ""
    lost = [problem for problem in report.problems if problem.digest]
    assert len(lost) == 2_000
    assert {problem.file for problem in lost} == {f"runs/{run.name}"}
    lines = Shell(Path(repo.path)).run("fsck").stdout.splitlines()
    assert len(lines) < 15
    assert "and 1,995 more problems" in "".join(lines)


# ------------------------------------------------------------------------------------------------ large samples


def resident(field: str) -> int:
    """Memory of this process in bytes: ``VmRSS``, what it has, or ``VmHWM``, the most that it had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field))) * 1024


@pytest.mark.parametrize("backend", ["10", "01"])
def test_a_large_sample_is_checked_piece_by_piece(repo: Repository, backend: str) -> None:
    """In a fraction of its size."""
    shape = (96, 1024, 1024)
    writer = repo.checkout(write=True)
    page = np.random.default_rng(0).integers(0, 256, (1024, 1024), np.uint8)
    column = writer.add_ndarray_column("large", shape, np.uint8, backend=backend)
    column[0] = np.ascontiguousarray(np.broadcast_to(page, shape))
    writer.commit("one")
    writer.close()

    def check(_: Connection) -> int:
        fresh = Repository(repo.path)
        fresh.fsck()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = resident("VmRSS")
        assert fresh.fsck(data=True).sound
        return resident("VmHWM") - before

    assert Child(check).result() < 48 * 2**20


@pytest.mark.parametrize("backend", ["10", "01"])
def test_a_flip_in_a_large_sample_is_found(repo: Repository, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_CHUNK_BYTES", 2**18)
    writer = repo.checkout(write=True)
    column = writer.add_ndarray_column("large", (1024, 1024), np.float32, backend=backend)
    column.write(range(2), np.random.default_rng(0).normal(size=(2, 1024, 1024)).astype(np.float32))
    writer.commit("two")
    writer.close()
    assert repo.fsck(data=True).sound
    (file,) = (inside(repo) / "blobs").iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 4] ^= 4
    file.write_bytes(data)
    report = Repository(repo.path).fsck(data=True)
    assert [problem.kind for problem in report.problems] == ["blob"]
    assert report.problems[0].file == f"blobs/{file.name}"
    assert "checksum" in report.problems[0].detail or "damaged" in report.problems[0].detail


# ------------------------------------------------------------------------------------------------------- revisions


def test_a_whole_digest_whose_commit_is_lost_is_damage_and_no_typing_error(repo: Repository) -> None:
    from hangar.db.tables import COMMITS, GRAPH

    digest = fill(repo, 3)
    stores = repo.stores
    mistyped = "ab" * 32
    with pytest.raises(RevisionNotFoundError):
        resolve(stores.db, stores.refs, mistyped)
    stores.db.update(lambda transaction: transaction.delete(COMMITS, bytes.fromhex(digest)))
    with pytest.raises(CorruptionError, match=f"commit {digest} is missing"):
        resolve(stores.db, stores.refs, digest)
    stores.db.update(lambda transaction: transaction.delete(GRAPH, bytes.fromhex(digest)))
    with pytest.raises(CorruptionError, match=f"commit {digest} is missing"):
        resolve(stores.db, stores.refs, digest)
    with pytest.raises(RevisionNotFoundError):
        resolve(stores.db, stores.refs, digest[:12])


def test_a_damaged_table_of_commits_is_told_where_a_whole_digest_is_not_found(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(repo, 3)
    stores = repo.stores
    monkeypatch.setattr(
        type(stores.db), "page_problems", lambda self, table=None: [f"table '{table.name}': page 7 is damaged"]
    )
    with pytest.raises(CorruptionError, match="cannot be looked up"):
        resolve(stores.db, stores.refs, "ab" * 32)


def test_the_pages_of_one_table_can_be_checked_alone(repo: Repository) -> None:
    from hangar.db.pages import TREE, PageFile, Tree, read_nodes
    from hangar.db.tables import COMMITS, REFS

    fill(repo, 3)
    repo.close()
    data = inside(repo) / "db" / "data.mdb"
    with PageFile(data) as file:
        metas = file.metas()
        assert metas is not None
        root = max(metas, key=lambda meta: meta.number).main.root
        tables = {
            row.key: Tree(*TREE.unpack(row.data))
            for row in read_nodes(file.read(root, file.page_size), root, leaf=True)
        }
        size = file.page_size
    content = bytearray(data.read_bytes())
    at = tables[b"commits"].root * size + 200
    content[at : at + size - 200] = bytes(size - 200)
    data.write_bytes(content)
    fresh = Repository(repo.path)
    db = fresh.stores.db
    assert db.page_problems(REFS) == []
    assert len(db.page_problems(COMMITS)) == 1


def test_a_damaged_location_is_told_and_the_other_blobs_are_checked(repo: Repository) -> None:
    from hangar.db import WriteTransaction
    from hangar.db.tables import LOCATIONS

    fill(repo, 2_000)
    fill(repo, 5, 3_000)

    def damage(transaction: WriteTransaction) -> None:
        key, row = next(iter(transaction.scan(LOCATIONS)))
        transaction._alive().put(key, row[:-1] + b"\0" * 9, db=transaction._tables[LOCATIONS.number])

    repo.stores.db.update(damage)
    report = Repository(repo.path).fsck(data=True)
    assert not report.sound
    assert all("table 'locations'" in problem.detail for problem in report.problems), report.problems[:3]
