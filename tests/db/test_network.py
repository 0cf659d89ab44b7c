from __future__ import annotations

from pathlib import Path

import pytest

from hangar import AccessError, Repository
from hangar.db import environment
from hangar.db.network import FORCE_NETWORK, network_file_system

MOUNTS = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:41 / /data rw,relatime shared:1 - nfs4 server:/export rw
41 40 0:42 / /data/local rw,relatime - xfs /dev/vdb rw
42 22 0:43 / /with\040space rw - fuse.sshfs host:/ rw
43 22 0:44 / /twice rw - cifs //host/share rw
44 22 0:45 / /twice rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", None),
        ("/home/ada", None),
        ("/data", "nfs4"),
        ("/data/x/y", "nfs4"),
        ("/database", None),
        ("/data/local/x", None),
        ("/with space/x", "fuse.sshfs"),
        ("/twice/x", None),
    ],
)
def test_the_innermost_mount_decides(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_this_machine_can_be_asked(tmp_path: Path) -> None:
    assert network_file_system(tmp_path) is None
    assert network_file_system(tmp_path, "garbage\n\n - \n") is None


def test_on_a_network_file_system_reading_works_and_writing_is_refused_unless_forced(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = repo.checkout(write=True)
    writer.add_str_column("t")["a"] = "text"
    writer.commit("one")
    repo.close()
    monkeypatch.setattr(environment, "network_file_system", lambda path: "nfs4")
    there = Repository(repo.path)
    assert there.checkout()["t"]["a"] == "text"
    for write in (lambda: there.checkout(write=True), lambda: there.create_branch("b")):
        with pytest.raises(AccessError, match=FORCE_NETWORK):
            write()
    there.close()
    monkeypatch.setenv(FORCE_NETWORK, "1")
    forced = Repository(repo.path)
    forced.create_branch("b")
    assert forced.list_branches() == ["b", "master"]
