"""Scenarios of proposed repairs; see :mod:`tests.cli.test_advice`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from hangar import Repository
from hangar.db.tables import META
from tests.cli.advice import command_in, follow, said
from tests.cli.shell import Shell

__all__ = ["REPAIR", "repaired"]


def repaired(shell: Shell, template: str) -> None:
    """Each lost or damaged small file is told with the command that writes it again."""
    for name, words in (("format", ("log",)), ("config", ("config", "user.name")), ("lock.*", ("rm", "images", "a"))):
        for damage in (Path.unlink, lambda path: path.write_text("garbage")):
            damage(max((shell.path / ".hangar").glob(name)))
            follow(shell, said(shell.run(*words)), template)
    (shell.path / ".hangar" / "db" / "lock.mdb").unlink()
    (shell.path / ".hangar" / "db" / "lock.mdb").mkdir()
    follow(shell, said(shell.run("status")), template)
    (shell.path / ".hangar" / "db.lock").unlink()
    follow(shell, said(shell.run("fsck")), template)
    assert shell.json("fsck", "--data")["problems"] == []


def without_values(shell: Shell, template: str) -> None:
    fresh = Shell(shell.path.parent / "fresh")
    fresh.path.mkdir()
    fresh.ok("init", "--name", "a", "--email", "b")
    with Repository(fresh.path) as repository:
        repository.stores.db.update(lambda transaction: transaction.delete_prefix(META, b"configuration"))
    (fresh.path / ".hangar" / "config").unlink()
    follow(fresh, fresh.ok("fsck", "--repair"), template)
    fresh.ok("config", "user.name", "a")


def rescued(shell: Shell, template: str) -> None:
    with Repository(shell.path) as repository, repository.checkout(write=True) as writer:
        writer["images"]["b"] = np.full((7, 5), 200, "uint8")
        writer.commit("Second")
        writer.close()
    last = max((shell.path / ".hangar" / "blobs").iterdir())
    data = last.read_bytes()
    at = data.index(bytes([200]) * 35)
    last.write_bytes(data[:at] + bytes([7]) * 35 + data[at + 35 :])
    result = shell.run("fsck", "--data")
    assert result.exit_code == 6
    result = shell.run(*command_in(result.stdout, "hangar fsck --data --repair"))
    assert result.exit_code == 6
    if template != "hangar fsck --data --repair":
        follow(shell, result.stdout, template)
        assert shell.json("log", "rescue")["head"] == shell.json("log", "master~1")["head"]


REPAIR: Final[dict[str, dict[str, Callable[[Shell, str], None]]]] = {
    "cli/fsck.py": {
        "hangar fsck --repair": repaired,
        "hangar fsck --data --repair": rescued,
        "hangar branch create rescue {}": rescued,
    },
    "db/opening.py": {"hangar fsck --repair": repaired},
    "fsck/small_files.py": {"hangar fsck --repair": repaired, "hangar config": without_values},
    "permissions.py": {"hangar fsck --repair": repaired},
}
