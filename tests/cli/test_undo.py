"""tag, reset, revert, cherry-pick, stash, reflog and branch restore."""

from __future__ import annotations

import pytest

from tests.cli.shell import Shell
from tests.cli.test_history import change


@pytest.fixture
def history(filled: Shell) -> Shell:
    """Commits First, Second, Third."""
    for number, message in enumerate(("Second", "Third")):
        change(filled, number)
        filled.ok("commit", "-m", message)
    return filled


def head(shell: Shell, rev: str = "master") -> str:
    return str(shell.json("show", rev)["digest"])


def test_tag(history: Shell) -> None:
    assert history.ok("tag") == ""
    assert history.ok("tag", "v1") == f"Tagged {head(history)[:12]} as v1\n"
    history.ok("tag", "paper", "master~2", "-m", "The paper", "-m", "Its data.")
    assert history.ok("tag") == f"paper  {head(history, 'master~2')[:12]}  The paper\nv1     {head(history)[:12]}\n"
    found = history.json("tag")["tags"]
    assert [(tag["name"], tag["digest"], tag["message"], tag["author"]) for tag in found] == [
        ("paper", head(history, "master~2"), "The paper\n\nIts data.", "Ada Lovelace"),
        ("v1", head(history), None, ""),
    ]
    assert [tag["name"] for tag in history.json("tag", "-l", "p*")["tags"]] == ["paper"]
    assert history.json("show", "paper")["message"] == "First"
    assert "(tag: paper)" in history.ok("log")
    assert "(master, tag: v1)" in history.ok("log", "--graph", "--oneline")
    assert "(master, tag: v1)" in history.ok("log", "--oneline")
    shown = history.ok("show", "paper")
    assert "Tag:     paper by Ada Lovelace <ada@example.com>" in shown
    assert "         The paper\n\n         Its data.\n" in shown
    assert [commit["tags"] for commit in history.json("log")["commits"]] == [["v1"], [], ["paper"]]
    assert history.json("log")["commits"][0]["branches"] == ["master"]


def test_tags_are_replaced_and_deleted(history: Shell) -> None:
    history.ok("tag", "v1", "HEAD~1")
    history.fails(4, "tag", "v1", text="tag 'v1' exists")
    assert history.json("tag", "-f", "v1")["digest"] == head(history)
    assert history.json("tag", "-d", "v1")["digest"] == head(history)
    history.fails(3, "tag", "-d", "v1", text="no tag 'v1'")
    history.fails(1, "tag", "a b", text="not suitable")
    history.fails(3, "tag", "v2", "nope", text="no branch, tag or commit 'nope'")
    history.fails(2, "tag", "-a", "v2", text="-m")
    history.fails(2, "tag", "-d", "v2", "master", text="-d")
    assert history.json("tag") == {"tags": []}


def test_a_tag_is_not_checked_out(history: Shell) -> None:
    history.ok("tag", "v1", "master~1")
    history.fails(
        3, "checkout", "v1", text="'v1' is a tag and not a branch, so it cannot be written to: create a branch"
    )
    history.ok("checkout", "-b", "again", "v1")
    assert head(history, "again") == head(history, "v1")


def test_a_tag_of_the_current_branch(history: Shell) -> None:
    history.ok("checkout", "-b", "old", "master~2")
    assert history.json("tag", "here")["digest"] == head(history, "master~2")


def test_reset(history: Shell) -> None:
    third, second = head(history), head(history, "master~1")
    text = history.ok("reset", "master~1")
    assert text.startswith(
        f"Branch master is at {second[:12]} Second\nIt was at {third[:12]}: `hangar reset --hard {third[:12]}` goes back\n"
    )
    assert "Staged changes:\n" in text
    assert "labels" in text
    assert history.json("status")["changes"][0]["mutated"] == 1
    history.fails(1, "reset", "master~1", text="hangar restore .")
    history.fails(1, "reset", text="uncommitted changes")
    assert history.json("reset", "--hard") == {"branch": "master", "digest": second, "before": second, "staged": False}
    assert history.json("status")["clean"]
    assert history.json("reset", "--hard", "master@{1}")["before"] == second
    assert head(history) == third
    history.fails(2, "reset", "--hard", "--soft", text="exclude")
    history.fails(3, "reset", "nope", text="nope")
    history.fails(3, "reset", "master~7", text="beyond the history")


def test_reset_moves_the_current_branch(history: Shell) -> None:
    history.ok("branch", "create", "other")
    history.ok("checkout", "other")
    history.ok("reset", "master~1")
    assert head(history, "other") == head(history, "master~1")
    assert history.json("status")["staged_branch"] == "other"
    history.ok("commit", "-m", "Third, again")
    assert history.json("show", "other")["tree"] == history.json("show", "master")["tree"]


def test_reflog(history: Shell) -> None:
    history.ok("commit", "--amend", "-m", "Third, better")
    history.ok("reset", "--hard", "master~1")
    rows = [line.split(maxsplit=2) for line in history.ok("reflog").splitlines()]
    assert [row[1] for row in rows] == [f"master@{{{number}}}" for number in range(5)]
    assert [row[2].rsplit("  ", 1)[0].rstrip() for row in rows] == [
        "reset: moving to master~1",
        "commit (amend): Third, better",
        "commit: Third",
        "commit: Second",
        "commit: First",
    ]
    document = history.json("reflog", "-n", "2")
    assert document["branch"] == "master"
    assert [move["new"] for move in document["moves"]] == [head(history), head(history, "master@{1}")]
    assert document["moves"][0]["author"] == "Ada Lovelace"
    history.fails(3, "reflog", "mastre", text="did you mean 'master'")


def test_deleted_branches(history: Shell) -> None:
    history.ok("branch", "create", "work", "master~1")
    gone = history.ok("branch", "delete", "work")
    assert "run `hangar branch restore work`" in gone
    assert history.json("branch", "list", "--deleted")["branches"] == [
        {"name": "work", "digest": head(history, "master~1"), "message": "Second"}
    ]
    assert history.ok("branch", "restore", "work") == f"Restored branch work at {head(history, 'master~1')[:12]}\n"
    assert history.ok("branch", "list", "--deleted") == ""
    history.fails(4, "branch", "restore", "work", text="exists")
    history.fails(3, "branch", "restore", "wrok", text="no deleted branch")


def test_meta_in_log_and_amended_commits(history: Shell) -> None:
    change(history, 9)
    history.ok("commit", "-m", "Fourth", "--meta", "annotator=ada", "--meta", "round=2")
    assert "Meta:   annotator=ada\nMeta:   round=2\n" in history.ok("log", "-1")
    assert history.json("log", "-1")["commits"][0]["meta"] == {"annotator": "ada", "round": "2"}
    assert "annotator=ada" in history.ok("log", "--graph", "-1")
    assert "annotator" not in history.ok("log", "--oneline", "-1")
    history.ok("commit", "--amend")
    info = history.json("show")
    assert (info["message"], info["meta"]) == ("Fourth", {"annotator": "ada", "round": "2"})
    history.ok("commit", "--amend", "-m", "Fourth, better")
    assert history.json("show")["meta"] == {"annotator": "ada", "round": "2"}
    history.ok("commit", "--amend", "--meta", "round=3")
    info = history.json("show")
    assert (info["message"], info["meta"]) == ("Fourth, better", {"round": "3"})


def label(shell: Shell, rev: str = "") -> object:
    return shell.json("show", f"{rev}:labels/k")["values"]


def test_revert(history: Shell) -> None:
    third = head(history)
    document = history.json("revert", "HEAD")
    assert document["message"] == f'Revert "Third"\n\nThis reverts commit {third}.'
    assert document["parents"] == [third]
    assert document["changes"][0]["mutated"] == 1
    assert label(history, "master") == 0
    text = history.ok("revert", "HEAD", "-m", "Back", "-m", "again")
    assert text.startswith(f"[master {head(history)[:12]}] Back\n")
    assert history.json("log", "-1")["commits"][0]["message"] == "Back\n\nagain"
    history.fails(1, "revert", "master~4", text="is the first one")
    history.fails(3, "revert", "nope", text="nope")
    history.fails(1, "revert", "HEAD", "--mainline", "2", text="no merge")
    change(history, 77)
    history.fails(1, "revert", "HEAD", text="hangar stash")
    assert label(history) == 77


def test_a_conflict_and_a_side(history: Shell) -> None:
    change(history, 5)
    history.ok("commit", "-m", "Fourth")
    before = head(history)
    result = history.run("revert", "master~1")
    assert (result.exit_code, head(history)) == (4, before)
    assert "labels/k" in result.stdout
    history.fails(1, "revert", "master", text="hangar revert --abort")
    history.ok("revert", "--abort")
    assert history.json("status")["clean"]
    history.ok("revert", "master~1", "-X", "theirs")
    assert label(history, "master") == 0


def test_a_cherry_pick_that_waits(history: Shell) -> None:
    """The conflict is listed, resolved and concluded by the commands that the messages name; another operation's are refused."""
    picked = head(history)
    history.ok("checkout", "-b", "side", "master~2")
    change(history, 5)
    history.ok("commit", "-m", "On side")
    before = head(history, "side")
    result = history.run("cherry-pick", "master")
    assert result.exit_code == 4
    assert "labels/k" in result.stdout
    assert "hangar cherry-pick --continue" in result.stderr
    text = history.ok("status")
    assert "A cherry-pick of master into side is in progress, with 1 conflict" in text
    assert "hangar cherry-pick --abort" in text
    assert history.json("status")["operation"] == {"kind": "cherry-pick", "revision": "master", "conflicts": 1}
    listed = history.json("conflicts")
    assert (listed["operation"], listed["revision"], listed["unresolved"]) == ("cherry-pick", "master", 1)
    assert [listed["conflicts"][0][side] for side in ("base", "ours", "theirs")] == [0, 5, 1]
    for words, error in (
        (["merge", "--continue"], "no merge is in progress, but a cherry-pick of 'master'"),
        (["revert", "--abort"], "hangar cherry-pick --abort"),
        (["cherry-pick", "master~1"], "hangar cherry-pick --continue"),
        (["stash"], "hangar cherry-pick --abort"),
        (["reset", "master"], "hangar cherry-pick --abort"),
        (["commit", "--amend", "-m", "x"], "nothing to amend yet, because a cherry-pick of"),
    ):
        history.fails(1, *words, text=error)
    history.fails(4, "cherry-pick", "--continue", text="1 conflict of the cherry-pick")
    history.fails(4, "commit", "-m", "x", text="hangar cherry-pick --abort")
    assert "hangar cherry-pick --continue" in history.ok("resolve", "--all", "--ours")
    history.fails(9, "cherry-pick", "--continue", text="changes nothing")
    history.ok("resolve", "labels", "k", "--value", "9")
    assert "hangar cherry-pick --continue" in history.ok("conflicts")
    assert history.ok("cherry-pick", "--continue").startswith("[side ")
    info = history.json("show")
    assert (info["message"], info["parents"]) == ("Third", [before])
    assert info["meta"] == {"cherry-picked-from": picked}
    assert label(history, "side") == 9
    assert history.json("status")["operation"] is None
    history.fails(1, "cherry-pick", "--continue", text="no cherry-pick is in progress")
    assert history.json("reflog")["moves"][0]["operation"] == "cherry-pick"


def test_replay_without_commit(history: Shell) -> None:
    before = head(history)
    document = history.json("revert", "HEAD", "--no-commit")
    assert (document["digest"], document["conflicts"], document["changes"][0]["mutated"]) == (None, [], 1)
    status = history.json("status")
    assert (status["head"], status["clean"], status["operation"]) == (before, False, None)
    history.ok("restore", ".")
    assert "hangar commit" in history.ok("cherry-pick", "-n", "master~1", "-X", "theirs")
    history.ok("commit", "-m", "Again")
    assert label(history, "master") == 0


def test_options_of_replays_that_exclude_each_other(history: Shell) -> None:
    for name in ("cherry-pick", "revert"):
        for words in ([], ["HEAD", "--abort"], ["--abort", "-m", "x"], ["--continue", "-n"], ["--continue", "--abort"]):
            assert history.run(name, *words).exit_code == 2, words


def test_cherry_pick(history: Shell) -> None:
    history.ok("checkout", "-b", "side", "master~2")
    document = history.json("cherry-pick", "master~1")
    assert (document["branch"], document["message"]) == ("side", "Second")
    assert history.json("show", "side")["meta"] == {"cherry-picked-from": head(history, "master~1")}
    history.fails(9, "cherry-pick", "master~1", text="would not change")
    assert history.ok("cherry-pick", "master", "-m", "Picked").startswith("[side ")
    assert history.json("show", "side")["tree"] == history.json("show", "master")["tree"]


def test_stash(history: Shell) -> None:
    history.fails(9, "stash", text="no staged changes")
    change(history, 7)
    assert "hangar stash pop" in history.ok("stash")
    assert history.json("status")["clean"]
    change(history, 8)
    assert history.json("stash", "push", "-m", "Eight")["message"] == "Eight"
    listed = history.ok("stash", "list").splitlines()
    assert [line.split()[0] for line in listed] == ["stash@{0}", "stash@{1}"]
    assert listed[0].endswith("Eight")
    assert history.json("show", "stash@{1}")["parents"] == [head(history)]
    document = history.json("stash", "apply", "stash@{1}")
    assert document["changes"][0]["column"] == "labels"
    assert label(history) == 7
    history.fails(1, "stash", "pop", text="uncommitted changes")
    history.ok("reset", "--hard")
    assert "Dropped stash@{0}" in history.ok("stash", "drop")
    assert "removed it from the stack" in history.ok("stash", "pop")
    assert label(history) == 7
    history.ok("commit", "-m", "Seven")
    history.fails(9, "stash", "pop", text="no stashes")
    assert history.ok("stash", "list") == ""


def test_stash_on_another_branch(history: Shell) -> None:
    history.ok("branch", "create", "side", "master~1")
    change(history, 7, "new")
    history.fails(1, "checkout", "side", text="uncommitted")
    history.ok("stash")
    history.ok("checkout", "side")
    history.ok("stash", "pop")
    assert history.json("status")["staged_branch"] == "side"
    history.ok("stash")
    history.ok("checkout", "master")
    change(history, 9, "new")
    history.ok("commit", "-m", "New")
    history.fails(4, "stash", "pop", text="labels/new")
    assert len(history.json("stash", "list")["stashes"]) == 1
    history.ok("stash", "pop", "-X", "theirs")
    assert history.json("show", ":labels/new")["values"] == 7
