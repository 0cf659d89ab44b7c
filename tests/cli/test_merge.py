"""``hangar merge``, ``conflicts`` and ``resolve``, as a person would use them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from tests.cli.shell import Shell
from tests.merge.maker import Edit, both, content, drop, fork, put, tree


def rename(old: str, new: str) -> Edit:
    return lambda writer: writer.rename_column(old, new)


def notes(value: Any) -> Edit:
    def edit(writer: Any) -> None:
        column = writer.add_str_column("notes") if isinstance(value, str) else writer.add_bytes_column("notes")
        column["k"] = value

    return edit


OURS = both(
    put("labels", 1, 1),
    put("labels", 4, 4),
    drop("labels", 2),
    put("text", "b", "o" * 99),
    drop("boxes", "x"),
    notes("ours"),
)
THEIRS = both(
    put("labels", 1, 2),
    put("labels", 5, 5),
    put("labels", 2, 2),
    put("text", "b", "t" * 99),
    put("boxes", ("x", 0), np.full(4, 7, np.float32)),
    notes(b"theirs"),
)


@pytest.fixture
def apart(repo: Repository) -> Shell:
    """A repository whose branches master and dev have gone apart, with six conflicts."""
    fork(repo, OURS, THEIRS)
    repo.set_write_branch("master")
    repo.close()
    return Shell(Path(repo.path))


def test_a_merge_from_beginning_to_end(apart: Shell) -> None:
    preview = apart.json("merge", "dev", "--dry-run")
    assert (preview["kind"], preview["conflicts"]) == ("merge", 6)
    assert preview["changes"] == [{"column": "labels", "added": 0, "deleted": 0, "mutated": 1}]
    shown = apart.ok("merge", "dev", "-n")
    assert "6 conflicts would have to be resolved" in shown
    named = dict(line.strip().split("  ", 1) for line in shown.split("to be resolved:\n")[1].splitlines())
    assert len(named) == 6
    assert named["labels/1"].strip() == "both modified"
    assert named["labels/2"].strip() == "deleted by us"
    result = apart.run("merge", "dev")
    assert result.exit_code == 4
    lines = {line.split("  ")[1]: line for line in result.stdout.splitlines() if line.startswith("  ")}
    assert lines["labels/1"].split()[1:] == ["both", "modified", "0", "1", "2"]
    assert lines["labels/2"].split()[1:] == ["deleted", "by", "us", "0", "-", "2"]
    assert "blob " in lines["text/b"]
    assert "one name" in lines["notes"]
    assert "6 conflicts" in apart.ok("status")
    assert 'use "hangar commit"' not in apart.ok("status")
    assert apart.ok("status", "-s").startswith("## merge of dev into master, 6 conflicts\n")
    assert apart.json("status")["operation"] == {"kind": "merge", "revision": "dev", "conflicts": 6}
    listed = apart.json("conflicts")
    assert (listed["revision"], listed["unresolved"], listed["total"]) == ("dev", 6, 6)
    assert [one["sample"] for one in listed["conflicts"]] == ["x", "x", 1, 2, None, "b"]
    assert [one["subsample"] for one in listed["conflicts"]] == [0, 1, None, None, None, None]
    assert "5 conflicts left" in apart.ok("resolve", "labels", "1", "--value", "42")
    assert apart.json("resolve", "boxes", "x", "--theirs") == {"resolved": 2, "unresolved": 3}
    assert apart.json("resolve", "notes", "--value", "remarks") == {"resolved": 1, "unresolved": 2}
    apart.ok("resolve", "text", "b", "--value", "a new text")
    apart.fails(4, "merge", "--continue", text="1 conflict of the merge must be resolved")
    assert "All conflicts are resolved" in apart.ok("resolve", "--all", "--theirs")
    assert apart.ok("conflicts").startswith("All conflicts are resolved")
    assert apart.ok("conflicts", "--all").count("  resolved: ") == 6
    assert "  (all conflicts are resolved" in apart.ok("status")
    assert "Merge branch 'dev'" in apart.ok("merge", "--continue")
    with Repository(apart.path) as repository:
        found = content(repository, "master")
        assert {key: found["labels"][key] for key in (1, 2, 4, 5)} == {1: 42, 2: 2, 4: 4, 5: 5}
        assert (found["notes"], found["remarks"], found["text"]["b"]) == ({"k": "ours"}, {"k": b"theirs"}, "a new text")
        assert set(found["boxes"]["x"]) == {0, 1}
    assert apart.json("status")["operation"] is None
    assert apart.ok("conflicts") == "No merge, cherry-pick or revert is in progress\n"
    assert apart.json("conflicts")["conflicts"] == []
    assert apart.ok("merge", "dev") == "Already up to date.\n"
    apart.ok("fsck", "--data")


def test_strategies_and_messages(apart: Shell) -> None:
    done = apart.json("merge", "dev", "-X", "theirs", "-m", "First line", "-m", "More")
    assert (done["kind"], done["committed"], done["resolved"], done["conflicts"]) == ("merge", True, 6, [])
    assert apart.json("show")["message"] == "First line\n\nMore"
    assert apart.json("merge", "dev")["kind"] == "up-to-date"
    apart.ok("checkout", "dev")
    assert apart.json("merge", "master", "--dry-run")["kind"] == "fast-forward"
    assert "Fast-forward" in apart.ok("merge", "master", "--ff-only")
    assert apart.json("log")["head"] == done["digest"]


def test_giving_up(apart: Shell) -> None:
    head = apart.json("log")["head"]
    apart.fails(4, "merge", "dev")
    apart.fails(1, "merge", "dev", text="is in progress")
    assert "given up" in apart.ok("merge", "--abort")
    assert (apart.json("status")["clean"], apart.json("log")["head"]) == (True, head)
    apart.fails(4, "merge", "dev", "--json")
    assert apart.json("merge", "--abort") == {"branch": "master", "digest": head}


def test_without_commit(apart: Shell) -> None:
    assert "not committed" in apart.ok("merge", "dev", "--no-commit", "--strategy", "ours", "--no-ff")
    apart.ok("rm", "labels", "9")
    apart.ok("commit", "--no-edit")
    found = apart.json("show")
    assert (len(found["parents"]), found["message"]) == (2, "Merge branch 'dev'")


def test_options_that_exclude_each_other(apart: Shell) -> None:
    for words in (
        ["merge"],
        ["merge", "dev", "--abort"],
        ["merge", "--abort", "-m", "x"],
        ["merge", "--continue", "--dry-run"],
        ["merge", "dev", "--no-ff", "--ff-only"],
        ["merge", "dev", "--strategy", "newest"],
        ["resolve", "labels"],
        ["resolve", "--ours"],
        ["resolve", "labels", "--all", "--ours"],
        ["resolve", "labels", "--ours", "--value", "1"],
        ["resolve", "labels", "1", "--attribute", "x", "--ours"],
        ["commit", "--no-edit"],
    ):
        assert apart.run(*words).exit_code == 2, words
    apart.fails(4, "merge", "dev", "--ff-only", text="no fast-forward is possible")
    apart.fails(3, "merge", "nowhere")
    apart.fails(1, "resolve", "--all", "--ours", text="nothing is in progress")
    assert apart.json("status")["clean"]


def test_values_are_checked(apart: Shell) -> None:
    apart.fails(4, "merge", "dev")
    for words, code in (
        (["labels", "1", "--value", "cat"], 1),
        (["labels", "1", "--value", "1.5"], 1),
        (["labels", "1", "--value", "[1, 2]"], 1),
        (["labels", "1", "--value", "1e400"], 1),
        (["boxes", "x/0", "--value", "[1, 2]"], 1),
        (["boxes", "x/0", "--value", "@nothing.npy"], 3),
        (["labels", "9", "--ours"], 3),
        (["labels", "z*", "--ours"], 3),
        (["text", "a", "--ours"], 3),
        (["nothing", "--ours"], 3),
        (["notes", "--value", "labels"], 4),
        (["notes", "--value", "a b"], 1),
        (["--attribute", "x", "--ours"], 3),
    ):
        apart.fails(code, "resolve", *words)
    assert apart.json("conflicts")["unresolved"] == 6
    np.save(apart.path / "box.npy", np.full(4, 9, np.float32))
    assert apart.json("resolve", "boxes", "x/0", "str:x/int:1", "--value", "@box.npy")["unresolved"] == 4
    assert apart.json("resolve", "labels", "*", "--theirs")["unresolved"] == 2
    (apart.path / "note.txt").write_text("from a file")
    assert apart.json("resolve", "text", "--value", "@note.txt")["unresolved"] == 1
    apart.ok("resolve", "notes", "--base")
    apart.ok("merge", "--continue")
    with Repository(apart.path) as repository:
        found = content(repository, "master")
        assert found["boxes"]["x"] == {0: [9.0] * 4, 1: [9.0] * 4}
        assert found["text"]["b"] == "from a file"
        assert "notes" not in found


def test_attributes(repo: Repository) -> None:
    def note(value: str) -> Edit:
        def edit(writer: Any) -> None:
            writer.attributes["unit"] = value
            writer["labels"].attributes["unit"] = value

        return edit

    fork(repo, both(note("cm"), rename("text", "words")), both(note("mm"), rename("text", "prose")))
    repo.set_write_branch("master")
    repo.close()
    shell = Shell(Path(repo.path))
    text = shell.run("merge", "dev").stdout
    assert "(commit) attribute unit" in text
    assert "both renamed" in text
    shell.ok("resolve", "--attribute", "unit", "--value", "[1, 2]")
    shell.ok("resolve", "labels", "--attribute", "unit", "--theirs")
    shell.ok("resolve", "words", "--value", "lines")
    shell.ok("merge", "--continue", "-m", "Done")
    assert shell.json("show")["attributes"]["unit"] == [1, 2]
    assert shell.json("column", "attributes", "labels")["attributes"] == {"unit": "mm"}
    assert "lines" in shell.json("status")["columns"]


def test_the_branch_waits(apart: Shell) -> None:
    """Every other command that writes says what stands in its way, and loses nothing."""
    apart.fails(4, "merge", "dev")
    apart.fails(1, "checkout", "dev", text="a merge of 'dev' is in progress")
    apart.fails(4, "commit", "-m", "too early", text="6 conflicts")
    apart.fails(1, "commit", "--amend", "-m", "x", text="merge of 'dev' is in progress")
    assert apart.run("reset", "master~1").exit_code not in (0, 2)
    (apart.path / "in").mkdir()
    (apart.path / "in" / "new.txt").write_text("imported while the merge waits")
    apart.ok("import", "text", "in")
    apart.ok("restore", "text", "a", "--from", "dev")
    assert "The merge in progress moved along" in apart.ok("checkout", "-b", "aside")
    assert apart.json("conflicts")["unresolved"] == 6
    apart.ok("rm", "labels", "1")
    apart.ok("resolve", "labels", "1", "--staged")
    apart.ok("resolve", "--all", "--ours")
    digest = apart.json("commit", "-m", "On the new branch")["digest"]
    assert len(apart.json("show", digest)["parents"]) == 2
    with Repository(apart.path) as repository:
        found = content(repository, digest)
        assert "new" in found["text"]
        assert 1 not in found["labels"]
    apart.ok("fsck")


KILLED = """
import os, signal, sys
from hangar import Repository, _fs
from hangar.staging import Staging

path, moment = sys.argv[1:]
write = Staging.write
def killed(self, transaction):
    if moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, transaction)
    os.kill(os.getpid(), signal.SIGKILL)
repo = Repository(path)
if moment != "after":
    Staging.write = killed
repo.resolve("labels", "theirs")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["before", "in", "after"])
def test_half_by_hand_half_by_strategy_with_a_kill_between(apart: Shell, moment: str) -> None:
    """The same tree and parents as of a merge in one go."""
    with Repository(apart.path) as repository:
        repository.create_branch("at_once", "master")
        drivers: Any = {"labels": "theirs", "text": lambda *_: "by hand", "boxes": "ours", "notes": "ours"}
        at_once = repository.merge("m", "at_once", "dev", strategy=drivers)
        expected = tree(repository, at_once), list(repository.commit_info(at_once).parents)
    assert apart.process("merge", "dev").returncode == 4
    assert apart.process("resolve", "text", "b", "--value", "by hand").returncode == 0
    died = subprocess.run([sys.executable, "-c", KILLED, str(apart.path), moment], check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    listed = json.loads(apart.process("conflicts", "--json").stdout)
    assert listed["unresolved"] == (3 if moment == "after" else 5)
    assert apart.process("resolve", "labels", "--theirs").returncode == (3 if moment == "after" else 0)
    assert apart.process("resolve", "--all", "--ours").returncode == 0
    assert apart.process("merge", "--continue").returncode == 0
    with Repository(apart.path) as repository:
        merged = repository.rev_parse("master")
        assert (tree(repository, merged), list(repository.commit_info(merged).parents)) == expected
        assert repository.verify_repo_integrity()
