"""A team works on one repository: clones, commits, diverges, pulls, pushes, and trains on a part of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hangar import Repository, StaleRefError

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")


def test_smoke(repo: Repository, tmp_path_factory: pytest.TempPathFactory) -> None:
    co = repo.checkout(write=True)
    co.add_ndarray_column("rows", (40,), np.int64).write(range(600), np.arange(600 * 40).reshape(600, 40))
    co.commit("data")
    co.close()
    place = tmp_path_factory.mktemp("clone")
    clone = Repository(place, exists=False)
    assert clone.clone("Bob", "bob@example.org", repo.path) == "master"
    assert clone.list_branches() == ["master", "origin/master"]
    assert clone.fsck().promised == 600
    clone.remote.fetch_data_sample("origin", "rows", [3, 4], branch="master")
    with clone.checkout() as reader:
        assert reader["rows", 3][0] == 120
        assert list(reader["rows"].keys(local=True)) == [3, 4]
    with clone.checkout(fetch_on_read=True) as reader:
        assert reader["rows"].read(range(100))[99][0] == 3960
        assert len(reader["rows"].keys(local=True)) == 100
    assert clone.remote.fetch_data("origin", branch="master") == [clone.rev_parse("master")]
    assert clone.fsck(data=True).promised == 0
    co = clone.checkout(write=True)
    co["rows"][1000] = np.arange(40)
    co.commit("more")
    co.close()
    assert clone.remote.push("origin", "master") == "master"
    assert repo.rev_parse("master") == clone.rev_parse("master")
    with repo.checkout() as reader:
        assert reader["rows", 1000][3] == 3
