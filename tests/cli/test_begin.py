"""init and config."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar import InvalidInputError, Repository
from tests.cli.shell import Shell


def test_init_asks_for_what_it_is_not_told(shell: Shell) -> None:
    result = shell.run("init", input="Ada Lovelace\nada@example.com\n")
    assert result.exit_code == 0
    assert result.stdout == f"Created an empty repository in {shell.path / '.hangar'}\n"
    assert shell.json("config")["user.name"] == {"value": "Ada Lovelace", "scope": "repository"}


def test_init_offers_the_users_own_configuration(shell: Shell) -> None:
    try:
        shell.ok("config", "--global", "user.name", "Ada L")
        shell.ok("config", "--global", "user.email", "ada@home.net")
        assert shell.json("config") == {
            "user.email": {"value": "ada@home.net", "scope": "user"},
            "user.name": {"value": "Ada L", "scope": "user"},
        }
        shell.ok("init", input="")  # nobody answers
        assert shell.ok("config", "user.name") == "Ada L\n"
        shell.ok("init", "--overwrite", "--yes", input="\nother@example.com\n")
        assert shell.ok("config", "user.email") == "other@example.com\n"
        assert shell.ok("config", "user.name") == "Ada L\n"
    finally:
        shell.ok("config", "--global", "--unset", "user.name")
        shell.ok("config", "--global", "--unset", "user.email")


def test_init_without_an_answer_makes_nothing(shell: Shell) -> None:
    shell.fails(1, "init", text="no answer was given", input="")
    shell.fails(1, "init", "--name", "Ada", text="no answer", input="")
    assert list(shell.path.iterdir()) == []


def test_init_in_a_directory(shell: Shell) -> None:
    document = shell.json("init", "new/er", "--name", "Ada", "--email", "a@b.c")
    assert document == {"path": str(shell.path / "new" / "er" / ".hangar"), "branch": "master"}
    (shell.path / "file").write_text("")
    shell.fails(3, "init", "file", "--name", "Ada", "--email", "a@b.c", text="is not a directory")


def test_init_twice(filled: Shell) -> None:
    filled.fails(4, "init", "--name", "a", "--email", "b", text="Nothing was changed")
    assert len(filled.json("log")["commits"]) == 1
    who = ("--name", "a", "--email", "b")
    filled.fails(1, "init", *who, "--overwrite", text="add --yes")
    assert len(filled.json("log")["commits"]) == 1
    filled.ok("init", *who, "--overwrite", "--yes")
    assert filled.json("log")["commits"] == []


def test_init_names_the_repository_that_is_there_and_proposes_no_deletion(filled: Shell) -> None:
    text = filled.fails(4, "init", input="")  # said before anything is asked
    assert text.index("`hangar status`") < text.index(f"Repository({str(filled.path)!r})")
    assert "--overwrite" not in text


def test_no_repository_inside_the_files_of_another(filled: Shell) -> None:
    for place in (".hangar", ".hangar/blobs", ".hangar/new"):
        filled.fails(1, "init", place, "--name", "a", "--email", "b", text="inside a repository's own files")
    inside = Shell(filled.path / ".hangar")
    inside.fails(1, "init", "--name", "a", "--email", "b", "--overwrite", "--yes", text="choose a directory outside")
    assert not (filled.path / ".hangar" / ".hangar").exists()
    assert not (filled.path / ".hangar" / "new").exists()
    with pytest.raises(InvalidInputError, match="inside a repository's own files"):
        Repository(filled.path / ".hangar", exists=False).init("a", "b")


@pytest.mark.parametrize(("name", "email"), [("a\nb", "x"), ("a", "x\x00"), (" a", "x")])
def test_a_name_that_cannot_be_stored(shell: Shell, name: str, email: str) -> None:
    shell.fails(1, "init", "--name", name, "--email", email)
    assert list(shell.path.iterdir()) == []


def test_config(empty: Shell) -> None:
    assert empty.ok("config", "user.name") == "Ada Lovelace\n"
    empty.ok("config", "user.name", "Grace Hopper")
    assert empty.json("config", "user.name") == {"user.name": {"value": "Grace Hopper", "scope": "repository"}}
    assert (
        empty.ok("config") == "user.email  ada@example.com  (repository)\nuser.name   Grace Hopper     (repository)\n"
    )
    empty.ok("config", "--unset", "user.name")
    empty.fails(1, "config", "user.name", text="user.name is not set")
    empty.fails(1, "config", "user.nam", "x", text="did you mean 'user.name'?")
    empty.fails(2, "config", "--unset", text="--unset takes a KEY")


def test_commits_without_a_name(empty: Shell) -> None:
    empty.ok("config", "--unset", "user.email")
    empty.ok("column", "create", "x", "STR")
    empty.fails(1, "commit", "-m", "x", text="hangar config user.email VALUE")
    assert not empty.json("status")["clean"]


def test_config_without_a_repository(shell: Shell, tmp_path: Path) -> None:
    assert shell.ok("config") == ""
    shell.fails(3, "config", "user.name", "x", text="--global")
