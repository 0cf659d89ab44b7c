"""How the classes of columns are put together."""

from __future__ import annotations

import pytest

from hangar.columns import FlatSampleWriter, FlatSubsampleWriter, NestedSampleWriter


def test_write_is_one_method() -> None:
    """Reached and described one way, whatever the keys."""
    assert FlatSampleWriter.write is NestedSampleWriter.write is FlatSubsampleWriter.write


@pytest.mark.parametrize("kind", [FlatSampleWriter, NestedSampleWriter, FlatSubsampleWriter])
def test_a_writer_has_few_ancestors(kind: type) -> None:
    """What writes entries is a part of a column, not an ancestor."""
    assert len(kind.__mro__) - 1 <= 8


def test_nested_columns_have_no_append() -> None:
    """It would have to make up a sample."""
    assert not hasattr(NestedSampleWriter, "append")
