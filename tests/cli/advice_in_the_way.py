"""Staged changes or a merge stand in the way of each command that needs a clean staging area; see ``test_advice``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hangar import Repository
from tests.cli.advice import follow, said
from tests.cli.advice_merge import merging
from tests.cli.shell import Shell

__all__ = ["IN_THE_WAY", "staged_elsewhere"]

REFUSED: Final = (
    ["merge", "third"],
    ["reset", "HEAD"],
    ["revert", "HEAD"],
    ["cherry-pick", "third"],
    ["checkout", "third"],
)
"""Commands that need a clean staging area, whichever branch it belongs to."""
_ENDS: Final = {"hangar commit": ["-m", "x"]}


def stage(shell: Shell, branch: str) -> None:
    """Stage a change of an attribute on ``branch``; the current branch stays."""
    with Repository(shell.path) as repository:
        writer = repository.checkout(write=True, branch=branch)
        writer.attributes["changes"] = writer.attributes.get("changes", 0) + 1
        writer.close()


def staged_elsewhere(shell: Shell, template: str, words: tuple[str, ...] = ("status",)) -> None:
    """Changes are staged on another branch than the current one."""
    if "other" not in shell.ok("branch"):
        shell.ok("branch", "other")
    stage(shell, "other")
    text = said(shell.run(*words))
    follow(shell, text, "hangar checkout {}")
    assert "to be committed" in shell.ok("status")
    if template == "hangar checkout {}":
        shell.ok("restore", ".")
    else:
        follow(shell, text, template, *_ENDS.get(template, []))
    assert shell.json("status")["clean"]


def staged(shell: Shell, template: str) -> None:
    """Whatever is refused proposes the command, which then works, from the branch of the changes and from another one."""
    shell.ok("branch", "create", "third")
    for words in (*REFUSED, ["rm", "images", "a"]):
        shell.ok("checkout", "master")
        staged_elsewhere(shell, template, tuple(words))
        if template != "hangar checkout {}" and words[0] != "rm":
            shell.ok("checkout", "master")
            stage(shell, "master")
            follow(shell, shell.fails(1, *words), template, *_ENDS.get(template, []))
            assert shell.json("status")["clean"]


def in_a_merge(shell: Shell, template: str) -> None:
    """So does a merge in progress."""
    merging(shell)
    before = shell.json("status")
    more = (
        ["checkout", "other"],
        ["stash"],
        ["commit", "--amend", "-m", "x"],
        ["merge", "other"],
    )
    refused = (*REFUSED[1:4], *more)
    texts = [shell.fails(1, *["other" if word == "third" else word for word in words]) for words in refused]
    assert shell.json("status") == before
    assert all("a merge of 'other' is in progress" in text for text in texts)
    if template.endswith(" --continue"):
        shell.ok("resolve", "--all", "--theirs")
    assert len({text[text.index("a merge of") :] for text in texts}) == 1
    follow(shell, texts[0], template)
    assert shell.json("status")["clean"]


IN_THE_WAY: Final[dict[str, dict[str, Callable[[Shell, str], None]]]] = {
    "staging/refusals.py": {
        **dict.fromkeys(("hangar checkout {}", "hangar commit", "hangar stash", "hangar restore ."), staged),
    },
    "staging/rows.py": dict.fromkeys(("hangar {} --continue", "hangar {} --abort"), in_a_merge),
}
