"""Situations in which messages about tags, resets, stashes and the reflog propose commands; see ``test_advice``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

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


UNDO: Final[dict[str, dict[str, Callable[[Shell, str], None]]]] = {
    "cli/branch.py": {"hangar branch restore {}": deleted_branch},
    "cli/reset.py": {"hangar reset --hard {}": reset_back},
    "cli/tag.py": {"hangar tag {} {}": deleted_tag},
    "history/current.py": {"hangar commit": reset_of_changes},
    "history/reflogs.py": {
        "hangar branch list": unknown_reflog,
        "hangar branch list --deleted": no_such_deleted_branch,
    },
    "history/reset.py": {"hangar reset --hard": reset_of_changes},
    "history/tags.py": {"hangar tag": unknown_tag},
}
