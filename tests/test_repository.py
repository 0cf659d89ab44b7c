"""The repository object: every method, default and error of the public API page that exists so far."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import (
    BranchHead,
    CorruptionError,
    DiskFullError,
    InvalidInputError,
    InvalidStateError,
    InvalidTypeError,
    LockedError,
    NameTakenError,
    PathNotDirectoryError,
    PathNotFoundError,
    Repository,
    RepositoryExistsError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    UnmergedError,
    UnsupportedVersionError,
    __version__,
)


def fill(repo: Repository, commits: int = 2, branch: str = "master") -> list[str]:
    writer = repo.checkout(write=True, branch=branch)
    column = writer["x"] if "x" in writer else writer.add_ndarray_column("x", (50,), np.uint8)
    digests = []
    for i in range(commits):
        column[i] = np.full(50, len(column) + i, np.uint8)
        digests.append(writer.commit(f"commit {i}\n\nmore"))
    writer.close()
    return digests


def test_path_must_be_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PathNotFoundError):
        Repository(tmp_path / "none")
    with pytest.raises(PathNotDirectoryError):
        Repository(tmp_path / "file")
    for wrong in (5, None, b"x"):
        with pytest.raises(InvalidTypeError):
            Repository(wrong)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="init"):
        Repository(tmp_path)
    assert not Repository(tmp_path, exists=False).initialized


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Repository("~", exists=False).path == str(tmp_path)


def test_before_init_everything_refuses(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    uses: list[Any] = [
        lambda: repo.version,
        lambda: repo.size_nbytes,
        lambda: repo.size_human,
        lambda: repo.writer_lock_held,
        repo.checkout,
        lambda: repo.checkout(write=True),
        repo.log,
        repo.summary,
        repo.status,
        lambda: repo.create_branch("b"),
        lambda: repo.remove_branch("b"),
        repo.list_branches,
        repo.verify_repo_integrity,
        repo.force_release_writer_lock,
        repo.fsck,
    ]
    for use in uses:
        with pytest.raises(RuntimeError):
            use()
        with pytest.raises(RepositoryNotFoundError):
            use()


def test_init(tmp_path: Path) -> None:
    repo = Repository(tmp_path, exists=False)
    assert repo.init("Ada", "ada@example.org") == str(tmp_path / ".hangar")
    assert (repo.initialized, repo.version, repo.list_branches()) == (True, __version__, ["master"])
    assert repo.size_human.endswith("kB")
    assert repo.size_nbytes > 0
    fill(repo)
    reader = repo.checkout()
    with pytest.raises(RepositoryExistsError):
        repo.init("Ada", "ada@example.org")
    assert len(repo.checkout()["x"]) == 2
    repo.init("Eve", "eve@example.org", remove_old=True)
    assert repo.log(return_contents=True)["order"] == []  # type: ignore[index]
    with pytest.raises(PermissionError):
        reader.columns  # noqa: B018
    for name, mail in ((5, "a@b"), ("a", None)):
        with pytest.raises(InvalidTypeError):
            repo.init(name, mail, remove_old=True)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        repo.init("a\nb", "a@b", remove_old=True)
    assert repo.initialized


def test_an_init_that_is_refused_closes_nothing(repo: Repository) -> None:
    fill(repo)
    reader, writer = repo.checkout(), repo.checkout(write=True)
    with writer:
        writer["x"][50] = np.full_like(writer["x"][1], 5)
        with pytest.raises(RepositoryExistsError):
            repo.init("Ada", "ada@example.org")
        with pytest.raises(InvalidInputError):
            repo.init("a\nb", "a@b", remove_old=True)
        with pytest.raises(InvalidTypeError):
            repo.init("a", None, remove_old=True)  # type: ignore[arg-type]
    assert 50 in writer["x"]
    assert len(reader["x"]) == 2
    writer.close()


def test_init_does_not_replace_what_is_damaged(repo: Repository) -> None:
    fill(repo)
    repo.close()
    (Path(repo.path) / ".hangar" / "format").unlink()
    with pytest.raises(RepositoryExistsError):
        Repository(repo.path, exists=False).init("a", "b")
    assert (Path(repo.path) / ".hangar" / "db" / "data.mdb").exists()


def test_open_finds_the_repository_above(repo: Repository, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert Repository.open(deep).path == repo.path
    with pytest.raises(RepositoryNotFoundError, match="hangar init"):
        Repository.open("/")


def test_an_empty_repository_works_with_everything(repo: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    reader = repo.checkout()
    assert (len(reader), list(reader), reader.commit_hash, reader.keys()) == (0, [], "", [])
    assert repo.log() is None
    assert repo.log(return_contents=True) == {
        "head": "",
        "ancestors": {},
        "specs": {},
        "order": [],
        "branch_heads": {},
    }
    repo.summary()
    assert "No commit" in capsys.readouterr().out
    assert repo.verify_repo_integrity()
    assert repo.fsck(data=True).sound
    status = repo.status()
    assert (status.branch, status.head, status.clean, status.columns, status.writer) == ("master", "", True, (), None)
    with pytest.raises(InvalidStateError):
        repo.create_branch("b")
    with pytest.raises(RevisionNotFoundError):
        repo.rev_parse("master")
    assert repo.commit_info().columns == ()
    assert dict(repo.attributes) == {}


def test_branches(repo: Repository) -> None:
    first, second = fill(repo)
    assert repo.create_branch("dev") == BranchHead("dev", second)
    assert repo.create_branch("old", first[:8]) == BranchHead("old", first)
    assert repo.create_branch("older", "master~1").digest == first
    assert repo.list_branches() == ["dev", "master", "old", "older"]
    for bad in ("a b", "", "a//b", 5):
        with pytest.raises(InvalidInputError):
            repo.create_branch(bad)  # type: ignore[arg-type]
    with pytest.raises(NameTakenError):
        repo.create_branch("dev")
    with pytest.raises(RevisionNotFoundError):
        repo.create_branch("z", "none")
    third = fill(repo, 1, "dev")[0]
    assert repo.head().last_written == "dev"
    with pytest.raises(PermissionError):
        repo.remove_branch("dev")
    fill(repo, 1, "master")
    with pytest.raises(UnmergedError):
        repo.remove_branch("dev")
    writer = repo.checkout(write=True)
    with pytest.raises(LockedError):
        repo.remove_branch("old")
    writer.close()
    assert repo.remove_branch("dev", force_delete=True) == BranchHead("dev", third)
    assert repo.remove_branch("old") == BranchHead("old", first)
    with pytest.raises(RevisionNotFoundError):
        repo.remove_branch("old")
    assert repo.list_branches() == ["master", "older"]


def test_checkout_of_branches_and_commits(repo: Repository) -> None:
    first, second = fill(repo)
    repo.create_branch("dev", first)
    assert repo.checkout().commit_hash == second
    assert repo.checkout(branch="dev").commit_hash == first
    for rev in (first, first[:7], "dev", "master~1", "master^"):
        assert repo.checkout(commit=rev).commit_hash == first
    assert len(repo.checkout(commit=first)["x"]) == 1
    readers = [repo.checkout(commit=rev) for rev in (first, second) * 20]
    assert [len(r["x"]) for r in readers] == [1, 2] * 20


def test_a_reader_sees_one_commit_whatever_happens(repo: Repository) -> None:
    fill(repo)
    reader = repo.checkout()
    fill(repo, 5)
    assert len(reader["x"]) == 2
    assert len(repo.checkout()["x"]) == 5


def test_log_and_summary(repo: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = fill(repo)
    contents = repo.log(return_contents=True)
    assert contents is not None
    assert contents["head"] == second
    assert contents["order"] == [second, first]
    assert contents["ancestors"] == {second: [first], first: [""]}
    assert contents["specs"][first]["commit_user"] == "Ada"
    assert contents["branch_heads"] == {second: ["master"]}
    assert repo.log(commit=first, return_contents=True)["order"] == [first]  # type: ignore[index]
    assert capsys.readouterr().out == ""
    repo.log(show_time=True, show_user=True)
    printed = capsys.readouterr().out
    assert second[:12] in printed or second[:10] in printed
    assert "ada@example.org" in printed
    repo.summary(commit=first)
    printed = capsys.readouterr().out
    assert first in printed
    assert "uint8" in printed
    with pytest.raises(RevisionNotFoundError):
        repo.log(branch="none")
    with pytest.raises(InvalidInputError):
        repo.log(branch="master", commit=first)


def test_the_summary_shows_shapes_without_a_limit(repo: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(repo.checkout(write=True)) as writer:
        writer.add_chunked_column("free", "uint8", (4, 4))
        writer.add_chunked_column("half", "uint8", (4, 4), shape=(None, 9))
        writer.commit("columns")
    repo.summary()
    printed = capsys.readouterr().out
    assert "chunked uint8 (any, any)\n" in printed
    assert "chunked uint8 up to (any, 9)\n" in printed


def test_status_counts_what_is_staged(repo: Repository) -> None:
    fill(repo, 3)
    writer = repo.checkout(write=True)
    writer["x"][0] = np.full(50, 77, np.uint8)
    writer["x"][9] = np.ones(50, np.uint8)
    del writer["x"][1]
    writer.add_str_column("t")["a"] = "b"
    status = repo.status()
    assert not status.clean
    assert status.writer is not None
    assert status.writer.pid == os.getpid()
    found = {c.name: (c.state, c.added, c.deleted, c.mutated) for c in status.columns}
    assert found == {"x": ("changed", 1, 1, 1), "t": ("new", 1, 0, 0)}
    del writer.columns["x"]
    assert {c.name: c.state for c in repo.status().columns} == {"x": "deleted", "t": "new"}


def test_opening_a_commit_reads_its_record_and_no_node(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    writer.add_ndarray_column("n", (), np.int64).write(range(50_000), np.arange(50_000))
    writer.commit("n")
    writer.close()
    again = Repository(repo.path)
    column = again.checkout()["n"]
    nodes = column._nodes
    before = nodes.loads
    assert len(column) == 50_000
    assert nodes.loads == before == 0
    assert column[5] == 5
    assert nodes.loads <= 3


def test_readers_pickle_and_open_in_other_processes(repo: Repository, tmp_path: Path) -> None:
    fill(repo)
    reader = repo.checkout()
    (tmp_path / "co").write_bytes(pickle.dumps((reader, reader["x"])))
    reader.close()
    code = "import pickle, sys; co, x = pickle.load(open(sys.argv[1], 'rb')); print(len(co['x']), x[1][0])"
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "co")], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["2", "2"]


def test_a_newer_format_is_refused_and_nothing_changes(repo: Repository) -> None:
    fill(repo)
    repo.close()
    directory = Path(repo.path) / ".hangar"
    (directory / "format").write_bytes(b"hangar 0\nchunked-arrays\n")
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    again = Repository(repo.path)
    for use in (again.checkout, again.log, lambda: again.checkout(write=True)):
        with pytest.raises(UnsupportedVersionError):
            use()
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


def test_verify_finds_damage(repo: Repository) -> None:
    fill(repo)
    assert repo.verify_repo_integrity()
    writer = repo.checkout(write=True)
    with pytest.raises(LockedError):
        repo.verify_repo_integrity()
    writer.close()
    repo.close()
    (blob,) = (Path(repo.path) / ".hangar" / "blobs").iterdir()
    data = bytearray(blob.read_bytes())
    data[70] ^= 1
    blob.write_bytes(data)
    again = Repository(repo.path)
    report = again.fsck(data=True)
    assert [problem.kind for problem in report.problems] == ["blob"]
    assert report.problems[0].file.endswith(blob.name)
    assert len(report.problems[0].digest) == 64
    assert again.fsck().sound
    with pytest.raises(CorruptionError, match=report.problems[0].digest):
        again.verify_repo_integrity()
    with pytest.raises(CorruptionError):
        again.checkout()["x"][0]
    blob.unlink()
    assert {problem.kind for problem in Repository(repo.path).fsck().problems} == {"file"}
    with pytest.raises(CorruptionError):
        Repository(repo.path).checkout()["x"][1]


def test_a_full_disk_loses_nothing(repo: Repository) -> None:
    fill(repo)
    code = (
        "import resource, sys, numpy as np, hangar\n"
        "repo = hangar.Repository(sys.argv[1]); writer = repo.checkout(write=True)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))\n"
        "failed = 0\n"
        "for i in range(5):\n"
        "    try: writer['x'].write(range(10 + 5000 * i, 10 + 5000 * (i + 1)), np.random.default_rng(i).integers(0, 256, (5000, 50), np.uint8))\n"
        "    except hangar.DiskFullError: failed += 1\n"
        "print(failed, len(writer['x']))\n"
        "writer['x'][1]\n"
    )
    found = subprocess.run([sys.executable, "-c", code, repo.path], capture_output=True, text=True, check=True)
    failed, kept = map(int, found.stdout.split())
    assert failed >= 1
    assert kept == 2 + 5000 * (5 - failed)
    writer = repo.checkout(write=True)
    assert len(writer["x"]) == kept
    writer["x"].write(range(100_000, 105_000), np.zeros((5000, 50), np.uint8))
    writer.commit("there is room again")
    writer.close()
    assert repo.verify_repo_integrity()
    assert issubclass(DiskFullError, OSError)


def test_names_with_slashes_name_branches_everywhere(repo: Repository) -> None:
    first, second = fill(repo)
    assert repo.create_branch("feature/boxes/v2", first) == BranchHead("feature/boxes/v2", first)
    (third,) = fill(repo, 1, branch="feature/boxes/v2")
    assert repo.list_branches() == ["feature/boxes/v2", "master"]
    assert repo.checkout(branch="feature/boxes/v2").commit_hash == third
    assert repo.checkout(commit="feature/boxes/v2~1").commit_hash == first
    assert repo.rev_parse("feature/boxes/v2@{1}") == repo.rev_parse("heads/feature/boxes/v2~") == first
    log = repo.log("feature/boxes/v2", return_contents=True)
    assert log is not None
    assert log["branch_heads"] == {second: ["master"], third: ["feature/boxes/v2"]}
    with pytest.raises(RevisionNotFoundError, match="did you mean 'feature/boxes/v2'"):
        repo.checkout(branch="feature/boxes/v3")
    for name in ("..", "HEAD", "a..b", "feature/.x", "-x", "x.lock", "a/", "feature//x"):
        with pytest.raises(InvalidInputError, match="is not suitable"):
            repo.create_branch(name)
    fill(repo, 1)
    assert repo.remove_branch("feature/boxes/v2", force_delete=True).digest == third
    assert repo.list_branches() == ["master"]
    assert repo.rev_parse("feature/boxes/v2@{1}") == third  # the reflog outlives the branch


class Branch(str, Enum):
    MAIN = "master"
    BEFORE = "master~1"
    NEW = "feature/new"


def test_a_member_of_a_text_enumeration_is_a_revision_by_its_value(repo: Repository) -> None:
    first, second = fill(repo)
    assert repo.rev_parse(Branch.MAIN) == second
    assert repo.rev_parse(Branch.BEFORE) == first
    assert repo.checkout(branch=Branch.MAIN).commit_hash == second
    assert repo.checkout(commit=Branch.BEFORE).commit_hash == first
    made = repo.create_branch(Branch.NEW, Branch.BEFORE)
    assert (made.name, made.digest, type(made.name)) == ("feature/new", first, str)
    writer = repo.checkout(write=True, branch=Branch.NEW)
    assert (writer.branch_name, type(writer.branch_name)) == ("feature/new", str)
    writer.close()
    repo.set_write_branch(Branch.MAIN)
    assert repo.head().write_branch == "master"
    fill(repo, 1)
    assert repo.remove_branch(Branch.NEW) == BranchHead("feature/new", first)
    with pytest.raises(RevisionNotFoundError, match="no branch 'feature/new'"):
        repo.remove_branch(Branch.NEW)
