"""A lost or damaged small file strands no repository: every command tells the remedy, and the remedy works.

Each file below ``.hangar`` in turn is removed, emptied, cut, flipped, replaced by garbage and by a directory. Then every command
runs: it works, or fails with a message that names the damage; none proposes to delete anything. Then ``hangar fsck --repair``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.errors import LockedError
from tests.cli.shell import Shell, pictures
from tests.processes import Child, child

COMMANDS = (
    ["status"],
    ["log"],
    ["ls"],
    ["ls", "images"],
    ["show", "master"],
    ["show", "master:images/a"],
    ["export", "images", "-o", "out", "--overwrite"],
    ["column", "list"],
    ["branch", "list"],
    ["checkout", "master"],
    ["config"],
    ["config", "user.name"],
    ["writer-lock"],
    ["fsck"],
    ["fsck", "--data", "--json"],
    ["init", "--name", "a", "--email", "b"],
)
WRITES = (
    ["rm", "images", "b"],
    ["commit", "-m", "x"],
    ["column", "create", "more", "STR"],
    ["import", "images", "../in", "--overwrite"],
    ["restore", "."],
    ["branch", "create", "other"],
    ["config", "user.email", "c@example.com"],
)
SMALL = ("format", "config", "db.lock", "lock.1", "db/lock.mdb", "cache/" + "ab" * 32 + ".table")


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 4]) + data[1:] if data else b"\x04")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(255, 0, -1)) * 5)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "in the way").write_text("something")


DAMAGES = (remove, empty, cut, flip, garbage, directory)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A repository with pictures and labels committed, and changes staged."""
    path = tmp_path_factory.mktemp("small") / "repo"
    path.mkdir()
    shell = Shell(path)
    shell.ok("init", "--name", "Ada Lovelace", "--email", "ada@example.com")
    pictures(path.parent / "in", ["a", "b", "c"])
    shell.ok("column", "create", "images", "UINT8", 7, 5)
    shell.ok("import", "images", path.parent / "in")
    with Repository(path) as repository:
        writer = repository.checkout(write=True)
        packed = writer.add_ndarray_column("packed", shape=(300,), dtype="uint8", backend="00")
        packed.write(range(20), np.arange(6_000).reshape(20, 300).astype("uint8"))
        writer.commit("First")
        writer["images"]["d"] = np.ones((7, 5), "uint8")
        writer.close()
    (path / ".hangar" / "cache").mkdir()
    (path / ".hangar" / SMALL[-1]).write_bytes(b"no cache file")
    return shell


@pytest.fixture
def shell(template: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    shutil.copytree(template.path, tmp_path / "repo")
    shutil.copytree(template.path.parent / "in", tmp_path / "in")
    monkeypatch.chdir(tmp_path / "repo")
    return Shell(tmp_path / "repo")


def content(shell: Shell) -> dict[str, Any]:
    """All that is committed and staged."""
    with Repository(shell.path) as repository:
        found: dict[str, Any] = {"log": repository.log(return_contents=True)}
        for name, checkout in (("committed", repository.checkout()), ("staged", repository.checkout(write=True))):
            for column in checkout:
                found[f"{name} {column}"] = {
                    key: np.asarray(value).tobytes() for key, value in checkout[column].items()
                }
            if name == "staged":
                checkout.close()
    return found


def run_all(shell: Shell, commands: tuple[list[str], ...]) -> Iterator[tuple[list[str], int, str]]:
    for words in commands:
        result = shell.run(*words)
        text = str(result.stdout + result.stderr)
        assert "Traceback" not in text, words
        assert "internal error" not in text, (words, text)
        if result.exit_code and words[0] != "init":
            assert "overwrite" not in text, (words, text)
            assert "delete" not in text, (words, text)
            assert "move it away" not in text, (words, text)
        yield words, result.exit_code, text


@pytest.mark.parametrize("name", SMALL, ids=lambda name: name.partition("/")[0] if "cache" in name else name)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_small_file_strands_nothing(
    template: Shell, shell: Shell, name: str, damage: Callable[[Path], None]
) -> None:
    truth = content(template)
    damage(shell.path / ".hangar" / name)
    failed = [
        (words, code, text)
        for words, code, text in (*run_all(shell, COMMANDS), *run_all(shell, WRITES[:1]))
        if code and words[0] != "init"
    ]
    for words, _, text in failed:
        assert "hangar fsck --repair" in text, (words, text)
    if name == "format":
        assert "overwrite" not in shell.run("init", "--name", "a", "--email", "b").stderr
        assert any(words == ["log"] for words, _, _ in failed)
    shutil.rmtree(shell.path)
    shutil.copytree(template.path, shell.path)
    damage(shell.path / ".hangar" / name)
    text = shell.ok("fsck", "--repair", "--data")
    assert shell.json("fsck", "--data")["problems"] == []
    if failed:
        assert "repaired" in text
    assert shell.ok("fsck", "--repair").count("repaired") == 0
    assert content(shell) == truth
    assert "Ada Lovelace" in shell.ok("config")
    for words, code, text in (*run_all(shell, COMMANDS), *run_all(shell, WRITES)):
        assert code == 0 or words[0] == "init", (words, text)
    assert shell.json("fsck", "--data")["problems"] == []


def test_lost_permissions_are_restored(template: Shell) -> None:
    place = Path(tempfile.mkdtemp())
    shutil.copytree(template.path, place / "repo")

    def work(_: Connection) -> list[str]:
        os.environ["XDG_CONFIG_HOME"] = str(place / "home")
        Repository(place / "repo").fsck(data=True)  # all modules are imported
        for path in (place, *place.rglob("*")):
            if os.geteuid() == 0:
                os.chown(path, 65_534, -1)
        lost = ("format", "config", "db.lock", "lock.1", "db/data.mdb", "db/lock.mdb", "db", "blobs", "runs")
        if os.geteuid() == 0:
            os.seteuid(65_534)
        shell = Shell(place / "repo")
        said = []
        for name in lost:
            (shell.path / ".hangar" / name).chmod(0)
            results = [shell.run(*words) for words in (*COMMANDS[:6], ["rm", "images", name])]
            told = [result.stderr for result in results if result.exit_code and "no sample" not in result.stderr]
            assert all("hangar fsck --repair" in text for text in told), (name, told)
            assert "permission" in shell.ok("fsck", "--repair"), name
            said += told[:1]
        assert shell.json("fsck", "--data")["problems"] == []
        return said

    try:
        assert len(Child(work).result()) >= 5
    finally:
        shutil.rmtree(place)


def test_a_lost_lock_file_of_a_living_writer_is_not_taken_from_it(shell: Shell) -> None:
    def write(talk: Connection) -> None:
        writer = Repository(shell.path).checkout(write=True)
        talk.send("holds it")
        talk.recv()
        writer["images"]["e"] = np.zeros((7, 5), "uint8")
        writer.close()

    with child(write) as other:
        other.receive()
        (shell.path / ".hangar" / "lock.1").unlink()
        assert "another process has the repository open" in shell.fails(5, "fsck", "--repair")
        assert shell.run("fsck").exit_code == 6
        other.send("go on")
        other.result()
    assert "new lock file" in shell.ok("fsck", "--repair")
    assert "e" in shell.ok("ls", "images").split()


def test_a_living_writer_is_not_disturbed(shell: Shell) -> None:
    with Repository(shell.path) as repository:
        writer = repository.checkout(write=True)
        (shell.path / ".hangar" / "config").unlink()
        with pytest.raises(LockedError, match="cannot be repaired while"):
            repository.fsck(repair=True)
        with pytest.raises(PermissionError):
            repository.verify_repo_integrity()
        writer["images"]["e"] = np.zeros((7, 5), "uint8")
        writer.close()
        assert repository.fsck(repair=True).sound


def test_a_repository_without_a_copy_of_its_configuration(shell: Shell) -> None:
    """As an older version made it: the author of the newest commit is the next best."""
    from hangar.configcopy import CONFIG_KEY
    from hangar.db.tables import META

    with Repository(shell.path) as repository:
        repository.stores.db.update(lambda transaction: transaction.delete(META, CONFIG_KEY))
    (shell.path / ".hangar" / "config").unlink()
    assert "author of the newest commit" in shell.ok("fsck", "--repair")
    assert "ada@example.com" in shell.ok("config")


def test_an_unknown_remote_is_refused(shell: Shell) -> None:
    with Repository(shell.path) as repository, pytest.raises(KeyError, match="no remote 'origin'"):
        repository.fsck(repair=True, remote="origin")


def test_what_is_replaced_is_kept(shell: Shell) -> None:
    directory(shell.path / ".hangar" / "format")
    (shell.path / ".hangar" / "config").write_text("no configuration")
    repaired = shell.json("fsck", "--repair")["repaired"]
    kept = {one["kind"]: shell.path / ".hangar" / one["kept"] for one in repaired}
    assert (kept["format"] / "in the way").read_text() == "something"
    assert kept["config"].read_text() == "no configuration"


def data_files(shell: Shell) -> list[Path]:
    """The files that hold data, and the directories."""
    own = shell.path / ".hangar"
    files = sorted(path for name in ("blobs", "runs") for path in (own / name).iterdir())
    return [own / "db" / "data.mdb", *files, own / "blobs", own / "runs", own / "db", own / "cache"]


def to_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("not a directory")


@pytest.mark.parametrize("damage", [*DAMAGES, to_file])
def test_no_command_breaks_or_advises_deletion_where_a_data_file_is_damaged(
    template: Shell, shell: Shell, damage: Callable[[Path], None]
) -> None:
    for number, path in enumerate(data_files(shell)):
        if path.is_dir() != (damage is to_file) and not (path.is_dir() and damage is remove):
            continue
        if path.is_dir() and damage is remove:
            shutil.rmtree(path)
        else:
            damage(path)
        told = [(words, text) for words, code, text in run_all(shell, COMMANDS) if code and words[0] != "init"]
        name = path.relative_to(shell.path).as_posix()
        if name != ".hangar/cache":
            assert told or damage in (cut, empty, garbage, flip, remove, to_file), name
        for words, text in told:
            known = ("hangar fsck", "restore", "damaged", "missing", "cannot", "truncated", "is not")
            assert any(word in text for word in known), (name, words, text)
        result = shell.run("fsck", "--repair", "--data")
        assert result.exit_code in (0, 3, 6, 1), (name, result.output)
        assert "internal error" not in result.output, (name, result.output)
        assert "Traceback" not in result.output, (name, result.output)
        shutil.rmtree(shell.path)
        shutil.copytree(template.path, shell.path)
        assert number < 100
