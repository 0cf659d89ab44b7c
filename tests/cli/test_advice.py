"""Every command that a message proposes works where it is proposed.

The proposals are found in the source. A new one needs a scenario in :data:`SCENARIOS`, or the first test fails: a function that comes into the
situation, and runs the command that the message names, with what it leaves open filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from hangar import Repository
from hangar.cli.main import HINTS
from tests.cli.advice import Advice, command_in, follow, proposed_commands, said
from tests.cli.advice_gc import GC
from tests.cli.advice_import import IMPORT
from tests.cli.advice_in_the_way import IN_THE_WAY, staged_elsewhere
from tests.cli.advice_merge import MERGE
from tests.cli.advice_purge import PURGE, listed_by_ls, noted_by_fsck, unfinished
from tests.cli.advice_remotes import REMOTES
from tests.cli.advice_repair import REPAIR, repaired
from tests.cli.advice_undo import UNDO
from tests.cli.damage import DAMAGE, LOOKS
from tests.cli.shell import Shell, pictures

FSCK: Final = ("hangar fsck", "hangar fsck --data")


def change(shell: Shell) -> None:
    shell.ok("rm", "images", "a")


def damaged(shell: Shell, advice: Advice) -> None:
    """Some command tells of the damage and proposes fsck, which names the damage."""
    with Repository(shell.path) as repository:
        writer = repository.checkout(write=True)
        writer.add_ndarray_column("labels", shape=(), dtype="int64").write(range(3_000), np.arange(3_000))
        photos = writer.add_ndarray_column("photos", shape=(5_000,), dtype="uint8")
        photos["a"] = np.arange(5_000).astype("uint8")
        writer.commit("Second")
        writer.close()
    digest = shell.json("log")["head"]
    next(damage for room, damage in DAMAGE.items() if advice.module.startswith(room))(shell)
    told = [said(shell.run(*words)) for words in (*LOOKS, ["show", "master:photos/a"], ["log", digest])]
    text = next(one for one in told if "`hangar fsck" in one)
    result = shell.run(*command_in(text, "hangar fsck{}"))
    assert result.exit_code == 6, said(result)
    assert "Traceback" not in said(result)


# ---------------------------------------------------------------------- scenarios


def commit_is_no_branch(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(3, "checkout", "master~0"), template)
    assert shell.json("status")["branch"] == "again"


def column_was_removed(shell: Shell, template: str) -> None:
    follow(shell, shell.ok("column", "remove", "images"), template)
    assert shell.json("status")["clean"]


def backend_option(shell: Shell, template: str) -> None:
    text = shell.fails(2, "column", "backend", "images", "--option", "complevel=5")
    assert "complevel=5" in follow(shell, text, template)


def backend_damaged(shell: Shell, template: str) -> None:
    with Repository(shell.path) as repository:
        writer = repository.checkout(write=True)
        column = writer.add_ndarray_column("photos", shape=(5_000,), dtype="uint8", backend="10")
        column.write(
            range(9), np.arange(45_000).reshape(9, 5_000).astype("uint8") + np.arange(9, dtype="uint8")[:, None]
        )
        writer.commit("Second")
        writer.close()
    for path in (shell.path / ".hangar" / "blobs").iterdir():
        content = bytearray(path.read_bytes())
        for at in range(4_200, len(content), 2_000):
            content[at] ^= 255
        path.write_bytes(content)
    result = shell.run("column", "backend", "photos", "00", "--convert")
    assert result.exit_code == 6
    assert shell.run(*command_in(result.stderr, template)).exit_code == 6


def nothing_to_commit(shell: Shell, template: str) -> None:
    text = shell.fails(9, "commit", "-m", "x")
    follow(shell, text, template, *(["--overwrite"] if "import" in template else []))


def demo(shell: Shell, template: str) -> None:
    if template == "hangar demo DIRECTORY":
        follow(shell, shell.ok("demo"), template)
        assert (shell.path / "kept" / ".hangar").is_dir()
    else:
        follow(Shell(shell.path / "kept"), shell.ok("demo", "kept"), template)


def import_without_a_column(shell: Shell, template: str) -> None:
    (shell.path / "only").mkdir()
    (shell.path / "only" / "x.md").write_text("x")
    follow(shell, shell.fails(3, "import", "new", "only"), template)


def import_of_pictures(shell: Shell, template: str) -> None:
    pictures(shell.path / "more", ["x"])
    follow(shell, shell.fails(3, "import", "new", "more"), "hangar column create {} {}")
    assert "Imported 1 sample" in shell.ok("import", "new", "more")


def import_of_text(shell: Shell, template: str) -> None:
    (shell.path / "text").mkdir()
    (shell.path / "text" / "x.txt").write_text("x")
    follow(shell, shell.fails(3, "import", "new", "text"), "hangar column create {} {}")
    assert "Imported 1 sample" in shell.ok("import", "new", "text")


def init_unanswered(shell: Shell, template: str) -> None:
    (shell.path / "new").mkdir()
    follow(shell, Shell(shell.path / "new").fails(1, "init", input=""), template)


def init_again(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(4, "init", input=""), template)


def no_repository(shell: Shell, template: str) -> None:
    empty = shell.path.parent / "elsewhere"
    empty.mkdir()
    text = Shell(empty).fails(3, "status")
    follow(Shell(empty), text, template, "--name", "a", "--email", "b")
    assert Shell(empty).ok("status")


def missing_column(shell: Shell, template: str) -> None:
    text = shell.fails(3, "ls", "x*") if template == "hangar ls" else shell.fails(3, "ls", "master")
    follow(shell, text, template)


def missing_sample(shell: Shell, template: str) -> None:
    for words in (["rm", "images", "nope"], ["rm", "images", "nope*"], ["show", ":images/nope"]):
        assert follow(shell, shell.fails(3, *words), template) == "a\nb\nc/d\n"


def hint(shell: Shell, template: str) -> None:
    word = next(word for word, text in HINTS.items() if f"`{template}`" in text)
    if "checkout" in template:
        shell.ok("branch", "other")
    if "restore" in template:
        change(shell)
    text = shell.fails(2, word)
    follow(shell, text, template, *(["--overwrite"] if "import" in template else []))
    if "restore" in template:
        assert shell.json("status")["clean"]


def hint_for_git(shell: Shell, template: str) -> None:
    """Commands of git that Hangar has under another name, or not at all."""
    shell.ok("rm", "images", "b")
    shell.ok("commit", "-m", "Second")
    for word in [word for word, text in HINTS.items() if f"`{template}`" in text]:
        text, command = shell.fails(2, word), template
        for blank, value in {"REV": "HEAD", "OLD": "images", "NEW": "pictures"}.items():
            text, command = text.replace(blank, value), command.replace(blank, value)
        follow(shell, text, command)
        shell.run("column", "rename", "pictures", "images")


def unforeseen(shell: Shell, template: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Repository, "status", lambda self: 1 / 0)
        text = shell.fails(1, "status")
        words = command_in(text, template)
        if words == ["-v"]:
            assert "Traceback" in shell.run(*words, "status").stderr
        else:
            assert "numpy" in shell.ok(*words)


def new_column(shell: Shell, template: str) -> None:
    shell.ok("column", "create", "new", "STR")
    follow(shell, shell.fails(3, "restore", "new"), "hangar column remove {}")
    assert shell.json("status")["clean"]


def before_the_first_commit(shell: Shell, template: str) -> None:
    fresh = Shell(shell.path.parent / "fresh")
    fresh.path.mkdir()
    fresh.ok("init", "--name", "a", "--email", "b")
    for command in ("hangar column remove {}", "hangar restore ."):
        fresh.ok("column", "create", "new", "STR")
        follow(fresh, fresh.fails(1, "restore", "new"), command)
        assert fresh.json("status")["clean"]


def renamed_column(shell: Shell, template: str) -> None:
    shell.ok("column", "rename", "images", "pictures")
    follow(shell, shell.fails(3, "restore", "pictures"), template)
    assert shell.json("status")["clean"]


def large_sample(shell: Shell, template: str) -> None:
    shell.ok("column", "create", "large", "INT64", 2_000)
    with Repository(shell.path) as repository, repository.checkout(write=True) as writer:
        writer["large"][5] = np.arange(2_000)
        writer.commit("Large")
        writer["large"]["5"] = np.arange(2_000)
        writer.close()
    for thing in (":large/int:5", ":large/str:5", "master:large/5"):
        assert "1 sample" in follow(shell, shell.ok("show", thing), template, "--overwrite")


def staged_column(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(3, "show", "images"), template)


def status(shell: Shell, template: str) -> None:
    """Each kind of change proposes what works for it."""
    if template == "hangar checkout {}":
        staged_elsewhere(shell, template, ("status",))
        return
    if template == "hangar column remove COLUMN":
        shell.ok("column", "create", "new", "STR")
        text = shell.ok("status").replace("COLUMN", "new")
        assert "restore COLUMN" not in text
        follow(shell, text, "hangar column remove new")
        assert shell.json("status")["clean"]
        return
    for stage in (["rm", "images", "a"], ["column", "remove", "images"]):
        shell.ok(*stage)
        text = shell.ok("status")
        assert "column remove COLUMN" not in text
        follow(shell, text, template, *(["-m", "x"] if template == "hangar commit" else []))
        assert shell.json("status")["clean"]


def status_of_bisection(shell: Shell, template: str) -> None:
    assert shell.json("status")["bisect"] is False
    shell.ok("bisect", "start")
    assert shell.json("status")["bisect"] is True
    follow(shell, shell.ok("status"), template)


def who_commits(shell: Shell, template: str) -> None:
    shell.ok("config", "--unset", "user.name")
    shell.ok("config", "--unset", "user.email")
    change(shell)
    for _ in range(2):
        follow(shell, shell.fails(1, "commit", "-m", "x"), template)
    shell.ok("commit", "-m", "x")


def unknown_branch(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(3, "branch", "delete", "nope"), template)


def branch_in_use(shell: Shell, template: str) -> None:
    shell.ok("branch", "other")
    text = shell.fails(5, "branch", "delete", "master")
    follow(shell, text, template)
    change(shell)
    shell.ok("commit", "-m", "x")
    shell.ok("branch", "delete", "master")


def locked(shell: Shell, template: str) -> None:
    with Repository(shell.path) as repository:
        writer = repository.checkout(write=True)
        follow(shell, shell.fails(5, "rm", "images", "a"), template)
        change(shell)
        with pytest.raises(PermissionError):
            writer.close()


def moved_ref(shell: Shell, template: str) -> None:
    from hangar.errors import StaleRefError

    with Repository(shell.path) as repository:
        stores = repository.stores
        last = stores.refs.get("heads/master")
        assert last is not None
        with pytest.raises(StaleRefError) as caught:
            stores.db.update(
                lambda transaction: stores.refs.update(
                    transaction, "heads/master", None, last, who=("a", "b"), operation="test"
                )
            )
    follow(shell, str(caught.value), template)


def unknown_revision(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(3, "log", "nope"), template)


Scenario = Callable[[Shell, str], None]
SCENARIOS: Final[dict[str, dict[str, Scenario]]] = {
    "cli/checkout.py": {"hangar checkout -b NAME {}": commit_is_no_branch},
    "cli/column.py": {"hangar restore {}": column_was_removed},
    "cli/column_backend.py": {
        "hangar column backend {} TAG --option {}": backend_option,
        "hangar fsck --data": backend_damaged,
    },
    "cli/commit.py": {
        "hangar import COLUMN PATH": nothing_to_commit,
        "hangar rm COLUMN SAMPLE": nothing_to_commit,
    },
    "cli/demo.py": dict.fromkeys(("hangar demo DIRECTORY", "hangar log", "hangar ls", "hangar show"), demo),
    "cli/import_files.py": {"hangar column create {} DTYPE [SHAPE]...": import_without_a_column},
    "cli/init.py": {"hangar init --help": init_unanswered},
    "cli/ls.py": {
        "hangar ls": missing_column,
        "hangar column list {}": missing_column,
        "hangar purge --list": listed_by_ls,
    },
    "cli/main.py": {
        **dict.fromkeys(
            (
                "hangar import COLUMN PATH",
                "hangar checkout BRANCH",
                "hangar restore COLUMN",
                "hangar restore .",
                "hangar rm COLUMN SAMPLE",
                "hangar column remove COLUMN",
                "hangar ls",
                "hangar fsck --data",
                "hangar writer-lock --force-release",
                "hangar log",
                "hangar --version",
            ),
            hint,
        ),
        **dict.fromkeys(
            (
                "hangar merge REV",
                "hangar column rename OLD NEW",
                "hangar gc",
                "hangar blame COLUMN SAMPLE",
                "hangar revert REV",
                "hangar reset REV",
                "hangar show REV",
                "hangar log --oneline",
            ),
            hint_for_git,
        ),
    },
    "cli/outcome.py": dict.fromkeys(("hangar -v", "hangar --version"), unforeseen),
    "cli/restore.py": {
        "hangar column remove {}": new_column,
        "hangar restore .": before_the_first_commit,
        "hangar restore {}": renamed_column,
    },
    "cli/samples.py": {"hangar ls {}": missing_sample},
    "cli/show.py": {"hangar export {} -s {}": large_sample, "hangar show :{}": staged_column},
    "cli/status.py": {
        "hangar checkout {}": status,
        "hangar commit": status,
        "hangar restore COLUMN": status,
        "hangar restore .": status,
        "hangar column remove COLUMN": status,
        "hangar purge --continue": unfinished,
        **dict.fromkeys(("hangar bisect status", "hangar bisect reset"), status_of_bisection),
    },
    "config.py": {"hangar config {} VALUE": who_commits, "hangar fsck --repair": repaired},
    "db/format.py": {"hangar init": no_repository, "hangar fsck --repair": repaired},
    "external/fit.py": {"hangar column create {} {}": import_of_text, "hangar column create": import_of_pictures},
    "history/branches.py": {"hangar checkout BRANCH": branch_in_use},
    "initialize.py": {"hangar status": init_again},
    "lock.py": {"hangar writer-lock --force-release": locked, "hangar fsck --repair": repaired},
    "repository/base.py": {"hangar init": no_repository},
    "revisions.py": dict.fromkeys(("hangar branch list", "hangar tag", "hangar log"), unknown_revision),
    **GC,
    **REPAIR,
    "fsck/check.py": {"hangar purge --continue": noted_by_fsck},
    **PURGE,
    **UNDO,
    **IN_THE_WAY,
}
SCENARIOS["refs/store.py"] |= {"hangar log {}": moved_ref}
for _module, _scenarios in (*MERGE.items(), *REMOTES.items(), *IMPORT.items()):
    SCENARIOS.setdefault(_module, {}).update(_scenarios)
NO_PROPOSALS: Final = {
    Advice("db/format.py", "hangar {}"): "the first line of the format file",
    Advice("db/environment.py", "hangar init"): "says whose leftover something is not",
    Advice("bulk_importer/layouts/plan.py", "hangar.bulk_importer.import_items"): "a function",
    Advice("cli/import_dataset.py", "hangar import (without quotes)"): "examples of the help",
    Advice("schema/media.py", "hangar.read(path)"): "Python",
    Advice("remote/server.py", "hangar server"): "the author of the first branch of a served repository",
}
PROPOSED: Final = [one for one in proposed_commands() if one not in NO_PROPOSALS]


def scenario_of(advice: Advice) -> Scenario | None:
    found = SCENARIOS.get(advice.module, {}).get(advice.command)
    if found is None and advice.command in FSCK:
        return lambda shell, template: damaged(shell, advice)
    return found


def test_every_proposed_command_has_a_scenario() -> None:
    assert [one for one in PROPOSED if scenario_of(one) is None] == []
    stale = {(module, command) for module, found in SCENARIOS.items() for command in found} - set(PROPOSED)
    assert not stale


@pytest.mark.parametrize("advice", PROPOSED, ids=" ".join)
def test_a_proposed_command_works(filled: Shell, advice: Advice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(filled.path)
    scenario = scenario_of(advice)
    assert scenario is not None
    scenario(filled, advice.command)


def test_proposals_are_found(tmp_path: Path) -> None:
    modules = {one.module for one in PROPOSED}
    assert {"cli/status.py", "cli/main.py", "objects/store.py", "lock.py"} <= modules
    assert len(PROPOSED) > 60
