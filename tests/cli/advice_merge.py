"""Situations in which messages about merges propose commands; see ``test_advice``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import lmdb
import numpy as np
import pytest

from hangar import Repository
from hangar.db.tables import CONFLICTS
from tests.cli.advice import command_in, follow, said
from tests.cli.shell import Shell

__all__ = ["MERGE"]


def conflicting(shell: Shell) -> None:
    """Sample a was changed on both of two branches, and ``master`` is the current one."""
    shell.ok("branch", "create", "other")
    with Repository(shell.path) as repository:
        for branch, value in (("other", 1), ("master", 2)):
            writer = repository.checkout(write=True, branch=branch)
            writer["images", "a"] = np.full((7, 5), value, np.uint8)
            writer.commit(f"a on {branch}")
            writer.close()


def merging(shell: Shell) -> str:
    """A merge with a conflict; what it says."""
    conflicting(shell)
    return shell.fails(4, "merge", "other")


def followed(shell: Shell, text: str, template: str) -> None:
    """Run what is proposed, with the conflict resolved first where that is needed."""
    if template == "hangar resolve":
        follow(shell, text, template, "--all", "--theirs")
        return
    if template.endswith(" --continue"):
        shell.ok("resolve", "--all", "--theirs")
    follow(shell, text, template)


def conflict_of_merge(shell: Shell, template: str) -> None:
    followed(shell, merging(shell), template)


def commit_too_early(shell: Shell, template: str) -> None:
    merging(shell)
    followed(shell, shell.fails(4, "commit", "-m", "x"), template)


def status_of_merge(shell: Shell, template: str) -> None:
    merging(shell)
    if template.endswith(" --continue"):
        shell.ok("resolve", "images", "--ours")
    followed(shell, shell.ok("status"), template)


def list_of_conflicts(shell: Shell, template: str) -> None:
    merging(shell)
    if template.endswith(" --continue"):
        shell.ok("resolve", "images", "--ours")
    followed(shell, shell.ok("conflicts"), template)


def resolving(shell: Shell, template: str) -> None:
    merging(shell)
    if template == "hangar conflicts --all":
        text = shell.fails(3, "resolve", "images", "b", "--ours")
    else:
        shell.ok("merge", "--abort")
        with Repository(shell.path) as repository:
            writer = repository.checkout(write=True)
            del writer["images"]["b"]
            writer.commit("b too")
            writer.close()
            writer = repository.checkout(write=True, branch="other")
            writer["images", "b"] = np.full((7, 5), 1, np.uint8)
            writer.commit("b too")
            writer.close()
        shell.fails(4, "merge", "other")
        text = shell.ok("resolve", "images", "a", "--ours")
    followed(shell, text, template)


def nothing_in_conflict(shell: Shell, template: str) -> None:
    merging(shell)
    followed(shell, shell.fails(3, "resolve", "labels", "--ours"), template)


def no_merge(shell: Shell, template: str) -> None:
    for kind in ("cherry-pick", "revert", "merge"):
        words = command_in(shell.fails(1, kind, "--continue"), template)
        assert words == [kind, "REV"]
    shell.ok("branch", "create", "other")
    shell.ok("merge", "other")


def resolve_without_merge(shell: Shell, template: str) -> None:
    words = command_in(shell.fails(1, "resolve", "--all", "--ours"), template)
    assert words == ["merge", "REV"]


def ways_to_begin(shell: Shell, template: str) -> None:
    no_merge(shell, template)
    shell.ok("branch", "delete", "other")
    merge_in_python(shell, template)


def merge_in_python(shell: Shell, template: str) -> None:
    """The message of the Python method names the command that keeps the conflicts."""
    conflicting(shell)
    with Repository(shell.path) as repository:
        with pytest.raises(ValueError, match="keep_conflicts") as raised:
            repository.merge("m", "master", "other")
        assert command_in(str(raised.value), template) == ["merge", "REV"]
    shell.fails(4, "merge", "other", text="1 conflict")


def name_taken(shell: Shell, template: str) -> None:
    """Two columns were renamed to one name; the new name is taken too."""
    shell.ok("column", "create", "texts", "str")
    shell.ok("column", "create", "third", "str")
    shell.ok("commit", "-m", "Columns")
    shell.ok("branch", "create", "other")
    shell.ok("column", "rename", "images", "things")
    shell.ok("commit", "-m", "One name")
    shell.ok("checkout", "other")
    shell.ok("column", "rename", "texts", "things")
    shell.ok("commit", "-m", "The same name")
    shell.ok("checkout", "master")
    shell.fails(4, "merge", "other")
    text = shell.fails(4, "resolve", "things", "--value", "third")
    if template == "hangar column rename":
        follow(shell, text, template, "third", "fourth")
        shell.ok("resolve", "things", "--value", "third")
    else:
        assert command_in(text, template)[:1] == ["resolve"]
        shell.ok("resolve", "things", "--value", "again")
    shell.ok("merge", "--continue")


def merge_that_lost_rows(shell: Shell, template: str) -> None:
    merging(shell)
    with lmdb.open(f"{shell.path}/.hangar/db", max_dbs=64) as environment:
        handle = environment.open_db(CONFLICTS.name.encode(), create=False)
        with environment.begin(handle, write=True) as transaction:
            transaction.delete(b"\x00")
    follow(shell, said(shell.run("fsck", "--repair")), template)
    shell.ok("fsck")


def merge_without_commit(shell: Shell, template: str) -> None:
    shell.ok("branch", "create", "other")
    shell.ok("rm", "images", "a")
    shell.ok("commit", "-m", "Gone")
    shell.ok("checkout", "other")
    shell.ok("rm", "images", "b")
    shell.ok("commit", "-m", "Gone too")
    follow(shell, shell.ok("merge", "--no-commit", "master"), template)


def replay_without_commit(shell: Shell, template: str) -> None:
    shell.ok("rm", "images", "a")
    shell.ok("commit", "-m", "Gone")
    follow(shell, shell.ok("revert", "--no-commit", "HEAD"), template, "-m", "Back")


_IN_PROGRESS: Final = ("hangar resolve", "hangar {} --continue", "hangar {} --abort")
MERGE: Final[dict[str, dict[str, Callable[[Shell, str], None]]]] = {
    "checkout/commit.py": dict.fromkeys(("hangar conflicts", "hangar resolve", "hangar {} --abort"), commit_too_early),
    "checkout/operations.py": {
        "hangar {} REV": ways_to_begin,
    },
    "cli/conflicts.py": dict.fromkeys(("hangar resolve", "hangar {} --continue"), list_of_conflicts),
    "cli/in_progress.py": dict.fromkeys(_IN_PROGRESS, conflict_of_merge),
    "cli/merge.py": {"hangar merge --continue": merge_without_commit},
    "cli/resolve.py": {
        "hangar merge REV": resolve_without_merge,
        **dict.fromkeys(("hangar conflicts", "hangar conflicts --all"), resolving),
    },
    "cli/revert.py": {"hangar commit": replay_without_commit},
    "cli/status.py": dict.fromkeys(("hangar conflicts", *_IN_PROGRESS), status_of_merge),
    "merge/resolve.py": dict.fromkeys(("hangar column rename", "hangar resolve COLUMN --value NAME"), name_taken),
    "merge/state.py": {"hangar conflicts": nothing_in_conflict},
    "staging/conflicts.py": {"hangar restore .": merge_that_lost_rows},
}
