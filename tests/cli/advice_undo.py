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
    "cli/tag.py": {"hangar tag {} {}": deleted_tag},
    "history/blame.py": {"hangar log --column {} --sample SAMPLE": removed_sample, "hangar ls": unknown_column},
    "history/current.py": {"hangar commit": reset_of_changes},
    "history/reflogs.py": {
        "hangar branch list": unknown_reflog,
        "hangar branch list --deleted": no_such_deleted_branch,
    },
    "history/reset.py": {"hangar reset --hard": reset_of_changes},
    "history/tags.py": {"hangar tag": unknown_tag},
}
