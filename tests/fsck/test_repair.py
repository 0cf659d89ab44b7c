"""What a repair restores: each damage is found, repaired, and the repository is what it was, or the rest is named.

``fsck`` after a repair is the judge, and everything is read and compared.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

from hangar import CorruptionError, Repository, SampleNotFoundError, limits
from hangar.db.tables import (
    COMMITS,
    CONFLICTS,
    FILES,
    GRAPH,
    HEADERS,
    LOCATIONS,
    META,
    NODES,
    REFLOG,
    REFS,
    SCHEMAS,
    STAGING,
    TABLES,
    TOMBSTONES,
    Table,
)
from hangar.digest import Digest
from hangar.fsck import FsckReport
from hangar.objects.walk import walk
from tests.crash import past
from tests.crash.world import comparable


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flat and nested columns, in three backends and in the tree, two branches, a tag, changes staged."""
    path = tmp_path_factory.mktemp("whole") / "repo"
    path.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "RUN_BLOBS", 100)
        fill(path)
    return path


def fill(path: Path) -> None:
    repo = Repository(path, exists=False)
    repo.init("Ada", "ada@example.org")
    source = np.random.default_rng(0)
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("image", (20, 15), np.uint8, backend="10").write(
        range(300), source.integers(0, 256, (300, 20, 15), np.uint8)
    )
    writer.add_ndarray_column("packed", (300,), np.uint8, backend="00").write(
        range(40), source.integers(0, 4, (40, 300), np.uint8)
    )
    writer.add_ndarray_column("label", (), np.int64).write(range(6_500), np.arange(6_500))
    boxes = writer.add_ndarray_column("boxes", (4,), np.float32, contains_subsamples=True)
    for i in range(500):
        boxes[i] = {j: np.full(4, i + j, np.float32) for j in range(1 + i % 3)}
    writer.add_str_column("text").write([f"t{i}" for i in range(60)], [f"{i} " * (1 + i % 2 * 60) for i in range(60)])
    writer.commit("one")
    for i in range(4):
        writer["label"][i * 1_500] = np.int64(-i)
        writer["image"][i] = source.integers(0, 256, (20, 15), np.uint8)
        writer.commit(f"more {i}")
    repo.create_branch("side", "master~2")
    writer["label"][77] = np.int64(5)
    writer["image"][77] = np.zeros((20, 15), np.uint8)
    writer["text"]["staged"] = "staged " * 30
    writer.close()
    repo.close()


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "repo")
    return tmp_path / "repo"


def content(path: Path) -> dict[str, Any]:
    """All that is committed and staged, and the heads of branches."""
    with Repository(path) as repo:
        found: dict[str, Any] = {name: repo.rev_parse(name) for name in repo.list_branches()}
        found["head"] = repo.head()
        for name in repo.list_branches():
            for digest in repo.log(branch=name, return_contents=True)["order"]:  # type: ignore[index]
                found[digest] = read(repo.checkout(commit=digest))
        with repo.checkout(write=True) as writer:
            found["staged"] = read(writer)
        writer.close()
    return found


def read(checkout: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in checkout:
        column = checkout[name]
        nested = name == "boxes"
        found[name] = {
            key: {sub: comparable(one) for sub, one in value.items()} if nested else comparable(value)
            for key, value in column.items()
        }
    return found


@pytest.fixture(scope="module")
def truth(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    copy = tmp_path_factory.mktemp("truth") / "repo"
    shutil.copytree(template, copy)
    return content(copy)


def repaired(path: Path, *, data: bool = False) -> FsckReport:
    """Damage is found and repaired; a second repair has nothing to do."""
    with Repository(path) as repo:
        assert not repo.fsck(data=data).sound
    with Repository(path) as repo:
        report = repo.fsck(data=data, repair=True)
    assert report.repaired
    with Repository(path) as repo:
        assert repo.fsck(data=True, repair=True).repaired == ()
        left = repo.fsck(data=True)
    assert left.problems == report.problems
    return report


def change_rows(path: Path, table: Table, change: Callable[[bytes, bytes], Any], most: int | None = None) -> int:
    """Change stored rows beneath all checks; None deletes a row. How many were changed."""
    changed = 0
    with lmdb.open(str(path / ".hangar" / "db"), max_dbs=64) as environment:
        handle = environment.open_db(table.name.encode(), create=False)
        with environment.begin(handle, write=True) as transaction:
            for key, row in list(transaction.cursor()):
                new = change(key, row)
                if new == row or (most is not None and changed >= most):
                    continue
                changed += 1
                transaction.delete(key)
                if new is not None:
                    transaction.put(key, new)
    return changed


def flipped(row: bytes, at: int = 5) -> bytes:
    at %= len(row)
    return row[:at] + bytes([row[at] ^ 16]) + row[at + 1 :]


def ruined(row: bytes) -> bytes:
    return bytes(byte ^ 0x5A for byte in row)


@pytest.mark.parametrize("table", [table for table in TABLES if table.name], ids=lambda table: table.name)
def test_a_flipped_bit_in_any_row_is_corrected(place: Path, truth: dict[str, Any], table: Table) -> None:
    if not change_rows(place, table, lambda _, row: flipped(row, len(row) // 2), most=3):
        return
    report = repaired(place)
    assert report.sound, report.problems
    assert content(place) == truth


def test_every_bit_that_is_flipped_in_a_key_is_corrected(place: Path, truth: dict[str, Any]) -> None:
    with lmdb.open(str(place / ".hangar" / "db"), max_dbs=64) as environment:
        handle = environment.open_db(b"refs", create=False)
        with environment.begin(handle, write=True) as transaction:
            row = transaction.pop(b"heads/side")
            assert row is not None
            transaction.put(b"heads/sidd", row)
    report = repaired(place)
    assert report.sound, report.problems
    assert content(place) == truth


@pytest.mark.parametrize("table", [REFS, REFLOG, GRAPH, META, HEADERS, FILES], ids=lambda table: table.name)
@pytest.mark.parametrize("how", [ruined, lambda row: None], ids=["ruined", "lost"])
def test_rows_that_can_be_derived_are_written_again(
    place: Path, truth: dict[str, Any], table: Table, how: Callable[[bytes], bytes | None]
) -> None:
    kept = (b"heads/side", b"r", b"backend/", b"configuration")
    skipped = kept if table in (FILES, META) else ()
    if table is META and how(b"") is None:
        skipped = (*skipped, b"publish", b"next", b"rows")
    assert change_rows(place, table, lambda key, row: row if key.startswith(skipped) else how(row))
    if table is HEADERS:
        expected = {key: value for key, value in truth.items() if key != "x"}
    with Repository(place) as repo:
        if repo.fsck().sound:  # rows of `graph` are only missed when they are wrong
            assert table is GRAPH
            return
    report = repaired(place)
    assert report.sound, report.problems
    expected = content(place)
    assert expected == truth


def test_a_lost_branch_comes_back_from_the_reflog(place: Path, truth: dict[str, Any]) -> None:
    change_rows(place, REFS, lambda key, row: None if key.startswith(b"heads/") else row)
    report = repaired(place)
    assert report.sound, report.problems
    assert {repair.kind for repair in report.repaired} >= {"table", "ref"}
    assert content(place) == truth


@pytest.mark.parametrize("level", [1, 2])
def test_inner_nodes_are_built_again_from_their_children(place: Path, truth: dict[str, Any], level: int) -> None:
    with Repository(place) as repo:
        nodes = inner_nodes(repo, level)
    assert nodes
    change_rows(place, NODES, lambda key, row: None if key in nodes else row)
    report = repaired(place)
    assert report.sound, report.problems[:3]
    assert content(place) == truth


def inner_nodes(repo: Repository, level: int) -> set[bytes]:
    stores = repo.stores
    found: set[bytes] = set()
    from hangar.history.roots import live_roots
    from hangar.objects.graph import ancestors

    seen: set[Digest] = set()
    for _, commit in ancestors(stores.db, live_roots(stores).commits):
        for entry in commit.columns:
            if entry.root is not None:
                found.update(digest for digest, node in walk(stores.nodes, entry.root, seen) if node.level == level)
    return found


def test_a_lost_leaf_is_named_by_commit_column_and_samples(place: Path) -> None:
    with Repository(place) as repo:
        stores = repo.stores
        entry = next(one for one in commit_of(repo, "master").columns if one.name == "label")
        leaf, node = [pair for pair in walk(stores.nodes, entry.root) if not pair[1].level][1]
    change_rows(place, NODES, lambda key, row: None if key == leaf else row)
    with Repository(place) as repo:
        report = repo.fsck(repair=True)
    problem = next(one for one in report.problems if one.digest == leaf.hex())
    assert problem.places >= 2
    use = problem.uses[0]
    assert (use.column, use.entries) == ("label", len(node.keys))
    assert use.after is not None
    assert isinstance(use.sample, int)
    assert use.sample - use.after[0] == len(node.keys)  # type: ignore[operator]
    assert {rescue.branch for rescue in report.rescues} <= {"master", "side"}


def commit_of(repo: Repository, name: str) -> Any:
    from hangar.objects.records import load_commit

    return load_commit(repo.stores.db, Digest(bytes.fromhex(repo.rev_parse(name))))


def test_the_newest_whole_commit_is_given(place: Path) -> None:
    with Repository(place) as repo:
        newest, before = (repo.rev_parse(f"master~{i}") for i in (0, 1))
        new = commit_of(repo, "master").columns
        old = commit_of(repo, "master~1").columns
        changed = next(b for a, b in zip(old, new, strict=True) if b.name == "label" and a.root != b.root)
    change_rows(place, NODES, lambda key, row: ruined(row) if key == changed.root else row)
    with Repository(place) as repo:
        report = repo.fsck()
    rescue = next(one for one in report.rescues if one.branch == "master")
    assert (rescue.commit, rescue.behind) == (before, 1)
    assert newest != before


@pytest.mark.parametrize("table", [COMMITS, SCHEMAS], ids=lambda table: table.name)
def test_what_cannot_be_restored_is_left_and_named(place: Path, table: Table) -> None:
    change_rows(place, table, lambda _, row: ruined(row), most=1)
    report = repaired_in_part(place)
    assert {problem.kind for problem in report.problems} & {"commit", "schema", "node", "blob"}


def repaired_in_part(path: Path) -> FsckReport:
    with Repository(path) as repo:
        assert not repo.fsck().sound
    with Repository(path) as repo:
        report = repo.fsck(repair=True)
        assert not report.sound
    return report


def test_a_damaged_location_is_taken_from_an_older_run(place: Path, truth: dict[str, Any]) -> None:
    """As a conversion leaves the old file and its run while a reader has them open."""
    shutil.copytree(place / ".hangar", place / "before")
    with Repository(place) as repo:
        repo.convert_backend("image", "01")
    for name in ("blobs", "runs"):
        for file in (place / "before" / name).iterdir():
            if not (place / ".hangar" / name / file.name).exists():
                shutil.copy(file, place / ".hangar" / name)
    files = sorted((place / ".hangar" / "blobs").glob("*.01"))
    assert files
    for file in files:
        file.unlink()
    with Repository(place) as repo:
        before = sum(problem.kind == "blob" for problem in repo.fsck(data=True).problems)
    report = repaired(place, data=True)
    left = [problem for problem in report.problems if problem.kind == "blob"]
    # Those written one by one had rows in the table, which the conversion replaced.
    assert before > 300 > 10 > len(left)
    assert all(problem.uses for problem in left)


def test_lost_locations_are_found_in_a_run_that_the_database_does_not_know(place: Path, truth: dict[str, Any]) -> None:
    runs = len(list((place / ".hangar" / "runs").iterdir()))
    assert runs
    change_rows(place, FILES, lambda key, row: None if key.startswith(b"r") else row)
    report = repaired(place)
    assert report.sound, report.problems[:3]
    assert content(place) == truth


def test_a_writer_removes_no_file_whose_row_was_lost(place: Path) -> None:
    before = sorted((place / ".hangar" / "runs").iterdir()) + sorted((place / ".hangar" / "blobs").iterdir())
    change_rows(place, FILES, lambda key, row: None)
    with Repository(place) as repo:
        writer = repo.checkout(write=True)
        with pytest.raises(RuntimeError, match="hangar fsck"):
            writer["image"][5_000] = np.full((20, 15), 3, np.uint8)
        writer.close()
    assert all(path.exists() for path in before)


def test_a_flipped_bit_in_a_raw_file_is_corrected(place: Path, truth: dict[str, Any]) -> None:
    for file in (place / ".hangar" / "blobs").glob("*.10"):
        data = bytearray(file.read_bytes())
        for at in range(400, len(data), len(data) // 20):
            data[at] ^= 1 << at % 8
        file.write_bytes(data)
    report = repaired(place, data=True)
    assert report.sound, report.problems[:3]
    assert any("corrected a flipped bit" in repair.detail for repair in report.repaired)
    assert content(place) == truth


def test_a_flipped_bit_in_a_run_leaves_the_other_locations(place: Path, truth: dict[str, Any]) -> None:
    file = max((place / ".hangar" / "runs").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[-20] ^= 4
    file.write_bytes(data)
    report = repaired(place, data=True)
    assert len(report.problems) <= 2
    assert not file.exists()
    assert any(repair.kept.endswith(file.name) for repair in report.repaired)


def test_staged_rows_of_which_the_rest_is_sound_stay_staged(place: Path, truth: dict[str, Any]) -> None:
    change_rows(place, STAGING, lambda key, row: ruined(row) if b"staged" in key else row)
    report = repaired(place)
    assert report.sound, report.problems
    found = content(place)
    assert "staged" not in found["staged"]["text"]
    assert found["staged"]["label"] == truth["staged"]["label"]
    kept = next(repair.kept for repair in report.repaired if repair.kept)
    assert b"staged".hex() in (place / ".hangar" / kept).read_text()


def test_a_lost_head_of_the_staging_area_is_written_again(place: Path, truth: dict[str, Any]) -> None:
    change_rows(place, STAGING, lambda key, row: ruined(row) if key == b"\x00" else row)
    report = repaired(place)
    assert report.sound, report.problems
    assert content(place) == truth


def test_many_random_damages_never_break_the_repair(template: Path, tmp_path: Path) -> None:
    """Whatever is damaged: the repair ends, a second one finds nothing more to do, and files are moved, not deleted."""
    source = random.Random(7)
    for turn in range(6):
        path = tmp_path / f"repo{turn}"
        shutil.copytree(template, path)
        for _ in range(source.randrange(1, 4)):
            table = source.choice([table for table in TABLES if table.name not in ("nodes", "commits")])
            how = source.choice([flipped, ruined, lambda row: None])
            change_rows(path, table, lambda _, row, how=how: how(row) if source.random() < 0.3 else row)  # type: ignore[misc]
        with Repository(path) as repo:
            before = repo.fsck(data=True)
        with Repository(path) as repo:
            report = repo.fsck(data=True, repair=True)
            assert len(report.problems) <= len(before.problems) or before.sound
        with Repository(path) as repo:
            assert repo.fsck(data=True, repair=True).repaired == (), (turn, report.problems)


def test_mutated_locations_rows_are_no_reason_to_lose_blobs(place: Path) -> None:
    if not change_rows(place, LOCATIONS, lambda _, row: ruined(row), most=2):
        pytest.fail("there are no rows of locations")
    with Repository(place) as repo:
        report = repo.fsck(repair=True, data=True)
    lost = [problem for problem in report.problems if problem.kind == "blob"]
    assert len(lost) == len(report.problems) <= 2
    assert all(problem.uses for problem in lost)


@pytest.fixture(scope="module")
def past_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("past") / "repo"
    path.mkdir()
    past.fill(path)
    return path


@pytest.mark.parametrize("table", [REFS, CONFLICTS, TOMBSTONES, STAGING], ids=lambda table: table.name)
def test_a_flipped_bit_in_any_record_of_history_is_corrected(past_template: Path, tmp_path: Path, table: Table) -> None:
    """Tags, a stash, tombstones and conflicts."""
    shutil.copytree(past_template, tmp_path / "repo")
    before = past.read_all(tmp_path / "repo")
    assert change_rows(tmp_path / "repo", table, lambda _, row: flipped(row, len(row) // 2))
    report = repaired(tmp_path / "repo")
    assert report.sound, report.problems
    assert past.read_all(tmp_path / "repo") == before


def test_tags_and_stashes_come_back_from_the_reflog(past_template: Path, tmp_path: Path) -> None:
    shutil.copytree(past_template, tmp_path / "repo")
    before = past.read_all(tmp_path / "repo")
    change_rows(tmp_path / "repo", REFS, lambda key, row: None if key.startswith((b"tags/", b"stash/")) else row)
    report = repaired(tmp_path / "repo")
    assert report.sound, report.problems
    after = past.read_all(tmp_path / "repo")
    assert [(tag.name, tag.digest) for tag in after["tags"]] == [(tag.name, tag.digest) for tag in before["tags"]]
    assert [stash.digest for stash in after["stashes"]] == [stash.digest for stash in before["stashes"]]
    assert after["conflicts"] == before["conflicts"]


def test_a_damaged_conflict_that_cannot_be_corrected_is_named(past_template: Path, tmp_path: Path) -> None:
    shutil.copytree(past_template, tmp_path / "repo")
    change_rows(tmp_path / "repo", CONFLICTS, lambda key, row: ruined(row) if key[:1] == b"\x01" else row, most=1)
    with Repository(tmp_path / "repo") as repo:
        repo.fsck(repair=True)
    with Repository(tmp_path / "repo") as repo:
        assert {problem.kind for problem in repo.fsck().problems} <= {"conflict"}
        repo.merge_abort()
        assert repo.fsck(data=True).sound


@pytest.mark.parametrize("lost", ["head of the conflicts", "conflict", "column", "entry", "damaged entry"])
def test_a_merge_that_lost_rows_cannot_be_committed(past_template: Path, tmp_path: Path, lost: str) -> None:
    """Else the merge commit would silently lack changes of one side."""
    shutil.copytree(past_template, tmp_path / "repo")
    table = CONFLICTS if "conflict" in lost else STAGING
    first = {"head of the conflicts": b"\x00", "conflict": b"\x01", "column": b"\x01"}.get(lost, b"\x02")

    def change(key: bytes, row: bytes) -> bytes | None:
        return row if not key.startswith(first) else ruined(row) if lost == "damaged entry" else None

    assert change_rows(tmp_path / "repo", table, change, most=1)
    report = repaired(tmp_path / "repo")
    assert [problem.kind for problem in report.problems] == ["conflict"]
    with Repository(tmp_path / "repo") as repo:
        with contextlib.suppress(SampleNotFoundError):
            repo.resolve(None, "ours")
        with pytest.raises(CorruptionError, match="were lost"):
            repo.merge_continue()
        repo.merge_abort()
        assert repo.fsck(data=True).sound
        repo.merge("both", "master", "side", strategy="theirs")
    assert past.read_all(tmp_path / "repo")["master"][4] == comparable(np.array(44, np.int32))


@pytest.mark.parametrize("how", ["lost", "ruined"])
def test_no_file_is_removed_while_a_run_is_unknown(place: Path, truth: dict[str, Any], how: str) -> None:
    """Else the blob files that only this run names would look free."""

    def change(key: bytes, row: bytes) -> bytes | None:
        return row if not key.startswith(b"r") else ruined(row) if how == "ruined" else None

    assert change_rows(place, FILES, change, most=1)
    with Repository(place) as repo, contextlib.suppress(CorruptionError):
        repo.convert_backend("image", "00")
    with Repository(place) as repo, pytest.raises(CorruptionError):
        repo.gc(expire_reflog="all")
    report = repaired(place, data=True)
    assert report.sound, report.problems[:3]
    assert content(place) == truth
