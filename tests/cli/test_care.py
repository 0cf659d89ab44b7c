"""fsck, writer-lock and completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository
from hangar.cli import main
from hangar.db.pages import TREE, PageFile, Tree, read_nodes
from tests.cli.shell import Shell, runner


def test_fsck_of_a_sound_repository(filled: Shell) -> None:
    assert filled.ok("fsck").startswith("All is well: checked 1 commit, ")
    document = filled.json("fsck", "--data")
    assert document["problems"] == []
    assert (document["commits"], document["blobs"], document["data"]) == (1, 3, True)


def test_fsck_names_what_is_wrong(filled: Shell) -> None:
    filled.ok("column", "create", "big", "UINT8", 5000)
    with Repository(filled.path) as repository:
        writer = repository.checkout(write=True)
        writer["big"]["x"] = np.full(5000, 7, "uint8")
        writer.commit("Big")
        writer.close()
    digest = filled.json("show", "master:big/x")["digest"]
    (file,) = [path for path in (filled.path / ".hangar" / "blobs").iterdir() if b"\7" * 5000 in path.read_bytes()]
    content = bytearray(file.read_bytes())
    content[content.index(b"\7" * 5000) + 99] ^= 4
    file.write_bytes(content)
    result = filled.run("fsck", "--data")
    assert result.exit_code == 6
    assert digest[:12] in result.stdout
    assert file.name in result.stdout
    result = filled.run("fsck", "--data", "--json")
    assert result.exit_code == 6
    assert digest in result.stdout
    filled.fails(6, "show", "master:big/x")
    filled.fails(6, "export", "big", "-o", filled.path / "out")


def test_fsck_groups_the_blobs_of_a_lost_file(filled: Shell) -> None:
    filled.ok("column", "create", "big", "UINT8", 5000)
    with Repository(filled.path) as repository:
        writer = repository.checkout(write=True)
        writer["big"].write(
            range(40), np.arange(40 * 5000).astype("uint8").reshape(40, 5000) + np.arange(40, dtype="uint8")[:, None]
        )
        writer.commit("Big")
        writer.close()
    for path in (filled.path / ".hangar" / "blobs").iterdir():
        path.unlink()
    result = filled.run("fsck", "--data")
    assert result.exit_code == 6
    assert "more problems" in result.stdout
    assert len(result.stdout.splitlines()) < 20
    assert len(json.loads(filled.run("fsck", "--data", "--json").stdout)["problems"]) > 40


def test_fsck_of_a_damaged_page_says_which_table(filled: Shell) -> None:
    data = filled.path / ".hangar" / "db" / "data.mdb"
    content = bytearray(data.read_bytes())
    with PageFile(data) as file:
        metas = file.metas()
        assert metas is not None
        page = max(metas, key=lambda meta: meta.number).main.root
        rows = read_nodes(file.read(page, 4096), page, leaf=True)
        root = next(Tree(*TREE.unpack(row.data)).root for row in rows if row.key == b"reflog")
    content[root * 4096 + 16] ^= 2
    data.write_bytes(content)
    result = filled.run("fsck")
    assert result.exit_code == 6
    assert "table 'reflog'" in result.stdout


def test_a_lost_format_file_is_named(filled: Shell) -> None:
    (filled.path / ".hangar" / "format").unlink()
    result = filled.run("fsck")
    assert result.exit_code != 0
    assert "hangar fsck --repair" in result.stdout


def test_writer_lock(filled: Shell) -> None:
    assert filled.ok("writer-lock") == "The writer lock is free\n"
    with Repository(filled.path) as repository:
        writer = repository.checkout(write=True)
        document = filled.json("writer-lock")
        assert document["held"]
        assert document["writer"]["pid"] == os.getpid()
        assert str(os.getpid()) in filled.ok("writer-lock")
        assert "was taken from" in filled.ok("writer-lock", "--force-release")
        with pytest.raises(PermissionError):
            writer["images"]["x"] = np.zeros((7, 5), "uint8")
    assert filled.json("writer-lock", "--force-release") == {"held": False, "writer": None, "released": True}
    filled.ok("rm", "images", "a")


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: Shell, shell_name: str) -> None:
    script = shell.ok("completion", shell_name)
    assert f"_HANGAR_COMPLETE={shell_name}_complete" in script
    assert "hangar" in script


def test_the_bash_script_is_bash(shell: Shell) -> None:
    subprocess.run(["bash", "-n"], input=shell.ok("completion", "bash"), text=True, check=True)


def completed(path: Path, *words: str, apart: bool = False) -> list[str]:
    """What the shell is offered for the last of ``words``, by a process of its own if ``apart``."""
    env = os.environ | {
        "_HANGAR_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("hangar", *words)),
        "COMP_CWORD": str(len(words)),
    }
    if apart:
        command = [sys.executable, "-m", "hangar"]
        done = subprocess.run(command, cwd=path, env=env, capture_output=True, text=True, check=True)
        said, errors = done.stdout, done.stderr
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(path)
            found = runner().invoke(main, [], env=env, prog_name="hangar")
        said, errors = found.stdout, found.stderr
    assert errors == ""
    return [line.partition(",")[2] for line in said.split()]


def test_names_are_completed(filled: Shell, tmp_path: Path) -> None:
    filled.ok("column", "create", "labels", "INT64")
    filled.ok("branch", "create", "other")
    assert completed(filled.path, "sta", apart=True) == ["status", "stash"]
    assert completed(filled.path, "column", "") == ["create", "remove", "list", "rename", "attributes", "backend"]
    assert completed(filled.path, "ls", "") == ["images", "labels"]
    assert completed(filled.path, "ls", "im") == ["images"]
    assert completed(filled.path, "ls", "images", "o") == ["other"]
    assert completed(filled.path, "checkout", "") == ["master", "other"]
    filled.ok("branch", "feature/boxes")
    assert completed(filled.path, "checkout", "fea", apart=True) == ["feature/boxes"]
    assert completed(filled.path, "branch", "delete", "feature/") == ["feature/boxes"]
    assert completed(filled.path, "log", "fe") == ["feature/boxes"]
    assert completed(tmp_path, "-C", str(filled.path), "rm", "l") == ["labels"]
    assert [word.upper() for word in completed(filled.path, "column", "create", "x", "UINT1")] == ["UINT16"]
    assert completed(tmp_path, "ls", "") == []
