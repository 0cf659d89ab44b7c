"""Eviction drops what a remote proves to have and keeps, and nothing else."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import CorruptionError, Repository, UnreachableError, limits
from hangar.remote import blob_states, evicting
from hangar.remote.bundle import create_bundle
from hangar.remote.bundle_file import BundleFile
from hangar.remote.server import serve
from hangar.remote.service import Service
from hangar.remote.states import BlobState, BlobStates
from tests.partial.conftest import Make
from tests.partial.damaging import damage, digests_of, lose

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")


def filled(team: Make, name: str, source: str) -> Repository:
    repository = team(name, source)
    repository.remote.fetch_data("origin", "master")
    return repository


def readable(repository: Repository) -> None:
    with closing(repository.checkout()) as reader:
        np.testing.assert_array_equal(reader["rows"].read(range(50)), np.arange(2_000).reshape(50, 40))


@pytest.mark.parametrize("way", ["path", "server"])
def test_what_is_damaged_at_the_remote_stays(team: Make, tmp_path: Path, way: str) -> None:
    origin = team("origin", None)
    mine = filled(team, "mine", "origin")
    hurt = [3, 17]
    damage(origin, digests_of(origin, "rows", hurt))
    with ExitStack() as stack:
        if way == "server":
            server, hangar_server, address = serve(str(tmp_path / "origin"), channel_address="localhost:0")
            stack.callback(hangar_server.close)
            stack.callback(lambda: server.stop(None).wait())
            server.start()
            mine.remote.change("origin", address, insecure=True)
        report = mine.evict("rows")
        assert (report.blobs, report.kept, report.damaged) == (50 - len(hurt), len(hurt), len(hurt))
        with closing(mine.checkout()) as reader:
            assert list(reader["rows"].keys(local=True)) == hurt
            np.testing.assert_array_equal(reader["rows"].read(hurt), np.arange(2_000).reshape(50, 40)[hurt])
        # Without the proof the remote does not look.
        assert mine.evict("rows", verify=False).blobs == len(hurt)


def test_a_bundle_is_asked_too(team: Make, tmp_path: Path) -> None:
    origin = team("origin", None)
    mine = filled(team, "mine", "origin")
    path = tmp_path / "all.bundle"
    create_bundle(origin.stores, path, ["master"], data="all")
    mine.remote.change("origin", str(path))
    assert mine.evict("rows", range(5)).blobs == 5
    with closing(BundleFile(path)) as file:
        start, end = (int(file.offsets[-1]), path.stat().st_size)
        middle = start + len(file.frame(len(file.offsets) - 1)) // 2
    assert start < middle < end
    data = bytearray(path.read_bytes())
    data[middle] ^= 255
    path.write_bytes(data)
    report = mine.evict("rows")
    assert report.damaged > 0
    assert (report.blobs + report.kept, report.kept, report.absent) == (45, report.damaged, 5)


def test_a_remote_that_does_not_have_what_it_says(team: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is old, or wrong: what it sends on trial tells."""
    origin = team("origin", None)
    mine = filled(team, "mine", "origin")
    lose(origin, digests_of(origin, "rows", range(50)))

    def lie(self: Service, names: Any, *, read: bool) -> Any:
        count = len(names)
        yield BlobStates(bytes([BlobState.HERE]) * count, np.full(count, 320, "<u8").tobytes())

    monkeypatch.setattr(Service, "check_blobs", lie)
    with pytest.raises(CorruptionError, match=r"'origin' says that it has 50 values, and did not send 16 of 16"):
        mine.evict("rows")
    readable(mine)
    assert mine.fsck(data=True).promised == 0


def test_what_no_branch_of_the_remote_names_stays(team: Make) -> None:
    """It is garbage there: a collection at any time afterwards would remove the last copy."""
    origin = team("origin", None)
    mine = filled(team, "mine", "origin")
    with closing(mine.checkout(write=True)) as writer:
        writer["rows"].write(range(45, 55), -np.arange(400).reshape(10, 40))
        writer.commit("ten more")
    mine.remote.push("origin", "master")
    origin.reset("master~1", hard=True)
    report = mine.evict("rows")
    assert (report.blobs, report.kept, report.unnamed) == (45, 10, 10)
    assert origin.gc(expire_reflog="all").blobs.removed == 10
    with closing(mine.checkout()) as reader:
        np.testing.assert_array_equal(reader["rows"].read(range(45, 55)), -np.arange(400).reshape(10, 40))
    mine.remote.push("origin", "master")
    assert mine.evict("rows").blobs == 10


def test_one_of_two_remotes_does_not_answer(team: Make, tmp_path: Path) -> None:
    team("origin", None)
    mine = filled(team, "mine", "origin")
    mine.remote.add("away", str(tmp_path / "nowhere"))
    report = mine.evict("rows", range(10))
    assert (report.blobs, report.kept, report.silent) == (10, 0, ("away",))
    with pytest.raises(UnreachableError):
        mine.evict("rows", remote="away")
    mine.remote.change("origin", str(tmp_path / "nowhere"))
    with pytest.raises(UnreachableError):
        mine.evict("rows")
    assert mine.fsck(data=True).promised == 10


def test_one_subsample_is_a_tuple(team: Make) -> None:
    origin = team("origin", None)
    with closing(origin.checkout(write=True)) as writer:
        boxes = writer.add_ndarray_column("boxes", (20,), np.float64, contains_subsamples=True)
        boxes.update({i: {j: np.full(20, 10 * i + j, float) for j in range(3)} for i in range(5)})
        writer.commit("boxes")
    mine = filled(team, "mine", "origin")
    assert mine.evict("boxes", (3, 1)).blobs == 1
    with closing(mine.checkout()) as reader:
        assert reader["boxes"][3].remote_reference_keys == (1,)
        assert reader["boxes"].remote_reference_keys == (3,)


@pytest.mark.parametrize("verify", [True, False])
def test_a_server_tells_what_was_evicted_beside_it(
    team: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: bool
) -> None:
    """It remembers where values were. If it said that they are here, the last copy would be dropped."""
    monkeypatch.setattr(limits, "RUN_BLOBS", 10)
    origin = team("origin", None)
    mine, third = filled(team, "mine", "origin"), filled(team, "third", "origin")
    server, hangar_server, address = serve(str(tmp_path / "origin"), channel_address="localhost:0")
    with ExitStack() as stack:
        stack.callback(hangar_server.close)
        stack.callback(lambda: server.stop(None).wait())
        server.start()
        mine.remote.change("origin", address, insecure=True)
        assert mine.evict("rows", range(5), verify=verify).blobs == 5  # the server has read its list of locations
        origin.remote.add("third", third.path)
        assert origin.evict("rows").blobs == 50
        assert mine.evict("rows", verify=verify).blobs == 0
    with closing(mine.checkout()) as reader:
        assert list(reader["rows"].keys(local=True)) == list(range(5, 50))


def test_an_eviction_there_between_reading_and_answering(team: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = team("origin", None)
    mine, third = filled(team, "mine", "origin"), filled(team, "third", "origin")
    origin.remote.add("third", third.path)
    is_evicting, evicted = evicting.is_evicting, [0]

    def late(directory: Path) -> bool:
        if directory == Path(origin.path) / ".hangar" and not evicted[-1]:
            evicted.append(1)
            evicted.append(origin.evict("rows").blobs)
        return is_evicting(directory)

    monkeypatch.setattr(blob_states, "is_evicting", late)
    report = mine.evict("rows")
    assert evicted == [0, 1, 50]
    assert (report.blobs, report.leaving) == (0, 50)
    readable(mine)
