"""Sparse columns on the command line: create, import, show, diff, merge with a conflict, export."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from hangar import Repository
from tests.cli.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    found = Shell(tmp_path)
    found.ok("init", "--name", "Ada", "--email", "ada@example.com")
    return found


def matrix(*elements: tuple[int, int, float]) -> sparse.csr_array:
    rows, columns, values = zip(*elements, strict=True)
    return sparse.coo_array((np.array(values, np.float32), (rows, columns)), shape=(200, 300)).tocsr()


def save(folder: Path, **arrays: sparse.sparray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        sparse.save_npz(folder / f"{name}.npz", array)
    return folder


def test_from_files_to_history_and_back(shell: Shell, tmp_path: Path) -> None:
    shell.ok("column", "create", "ratings", "FLOAT32", 200, 300, "--sparse")
    assert "ratings  sparse float32 200 x 300  0 samples" in shell.ok("column", "list")
    shell.fails(2, "column", "create", "texts", "STR", "--sparse", text="STR columns have no shape")
    many = [(i, 2 * i % 300, 1.0 + i) for i in range(150)]
    folder = save(tmp_path / "in", a=matrix(*many), b=matrix((5, 6, 2.5)))
    shell.ok("import", "ratings", folder)
    shell.ok("import", "ratings", folder)  # equal files are no conflict
    shell.ok("commit", "-m", "first")
    save(folder, a=matrix(*many[1:], (7, 280, 9.0)), c=matrix((0, 0, 1.0), (1, 1, 2.0)))
    shell.ok("import", "ratings", folder, "--overwrite")

    diff = shell.ok("diff")
    assert "~ ratings/a  sparse float32 200 x 300: 2 of 151 elements that are not zero changed (1.32%)" in diff
    assert "in [0:8, 0:281], by up to 9, mean 5" in diff
    assert "+ ratings/c  sparse float32 200 x 300" in diff
    assert shell.ok("diff", "--tolerance", 10, "--name-only").split() == ["ratings/c"]
    samples = shell.json("diff")["samples"]
    changed = next(one for one in samples if one["sample"] == "a")
    assert changed["difference"]["changed"] == 2
    assert changed["difference"]["region"] == [[0, 8], [0, 281]]
    shell.ok("diff", "--html", tmp_path / "page.html")
    assert "2 of 151 elements that are not zero changed" in (tmp_path / "page.html").read_text()

    shell.ok("commit", "-m", "second")
    shown = shell.ok("show", ":ratings/c")
    assert "sparse float32 200 x 300" in shown
    assert "2 elements that are not zero" in shown
    assert "(1, 1)  2.0" in shown
    record = shell.json("show", ":ratings/a")
    assert (record["type"], record["stored"], record["max"], record["shape"]) == ("sparse", 150, 150.0, [200, 300])

    shell.ok("export", "ratings", "-o", tmp_path / "out")
    for name in "abc":
        found = sparse.load_npz(tmp_path / "out" / f"{name}.npz")
        assert (found != sparse.load_npz(folder / f"{name}.npz")).nnz == 0


def test_a_conflict_is_resolved_from_a_file(shell: Shell, tmp_path: Path) -> None:
    shell.ok("column", "create", "ratings", "FLOAT32", 200, 300, "--sparse")
    for branch, value in (("master", 1.0), ("theirs", 2.0), ("master", 3.0)):
        shell.ok("checkout", branch)
        shell.ok("import", "ratings", save(tmp_path / "in", a=matrix((1, 1, value))), "--overwrite")
        shell.ok("commit", "-m", f"{value}")
        if value == 1:
            shell.ok("branch", "create", "theirs")
    shell.fails(4, "merge", "theirs")
    save(tmp_path / "own", a=matrix((1, 1, 4.0)))
    shell.fails(1, "resolve", "ratings", "a", "--value", "7", text="give @FILE.npz")
    shell.ok("resolve", "ratings", "a", "--value", f"@{tmp_path / 'own' / 'a.npz'}")
    shell.ok("merge", "--continue")
    with Repository(tmp_path) as repo:
        assert repo.checkout()["ratings"]["a"][1, 1] == 4


def test_hostile_files_are_refused(shell: Shell, tmp_path: Path) -> None:
    shell.ok("column", "create", "ratings", "FLOAT32", 200, 300, "--sparse")
    folder = tmp_path / "in"
    folder.mkdir()
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("data.npy", "w") as f:
        for _ in range(40):
            f.write(bytes(2**25 + 1))
    (folder / "text.npz").write_text("no archive")
    np.savez(folder / "dense.npz", a=np.zeros(3))
    sparse.save_npz(folder / "wide.npz", sparse.csr_array((200, 301), dtype=np.float32))
    for name, text in [
        ("bomb", "it is not read"),
        ("text", "is no file of scipy.sparse"),
        ("dense", "is no file of scipy.sparse"),
        ("wide", "has shape 200 x 301"),
    ]:
        assert text in shell.run("import", "ratings", folder / f"{name}.npz").stderr
    assert shell.json("column", "list")["columns"][0]["samples"] == 0
