"""JSON records of ``hangar diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hangar.cli.records import change_record, place_record

if TYPE_CHECKING:
    from hangar.cli.patch import ChangedColumn, Patch
    from hangar.cli.views import View
    from hangar.diff import ValueChange
    from hangar.diff.values import ValueDifference

__all__ = ["column_record", "sample_record", "side_record"]

MOST_TEXT: Final = 1000
"""Longest text that is written whole; of bytes, half as many."""


def side_record(view: View) -> dict[str, Any]:
    """One of the two states: the branch of a staging area (else null), and the commit that it is or is based on."""
    return place_record(view)


def column_record(patch: Patch, column: ChangedColumn) -> dict[str, Any]:
    """A column that changed."""
    before, after = patch.column_bytes(column)
    return change_record(column.status) | {"bytes_before": before, "bytes_after": after}


def sample_record(change: ValueChange, found: ValueDifference | None) -> dict[str, Any]:
    """A sample that changed."""
    from hangar.diff import ArrayDifference, Unavailable

    record: dict[str, Any] = {**change.key._asdict(), "change": change.kind}
    record |= {"before": _value(change.before), "after": _value(change.after)}
    reasons = [one.reason for one in (change.before, change.after) if isinstance(one, Unavailable)]
    if reasons:
        record["unavailable"] = reasons[0]
    if isinstance(found, ArrayDifference):
        names = ("elements", "changed", "largest", "mean", "nans_gained", "nans_lost")
        forms = ("dtype_before", "dtype_after", "shape_before", "shape_after")
        record["difference"] = {name: getattr(found, name) for name in (*names, *forms)} | {"region": found.box}
        if found.kind == "chunked":
            # null where the chunks were too many to be read
            if not found.read:
                record["difference"] |= dict.fromkeys(names)
            record["difference"] |= {"chunks": found.chunks, "chunk_regions": found.regions}
    return record


def _value(value: Any) -> Any:
    """A small value as JSON has it; complex numbers as text, bytes in hex; null for a large or missing one."""
    from hangar.diff.text import is_small

    if isinstance(value, (str, bytes)):
        return value if len(value) <= (MOST_TEXT if isinstance(value, str) else MOST_TEXT // 2) else None
    if not isinstance(value, np.ndarray) or not is_small(value.shape):
        return None
    if value.dtype.kind not in "biuf":
        value = value.astype(np.complex128 if value.dtype.kind == "c" else np.float64)
    return _texts(value.tolist()) if value.dtype.kind == "c" else value.tolist()


def _texts(value: Any) -> Any:
    return [_texts(one) for one in value] if isinstance(value, list) else str(value)
