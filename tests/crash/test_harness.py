"""The harness itself: that it sees what it should, or the tests that stand on it could not fail."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar import _fs
from tests.crash import harness, mutants, power
from tests.crash.harness import Acknowledge, Scenario, State


def states(
    run: Callable[[Path, Acknowledge], None], place: Path, prepare: Callable[[Path], None] | None = None
) -> list[State]:
    """All power losses of a scenario, each with its files read in (the directory is one and the same)."""
    scenario = Scenario("test", run, lambda state: None, prepare)
    found = []
    for state in harness.power_losses(scenario, place):
        files = {path.name: path.read_bytes() for path in state.directory.rglob("*") if path.is_file()}
        found.append(State(state.directory, (state.acknowledged, files), state.crash, state.finished))
    return found


def write(directory: Path, acknowledge: Acknowledge, *, sync: bool, sync_directory: bool) -> None:
    descriptor = _fs.create_file(directory / "file")
    _fs.write_at(descriptor, [b"x" * 2_000], 0, directory / "file")
    if sync:
        _fs.sync_file(descriptor, directory / "file")
    if sync_directory:
        _fs.sync_directory(directory)
    acknowledge("written")
    os.close(descriptor)


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("sync_directory", [True, False])
def test_a_new_file_is_safe_when_it_and_its_directory_are_synced(place: Path, sync: bool, sync_directory: bool) -> None:
    found = states(lambda d, a: write(d, a, sync=sync, sync_directory=sync_directory), place)
    after = [state.acknowledged[1].get("file") for state in found if state.acknowledged[0]]
    whole = b"x" * 2_000
    assert (set(after) == {whole}) == (sync and sync_directory)
    assert (None in after) == (not sync_directory)
    assert any(content is not None and content != whole for content in after) == (not sync)
    before = [state.acknowledged[1].get("file") for state in found if not state.acknowledged[0]]
    assert None in before
    assert found[-1].finished


def prepare(directory: Path) -> None:
    (directory / "file").write_bytes(b"o" * 2_048)


def test_an_overwritten_file_is_torn_by_sectors(place: Path) -> None:
    def overwrite(directory: Path, acknowledge: Acknowledge) -> None:
        descriptor = _fs.open_file(directory / "file", write=True)
        _fs.write_at(descriptor, [b"n" * 3_072], 0, directory / "file")
        _fs.sync_file(descriptor, directory / "file")
        acknowledge("done")
        os.close(descriptor)

    contents = [state.acknowledged[1]["file"] for state in states(overwrite, place, prepare)]
    assert b"o" * 2_048 in contents
    assert b"n" * 3_072 in contents
    mixed = [content for content in contents if b"n" in content and b"o" in content]
    assert mixed
    for content in mixed:
        for sector in range(0, len(content), power.SECTOR):
            assert len(set(content[sector : sector + power.SECTOR])) == 1
    assert contents[-1] == b"n" * 3_072


def test_a_replaced_file_is_the_old_or_the_new_one(place: Path) -> None:
    def replace(directory: Path, acknowledge: Acknowledge) -> None:
        _fs.replace_file(directory / "file", b"new")
        acknowledge("done")

    found = states(replace, place, prepare)
    assert {state.acknowledged[1]["file"] for state in found} == {b"o" * 2_048, b"new"}
    assert {state.acknowledged[1]["file"] for state in found if state.acknowledged[0]} == {b"new"}


def test_a_removed_file_may_come_back(place: Path) -> None:
    def remove(directory: Path, acknowledge: Acknowledge) -> None:
        os.unlink(directory / "file")
        acknowledge("unlinked")
        _fs.sync_directory(directory)
        acknowledge("synced")

    found = states(remove, place, prepare)
    for number, expected in ((1, {True, False}), (2, {False})):
        assert {"file" in s.acknowledged[1] for s in found if len(s.acknowledged[0]) == number} == expected


def test_a_directory_moves_with_what_is_in_it(place: Path) -> None:
    def move(directory: Path, acknowledge: Acknowledge) -> None:
        _fs.make_directory(directory / "made")
        _fs.write_new_file(directory / "made" / "inner", [b"inner"])
        os.rename(directory / "made", directory / "moved")
        _fs.crash_point("fs.replace_file.after")
        _fs.sync_directory(directory)
        acknowledge("moved")

    scenario = Scenario("test", move, lambda state: None)
    seen = set()
    for state in harness.power_losses(scenario, place):
        names = tuple(sorted(str(path.relative_to(state.directory)) for path in state.directory.rglob("*")))
        seen.add(names)
        if state.acknowledged:
            assert names == ("moved", "moved/inner")
    assert ("made", "made/inner") in seen
    assert ("moved", "moved/inner") in seen
    assert ("made", "made/inner", "moved", "moved/inner") not in seen


def test_an_inode_number_given_again_is_another_file(place: Path) -> None:
    def reuse(directory: Path, acknowledge: Acknowledge) -> None:
        for number in range(5):
            name = directory / f"{number}"
            _fs.write_new_file(name, [b"%d" % number])
            acknowledge(number)
            _fs.remove_file(name)
        _fs.write_new_file(directory / "last", [b"last"])

    for state in states(reuse, place):
        for name, content in state.acknowledged[1].items():
            assert content in (name.encode(), bytes(len(content)))


def test_kills_are_at_every_point_and_acknowledgements_arrive(place: Path) -> None:
    def run(directory: Path, acknowledge: Acknowledge) -> None:
        for number in range(3):
            acknowledge(number)
            _fs.make_directory(directory / str(number))

    scenario = Scenario("test", run, lambda state: None)
    found = [(state.crash, state.acknowledged, state.finished) for state in harness.crashes(scenario, place)]
    assert len(found) == 3 * 4 + 1
    some = [(state.crash, state.acknowledged, state.finished) for state in harness.crashes(scenario, place, kills=3)]
    assert sum("played back" in crash for crash, _, _ in some) == 3
    assert sum("hit" in crash for crash, _, _ in some) == 3 + 1
    assert {acknowledged for _, acknowledged, _ in some} == {(0,), (0, 1), (0, 1, 2)}
    assert found[0] == ("killed at hit 1, fs.make_directory.before", (0,), False)
    assert found[4] == ("killed at hit 5, fs.make_directory.before", (0, 1), False)
    assert found[-1] == ("killed at hit 13, the end", (0, 1, 2), True)


def test_a_scenario_that_fails_by_itself_is_an_error(place: Path) -> None:
    def run(directory: Path, acknowledge: Acknowledge) -> None:
        raise LookupError("its own fault")

    scenario = Scenario("test", run, lambda state: None)
    with pytest.raises(AssertionError, match="its own fault"):
        list(harness.crashes(scenario, place))
    with pytest.raises(AssertionError, match="its own fault"):
        list(harness.power_losses(scenario, place))


@given(st.integers(0, 5_000), st.integers(0, 5_000), st.integers())
def test_torn_files_have_sectors_of_either(old_size: int, new_size: int, seed: int) -> None:
    old, new = b"o" * old_size, b"n" * new_size
    torn = power.torn(old, new, random.Random(seed))
    assert min(old_size, new_size) <= len(torn) <= max(old_size, new_size)
    for start in range(0, len(torn), power.SECTOR):
        sector = torn[start : start + power.SECTOR]
        choices = [content[start : start + power.SECTOR].ljust(power.SECTOR, b"\0") for content in (old, new)]
        assert sector in [choice[: len(sector)] for choice in choices]


def test_a_torn_database_keeps_its_old_meta_pages() -> None:
    old, new = b"O" * 12_288, b"N" * 16_384
    moment = power.Moment(
        "test", (), 1, {1: {power.LMDB_DATA: 2}}, {2: new}, {2: power.LMDB_DATA}, {1: {power.LMDB_DATA: 2}}, {2: old}
    )
    contents = [power.play_back(moment, variant)[power.LMDB_DATA] or b"" for variant in power.variants(20, "seed")]
    assert len(set(contents)) > 10
    for content in contents:
        assert content[: power.META_BYTES] == b"O" * power.META_BYTES


def test_every_step_of_the_mutants_is_in_the_source() -> None:
    """Fails when the text of a step has moved: then the step is to be named anew, not dropped."""
    found = mutants.sites(mutants.ROOT)
    assert len(found) > 20
    assert len({mutant.name for mutant in found}) == len(found)
    for mutant in found:
        assert all((mutants.ROOT / guard).exists() for guard in mutant.guards())


def test_a_mutant_changes_its_site_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "src" / "hangar" / "_fs.py"
    path.parent.mkdir(parents=True)
    source = (mutants.ROOT / "src/hangar/_fs.py").read_text()
    for mutant in mutants.sites(mutants.ROOT):
        if mutant.path == "src/hangar/_fs.py":
            path.write_text(source)
            mutant.apply(tmp_path)
            changed = path.read_text()
            compile(changed, str(path), "exec")
            assert changed == source[: mutant.start] + mutant.text + source[mutant.end :] != source
