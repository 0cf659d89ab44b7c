"""Situations in which messages about tags, resets, stashes and the reflog propose commands; see ``test_advice``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from hangar import ColumnNotFoundError, Repository, SampleNotFoundError
from tests.cli.advice import follow
from tests.cli.shell import Shell

__all__ = ["UNDO"]


def two_commits(shell: Shell) -> None:
    shell.ok("rm", "images", "b")
    shell.ok("commit", "-m", "Second")


def deleted_branch(shell: Shell, template: str) -> None:
    shell.ok("branch", "create", "other")
    follow(shell, shell.ok("branch", "delete", "other"), template)
    assert "other" in shell.ok("branch")


def no_such_deleted_branch(shell: Shell, template: str) -> None:
    shell.ok("branch", "create", "other")
    shell.ok("branch", "delete", "other")
    assert "other" in follow(shell, shell.fails(3, "branch", "restore", "xxxxx"), template)


def deleted_tag(shell: Shell, template: str) -> None:
    shell.ok("tag", "v1")
    follow(shell, shell.ok("tag", "-d", "v1"), template)
    assert shell.json("tag")["tags"][0]["name"] == "v1"


def unknown_tag(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(3, "tag", "-d", "xxxxx"), template)


def unknown_reflog(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(3, "reflog", "xxxxx"), template)


def reset_back(shell: Shell, template: str) -> None:
    two_commits(shell)
    before = shell.json("log")["head"]
    follow(shell, shell.ok("reset", "--hard", "master~1"), template)
    assert shell.json("log")["head"] == before


def reset_of_changes(shell: Shell, template: str) -> None:
    shell.ok("rm", "images", "a")
    text = shell.fails(1, "reset", "master")
    follow(shell, text, template, *(["-m", "x"] if template == "hangar commit" else []))
    assert shell.json("status")["clean"]


def without_bisection(shell: Shell, template: str) -> None:
    two_commits(shell)
    follow(
        shell,
        shell.fails(9, "bisect", "log").replace("BAD GOOD", "master master~1"),
        template.replace("BAD GOOD", "master master~1"),
    )


def bisection_in_progress(shell: Shell, template: str) -> None:
    two_commits(shell)
    shell.ok("bisect", "start", "master", "master~1")
    text = shell.fails(9, "bisect", "good") if template == "hangar bisect status" else shell.fails(1, "bisect", "start")
    follow(shell, text, template)


def bisection_begins(shell: Shell, template: str) -> None:
    shell.ok("bisect", "start")
    for text in (shell.fails(1, "bisect", "run", "true"), shell.ok("bisect", "status")):
        follow(shell, text.replace("REV", "master"), template.replace("REV", "master"))
        shell.ok("bisect", "reset")
        shell.ok("bisect", "start")


def removed_sample(shell: Shell, template: str) -> None:
    two_commits(shell)
    with Repository(shell.path) as repo, pytest.raises(SampleNotFoundError) as caught:
        repo.blame("images", "b")
    text = str(caught.value).replace("SAMPLE", "b")
    assert "Second" in follow(shell, text, template.replace("SAMPLE", "b"))


def unknown_column(shell: Shell, template: str) -> None:
    with Repository(shell.path) as repo, pytest.raises(ColumnNotFoundError) as caught:
        repo.blame("xxxxxxxx", "b")
    follow(shell, str(caught.value), template)


def stash_comes_back(shell: Shell, template: str) -> None:
    shell.ok("rm", "images", "a")
    if template == "hangar stash pop":
        follow(shell, shell.ok("stash"), template)
        assert not shell.json("status")["clean"]
        return
    shell.ok("stash")
    follow(shell, shell.ok("stash", "drop"), template)
    assert len(shell.json("log")["commits"]) == 2


def no_stash(shell: Shell, template: str) -> None:
    shell.ok("rm", "images", "a")
    text = shell.fails(9, "stash", "pop")
    if template == "hangar stash list":
        shell.ok("stash")
        text = shell.fails(3, "stash", "pop", "7")
    follow(shell, text, template)


def first_commit(shell: Shell, template: str) -> None:
    text = shell.fails(1, "revert", "HEAD").replace("COLUMN", "images")
    follow(shell, text, template.replace("COLUMN", "images"))


def reset_in_a_merge(shell: Shell, template: str) -> None:
    shell.ok("branch", "create", "side")
    shell.ok("rm", "images", "a")
    shell.ok("commit", "-m", "Second")
    with Repository(shell.path) as repo:
        writer = repo.checkout(write=True, branch="side")
        writer["images"]["a"] = writer["images"]["b"]
        writer.commit("On side")
        writer.close()
        repo.merge("merged", "master", "side", keep_conflicts=True)
    text = shell.fails(1, "reset", "master~1")
    if template == "hangar merge --continue":
        with Repository(shell.path) as repo:
            repo.resolve(None, "theirs")
    follow(shell, text, template)
    assert shell.json("status")["clean"]


UNDO: Final[dict[str, dict[str, Callable[[Shell, str], None]]]] = {
    "cli/bisect.py": {
        "hangar bisect start BAD GOOD": without_bisection,
        "hangar bisect reset": bisection_in_progress,
        "hangar bisect status": bisection_in_progress,
        "hangar bisect good REV": bisection_begins,
        "hangar bisect bad REV": bisection_begins,
    },
    "cli/branch.py": {"hangar branch restore {}": deleted_branch},
    "cli/reset.py": {"hangar reset --hard {}": reset_back},
    "cli/stash.py": dict.fromkeys(("hangar stash pop", "hangar cherry-pick {}"), stash_comes_back),
    "cli/tag.py": {"hangar tag {} {}": deleted_tag},
    "history/blame.py": {"hangar log --column {} --sample SAMPLE": removed_sample, "hangar ls": unknown_column},
    "history/current.py": {
        "hangar commit": reset_of_changes,
        "hangar stash": reset_of_changes,
        "hangar merge --continue": reset_in_a_merge,
        "hangar merge --abort": reset_in_a_merge,
    },
    "history/replay.py": {"hangar column remove COLUMN": first_commit},
    "history/stash.py": {"hangar stash": no_stash, "hangar stash list": no_stash},
    "history/reflogs.py": {
        "hangar branch list": unknown_reflog,
        "hangar branch list --deleted": no_such_deleted_branch,
    },
    "history/reset.py": {"hangar reset --hard": reset_of_changes},
    "history/tags.py": {"hangar tag": unknown_tag},
}
