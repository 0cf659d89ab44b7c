"""Chunked columns on the command line: list, show, diff, conflicts, resolve."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from tests.cli.shell import Shell
from tests.merge.maker import write


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    found = Shell(tmp_path)
    found.ok("init", "--name", "Ada", "--email", "ada@example.com")
    with Repository(tmp_path) as repo, closing(repo.checkout(write=True)) as writer:
        column = writer.add_chunked_column("scan", np.uint8, (10, 64, 64), fill_value=3)
        column.create("a", (100, 256, 256))
        column["a"][20:30, :64, :64] = 7
        writer.add_chunked_column("small", np.float32, (2, 2), shape=(8, None))["s"] = np.eye(4, dtype=np.float32)
        writer.commit("scans")
    return found


def put(region: Any, value: int) -> Any:
    return lambda writer: writer["scan"]["a"].__setitem__(region, value)


def test_show_reads_little(shell: Shell) -> None:
    listed = shell.ok("column", "list")
    assert "chunked uint8 any x any x any, chunks of 10 x 64 x 64" in listed
    assert "chunked float32 8 x any at most, chunks of 2 x 2" in listed
    assert shell.json("column", "list")["columns"][1]["shape"] == [8, None]
    shown = shell.ok("show", ":scan/a")
    assert "chunked uint8 100 x 256 x 256" in shown
    assert "1 of 160 stored, of 10 x 64 x 64; elsewhere 3" in shown
    assert "7 to 7, mean 7 (of 1 stored chunk)" in shown
    assert "6553600 bytes" in shown.replace(",", "")
    record = shell.json("show", ":scan/a")
    assert (record["chunks_stored"], record["chunks_total"], record["fill_value"], record["max"]) == (1, 160, 3, 7)
    assert "[[1. 0. 0. 0.]" in shell.ok("show", ":small/s")


def test_diff_names_chunks_and_regions(shell: Shell, tmp_path: Path) -> None:
    def edit(writer: Any) -> None:
        array = writer["scan"]["a"]
        array[25, 5, 6] = 9
        array[90:, 200:, 200:] = 3
        array[95, 250:252, 250] = 4

    with Repository(tmp_path) as repo:
        write(repo, "master", edit)
    line = shell.ok("diff", "HEAD~1", "HEAD")
    assert (
        "~ scan/a  chunked uint8 100 x 256 x 256, 2 chunks changed ([20:30, 0:64, 0:64], [90:100, 192:256, 192:256])"
        in line
    )
    assert "3 of 6,553,600 elements changed (<0.1%), in [25:96, 5:252, 6:251], by up to 2, mean 1.333" in line
    record = shell.json("diff", "HEAD~1", "HEAD")["samples"][0]["difference"]
    assert record["chunks"] == 2
    assert record["chunk_regions"][0] == [[20, 30], [0, 64], [0, 64]]
    assert "1 chunk changed" in shell.ok("diff", "HEAD~1", "HEAD", "--tolerance", 1)
    assert shell.ok("diff", "HEAD~1", "HEAD", "--tolerance", 2) == ""
    shell.ok("diff", "HEAD~1", "HEAD", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "2 chunks changed ([20:30, 0:64, 0:64]" in page
    assert "[60:61, 0:256, 0:256] is shown" in page
    assert page.count("data:image/png") == 3
    assert "+ small/s  chunked float32 4 x 4" in shell.ok("log", "-p")


def test_conflicts_name_regions_and_are_resolved_from_a_file(shell: Shell, tmp_path: Path) -> None:
    with Repository(tmp_path) as repo:
        repo.create_branch("dev")
        for branch, value in (("dev", 5), ("master", 6)):
            write(repo, branch, put(np.s_[0, 0, 0], value), put(np.s_[99, 255, value], value))
    assert "scan/a [0:10, 0:64, 0:64] and 1 more region" in shell.ok("merge", "dev", "--dry-run")
    shell.fails(4, "merge", "dev")
    assert "scan/a [0:10, 0:64, 0:64] and 1 more region" in shell.ok("conflicts")
    (record,) = shell.json("conflicts")["conflicts"]
    assert record["regions"] == [[[0, 10], [0, 64], [0, 64]], [[90, 100], [192, 256], [0, 64]]]
    assert record["ours"]["shape"] == [100, 256, 256]
    np.save(tmp_path / "own.npy", np.full((20, 64, 64), 8, np.uint8))
    shell.fails(1, "resolve", "scan", "a", "--value", "8")
    shell.ok("resolve", "scan", "a", "--value", f"@{tmp_path / 'own.npy'}")
    shell.ok("merge", "--continue")
    with Repository(tmp_path) as repo, closing(repo.checkout()) as reader:
        assert reader["scan"]["a"].shape == (20, 64, 64)
        assert int(reader["scan"]["a"][...].min()) == 8
    shell.ok("fsck", "--data")
