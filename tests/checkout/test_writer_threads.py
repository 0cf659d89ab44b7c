"""A write checkout that threads read while another one commits: they see the state before or the one after, and nothing between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.db import ReadTransaction
from hangar.staging import StagedColumns


@pytest.mark.parametrize("how", ["commit", "roll back", "reset"])
def test_nothing_is_missing_while_the_staging_area_is_loaded_again(
    repo: Repository, writer: WriterCheckout, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What a thread would see is looked at in the middle of it."""
    column = writer.add_ndarray_column("x", (), np.int64)
    column.write(range(5), np.arange(5))
    column.attributes["unit"] = "mm"
    writer.attributes["split"] = "train"
    writer.commit("first")
    column[5] = np.array(5)
    seen: list[Any] = []
    load_rows = StagedColumns._load_rows

    def look() -> Any:
        return list(writer), "x" in writer, len(column), 5 in column, dict(column.attributes), dict(writer.attributes)

    def look_before(staging: StagedColumns, transaction: ReadTransaction) -> None:
        seen.append(look())
        load_rows(staging, transaction)

    def fail() -> None:
        with writer:
            column[6] = np.array(6)
            raise ZeroDivisionError

    before = look()
    assert before == (["x"], True, 6, True, {"unit": "mm"}, {"split": "train"})
    with monkeypatch.context() as patch:
        patch.setattr(StagedColumns, "_load_rows", look_before)
        if how == "commit":
            writer.commit("second")
        elif how == "roll back":
            before = (*before[:2], 7, *before[3:])
            with pytest.raises(ZeroDivisionError):
                fail()
        else:
            patch.setattr(writer._owner, "retire_all", lambda: None)
            writer.reset_staging_area()
    assert seen == [before]
    assert len(column) == (5 if how == "reset" else 6)
