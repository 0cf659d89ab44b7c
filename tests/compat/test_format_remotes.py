"""The page on the format is right about remotes and promised data: the rows of a partial clone, read by the page alone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from hangar import Repository
from tests.compat.independent_tables import Tables
from tests.compat.specification import TABLES_OF_PAGE, column


def test_rows_of_a_partial_clone(tmp_path: Path) -> None:
    for name in ("team", "laptop"):
        (tmp_path / name).mkdir()
    with Repository(tmp_path / "team", exists=False) as team:
        team.init("Ada", "ada@example.org")
        writer = team.checkout(write=True)
        writer.add_ndarray_column("image", (100,), np.uint8).write(
            range(20), np.arange(20 * 100).astype(np.uint8).reshape(20, 100)
        )
        writer.commit("Images")
        writer.close()
    with Repository(tmp_path / "laptop", exists=False) as laptop:
        laptop.clone("Bob", "bob@example.org", str(tmp_path / "team"))
        laptop.remote.fetch_data("origin", branch="master")
        laptop.evict("image", [3])
    rows = Tables(tmp_path / "laptop" / ".hangar" / "db")
    number, address, settings = msgspec.msgpack.decode(rows["meta"][b"remote/origin"])
    assert (number, address, settings) == (1, str(tmp_path / "team"), {})
    assert rows["refs"].keys() >= {b"remotes/origin/master"}
    stated = [tuple(row.values())[:2] for row in TABLES_OF_PAGE["spec-promisors"]]
    assert stated == [("of a leaf", "empty"), ("of a blob", "01"), ("of a blob", "02")]
    assert set(rows["promisors"].values()) == {b"", b"\x01"}
    for key, value in rows["promisors"].items():
        assert len(key) == 36
        assert key[32:] == number.to_bytes(4, "big")
        assert (key[:32] in rows["nodes"]) == (value == b"")
    assert all(value == b"" for value in rows["complete"].values())
    assert "promisors" in column("tables", "table")
