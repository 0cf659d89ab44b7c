"""Repositories of every released format, and of the present one, open and hold what they held (row 33)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hangar import MergeConflictError, Repository
from hangar.db.format import FORMAT_VERSION
from tests.compat import independent_reader as independent
from tests.compat.content import Contents, content, read_by_hangar, read_independently
from tests.compat.fixtures import make_fixture

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = sorted(path.stem for path in FIXTURES.glob("format-*.zip"))


@pytest.fixture(params=NAMES)
def fixture(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of a fixture repository, and what it holds."""
    with zipfile.ZipFile(FIXTURES / f"{request.param}.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path, json.loads((FIXTURES / f"{request.param}.json").read_text())


def agrees(found: Contents, expected: dict[str, str], listed: dict[str, list[str]]) -> bool:
    """Whether columns hold what they should; a difference among few samples is shown line by line."""
    for name, summary in expected.items():
        assert found[name].lines == listed.get(summary, []), name
    return {name: content.summary for name, content in found.items()} == expected


def test_there_is_a_fixture_of_each_format() -> None:
    assert [f"format-{version}" for version in range(FORMAT_VERSION + 1)] == NAMES


def test_the_archive_holds_what_the_format_has(fixture: tuple[Path, dict[str, Any]]) -> None:
    """Else the fixture would prove little: runs, staged rows of all kinds, several commits."""
    found = independent.Repository(fixture[0] / ".hangar")
    assert found.blobs.runs
    assert {key[0] for key in found.tables["staging"]} == {0, 1, 2, 3}
    assert found.staged is not None
    assert found.staged.parents == [found.refs["heads/master"], found.refs["heads/relabel"]]
    assert found.staged.operation == ["merge", "relabel", "Merge branch 'relabel'", {}, []]
    assert {key[0] for key in found.tables["conflicts"]} == {0, 1, 2}
    assert found.staged.unresolved == 5
    assert len(found.commits) >= 4
    assert len(found.refs) == 4
    assert len(found.tables["nodes"]) >= 20
    assert len(found.tables["locations"]) > 5
    assert set(found.tables["meta"]) >= {b"writer epoch", b"next file id"}


def test_every_commit_reads_as_it_was_written(fixture: tuple[Path, dict[str, Any]]) -> None:
    path, expected = fixture
    with Repository(path) as repo:
        assert {name: repo.rev_parse(name) for name in repo.list_branches()} == expected["branches"]
        assert repo.rev_parse("v1") == expected["tag"]
        for commit, holds in expected["commits"].items():
            assert agrees(read_by_hangar(repo, commit), holds["columns"], expected["listed"])
            assert repo.commit_info(commit).message == holds["message"]


def test_what_was_staged_is_there_and_can_be_committed(fixture: tuple[Path, dict[str, Any]]) -> None:
    path, expected = fixture
    with Repository(path) as repo:
        writer = repo.checkout(write=True)
        assert agrees(
            {name: content(column.items()) for name, column in writer.items()}, expected["staged"], expected["listed"]
        )
        with pytest.raises(MergeConflictError, match="5 conflicts"):
            writer.commit("What was staged")
        staging = writer.session.staging
        with writer.session.writing():
            staging.resolve_conflicts(staging.conflict_rows(), "ours")
        commit = writer.commit("What was staged")
        writer.close()
        assert agrees(read_by_hangar(repo, commit), expected["staged"], expected["listed"])
        assert repo.verify_repo_integrity()
    assert agrees(
        read_independently(independent.Repository(path / ".hangar").commits[bytes.fromhex(commit)].columns),
        expected["staged"],
        expected["listed"],
    )


def test_the_independent_reader_agrees(fixture: tuple[Path, dict[str, Any]]) -> None:
    path, expected = fixture
    found = independent.Repository(path / ".hangar")
    branches = {
        name.partition("/")[2]: digest.hex() for name, digest in found.refs.items() if digest and name[0] != "t"
    }
    assert branches == expected["branches"]
    for commit, holds in expected["commits"].items():
        assert agrees(
            read_independently(found.commits[bytes.fromhex(commit)].columns), holds["columns"], expected["listed"]
        )
    assert found.staged is not None
    assert agrees(read_independently(found.staged.columns), expected["staged"], expected["listed"])


def test_the_script_makes_what_is_checked_in(tmp_path: Path) -> None:
    """Commits are what they were: the same content, author and clock give the same digests today."""
    expected = json.loads((FIXTURES / f"format-{FORMAT_VERSION}.json").read_text())
    made = make_fixture.as_json(make_fixture.fill(tmp_path))
    assert json.loads(json.dumps(made)) == expected
