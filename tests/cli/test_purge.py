"""``hangar purge``, and what other commands say about purged samples."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from hangar import Repository
from tests.cli.shell import Shell
from tests.purge.searching import files_with

LONG = "what must not be kept, " * 10


@pytest.fixture
def texts(empty: Shell) -> Shell:
    """Two commits of a str column: a and b, then a changed."""
    with Repository(empty.path) as repo:
        writer = repo.checkout(write=True)
        column = writer.add_str_column("texts")
        column["a"], column["b"], column[7] = LONG, "kept " * 30, "kept too " * 20
        writer.commit("First")
        column["a"] = LONG.upper()
        writer.commit("Second")
        writer.close()
    return empty


def test_purge(texts: Shell) -> None:
    planned = texts.ok("purge", "texts", "a", "--dry-run")
    assert "Would purge 1 sample of texts, 2 stored values" in planned
    assert "In 2 commits" in planned
    assert planned.endswith("Nothing was changed\n")
    assert files_with(texts.path, LONG.encode()) != []
    done = texts.ok("purge", "texts", "a", "--reason", "consent withdrawn", "--yes")
    assert "Purged 1 sample of texts, 2 stored values" in done
    assert "Erased: " in done
    assert files_with(texts.path, LONG.encode(), LONG.upper().encode()) == []
    assert "All is well" in texts.ok("fsck", "--data")
    assert "purged by" in texts.ok("fsck")


def test_json(texts: Shell) -> None:
    done = texts.json("purge", "texts", "a", "--reason", "x", "--yes")
    assert set(done) == {
        "column",
        "samples",
        "commits",
        "staged",
        "shared",
        "shared_count",
        "rewritten",
        "refs",
        "dry_run",
        "size_before",
        "size_after",
        "unfinished",
    }
    assert done["samples"][0]["sample"] == "a"
    assert len(done["samples"][0]["digests"]) == len(done["commits"]) == 2
    listed = texts.json("purge", "--list")["purged"]
    assert {one["digest"] for one in listed} == set(done["samples"][0]["digests"])
    assert listed[0]["samples"] == [{"column": "texts", "sample": "a", "subsample": None}]
    assert datetime.fromisoformat(listed[0]["time"]).tzinfo is not None
    assert listed[0]["reason"] == "x"
    assert texts.json("purge", "--continue") == {"unfinished": []}
    assert len(texts.json("purge", "--lift", "texts", "a")["lifted"]) == 2
    assert {one["state"] for one in texts.json("purge", "--list")["purged"]} == {"lifted"}


def test_patterns_revisions_and_versions(texts: Shell) -> None:
    assert len(texts.json("purge", "texts", "*", "--dry-run")["samples"]) == 3
    one = texts.json("purge", "texts", "a", "--from", "master~1", "--this-version", "--yes")
    assert len(one["samples"][0]["digests"]) == 1
    assert files_with(texts.path, LONG.encode()) == []
    assert LONG.upper() in texts.ok("show", "master:texts/a")
    assert [one["sample"] for one in texts.json("purge", "texts", "int:7", "--dry-run")["samples"]] == [7]


def test_without_a_terminal_it_must_be_confirmed(texts: Shell) -> None:
    result = texts.run("purge", "texts", "a")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert texts.json("purge", "--list") == {"purged": []}


@pytest.mark.parametrize("answer", ["y\n", "n\n"])
def test_on_a_terminal_the_plan_is_shown_and_confirmed(
    texts: Shell, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("hangar.cli.purge.on_terminal", lambda: True)
    monkeypatch.setattr("hangar.cli.output.on_terminal", lambda: True)
    result = texts.run("purge", "texts", "a", input=answer)
    assert "In 2 commits" in result.stderr
    assert "Erase this for good?" in result.stderr
    assert result.exit_code == (0 if answer == "y\n" else 1)
    assert (files_with(texts.path, LONG.encode()) == []) == (answer == "y\n")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (2, ["purge"]),
        (2, ["purge", "texts"]),
        (2, ["purge", "texts", "a", "--list"]),
        (2, ["purge", "--list", "--continue"]),
        (2, ["purge", "--lift"]),
        (3, ["purge", "nothing", "a", "--yes"]),
        (3, ["purge", "texts", "nothing", "--yes"]),
        (3, ["purge", "texts", "x*", "--yes"]),
        (3, ["purge", "texts", "a", "--from", "nothing", "--yes"]),
        (3, ["purge", "--lift", "texts", "a"]),
        (3, ["purge", "--lift", "abcd"]),
        (1, ["purge", "--lift", "texts"]),
    ],
)
def test_bad_requests(texts: Shell, code: int, words: list[str]) -> None:
    texts.fails(code, *words)
    assert texts.json("purge", "--list") == {"purged": []}


def test_shared_data(texts: Shell) -> None:
    with Repository(texts.path) as repo:
        writer = repo.checkout(write=True)
        writer["texts"]["twin"] = LONG.upper()
        writer.commit("Third")
        writer.close()
    texts.fails(4, "purge", "texts", "a", "--yes", text="1 other sample has the same data")
    assert "  texts/twin" in texts.ok("purge", "texts", "a", "--dry-run")
    texts.ok("purge", "texts", "a", "--yes", "--shared")
    assert files_with(texts.path, LONG.upper().encode()) == []
    texts.fails(9, "purge", "texts", "twin", "--yes", text="purged before")


def test_other_commands_say_so_and_go_on(texts: Shell, tmp_path: Path) -> None:
    texts.ok("purge", "texts", "a", "--reason", "licence", "--yes")
    shown = texts.ok("show", "master:texts/a")
    assert "purged by" in shown
    assert shown.rstrip().endswith(": licence")
    assert "licence" in texts.json("show", "master:texts/a")["purged"]
    result = texts.run("export", "texts", "-o", str(tmp_path / "out"))
    assert result.exit_code == 0
    assert "Wrote 2 samples" in result.stdout
    assert "Not exported: a was purged by" in result.stderr
    assert len(list((tmp_path / "out").glob("*.txt"))) == 2
    assert texts.json("export", "texts", "-o", str(tmp_path / "again"))["purged"] == ["a"]
    listed = texts.run("ls", "texts")
    assert listed.stdout.split() == ["7", "a", "b"]
    assert "a: purged by" in listed.stderr
    assert [one["sample"] for one in texts.json("ls", "texts")["purged"]] == ["a"]
    assert "staging area clean" in texts.ok("status")
    assert texts.ok("log", "-p").count("(purged by Ada Lovelace <ada@example.com> on 20") == 2
    assert "texts" in texts.ok("summary")


def test_importing_the_same_bytes_again_is_refused(texts: Shell, tmp_path: Path) -> None:
    texts.ok("purge", "texts", "a", "--yes")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "c.txt").write_text(LONG)
    (tmp_path / "in" / "d.txt").write_text("something else " * 20)
    texts.fails(3, "import", "texts", tmp_path / "in", text="is not stored again")
    assert files_with(texts.path, LONG.encode()) == []
    texts.ok("purge", "--lift", "texts", "a")
    texts.ok("import", "texts", tmp_path / "in")


def test_an_unfinished_purge_is_told_and_continued(texts: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hangar.purge.run.remove_bytes", lambda *_: ("blob file x: a process has it open",))
        result = texts.run("purge", "texts", "a", "--yes")
    assert result.exit_code == 5
    assert "Not finished" in result.stderr
    assert "a process has it open" in result.stderr
    assert "hangar purge --continue" in texts.run("status").stderr
    assert "Erased" in texts.ok("purge", "--continue")
    assert files_with(texts.path, LONG.encode()) == []
    assert "No purge is unfinished" in texts.ok("purge", "--continue")
    assert "purge" not in texts.run("status").stderr
