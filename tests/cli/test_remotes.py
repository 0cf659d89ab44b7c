"""Remotes on the command line: documents, exit codes, and what is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hangar import Repository
from tests.cli.shell import Shell

NAMES = ("--name", "Bob", "--email", "bob@example.org")


@pytest.fixture
def pair(filled: Shell, tmp_path: Path) -> tuple[Shell, Shell]:
    """The repository with wide rows and texts, and a clone of its history."""
    with Repository(filled.path) as repo:
        co = repo.checkout(write=True)
        co.add_ndarray_column("wide", (50,), np.int64).write(range(20), np.arange(1000).reshape(20, 50))
        co.commit("Wide")
        co.close()
    clone = Shell(tmp_path / "clone")
    document = json.loads(Shell(tmp_path).ok("clone", filled.path, "clone", *NAMES, "--json"))
    assert document == {
        "path": str(tmp_path / "clone" / ".hangar"),
        "branch": "master",
        "digest": filled.json("log")["head"],
    }
    return filled, clone


def test_data_by_samples_patterns_ranges_and_bytes(pair: tuple[Shell, Shell]) -> None:
    _, clone = pair
    counts = {one["column"]: one["samples"] for one in clone.json("ls", "--promised")["promised"]}
    assert counts == {"images": 3, "wide": 20}
    clone.fails(7, "export", "wide", "-o", "out", text="hangar fetch-data origin")
    found = clone.json("fetch-data", "origin", "master", "-d", "wide", "-s", "1?", "-r", "3", "5")
    assert (found["values"], found["nbytes"], found["left"]) == (13, 13 * 400, 0)
    assert clone.json("ls", "wide", "--promised")["samples"] == [0, 1, 2, 6, 7, 8, 9]
    found = clone.json("fetch-data", "origin", "master", "-d", "wide", "--nbytes", "1k")
    assert (found["values"], found["left"], found["left_nbytes"]) == (2, 5, 2000)
    assert "8 values" in clone.ok("fetch-data", "origin", "master")  # five of wide, three images
    assert clone.json("fsck", "--data")["promised"] == 0
    clone.fails(3, "fetch-data", "origin", "master", "-d", "nope", text="nope")
    clone.fails(3, "fetch-data", "origin", "master", "-d", "wide", "-s", "nope", text="nope")
    clone.fails(2, "fetch-data", "origin", "master", "-s", "1", text="--column")
    found = clone.json("evict", "wide", "-r", "0", "9")
    assert (found["values"], found["kept"]) == (10, 0)
    assert clone.json("fsck")["promised"] == 10


def test_branches_and_exit_codes(pair: tuple[Shell, Shell]) -> None:
    there, clone = pair
    clone.ok("rm", "wide", "1")
    clone.ok("commit", "-m", "Without 1")
    assert "1 commit ahead of origin/master" in clone.ok("status")
    sent = clone.json("push")
    assert [(one["name"], one["new"]) for one in sent["refs"]] == [("heads/master", there.json("log")["head"])]
    assert "Nothing to push" in clone.ok("push")
    there.ok("rm", "wide", "2")
    there.ok("commit", "-m", "Without 2")
    clone.ok("rm", "wide", "3")
    clone.ok("commit", "-m", "Without 3")
    clone.fails(4, "push", "origin", "master", text="hangar pull origin master")
    clone.ok("fetch")
    assert clone.json("status")["tracking"] == {"name": "origin/master", "ahead": 1, "behind": 1}
    assert "Diverged from origin/master: 1 commit here, 1 commit there" in clone.ok("status")
    pulled = clone.json("pull")
    assert (pulled["kind"], pulled["conflicts"], pulled["fetched"]["moved"]) == ("merge", [], [])
    assert set(clone.json("ls", "wide")["samples"]) == set(range(20)) - {1, 2, 3}
    clone.ok("push")
    assert "Up to date with origin/master" in clone.ok("status")
    assert clone.json("fetch")["moved"] == []
    clone.fails(3, "fetch", "nowhere", text="no remote 'nowhere'")
    clone.fails(3, "fetch", "origin", "mastr", text="master")
    clone.ok("remote", "add", "dead", "localhost:1")
    clone.fails(8, "remote", "ping", "dead")
    clone.fails(4, "remote", "add", "dead", "localhost:2", text="there is a remote")
    clone.fails(2, "fsck", "--from", "origin", text="--repair")
    clone.fails(1, "remote", "remove", "origin", text="alone")
    clone.ok("remote", "set", "dead", "localhost:3", "--token-env", "TOKEN")
    assert clone.json("remote")["remotes"][0] == {
        "name": "dead",
        "address": "localhost:3",
        "settings": {"token-env": "TOKEN"},
    }


def test_a_clone_that_fails_leaves_nothing(pair: tuple[Shell, Shell], tmp_path: Path) -> None:
    there, clone = pair
    shell = Shell(tmp_path)
    shell.fails(8, "clone", "localhost:1", "fresh", *NAMES)
    assert not (tmp_path / "fresh").exists()
    shell.fails(3, "clone", there.path, "fresh", *NAMES, "--branch", "nope", text="nope")
    assert not (tmp_path / "fresh").exists()
    shell.fails(4, "clone", there.path, "clone", *NAMES)
    before = clone.json("log")["head"]
    shell.fails(8, "clone", "localhost:1", "clone", *NAMES, "--overwrite", "--yes")
    assert clone.json("log")["head"] == before
    shell.fails(3, "clone", there.path, "later", *NAMES, "-d", "nope", text="`hangar fetch-data origin master`")
    assert Shell(tmp_path / "later").json("log")["head"] == before
    document = json.loads(shell.ok("clone", there.path, "part", *NAMES, "-d", "images", "--json"))
    assert document["data"]["values"] >= 1
    assert Shell(tmp_path / "part").json("fsck")["promised"] == 20


def test_settings_of_a_remote_are_changed_and_forgotten(pair: tuple[Shell, Shell], tmp_path: Path) -> None:
    _, clone = pair

    def settings() -> object:
        return {one["name"]: one["settings"] for one in clone.json("remote", "list")["remotes"]}["up"]

    clone.ok("remote", "add", "up", "host:1", "--ca", "ca.pem", "--insecure", "--token-env", "TOKEN")
    assert settings() == {"ca": str(clone.path / "ca.pem"), "insecure": "true", "token-env": "TOKEN"}
    clone.ok("remote", "set", "up", "--no-insecure", "--ca", "", "--token-file", "~/token")
    assert settings() == {"token-file": str(Path("~/token").expanduser()), "token-env": "TOKEN"}
    with Repository(clone.path) as repo:
        assert repo.remote.change("up", token_env=False, ca="x").address == "host:1"
    assert settings() == {"token-file": str(Path("~/token").expanduser()), "ca": str(Path("x").absolute())}


@pytest.mark.parametrize(
    ("code", "words", "text"),
    [
        (2, ["view", "images", "a", "-f", "png", "-o", "a.png"], "leave out -f"),
        (2, ["push", "origin", "--delete", "x", "--tags"], "excludes --tags"),
        (3, ["push", "origin", "origin/master"], "the branch here is 'master'"),
        (2, ["remote", "rename", "origin", "up"], "add it with the other name"),
        (2, ["remote", "add", "up", "here"], "give ./here"),
        (2, ["clone", "here", "copy"], "give ./here"),
        (2, ["fetch-data", "origin", "master", "-d", "wide", "-r", "9", "3"], "9 comes after 3"),
    ],
)
def test_what_would_do_nothing_is_refused(pair: tuple[Shell, Shell], code: int, words: list[str], text: str) -> None:
    _, clone = pair
    (clone.path / "here").mkdir()
    clone.fails(code, *words, text=text)


def test_a_tag_of_the_remote_is_not_moved_by_force_either(pair: tuple[Shell, Shell]) -> None:
    there, clone = pair
    there.ok("tag", "v1", "master~1")
    clone.ok("tag", "v1")
    for lease in ("--force-with-lease", "--force-with-lease=master~1"):
        clone.fails(4, "push", "origin", "v1", lease, text="`hangar push origin v1 --delete`")


def test_a_server_deletes_a_repository_only_if_that_is_confirmed(pair: tuple[Shell, Shell]) -> None:
    there, _ = pair
    before = there.json("log")["head"]
    there.fails(1, "server", "--port", "0", "--timeout", "0.1", "--overwrite", text="--yes")
    (there.path / "tokens").write_text("too short")
    there.fails(1, "server", "--port", "0", "--overwrite", "--yes", "--token-file", "tokens")
    assert there.json("log")["head"] == before


def test_checkout_of_a_branch_that_only_a_remote_has(pair: tuple[Shell, Shell]) -> None:
    there, clone = pair
    there.ok("branch", "create", "later", "master~1")
    there.ok("branch", "create", "both/parts")
    there.ok("branch", "create", "v1")
    clone.ok("fetch", "origin")
    clone.ok("tag", "v1", "master")
    assert "Switched to a new branch later at origin/later" in clone.ok("checkout", "later")
    assert clone.json("log", "later")["commits"][0]["digest"] == there.json("log", "later")["commits"][0]["digest"]
    assert "Already on" in clone.ok("checkout", "later")
    clone.fails(3, "checkout", "v1", text="tag")
    clone.ok("remote", "add", "second", there.path)
    clone.ok("fetch", "second")
    clone.fails(3, "checkout", "both/parts", text="both/parts")
    assert clone.json("status")["branch"] == "later"
