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


def tag_commands(shell: Shell, template: str) -> None:
    """Words that are commands of `hangar branch` make no tags by mistake."""
    shell.ok("tag", "v1")
    text = shell.fails(2, "tag", "delete", "v1") if "-d" in template else shell.fails(2, "tag", "list")
    follow(shell, text, template)
    assert [one["name"] for one in shell.json("tag")["tags"]] == {"hangar tag": ["v1"], "hangar tag -d {}": []}.get(
        template, ["list", "v1"]
    )


def names_taken(shell: Shell, template: str) -> None:
    shell.ok("tag", "v1")
    shell.ok("branch", "create", "other")
    if template == "hangar tag -d {}":
        follow(shell, shell.fails(4, "tag", "v1"), template)
        shell.ok("tag", "v1")
        return
    for words in (["branch", "create", "other"], ["branch", "rename", "master", "other"]):
        follow(shell, shell.fails(4, *words), template)
        assert shell.json("status")["branch"] == "other"
        shell.ok("checkout", "master")


def unknown_tag(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(3, "tag", "-d", "xxxxx"), template)


def unknown_reflog(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(3, "reflog", "xxxxx"), template)


def reset_back(shell: Shell, template: str) -> None:
    two_commits(shell)
    before = shell.json("log")["head"]
    follow(shell, shell.ok("reset", "--hard", "master~1"), template)
    assert shell.json("log")["head"] == before


def without_bisection(shell: Shell, template: str) -> None:
    two_commits(shell)
    follow(
        shell,
        shell.fails(1, "bisect", "log").replace("BAD GOOD", "master master~1"),
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


def stash_in_git(shell: Shell, template: str) -> None:
    """Commands of `git stash` that are others here."""
    shell.ok("rm", "images", "a")
    shell.ok("stash", "push", "-m", "Aside")
    assert follow(shell, shell.fails(2, "stash", "clear" if "drop" in template else "show"), template)
    assert len(shell.json("stash", "list")["stashes"]) == ("drop" not in template)


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
    "cli/stash.py": {
        **dict.fromkeys(("hangar stash pop", "hangar cherry-pick {}"), stash_comes_back),
        **dict.fromkeys(("hangar show stash@{0}", "hangar log -p -1 stash@{0}", "hangar stash drop"), stash_in_git),
    },
    "cli/tag.py": {
        "hangar tag {} {}": deleted_tag,
        **dict.fromkeys(("hangar tag", "hangar tag list HEAD", "hangar tag -d {}"), tag_commands),
    },
    "refs/store.py": dict.fromkeys(("hangar tag -d {}", "hangar checkout {}"), names_taken),
    "history/blame.py": {"hangar log --column {} --sample SAMPLE": removed_sample, "hangar ls": unknown_column},
    "checkout/replaying.py": {"hangar column remove COLUMN": first_commit},
    "history/stash.py": {"hangar stash": no_stash, "hangar stash list": no_stash},
    "history/reflogs.py": {
        "hangar branch list": unknown_reflog,
        "hangar branch list --deleted": no_such_deleted_branch,
    },
    "history/tags.py": {"hangar tag": unknown_tag},
}
