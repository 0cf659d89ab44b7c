"""The command line itself: help, errors, exit codes, colours, pipes and interrupts."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest

import hangar
from hangar import errors
from hangar.cli import main
from hangar.cli.groups import Command, SuggestingGroup
from hangar.cli.main import HINTS, SECTIONS
from hangar.hashing import KERNEL
from tests.cli.shell import Shell, pictures, runner

NO_KERNEL = os.environ.get("HANGAR_NO_KERNEL")
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


def every(command: click.Command = main, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path] if path else []
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            found += every(child, (*path, name))
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_each_command_says(name: str) -> None:
    command = importlib.import_module(COMMANDS[name].module).command
    assert command.name == name
    assert isinstance(command, (Command, SuggestingGroup))
    assert len(COMMANDS[name].summary) <= 60


@pytest.mark.parametrize("path", every(), ids=" ".join)
def test_every_command_has_help_and_examples_of_real_options(path: tuple[str, ...]) -> None:
    result = runner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage: hangar " + " ".join(path) in result.stdout
    options = {word.strip("[],.:`") for word in result.stdout.split("Options:")[0].split() if word.startswith("--")}
    known = result.stdout.split("Options:")[1]
    foreign = {"--mode", "--frame", "--quality", "--data", "--keep-names", "--upright", "--bits", "--KEY"}
    foreign |= {"--key", "--value", "--rows", "--dataset", "--suffix"}
    foreign |= {"--deleted", "--hard"}  # of the command that is proposed
    assert {option for option in options if option not in known} <= foreign


def test_help_imports_no_command() -> None:
    code = (
        "import sys\nfrom hangar.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in sys.modules if m.startswith('hangar.cli.')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "hangar.cli.status" not in done.stderr
    assert "hangar.cli.main" in done.stderr


def test_status_imports_nothing_heavy(empty: Shell) -> None:
    code = (
        "import sys\nfrom hangar.cli import main\n"
        f"try:\n    main(['-C', {str(empty.path)!r}, 'status'])\nexcept SystemExit:\n    pass\n"
        "heavy = ('PIL', 'sklearn', 'rich', 'importlib.metadata', 'torch', 'tensorflow', 'grpc', 'h5py', 'hypothesis')\n"
        "upper = ('hangar.checkout', 'hangar.columns', 'hangar.blobs', 'hangar.backends', 'hangar.fsck', 'hangar.convert')\n"
        "print([m for m in heavy + upper if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n"), done.stdout


def test_version(shell: Shell) -> None:
    first, *others = shell.ok("--version").splitlines()
    assert first == f"hangar {hangar.__version__}"
    names = [line.split()[0] for line in others]
    assert names == ["Python", "numpy", "lmdb", "h5py", "kernel"]
    assert f"numpy   {np.__version__}" in others[1]
    assert "HDF5 " in others[3]
    assert others[4].endswith("in use" if KERNEL else "HANGAR_NO_KERNEL is set" if NO_KERNEL else "processor")
    done = shell.process("--version", env={"HANGAR_NO_KERNEL": "1"})
    assert done.stdout.endswith("kernel  not in use: HANGAR_NO_KERNEL is set\n")


def test_version_where_a_package_cannot_be_imported(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "h5py    cannot be imported" in shell.ok("--version")


def test_help_of_a_command(shell: Shell) -> None:
    assert shell.ok("help") == shell.ok("--help")
    for words in (["commit"], ["column"], ["column", "create"], ["branch", "delete"]):
        assert shell.ok("help", *words) == shell.ok(*words, "--help")
    shell.fails(2, "help", "comit", text="Did you mean commit?")
    shell.fails(2, "help", "commit", "more", text="'hangar commit' has no commands")


def test_options_of_the_run_stand_before_the_command_or_behind_it(filled: Shell, tmp_path: Path) -> None:
    elsewhere = Shell(tmp_path)
    wanted = filled.ok("status")
    here = filled.path.relative_to(tmp_path)
    for words in (["status", "-C", here], ["-C", filled.path.parent, "status", "-C", filled.path.name]):
        assert elsewhere.ok(*words) == wanted
    assert elsewhere.ok("column", "list", "-C", filled.path) == filled.ok("column", "list")
    assert elsewhere.ok("column", "-C", filled.path, "list") == filled.ok("column", "list")
    assert elsewhere.ok("export", "images", "-C", filled.path, "-o", "out") == filled.ok(
        "export", "images", "-o", "out", "--overwrite"
    )


def test_every_command_takes_the_options_of_the_run() -> None:
    for path in every():
        command: click.Command = main
        for word in path:
            assert isinstance(command, click.Group)
            command = command.commands[word]
        names = [name for parameter in command.params for name in parameter.opts]
        for name in ("-C", "--color", "--no-pager", "-v", "--verbose"):
            assert names.count(name) == 1, (path, name)


def test_a_traceback_is_shown_to_those_who_ask_for_it(empty: Shell) -> None:
    assert "Traceback" not in empty.run("log", "nope").stderr
    for words in (["-v", "log", "nope"], ["log", "nope", "--verbose"]):
        result = empty.run(*words)
        assert result.exit_code == 3
        assert result.stderr.startswith("Traceback (most recent call last):\n")
        assert "RevisionNotFoundError" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("Error: no branch, tag or commit 'nope'")
    assert empty.run("-v", "status").stderr == ""
    for words in (["-v"], ["-v", "nosuch"], ["-v", "ls", "--nosuch"], ["-v", "rm"]):
        assert "Traceback" not in empty.run(*words).stderr


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("stauts", "Did you mean status"),
        ("comit", "Did you mean commit?"),
        ("xyzzy", "is not a command of 'hangar'."),
        *HINTS.items(),
    ],
)
def test_an_unknown_command_is_met_with_a_better_one(shell: Shell, word: str, text: str) -> None:
    shell.fails(2, word, text=text)


def test_unknown_subcommands(empty: Shell) -> None:
    empty.fails(2, "column", "crate", text="Did you mean create?")
    empty.fails(2, "column", "rm", text="remove")
    empty.fails(2, "branch", "rm", text="Did you mean delete?")
    empty.fails(2, "branch", "lst", text="Did you mean list?")


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--nope"),
        ("commit", "extra"),
        ("column", "create"),
        ("column", "create", "x", "FLOAT99"),
        ("rm", "images"),
    ],
    ids=" ".join,
)
def test_usage_errors_exit_2(empty: Shell, words: tuple[str, ...]) -> None:
    empty.fails(2, *words)


ANYWHERE = ["init", "clone", "config", "demo", "completion", "help", "server"]
NO_REPOSITORY = [("column",), ("bisect",), ("bundle",), ("bundle", "list"), ("bundle", "verify")]


@pytest.mark.parametrize("path", every(), ids=" ".join)
def test_without_a_repository_every_command_says_so(shell: Shell, path: tuple[str, ...]) -> None:
    if path[0] in ANYWHERE or path in NO_REPOSITORY:
        return
    words = {
        "rm": ["c", "s"],
        "purge": ["c", "s"],
        "import": ["c", "."],
        "export": ["c"],
        "restore": ["c"],
        "checkout": ["b"],
    }
    words |= {"merge": ["b"], "resolve": ["c", "--ours"]}
    more = {
        "bundle create": ["f", "r"],
        "column create": ["c", "STR"],
        "column remove": ["c"],
        "column rename": ["c", "d"],
        "column attributes": ["c"],
        "column backend": ["c"],
        "branch create": ["b"],
        "branch delete": ["b"],
        "branch rename": ["b"],
        "split create": ["s"],
        "split check": ["s"],
        "split delete": ["s"],
        "branch restore": ["b"],
        "bisect run": ["c"],
        "blame": ["c"],
        "set": ["c", "s", "1"],
        "view": ["c", "s"],
        "revert": ["r"],
        "cherry-pick": ["r"],
        "remote add": ["r", "a"],
        "remote set": ["r", "a"],
        "remote remove": ["r"],
        "remote ping": ["r"],
        "fetch": ["r"],
        "fetch-data": ["r", "v"],
        "pull": ["r"],
        "push": ["r"],
        "evict": ["c"],
    }
    arguments = words.get(path[0], []) or more.get(" ".join(path), [])
    shell.fails(3, *path, *arguments, text="no Hangar repository")


def test_the_repository_of_a_directory_above(filled: Shell) -> None:
    below = filled.path / "deep" / "er"
    below.mkdir(parents=True)
    assert Shell(below).ok("status") == filled.ok("status")


def test_a_directory_that_is_none(shell: Shell) -> None:
    Shell(shell.path / "missing").fails(3, "status", text="missing")
    (shell.path / "file").write_text("")
    Shell(shell.path / "file").fails(3, "status", text="is not a directory")


def test_a_newer_format_is_refused_and_left_alone(empty: Shell) -> None:
    file = empty.path / ".hangar" / "format"
    file.write_text("hangar 0\nunheard-of\n")
    before = {path: path.read_bytes() for path in empty.path.rglob("*") if path.is_file()}
    empty.fails(10, "status")
    assert {path: path.read_bytes() for path in empty.path.rglob("*") if path.is_file()} == before


def test_a_damaged_repository(empty: Shell) -> None:
    (empty.path / ".hangar" / "format").write_text("garbage")
    empty.fails(6, "status")


@pytest.mark.parametrize("error", list(errors.EXIT_CODES), ids=lambda error: error.__name__)
def test_every_error_ends_in_its_exit_code(
    empty: Shell, monkeypatch: pytest.MonkeyPatch, error: type[errors.HangarError]
) -> None:
    def fail(self: object) -> None:
        raise error("it \x1b[31mfailed")

    monkeypatch.setattr(hangar.Repository, "status", fail)
    text = empty.fails(errors.EXIT_CODES[error], "status")
    assert text == "Error: it \\x1b[31mfailed\n"


def test_what_nobody_foresaw_is_a_line_too(empty: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(hangar.Repository, "status", fail)
    text = empty.fails(1, "status", text="internal error: ZeroDivisionError('oops')")
    assert "`hangar -v`" in text
    result = empty.run("status", env={"HANGAR_DEBUG": "1"})
    assert "Traceback" in result.stderr
    assert result.exit_code == 1


def test_an_interrupt(empty: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hangar.Repository, "status", fail)
    result = empty.run("status")
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_ctrl_c_while_importing_changes_nothing(empty: Shell, tmp_path: Path, default_interrupts: None) -> None:
    empty.ok("column", "create", "notes", "BYTES")
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(8_000):
        (folder / f"{i}.txt").write_bytes(b"x%d" % i)
    process = subprocess.Popen(
        [sys.executable, "-m", "hangar", "import", "notes", folder], cwd=empty.path, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while not empty.json("writer-lock")["held"] and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert "Traceback" not in stderr
    assert process.returncode == 130
    assert empty.json("column", "list")["columns"][0]["samples"] == 0
    assert not empty.json("writer-lock")["held"]


def test_an_interrupt_after_the_command_prints_nothing(empty: Shell) -> None:
    """The interpreter waits for threads at its end, and would print the traceback of an interrupt there. Later it takes its own handlers
    away, so that the signal itself has to be ignored."""
    code = (
        "import atexit, os, signal, sys, threading\n"
        "threading._register_atexit(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "atexit.register(lambda: print(signal.getsignal(signal.SIGINT).name, file=sys.stderr))\n"
        "from hangar.__main__ import run\n"
        "sys.argv = ['hangar', 'branch', 'list']\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=empty.path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "SIG_IGN\n")


def test_a_pipe_that_closes_is_quiet(empty: Shell) -> None:
    empty.ok("column", "create", "labels", "INT64")
    with hangar.Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        writer["labels"].write(range(50_000), np.arange(50_000))
        writer.close()
    command = f"{sys.executable} -m hangar ls labels | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=empty.path, capture_output=True, text=True, check=False)
    assert done.stdout == "0\n"
    assert done.stderr == ""
    assert done.returncode == 141


def test_output_that_cannot_be_written(filled: Shell) -> None:
    run = ["bash", "-c", f"{sys.executable} -m hangar log > /dev/full"]
    done = subprocess.run(run, cwd=filled.path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")
    run = ["bash", "-c", f"{sys.executable} -m hangar log >&-"]
    done = subprocess.run(run, cwd=filled.path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


STRANGE = "\udcff\udcfe"
"""What Python makes of bytes on the command line, or in a path, that are no UTF-8."""


@pytest.mark.parametrize("path", every(), ids=" ".join)
def test_words_that_are_no_utf8(filled: Shell, path: tuple[str, ...]) -> None:
    """In each place where a command takes a word, one that is no UTF-8 is a clear error or works."""
    command: click.Command = main
    for word in path:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    known = {"name": "images", "column": "images", "old": "images", "dtype": "INT64", "key": "user.name", "path": "."}
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    given = [known.get(one.name or "", "new") for one in arguments]
    lines = [[*given[:at], STRANGE, *given[at + 1 :]] for at in range(len(given))]
    for option in (one for one in command.params if isinstance(one, click.Option)):
        if not option.is_flag and option.opts[0] != "-C":
            lines += [[*given, option.opts[0], STRANGE], [*given, option.opts[0], f"k={STRANGE}"]]
    for line in lines:
        result = filled.run(*path, *line, input="")
        assert result.exit_code in (0, 1, 2, 3, 4, 5, 9), result.output
        assert "Traceback" not in result.output
        assert "internal error" not in result.output, result.output
        assert STRANGE[0] not in result.output


def test_a_repository_at_a_path_that_is_no_utf8(shell: Shell, tmp_path: Path) -> None:
    place = Shell(shell.path / f"here{STRANGE}")
    shell.ok("init", f"here{STRANGE}", "--name", "Ada", "--email", "a@b.c")
    pictures(tmp_path / f"in{STRANGE}", [f"a{STRANGE}", "b"])
    for tag in ("00", "01", "10"):
        place.ok("column", "create", f"images{tag}", "UINT8", 7, 5, "--backend", tag)
        place.ok("import", f"images{tag}", tmp_path / f"in{STRANGE}")
    place.ok("commit", "-m", "First")
    assert place.ok("ls", "images00") == "a__\nb\n"
    for words in (["status"], ["log"], ["summary"], ["show", ":images01/b"], ["fsck", "--data"], ["branch", "other"]):
        done = place.process(*words)
        assert done.returncode == 0, done.stderr
    assert "here\\udcff" in place.process("summary").stdout
    json.loads(place.process("summary", "--json").stdout)
    place.ok("export", "images10", "-o", f"out{STRANGE}")
    assert len(list((place.path / f"out{STRANGE}").glob("*.png"))) == 2
    place.fails(4, "init", input="")


def test_what_the_system_does_not_permit_is_exit_code_5(filled: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: hangar.Repository) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere/.hangar/format")

    monkeypatch.setattr(hangar.Repository, "status", refused)
    filled.fails(5, "status", text="Error: Permission denied: /somewhere/.hangar/format")


@pytest.mark.parametrize("message", ["", " ", "\t\n", "\u2003"])
def test_blank_messages_and_names(filled: Shell, message: str) -> None:
    filled.ok("rm", "images", "a")
    filled.fails(1, "commit", "-m", message, text="empty")
    filled.fails(1, "commit", "-m", message, "-m", message)
    filled.fails(1, "config", "user.name", message)
    assert filled.ok("config", "user.name") == "Ada Lovelace\n"
    (filled.path / "new").mkdir()
    filled.fails(1, "init", "new", "--name", message, "--email", "a@b.c")
    assert list((filled.path / "new").iterdir()) == []
    assert not filled.json("status")["clean"]


def test_a_warning_is_a_line(filled: Shell) -> None:
    name = filled.json("log")["head"][:8]
    filled.ok("branch", "create", name)
    done = filled.process("show", name)
    assert done.returncode == 0
    assert done.stderr.startswith("Warning: ")
    assert done.stderr.count("\n") == 1


def test_python_dash_m(shell: Shell) -> None:
    done = shell.process("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: hangar ")


def test_json_is_one_document_of_plain_text(filled: Shell) -> None:
    filled.ok("commit", "--amend", "-m", "Überschrift 猫")
    for words in (
        ["status"],
        ["log"],
        ["show"],
        ["ls"],
        ["branch"],
        ["summary"],
        ["config"],
        ["writer-lock"],
        ["fsck"],
    ):
        result = filled.run(*words, "--json")
        json.loads(result.stdout)
        assert result.stderr == ""
        assert result.stdout.isascii()


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["log"],
        ["log", "--graph"],
        ["log", "--oneline", "-n", "3"],
        ["show"],
        ["ls"],
        ["ls", "--changed"],
        ["branch"],
        ["branch", "list"],
        ["column", "list"],
        ["summary"],
        ["config"],
        ["writer-lock"],
        ["fsck"],
        ["fsck", "--data"],
        ["checkout", "master"],
        ["column", "create", "x", "STR"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_an_empty_repository_works_with_every_command(empty: Shell, words: list[str], more: list[str]) -> None:
    empty.ok(*words, *more)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, ["ls", "x"]),
        (3, ["ls", "x", "master"]),
        (3, ["show", "nope"]),
        (3, ["show", "master:x"]),
        (3, ["log", "nope"]),
        (3, ["rm", "x", "a"]),
        (1, ["restore", "x"]),
        (3, ["export", "x"]),
        (3, ["import", "x", "."]),
        (9, ["commit", "-m", "x"]),
        (1, ["commit", "--amend", "-m", "x"]),
        (3, ["checkout", "nope"]),
        (1, ["checkout", "-b", "new"]),
        (1, ["branch", "create", "new"]),
        (3, ["branch", "delete", "nope"]),
        (5, ["branch", "delete", "master"]),
        (3, ["column", "remove", "x"]),
        (1, ["column", "create", "a/b", "STR"]),
        (4, ["init", "--name", "a", "--email", "b"]),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else None,
)
def test_what_an_empty_repository_does_not_have(empty: Shell, code: int, words: list[str]) -> None:
    empty.fails(code, *words)
    assert empty.json("status")["clean"]
    assert not empty.json("writer-lock")["held"]
